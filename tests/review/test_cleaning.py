"""What is left of any HTML, without a browser: tags, attributes and addresses of the lists alone."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from stlib.review import cells

PIECES = [
    "<", ">", '"', "'", "=", "/", "--", "&lt;", "&#x6a;", "\0", "\t", "x", "é", "<!--", "-->", "<![CDATA[",
    "]]>", "<?x ", "<a href=", "javascript:", "java\tscript:", "data:text/html,", "data:image/png;base64,AA",
    "//example.org", "<img src=", "<img alt=", " onerror=f()", " onload=f()", " style=", "position:fixed;",
    "background:url(//x);", "text-align:right", "<script>", "</script>", "<style>", "</style>", "<svg>",
    "</svg>", "<math>", "<mtext>", "<table>", "</table>", "<td>", "<form action=x>", "<textarea>", "<title>",
    "<noscript>", "<template>", "<select>", "<p title=", "<h2 id=", "<div class=chip>", "<iframe srcdoc=",
    "<xmp>", "<plaintext>", "<annotation-xml>", "<foreignObject>", "</p>", "</div>", "<br>", "<b>",
]  # fmt: skip


class Found(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


@settings(max_examples=250, deadline=None)
@given(soup=st.lists(st.sampled_from(PIECES), max_size=12).map("".join), written=st.booleans())
def test_nothing_is_left_of_any_soup_but_what_the_lists_allow(soup: str, written: bool) -> None:
    text = str(cells._clean(soup, {"02.ipynb": "02.html"}, "", written))
    found = Found(text)
    assert found.tags <= (cells._WRITTEN if written else cells._TAGS)
    for tag, name, value in found.attributes:
        assert name in cells._ATTRIBUTES.get(tag, ()) or (tag, name) in {
            ("span", "class"),
            ("div", "class"),
            ("table", "class"),
        }
        if name == "class":
            assert {*value.split()} <= {"dataframe", "highlight"}
        if name == "src":
            assert value.startswith("data:image/")
        if name == "href":
            assert value.startswith(("http://", "https://", "mailto:", "#"))
        if name == "style":
            assert not value or value.startswith("text-align:")
    assert str(cells._clean(text, {}, "", written)) == text


def test_links_lead_to_pages_that_are_there_and_pictures_outside_are_words() -> None:
    text = '<a href="../02.ipynb#why">a</a> <a href="03.ipynb">b</a> <img src="x.png" alt="a &lt;b&gt; &amp; c">'
    assert cells._clean(text, {"02.ipynb": "02.html"}, "labs", written=True) == (
        '<a href="02.html#why">a</a> <a>b</a> [a &lt;b&gt; &amp; c]'
    )


def test_of_an_output_no_heading_picture_or_look_is_left() -> None:
    text = '<h1 id="main">x</h1><img src="data:image/png;base64,AA" alt="y"><p class="box" style="color:red">z</p>'
    assert cells._clean(text, {}, "") == "x[y]<p>z</p>"
    assert "<img" in cells._clean(text, {}, "", written=True)
