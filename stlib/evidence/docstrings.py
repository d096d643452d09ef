"""From a docstring to plain words: its summary, the prose of its body, and the names under "See Also".

Numpy's style (headings underlined) and Google's ("Args:" over an indented block) are both read. What is no prose goes:
signatures, tables of parameters, directives, code, doctests, formulas set apart and the marks of cross-references.
"""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

HIDDEN = "…"  # stands where a text names the thing that it is about
PROSE = ("", "notes", "note")  # the sections whose text is prose, in the order of reading
UNDERLINE = re.compile(r"[-=~^]{3,}")
GOOGLE = re.compile(
    r"(args|arguments|keyword args|keyword arguments|parameters|inputs?|outputs?|returns?|yields?|raises|shapes?|"
    r"attributes|variables|references?|examples?|usage|notes?|warnings?|see also|todo)\s*:{1,2}",
    re.IGNORECASE,
)
NESTED = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
SIGNATURE = re.compile(rf"\w[\w.]*\s*{NESTED}(\s*->[^\n]*)?\s*(\n|$)")
BULLET = re.compile(r"^([*+-]|\d{1,2}[.)])\s+")
TABLE = re.compile(r"\s*[=+|-]{2,}[\s=+|-]*")
CODE = re.compile(r"(:[a-zA-Z][\w:+.-]*:)?(``[^`]*``|`[^`]*`)")
SHORT = ("vs", "cf", "al", "Fig", "Ref", "Eq", "Dr")
ABBREVIATED = r"(?<![.\s(]\w\.)" + "".join(rf"(?<!\b{short}\.)" for short in SHORT)
SENTENCE_END = re.compile(ABBREVIATED + r"(?:(?<=[.!?])|(?<=[.!?][\"')]))\s+(?=[A-Z…\"'(])")


class Parsed(NamedTuple):
    """The parts of a docstring, their markup still on: paragraphs of prose, the summary first, and names."""

    paragraphs: list[str]
    see_also: list[str]


def parse(docstring: str) -> Parsed:
    """The parts of a docstring. The summary is "" where it has none."""
    sections = _sections(inspect.cleandoc(docstring.expandtabs()).split("\n"))
    sections[""] = _without_signatures(sections[""])
    paragraphs = [_paragraphs(sections.get(title, [])) for title in PROSE]
    summary = paragraphs[0] or [""]
    return Parsed([*summary, *paragraphs[1], *paragraphs[2]], _terms(sections.get("see also", [])))


def sentences(text: str) -> list[str]:
    """Where a full stop is followed by a capital letter, a sentence ends."""
    return SENTENCE_END.split(text)


def plain(text: str) -> str:
    """Markup reduced to plain words."""
    text = re.sub(r":[a-zA-Z][\w:+.-]*:`([^`]*)`", lambda match: _shown(match[1]), text)
    text = re.sub(r"``([^`]*)``", r"\1", text)
    text = re.sub(r"`([^`<]*?)\s*<[^`>]*>`_{0,2}", r"\1", text)
    text = re.sub(r"`([^`]*)`(__?)?", lambda match: _shown(match[1]), text)
    text = re.sub(r"\[([\w+.-]*)\]_", r"[\1]", text)
    text = re.sub(r"\|([^|\s][^|]*)\|", r"\1", text)
    text = re.sub(r"(?<![\w*])(\*\*|\*)(?=[^\s*])(.+?)(?<=[^\s*])\1(?![\w*])", r"\2", text)
    text = re.sub(r"\\([a-zA-Z]+|.)", r"\1", text).replace("::", ":")
    return re.sub(r"\s+", " ", text).strip()


def hide(text: str, name: str, everywhere: bool) -> str:
    """The text, its markup still on, without a name: wherever it is marked as code, called or has a dot before it.

    `everywhere`: as a plain word, too, because it is no ordinary one.
    """
    own, path = re.escape(name), r"(?<![\w.])~?\.?(?:\w+\.)*"
    word = re.compile(rf"{path}{own}(?!\w)")
    marked = re.compile(rf"(?<![\w.])~?(?:\.?(?:\w+\.)+|\.){own}(?!\w)|(?<![\w.]){own}(?=\()")
    text = CODE.sub(lambda match: word.sub(HIDDEN, match[0]), text)
    return word.sub(HIDDEN, text) if everywhere else marked.sub(HIDDEN, text)


def _shown(reference: str) -> str:
    """What is shown of a reference: "~a.b.c" is c, "words <target>" are the words."""
    shown = re.sub(r"\s*<[^>]*>$", "", reference)
    return shown.rsplit(".", 1)[-1] if shown.startswith("~") else shown.lstrip("!.")


def _sections(lines: list[str]) -> dict[str, list[str]]:
    """Title in lower case -> lines, each block moved to the left. What stands before the first heading has title ""."""
    found: dict[str, list[str]] = {"": []}
    title, google = "", False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        outside = bool(line) and not line[0].isspace()
        if outside and UNDERLINE.fullmatch(following.rstrip()) and not UNDERLINE.fullmatch(line):
            title, google = line.strip().lower(), False
        elif GOOGLE.fullmatch(line.rstrip()):
            title, google = line.rstrip(": ").lower(), True
        elif not UNDERLINE.fullmatch(line.rstrip()):
            title = "" if google and outside else title  # the indented block is over
            google = google and not outside
            found.setdefault(title, []).append(line)
    return {name: inspect.cleandoc("\n".join(["", *part])).split("\n") for name, part in found.items()}


def _without_signatures(lines: list[str]) -> list[str]:
    text = "\n".join(lines).lstrip("\n")
    while match := SIGNATURE.match(text):
        text = text[match.end() :].lstrip("\n")
    return text.split("\n")


def _paragraphs(lines: list[str]) -> list[str]:
    """The paragraphs of prose, each on one line."""
    blocks: list[list[str]] = [[]]
    for line in without_directives(lines):
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [" ".join(BULLET.sub("", line.strip()) for line in block) for block in blocks if _is_prose(block)]


def _is_prose(block: list[str]) -> bool:
    if not block or any(TABLE.fullmatch(line) or line.lstrip().startswith((">>>", ":")) for line in block):
        return block != [] and block[0].lstrip().startswith(":") and bool(CODE.match(block[0].lstrip()))
    return not block[0].startswith(" ") or bool(BULLET.match(block[0].lstrip()))


def without_directives(lines: list[str]) -> list[str]:
    """What begins with ".. " goes, together with the block below it."""
    kept, depth = [], None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if depth is not None and (not line.strip() or indent > depth):
            continue
        depth = indent if line.lstrip().startswith(".. ") else None
        kept.append(line if depth is None else "")
    return kept


def _terms(lines: list[str]) -> list[str]:
    """The names in a section "See Also": "a, b : what they do", or each on a line over its description."""
    names: list[str] = []
    for line in lines:
        if line.strip() and not line[0].isspace():
            terms = re.split(r"\s:\s|:\s|\s?:$", re.sub(r":[\w:]+:`", "`", line), maxsplit=1)[0]
            names += re.findall(r"[A-Za-z_][\w.]*\w", terms)
    return names
