"""What of a lesson's cells goes on slides: short prose, code that teaches, pictures, verdicts."""

from __future__ import annotations

import ast
import html
import math
import re
from collections.abc import Iterator
from typing import Any

import mistune
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from stlib.review.cells import figure_of

LEAD = 60  # words of a section that stand on its slide; the rest is for the speaker
PAGE = 95  # words of running text on one slide
# Statements that name one of these set up, draw or judge: a talk shows what they make.
_SERVES = {
    "figures", "plt", "drawings", "widgets", "display", "decide", "load", "picture", "figure", "panel", "panels",
    "print", "Markdown",
}  # fmt: skip
_VERDICT = re.compile(r"\*\*(.) ([\w ]+)\*\*: (.*?)(?: \(([^()]*)\))?\. `([\w-]+)`", re.DOTALL)


def written(markdown: str) -> str:
    """Markdown as HTML. Links of a lesson lead beside the deck, so only their words are kept; comments go."""
    text = re.sub(r"\s*<!--.*?-->", "", markdown, flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return str(mistune.html(text))


def inline(markdown: str) -> str:
    """One line of Markdown, without a paragraph around it."""
    return re.sub(r"</?p>", "", written(markdown)).strip()


def words(text: str) -> int:
    return len(re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).split())


def pieces(source: str) -> Iterator[tuple[str, list[str]]]:
    """(heading or "", its paragraphs) of a text cell: a paragraph, a quotation or a whole list each."""
    for part in re.split(r"^(?=#{1,2} )", source, flags=re.MULTILINE):
        heading = re.match(r"#+ (.*)\n*", part)
        blocks = [block for block in re.split(r"\n{2,}", part[heading.end() if heading else 0 :].strip()) if block]
        if heading or blocks:
            yield (heading[1] if heading else "", blocks)


def lead(paragraph: str) -> str:
    """The first sentences of a paragraph, as many as a slide bears: at least one."""
    sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z\"*`])", paragraph)
    kept = sentences[0]
    for sentence in sentences[1:]:
        if words(kept + " " + sentence) > LEAD:
            break
        kept += " " + sentence
    return kept


def paged(blocks: list[str]) -> Iterator[str]:
    """Blocks of Markdown on as few slides as they fit on, a list cut between its items."""
    blocks = [part for block in blocks for part in (re.split(r"\n(?=\* )", block) if "\n* " in block else [block])]
    page: list[str] = []
    for block in blocks:
        if page and words(" ".join([*page, block])) > PAGE:
            yield "\n\n".join(page)
            page = []
        page.append(block)
    if page:
        yield "\n\n".join(page)


# ----------------------------------------------------------------------------------------------------------- code


def teaching_code(source: str) -> str:
    """A cell without what sets up, draws, prints or judges; empty where fewer than two statements' lines are left."""
    lines = source.splitlines()
    served: set[int] = set()
    for node in ast.parse(source).body:
        if _serves(node):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            served |= set(range(first - 1, node.end_lineno or node.lineno))
    kept = [line for number, line in enumerate(lines) if number not in served]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    return text if len([line for line in text.splitlines() if line.strip()]) > 1 or "assert" in text else ""


def _serves(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call):
        return False
    return any(isinstance(one, ast.Name) and one.id in _SERVES for one in ast.walk(node))


def coloured(source: str, height: int = 530) -> str:
    """Code as HTML, its letters as large as fit."""
    size = _letters(source, largest=24, smallest=18, width=1095, height=height)
    code = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<pre class="code" style="font-size:{size}px">{code}</pre>'


def printed(text: str, height: int = 530) -> str:
    """What a cell printed."""
    size = _letters(text, largest=34, smallest=22, width=1140, height=height)
    return f'<pre class="printed" style="font-size:{size}px">{html.escape(text)}</pre>'


def _letters(text: str, largest: int, smallest: int, width: int, height: int) -> int:
    """The size of letters in pixels: long lines are broken rather than set below `smallest`, which many lines may be.

    A letter is 0.605 of its size wide, a line 1.35 of it high.
    """
    lengths = [len(line) for line in text.splitlines()]

    def fits(size: int) -> bool:
        rows = sum(max(1, math.ceil(length * size * 0.605 / width)) for length in lengths)
        whole = max(lengths) * size * 0.605 < width or size <= smallest
        return whole and rows * 1.35 * size < height

    return next((size for size in range(largest, 12, -1) if fits(size)), 12)


# -------------------------------------------------------------------------------------------------------- outputs


def joined(outputs: list[Any]) -> list[Any]:
    """What was printed in several goes as one."""
    printed = [output for output in outputs if output.output_type == "stream"]
    if len(printed) < 2:
        return outputs
    whole = printed[0] | {"text": "".join(output.text for output in printed)}
    return [whole, *(output for output in outputs if output.output_type != "stream")]


def shown(output: Any) -> tuple[str, str]:
    """(kind, HTML) of an output: figure, table, printed, verdict, or "" for what a slide does not show."""
    data = output.get("data", {})
    if figure := figure_of(output):
        alt = html.escape(figure["alt"], quote=True)
        return "figure", f'<div class="figure"><img src="{figure["source"]}" alt="{alt}"></div>'
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        return "table", f'<div class="table">{table}</div>'
    if "text/markdown" in data:
        verdict = _VERDICT.search(data["text/markdown"])
        return ("verdict", verdict[5]) if verdict else ("printed", written(data["text/markdown"]))
    text = output.get("text") or data.get("text/plain", "")
    return ("printed", printed(text.strip("\n"))) if text.strip() else ("", "")


def verdict_of(output: Any) -> dict[str, str] | None:
    found = _VERDICT.search(output.get("data", {}).get("text/markdown", ""))
    return (
        dict(zip(("symbol", "verdict", "sentence", "measured", "id"), found.groups(""), strict=True)) if found else None
    )
