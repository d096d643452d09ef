"""A text of the reader's amid Markdown of ours."""

from __future__ import annotations

_MEANT = {ord(letter): f"&#{ord(letter)};" for letter in '!"#$&*+<=>@[\\]^_`{|}~'}


def plain(text: object) -> str:
    """The text in one line, so that Markdown and HTML show it letter by letter: no markup, no mathematics in it."""
    return " ".join(str(text).split()).translate(_MEANT)
