"""The decks: each slide fits, nothing is fetched, and what the teaching guide says is in them and in the lessons."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browsers
import lessons
import nbformat
import pytest

sys.path.insert(0, str(lessons.ROOT / "tools"))
import make_slides
import slide_parts
import teaching

each = pytest.mark.parametrize("lesson", teaching.lessons().values(), ids=lambda lesson: lesson.number)
# For every slide: what reaches beyond it, or is cut off inside it.
OVERFLOWS = """() => Reveal.getSlides().flatMap(slide => {
  const {h, v} = Reveal.getIndices(slide);
  Reveal.slide(h, v);
  const edge = slide.getBoundingClientRect(), beyond = [];
  for (const one of [slide, ...slide.querySelectorAll(":not(aside, aside *)")]) {
    const box = one.getBoundingClientRect();
    const outside = box.right > edge.right + 1 || box.bottom > edge.bottom + 1 || box.left < edge.left - 1 || box.top < edge.top - 1;
    const block = ["SECTION", "PRE", "DIV", "P", "UL", "OL", "TABLE"].includes(one.tagName);
    const cut = block && (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1);
    if (box.width && (outside || cut)) beyond.push(one.tagName + "." + one.className);
  }
  return beyond.length ? [`${h}/${v}: ${beyond.slice(0, 3)}`] : [];
})"""  # noqa: E501


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from browsers.launched()


@pytest.fixture(scope="module")
def decks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_slides.write(tmp_path_factory.mktemp("slides"), [])


def _notebook(lesson: teaching.Lesson) -> Any:
    return nbformat.read(teaching.notebook_of(lesson.number), as_version=4)


def test_there_is_a_deck_for_each_lesson_and_one_for_the_series(decks: list[Path]) -> None:
    assert [path.stem for path in decks] == [*lessons.SERIES, "series"]


def test_no_slide_overflows_and_nothing_is_fetched(decks: list[Path], browser: Any) -> None:
    found = {}
    for path in decks:
        tab, noise = browser.new_page(viewport={"width": 1280, "height": 720}), []
        tab.on("console", lambda message, noise=noise: noise.append(message.text))
        tab.on("pageerror", lambda error, noise=noise: noise.append(str(error)))
        tab.on("request", lambda request, noise=noise: noise.append(request.url))
        tab.goto(path.as_uri())
        tab.wait_for_function("Reveal.isReady()")
        shown = tab.evaluate("Reveal.getTotalSlides()")
        assert shown == path.read_text(encoding="utf-8").count('<p class="place">') > 20
        found[path.stem] = [
            *tab.evaluate(OVERFLOWS),
            *(one[:80] for one in noise if not one.startswith(("data:", path.as_uri()))),
        ]
        tab.close()
    assert not {name: slides for name, slides in found.items() if slides}


def test_the_notes_of_the_speaker_are_not_on_the_slide(decks: list[Path], browser: Any) -> None:
    tab, _ = browsers.opened(browser, decks[2], viewport={"width": 1280, "height": 720})
    notes = tab.locator("aside.notes")
    assert "You will hear" in " ".join(notes.all_text_contents())
    assert not any(notes.nth(number).is_visible() for number in range(notes.count()))
    tab.close()


@each
def test_a_deck_asks_every_question_right_before_what_answers_it(lesson: teaching.Lesson) -> None:
    slides = make_slides.deck(lesson, _notebook(lesson))
    for question in lesson.questions:
        place = next(n for n, one in enumerate(slides) if f"**You will hear:** {question.hear}" in one.notes)
        assert slides[place].kind == "question" and "Write your answer down" in slides[place].content
        reveal = slides[place + 1]
        assert reveal.cell == slides[place].cell and question.then in " ".join(reveal.notes), question.ask
        assert reveal.kind in ("figure", "table", "printed", "verdict")


@each
def test_the_ten_minutes_stand_side_by_side(lesson: teaching.Lesson) -> None:
    notebook = _notebook(lesson)
    named = {teaching.cell_of(name, notebook) for name in teaching.named(lesson.ten)}
    slides = make_slides.deck(lesson, notebook)
    assert named <= {one.cell for one in slides if one.short}
    assert {one.cell for one in slides if one.short and one.kind not in ("section", "title")} <= {*named, -1}
    assert len([one for one in slides if one.short]) <= 20


# ------------------------------------------------------------------------------------------------------ the guide


@each
def test_each_cell_that_the_guide_names_is_in_the_lesson_once(lesson: teaching.Lesson) -> None:
    names = [*teaching.named(lesson.ten), *teaching.named(lesson.thirty), *(one.before for one in lesson.questions)]
    assert len([teaching.cell_of(name, _notebook(lesson)) for name in names]) > 5


@each
def test_each_surprise_stands_in_the_lesson_word_for_word(lesson: teaching.Lesson) -> None:
    prose = "\n".join(lessons.prose(_notebook(lesson)))
    plain = teaching.one_line(re.sub(r"^> ?", "", re.sub(r"\s*<!--.*?-->", "", prose, flags=re.DOTALL), flags=re.M))
    assert all(piece in plain for piece in lesson.surprise.split(" … ")), lesson.surprise


@each
def test_the_guide_says_what_to_do_about_each_headline_and_speaks_of_no_other_lessons_claims(lesson: Any) -> None:
    from stlib.evidence.claims import definitions

    own = {one.id for one in definitions().values() if one.lesson.startswith(lesson.number)}
    headlines = {one.id for one in definitions().values() if one.lesson.startswith(lesson.number) and one.headline}
    assert headlines <= {*lesson.otherwise} - {""} <= own
    assert sum(question.main for question in lesson.questions) == 1


def test_the_guide_types_no_number_but_in_quoted_surprises() -> None:
    for lesson in teaching.lessons().values():
        said = [lesson.aim, lesson.ten, lesson.thirty, lesson.leave, *lesson.otherwise.values()]
        said += [part for one in lesson.questions for part in (one.ask, one.hear, one.then)]
        text = re.sub(r"\blessons? \d\d(?:(?: and|,| to) \d\d)*", "", "\n".join(said))
        assert not lessons.unsourced(text), lesson.number


def test_numbers_of_the_guide_are_those_that_were_recorded() -> None:
    found = [*lessons.references(teaching.GUIDE.read_text(encoding="utf-8"))]
    assert found
    for shown, source in found:
        value = lessons.resolve(source, lessons.ROOT / "results")
        assert lessons.agrees(shown, value), f"{shown} is {value} in {source}"


# ------------------------------------------------------------------------------------------------------ the parts


def test_code_on_a_slide_is_what_teaches() -> None:
    source = "import numpy as np\na = 1\nb = a + 1\nfigures.show(a)\nprint(b)"
    assert slide_parts.teaching_code(source) == "a = 1\nb = a + 1"
    assert slide_parts.teaching_code("a = 1\nfigures.show(a)") == ""
    assert slide_parts.teaching_code("assert a == b  # the same") == "assert a == b  # the same"


def test_letters_shrink_until_the_code_fits_and_long_lines_are_broken_before_they_get_too_small() -> None:
    def size(source: str) -> int:
        return int(re.search(r"font-size:(\d+)px", slide_parts.coloured(source))[1])  # type: ignore[index]

    assert size("a = 1\nb = 2") == 24
    assert size("x = " + "1" * 200) == 18
    assert size("a = 1\n" * 35) < 16


def test_a_lead_is_cut_between_sentences() -> None:
    short, long = "One sentence here.", "Another " + "word " * 70 + "ends."
    assert slide_parts.lead(f"{short} {long}") == short
    assert slide_parts.lead(long) == long
