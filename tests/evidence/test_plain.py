"""A reader's text amid Markdown is shown letter by letter."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stlib.evidence.plain import plain
from stlib.review import cells

LETTERS = st.one_of(
    st.sampled_from('`*_[](){}<>#|~$&"!\\:./-+=^@ \n1a'), st.characters(categories=["L", "N", "P", "S"])
)


class Shown(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


@settings(max_examples=150, deadline=None)
@given(text=st.text(LETTERS, max_size=12))
@example(text="<script>alert(1)</script>")
@example(text="[x](javascript:alert(1)) ![x](https://example.org/x.png) **bold** `code` | a | b |")
@example(text="$x$ \\(x\\) &lt; &amp; <https://example.org> ~~x~~\n\n# heading")
def test_every_letter_is_shown_and_none_is_markup(text: str) -> None:
    page = Shown(str(cells._clean(cells._markdown(f"of ({plain(text)}) so"), {}, "")))
    assert page.tags == ["p"] and page.text.strip() == f"of ({' '.join(text.split())}) so"
