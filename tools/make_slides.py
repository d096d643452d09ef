"""Slides of the lessons: one deck each and one of the whole series, in slides/, from the notebooks as they are stored.

    python tools/make_slides.py [02 05 ...]     (default: all lessons and the series)

A deck is one file that asks the network for nothing: reveal.js is taken from the installed package sphinx-revealjs.
Questions and the speaker's notes come from docs/teaching.md. What its plan for ten minutes names stands side by side,
everything else below it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import slide_parts as parts
import teaching
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup, escape

from stlib.evidence.claims import definition

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Slide:
    """short: part of the ten minutes. cell: where it comes from, -1: the frame. notes: Markdown, a paragraph each."""

    kind: str
    heading: str
    content: str
    short: bool
    cell: int = -1
    notes: tuple[str, ...] = ()
    place: str = ""
    level: str = "h2"


def deck(lesson: teaching.Lesson, notebook: nbformat.NotebookNode) -> list[Slide]:
    """The slides of one lesson, in its order."""
    short = {teaching.cell_of(name, notebook) for name in teaching.named(lesson.ten)}
    slides = [_title(lesson, notebook)]
    waiting: list[str] = []  # prose that the next slide is spoken with
    heading = ""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for heading_here, blocks in parts.pieces(cell.source) if number else ():
                heading = heading_here or heading
                if heading_here in ("Exercises", "Read next"):
                    break
                made, waiting = _prose(heading_here, blocks, waiting, number)
                slides += made
        elif heading and "parameters" not in cell.metadata.get("tags", []):  # what stands before the first one sets up
            made = [replace(one, short=number in short and one.short) for one in _cell(lesson, heading, cell, number)]
            if made:
                made[0] = replace(made[0], notes=(*_lesson_says(waiting), *made[0].notes))
                waiting = []
            slides += made
    slides = [*_with_short_sections(slides), _last(lesson, notebook)]
    return [replace(one, place=f"{lesson.number} {lesson.title}") for one in _answered(slides, notebook)]


def _title(lesson: teaching.Lesson, notebook: nbformat.NotebookNode) -> Slide:
    decision = teaching.boxed(notebook)["The decision"]
    notes = (f"**Aim.** {lesson.aim}", f"**Ten minutes.** {lesson.ten}", f"**Thirty minutes.** {lesson.thirty}")
    content = f'<div class="decision">{parts.written(decision)}</div>'
    return Slide("title", lesson.title, content, True, notes=notes, level="h1")


def _lesson_says(blocks: list[str]) -> tuple[str, ...]:
    return ("*The lesson says:*", *blocks) if blocks else ()


def _prose(heading: str, blocks: list[str], waiting: list[str], number: int) -> tuple[list[Slide], list[str]]:
    """A slide for a heading and one for each box of the reference run; and what is left to be spoken."""
    boxes = [block for block in blocks if block.startswith(">")]
    spoken = [block for block in blocks if not block.startswith(">")]
    slides = []
    if heading == "Decision":
        pages = parts.paged(spoken)
        slides = [Slide("prose small", heading, parts.written(page), False, number) for page in pages]
        spoken = []
    elif heading:
        content = parts.written(parts.lead(spoken[0])) if spoken else ""
        slides = [Slide("section", heading, content, False, number, _lesson_says([*waiting, *spoken]))]
        waiting, spoken = [], []
    for box in boxes:
        slides.append(Slide("prose", "", f'<div class="box">{parts.written(box)}</div>', False, number))
    return slides, [*waiting, *spoken]


def _cell(lesson: teaching.Lesson, heading: str, cell: Any, number: int) -> Iterator[Slide]:
    """Code that teaches, the question before its result, and the result."""
    outputs = [(kind, content) for kind, content in map(parts.shown, parts.joined(cell.outputs)) if kind]
    question = lesson.question_of(cell.source)
    kinds = {kind for kind, _ in outputs}
    code = "" if kinds == {"verdict"} else parts.teaching_code(cell.source)
    if kinds == {"printed"} and 0 < code.count("\n") < 10:  # what was printed says little without its code
        outputs, code = [("printed", parts.coloured(code, 250) + outputs[0][1])], ""
    if code:
        yield Slide("programme", heading, parts.coloured(code), not outputs, number)
    if question:
        ask = f'<p class="ask">{parts.inline(question.ask)}</p><p class="write">Write your answer down.</p>'
        notes = (f"**You will hear:** {question.hear}",)
        yield Slide("question", "", ask, True, number, notes)
    told = (f"**Then:** {question.then}",) if question else ()
    for kind, content in outputs:
        if kind != "verdict":
            rows = content.count("<tr")
            size = "table most" if rows > 12 else "table many" if rows > 7 else "table"
            content = content.replace('class="table"', f'class="{size}"')
            yield Slide(kind, heading, content, True, number, told)
            told = ()
    verdicts = [one for one in map(parts.verdict_of, cell.outputs) if one]
    if verdicts:
        notes = tuple(
            f"**`{one['id']}`, if theirs comes out otherwise:** {lesson.otherwise[one['id']]}"
            for one in verdicts
            if one["id"] in lesson.otherwise
        )
        lines = "".join(map(_verdict, verdicts))
        lines = f'<div class="several">{lines}</div>' if len(verdicts) > 1 else lines
        yield Slide("verdict", heading, lines, True, number, (*told, *notes))


def _verdict(one: dict[str, str]) -> str:
    claim = definition(one["id"])
    measured = f'<p class="measured">{escape(one["measured"])}</p>' if one["measured"] else ""
    return (
        f'<p class="verdict-line"><span class="mark">{one["symbol"]} {one["verdict"]}</span>: '
        f"{parts.inline(one['sentence'])}</p>"
        f'{measured}<p class="advice">{parts.inline(claim.advice(one["verdict"]))}<br>'  # type: ignore[arg-type]
        f"It may flip when: {parts.inline(claim.flips_when)}.</p>"
    )


def _with_short_sections(slides: list[Slide]) -> list[Slide]:
    """The story at the beginning belongs to the ten minutes; so does each heading below which something does."""
    made, first = [], True
    for place, one in enumerate(slides):
        if one.kind == "section":
            rest = slides[place + 1 :]
            until = next((n for n, other in enumerate(rest) if other.kind == "section"), len(rest))
            one = replace(one, short=first or any(other.short for other in rest[:until]))
            first = False
        made.append(one)
    return made


def _answered(slides: list[Slide], notebook: nbformat.NotebookNode) -> list[Slide]:
    """The short answer in front of the decision's words."""
    box = teaching.boxed(notebook)
    content = parts.written(f"{box['Short answer']}\n\n**It flips when** {box['It flips when']}")
    answer = Slide("answer", "The short answer", content, True)
    place = next((n for n, one in enumerate(slides) if one.heading == "Decision"), len(slides) - 1)
    return [*slides[:place], answer, *slides[place:]]


def _last(lesson: teaching.Lesson, notebook: nbformat.NotebookNode) -> Slide:
    cells = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(rf"^\d\. \*{re.escape(lesson.exercise)}[.?]\*(.*?)(?=\n\d\. |\n\n|\Z)", cells, re.M | re.S)
    if found is None:
        raise ValueError(f"docs/teaching.md: {lesson.exercise!r} is no exercise of lesson {lesson.number}")
    content = parts.written(f"**{lesson.exercise}.** {teaching.one_line(found[1])}")
    notes = [f"**Leave them with this:** {lesson.leave}"]
    notes += [text for claim, text in lesson.otherwise.items() if not claim]
    return Slide("exercise", "On your own", content, True, notes=tuple(notes))


def series() -> list[Slide]:
    """The ten lessons in one sitting: a decision, a question, what it reveals, the short answer."""
    begin = "<p>Ten lessons, one design decision each. Every claim can fail, and some do.</p>"
    slides = [Slide("title", "Sentence encoders, with the evidence", begin, True, level="h1")]
    for lesson, notebook in _lessons():
        whole = deck(lesson, notebook)
        (main,) = [question for question in lesson.questions if question.main]
        cell = teaching.cell_of(main.before, notebook)
        verdict = next((one for one in whole if one.kind == "verdict" and one.short and one.cell > cell), None)
        chosen = [one for one in whole if one.cell == cell and one.short]
        frame = {one.kind: one for one in whole if one.cell < 0}
        slides += [frame["title"], *chosen, *([verdict] if verdict else []), frame["answer"]]
    return slides


def _lessons() -> Iterator[tuple[teaching.Lesson, nbformat.NotebookNode]]:
    for number, lesson in teaching.lessons().items():
        yield lesson, nbformat.read(teaching.notebook_of(number), as_version=4)


def page(title: str, slides: list[Slide]) -> str:
    """One file of HTML: each slide of the ten minutes begins a stack, what is left out of them stands below it."""
    starts = [n for n, one in enumerate(slides) if one.short or n == 0]
    stacks = [slides[a:b] for a, b in pairwise([*starts, len(slides)])]
    template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["j2"]))
    reveal = files("sphinx_revealjs") / "_static" / "revealjs"
    return template.get_template("slides.html.j2").render(
        title=title,
        stacks=[[_marked(one) for one in stack] for stack in stacks],
        style=Markup((TEMPLATES / "slides.css").read_text(encoding="utf-8")),
        reveal_css=Markup((reveal / "dist" / "reveal.css").read_text(encoding="utf-8")),
        reveal_js=_script(reveal / "dist" / "reveal.js"),
        notes_js=_script(reveal / "plugin" / "notes" / "notes.js"),
    )


def _marked(slide: Slide) -> dict[str, Any]:
    notes = Markup("".join(map(parts.written, slide.notes)))
    heading = Markup(parts.inline(slide.heading))
    return vars(slide) | {"content": Markup(slide.content), "notes": notes, "heading": heading}


def _script(path: Any) -> Markup:
    return Markup(path.read_text(encoding="utf-8").replace("</script", r"<\/script"))


def write(out: Path, numbers: list[str]) -> list[Path]:
    """The decks of the lessons named, and of the series where all are. Returns their files."""
    out.mkdir(parents=True, exist_ok=True)
    pages = {
        f"{teaching.notebook_of(lesson.number).stem}.html": page(lesson.title, deck(lesson, notebook))
        for lesson, notebook in _lessons()
        if not numbers or lesson.number in numbers
    }
    if not numbers:
        pages["series.html"] = page("Sentence encoders, with the evidence", series())
    for name, text in pages.items():
        beside = out / f"{name}.new"
        beside.write_text(text, encoding="utf-8")
        beside.replace(out / name)
    return [out / name for name in pages]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", choices=[[], *teaching.lessons()], metavar="NN", help="00 to 09")
    parser.add_argument("--out", type=Path, default=ROOT / "slides")
    options = parser.parse_args()
    for path in write(options.out, options.lessons):
        print(path.name)


if __name__ == "__main__":
    main()
