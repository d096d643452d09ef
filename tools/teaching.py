"""docs/teaching.md as data: what the slides take their speaker's notes from, and the README its surprises.

The guide names a cell by a piece of its code or by the claim that it decides, so that it does not go stale when a cell
is put in before it. `cell_of` finds the one cell; tests hold each name in the guide to that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "teaching.md"


@dataclass(frozen=True)
class Question:
    """before: the cell that reveals. main: the one of its lesson that the deck of the whole series asks."""

    before: str
    ask: str
    hear: str
    then: str
    main: bool


@dataclass(frozen=True)
class Lesson:
    """Texts are Markdown on one line each. otherwise: what to say of a claim; "" for what belongs to none."""

    number: str
    title: str
    aim: str
    surprise: str
    ten: str
    thirty: str
    questions: tuple[Question, ...]
    otherwise: dict[str, str]
    exercise: str
    leave: str

    def question_of(self, source: str) -> Question | None:
        return next((one for one in self.questions if in_cell(one.before, source)), None)


def one_line(text: str) -> str:
    return " ".join(text.split())


def named(text: str) -> list[str]:
    """The pieces of code that a plan names."""
    return [one_line(piece) for piece in re.findall(r"`([^`]+)`", text)]


def in_cell(name: str, source: str) -> bool:
    return one_line(name) in one_line(source)


def cell_of(name: str, notebook: nbformat.NotebookNode) -> int:
    """The number of the one code cell that `name` stands in. ValueError: none, or more than one."""
    cells = [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code" and in_cell(name, cell.source)]
    if len(cells) != 1:
        raise ValueError(f"docs/teaching.md: {name!r} names {len(cells)} cells of its lesson, and has to name one")
    return cells[0]


def notebook_of(number: str) -> Path:
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    return path


def boxed(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The box at the head of a lesson: "The decision", "Short answer", "It flips when"."""
    quoted = "\n".join(line[1:].strip() for line in notebook.cells[0].source.splitlines() if line.startswith(">"))
    return {
        found[1]: one_line(found[2])
        for found in re.finditer(r"\*\*([\w ]+?)\.?\*\*(.*?)(?=\n\n|\Z)", quoted, re.DOTALL)
    }


@cache
def lessons() -> dict[str, Lesson]:
    """By number, "00" to "09". ValueError: a lesson of the guide that lacks a part."""
    parts = re.split(r"^## (\d\d) (.*)\n", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {number: _lesson(number, title, body) for number, title, body in zip(*[iter(parts)] * 3, strict=True)}


def _lesson(number: str, title: str, body: str) -> Lesson:
    def part(begin: str, end: str = r"\n\n\*\*|\Z") -> str:
        found = re.search(rf"^\*\*{begin}\*?\*?(.*?)(?={end})", body + "\n\n", re.MULTILINE | re.DOTALL)
        if found is None:
            raise ValueError(f"docs/teaching.md: lesson {number} has no part {begin!r}")
        return found[1].strip()

    def line(begin: str) -> str:
        return one_line(part(begin))

    left = re.fullmatch(r"\*([^*]+?)\*[:,]?(.*)", line("Leave them with"))
    if left is None:
        raise ValueError(f"docs/teaching.md: lesson {number} leaves them with no exercise in italics")
    return Lesson(
        number, title, line(r"Aim\."), line(r"The surprise\."), line(r"Ten minutes\."), line(r"Thirty minutes\."),
        tuple(_question(number, item) for item in _items(part(r"Ask before you show\."))),
        dict(pair for item in _items(part(r"If it comes out otherwise\.")) for pair in _otherwise(item)),
        left[1].rstrip("?."),
        left[2].strip(),
    )  # fmt: skip


def _items(text: str) -> list[str]:
    """Of a list, each item with those below it."""
    return [item.strip() for item in re.split(r"^\* ", text, flags=re.MULTILINE) if item.strip()]


def _question(number: str, item: str) -> Question:
    form = r"`(.*?)`: (.*?)\s*\* \*You will hear:\* (.*?)\s*\* \*Then:\* (.*)"
    found = re.fullmatch(form, item, re.DOTALL)
    if found is None:
        raise ValueError(f"docs/teaching.md: lesson {number}: not a question with its answers: {item[:60]!r}")
    before, ask, hear, then = map(one_line, found.groups())
    return Question(before, ask.strip("*"), hear, then, main=ask.startswith("**"))


def _otherwise(item: str) -> list[tuple[str, str]]:
    """(claim, what to say): an item may be on several claims, or on none."""
    found = re.fullmatch(r"((?:`[\w-]+`(?:, )?)+): (.*)", one_line(item))
    return [(claim, found[2]) for claim in named(found[1])] if found else [("", one_line(item))]
