"""A text of the reader's amid Markdown of ours."""

from __future__ import annotations

_MEANT = {ord(letter): f"&#{ord(letter)};" for letter in '!"#$&*+<=>@[\\]^_`{|}~'}


def plain(text: object) -> str:
    """The text in one line that Markdown and HTML show letter by letter: no markup, link or mathematics in it."""
    line = " ".join(str(text).split()).translate(_MEANT)
    return line.replace("://", "&#58;//").replace("www.", "www&#46;")
