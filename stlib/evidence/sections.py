"""A folder of texts as passages: the heading of each section is a query, and what stands below it the passage."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import mistune

from stlib.evidence.docstrings import plain, without_directives
from stlib.evidence.passages import Passages, hashed

SUFFIXES = (".md", ".rst", ".txt")
WORDS = 200  # of a section, at most
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
HASHED, UNDERLINE = re.compile(r"(#{1,6})\s+(\S.*)"), re.compile(r"(={3,}|-{3,})\s*")  # titles in plain text
HTML = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>|</?[a-zA-Z!?][^>]*>", re.DOTALL | re.IGNORECASE)
RULE = re.compile(r"([=\-~^\"'`#*+:.])\1{2,}\s*")  # under a title in reStructuredText
INLINE = {"text", "codespan", "emphasis", "strong", "link", "image", "softbreak", "linebreak"}


class Section(NamedTuple):
    file: str
    titles: tuple[str, ...]  # from the file's first heading down to its own
    text: str


def from_folder(folder: Path) -> Passages:
    """The sections of all .md, .rst and .txt files below a folder, those of hidden files and folders left out.

    A heading that stands more than once takes the headings above it along; what is the same even then is left out, as
    is a section without text. A file without headings has its name for one. Links that lead out of the folder are not
    followed. The label is the folder below `folder`, or the file.

    Raises:
        ValueError: fewer than two sections; a file that is not UTF-8.
    """
    found = list(sections(folder))
    plain_titles = Counter(section.titles[-1].lower() for section in found)
    kept: dict[str, Section] = {}
    for section in found:
        own = section.titles[-1]
        kept.setdefault(own if plain_titles[own.lower()] == 1 else ": ".join(section.titles), section)
    if len(kept) < 2:
        allowed = ", ".join(SUFFIXES)
        raise ValueError(
            f"{folder.name}: expected at least 2 sections with text in its {allowed} files, got {len(kept)}"
        )
    queries, texts = list(kept), [section.text for section in kept.values()]
    labels = [section.file.split("/")[0] for section in kept.values()]
    attrs = {
        "name": folder.resolve().name,
        "sha256": hashed(queries, texts),
        "rows": len(texts),
        "stand_in": False,
        "has_label": len(set(labels)) > 1,
    }
    numbers = range(len(texts))
    names = [f"{section.file}#{section.titles[-1]}" for section in kept.values()]
    return Passages(
        queries, texts, [{n} for n in numbers], [{n: 1.0} for n in numbers], labels, list(labels), names, {}, attrs
    )


def sections(folder: Path, words: int = WORDS) -> Iterator[Section]:
    """All sections of a folder, file by file, of each at most so many words. ValueError: a file that is not UTF-8."""
    for file in _files(folder):
        yield from _sections(folder, file, words)


def _files(folder: Path) -> list[Path]:
    """Sorted; whatever lies outside, and is only linked to from here, is not ours to read."""
    root, found = folder.resolve(), []
    for place, folders, names in os.walk(folder):  # which does not enter linked folders
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            inside = file.resolve().is_relative_to(root) and file.is_file()
            if inside and not name.startswith(".") and file.suffix.lower() in SUFFIXES:
                found.append(file)
    return found


def _sections(folder: Path, file: Path, words: int) -> Iterator[Section]:
    """Each heading with what stands between it and the next one. What comes before the first has the file's name."""
    name = file.relative_to(folder).as_posix()
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: expected UTF-8 text; byte {error.start + 1} is not ({error.reason})") from None
    titles: dict[int, str] = {}  # level -> the heading in force
    text: list[str] = []
    for level, found in [*READERS[file.suffix.lower()](content), (1, [])]:
        if not level:
            text += found
            continue
        if body := " ".join(text[:words]):
            yield Section(name, tuple(titles.values()) or (re.sub(r"[_-]+", " ", file.stem),), body)
        titles = {above: title for above, title in titles.items() if above < level}
        titles[level], text = " ".join(found) or "…", []


def _markdown(content: str) -> Iterator[tuple[int, list[str]]]:
    """The words of each piece, and its level where it is a heading, else 0."""
    parse: Any = mistune.create_markdown(renderer="ast", plugins=["table"])
    for block in parse(FRONT_MATTER.sub("", content)):
        yield block["attrs"]["level"] if block["type"] == "heading" else 0, _words(block)


def _plain_text(content: str) -> Iterator[tuple[int, list[str]]]:
    """As `_markdown`, of lines whose marks are no marks: a heading begins with # or stands alone and underlined."""
    lines = ["", *content.splitlines(), ""]
    for above, line, below in zip(lines, lines[1:], lines[2:], strict=False):
        if hashed_title := HASHED.fullmatch(line):
            yield len(hashed_title[1]), hashed_title[2].split()
        elif line.strip() and not above.strip() and UNDERLINE.fullmatch(below):
            yield 1 if below[0] == "=" else 2, line.split()
        elif not UNDERLINE.fullmatch(line):
            yield 0, line.split()


def _words(block: dict[str, Any]) -> list[str]:
    """The words of a piece of Markdown, without code that stands apart and without the tags of HTML."""
    if block["type"] == "block_html":
        return unescape(HTML.sub(" ", block["raw"])).split()
    if block["type"] in ("block_code", "inline_html"):
        return []
    inside = [block] if "raw" in block else block.get("children", [])
    if all("raw" in part or part["type"] in INLINE for part in inside):
        return unescape("".join(_inline(part) for part in inside)).split()
    return [word for part in inside for word in _words(part)]


def _inline(part: dict[str, Any]) -> str:
    """Words may be broken by marks, as in un*believ*able, so here they are not yet split."""
    if part["type"] in ("inline_html", "block_html", "block_code"):
        return " "
    inside = "".join(_inline(one) for one in part.get("children", []))
    return part.get("raw", inside if part["type"] in INLINE - {"softbreak", "linebreak"} else " ")


def _hashed_titles(content: str) -> str:
    """reStructuredText with Markdown's titles: the first kind of underline that occurs is that of the highest level."""
    kinds: list[str] = []
    lines, made = without_directives(content.splitlines()), list[str]()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.strip() and not RULE.fullmatch(line) and RULE.fullmatch(below) and len(below) >= len(line.rstrip()):
            kinds += [below[0]] * (below[0] not in kinds)
            made.append(f"{'#' * min(6, kinds.index(below[0]) + 1)} {plain(line)}")
        elif not RULE.fullmatch(line):
            made.append(plain(line) if line[:1].strip() else line)
    return "\n".join(made)


READERS = {".md": _markdown, ".rst": lambda content: _markdown(_hashed_titles(content)), ".txt": _plain_text}
