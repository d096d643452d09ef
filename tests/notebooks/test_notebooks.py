"""What lessons, labs and solutions must look like as files: budgets, structure, outputs, figures, claims.

nbval runs them (`make test`); this file reads them. How long they take is measured when they are recorded, not here.
"""

from __future__ import annotations

import ast
import json
import re
import statistics
from pathlib import Path

import lessons
import pytest
from lessons import NOTEBOOKS, SERIES, code, lines, outputs, prose, read

from stlib.evidence.claims import definitions

LESSONS, LABS, SOLUTIONS = (lessons.existing(kind) for kind in ("", "labs", "solutions"))


def _name(path: Path) -> str:
    return path.stem if path.parent == NOTEBOOKS else f"{path.parent.name}/{path.stem}"


def _over(*groups: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", [path for group in groups for path in group], ids=_name)


VERBS = (
    "Build|Choose|Compare|Cut|Decide|Doubt|Draw|Find|Fine-tune|Look|Make|Measure|Normalise|Pick|Pool|Project|Question|"
    "Read|Run|Search|Shrink|Test|Train|Turn|Weigh"
)
every = _over(LESSONS, LABS, SOLUTIONS)
each_lesson = _over(LESSONS)


# ------------------------------------------------------------------------------------------------------------ budgets


@every
def test_is_short(path: Path) -> None:
    cells = code(read(path))
    lengths = [len(lines(cell.source)) for cell in cells]
    most = 60 if path.stem.startswith("00") else 130
    usual = 6 if path in LESSONS else 8
    assert len(cells) <= 25, f"{len(cells)} code cells"
    assert sum(lengths) <= most, f"{sum(lengths)} lines of code"
    assert max(lengths) <= 15 and statistics.median(lengths) <= usual, f"lines in the cells: {lengths}"


@every
def test_lines_are_lines(path: Path) -> None:
    """No budget is met by writing two lines in one."""
    for cell in code(read(path)):
        starts = [node.lineno for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.stmt)]
        assert len(starts) == len(set(starts)), f"two statements in one line:\n{cell.source}"
        assert max(map(len, cell.source.splitlines())) <= 120, f"a line beyond 120 characters:\n{cell.source}"


@each_lesson
def test_three_quarters_of_the_code_are_worth_learning(path: Path) -> None:
    share = lessons.teaching_share(read(path))
    assert share >= 0.75, f"{share:.0%} of the lines teach"


@each_lesson
def test_six_words_of_prose_for_each_line_of_code(path: Path) -> None:
    notebook = read(path)
    count = sum(len(lines(cell.source)) for cell in code(notebook))
    assert lessons.words(notebook) >= 6 * count, f"{lessons.words(notebook)} words, {count} lines of code"


@every
def test_a_cell_of_prose_for_every_two_of_code(path: Path) -> None:
    notebook = read(path)
    assert len(prose(notebook)) >= len(code(notebook)) / 2


@each_lesson
def test_something_to_look_at_by_the_eighth_cell(path: Path) -> None:
    kinds = {kind for cell in read(path).cells[:8] for output in cell.get("outputs", []) for kind in _kinds(output)}
    assert kinds & {"image/png", "image/svg+xml", "text/html"}


@every
def test_no_paragraph_is_assembled_by_code(path: Path) -> None:
    for call in lessons.calls(read(path), "Markdown"):
        for part in ast.walk(call):
            assert not isinstance(part, ast.JoinedStr) or part.lineno == part.end_lineno, ast.unparse(call)


@every
def test_a_claim_takes_one_line(path: Path) -> None:
    calls = lessons.calls(read(path), "decide")
    assert all(call.lineno == call.end_lineno for call in calls)
    ids = [ast.unparse(call.args[0]) for call in calls]
    assert len(ids) == len(set(ids)), f"decided twice among {ids}"


# ---------------------------------------------------------------------------------------------------------- structure


@every
def test_parameters_are_plain_literals_with_the_common_names(path: Path) -> None:
    (cell,) = [cell for cell in code(read(path)) if "parameters" in cell.metadata.get("tags", [])]
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}  # type: ignore[attr-defined]
    assert given == lessons.PARAMETERS


@each_lesson
def test_begins_with_a_verb_the_time_it_takes_and_the_decision(path: Path) -> None:
    start = "\n\n".join(prose(read(path))[:2])
    title = start.splitlines()[0]
    assert re.match(r"# (Turn|Choose|Pool|Project|Normalise|Read|Question|Run|Measure|Train|Search|Build) ", title), (
        title
    )
    assert re.search(r"seconds|minutes?", start)
    for part in ("> **The decision.**", "**Short answer.**", "**It flips when**"):
        assert part in start, part


@each_lesson
def test_asks_before_it_shows(path: Path) -> None:
    assert re.search(r"Before you (run|look|read|scroll)|Predict|Guess", "\n".join(prose(read(path))))


@each_lesson
def test_ends_with_a_decision_three_exercises_and_what_to_read(path: Path) -> None:
    text = "\n\n".join(prose(read(path)))
    places = [text.find(f"\n{part}") for part in ("## Decision", "## Exercises", "## Read next")]
    assert -1 < places[0] < places[1] < places[2]
    exercises = text[places[1] : places[2]]
    assert re.findall(r"^(\d)\. ", exercises, re.MULTILINE) == ["1", "2", "3"]
    assert f"](solutions/{path.name})" in exercises
    later = SERIES[SERIES.index(path.stem) + 1 :]
    assert not later or f"]({later[0]}.ipynb)" in text[places[2] :]


@_over(SOLUTIONS)
def test_solutions_answer_the_three_exercises(path: Path) -> None:
    text = "\n".join(prose(read(path)))
    assert re.findall(r"^## (\d)\. ", text, re.MULTILINE) == ["1", "2", "3"]
    assert (NOTEBOOKS / path.name).is_file(), "solutions of a lesson that is not there"


@_over(LABS)
def test_labs_ask_a_question_of_each_experiment(path: Path) -> None:
    headings = re.findall(r"^## (.*)$", "\n".join(prose(read(path))), re.MULTILINE)
    assert headings and all(heading.endswith("?") for heading in headings), headings
    assert (NOTEBOOKS / path.name).is_file(), "the lab of a lesson that is not there"


@every
def test_links_lead_to_notebooks_of_the_series_or_to_files(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", "\n".join(prose(read(path)))):
        file = (path.parent / target).resolve()
        named = file.suffix == ".ipynb" and file.stem in SERIES  # perhaps not written yet
        assert named or file.exists(), target


# ------------------------------------------------------------------------------------------------------------ outputs


def _kinds(output: dict) -> set[str]:
    return set(output.get("data", {}))


@every
def test_was_run_from_top_to_bottom_and_stored(path: Path) -> None:
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@every
def test_nothing_is_printed_that_is_not_meant(path: Path) -> None:
    for output in outputs(read(path)):
        assert output.output_type != "error" and output.get("name") != "stderr"
        text = json.dumps({key: value for key, value in output.items() if key != "metadata"})
        text = re.sub(r'"image/png": "[^"]*"', "", text)
        assert not re.search(r"/(home|root|tmp|work|Users)/", text), "an absolute path"
        assert not re.search(r"Warning[:\]]|\d+%\|", text), "a warning or a progress bar"
        assert not re.search(r"<[\w.]+ (object )?at 0x", text), "an address in memory"


@every
def test_holds_no_trace_of_a_run(path: Path) -> None:
    notebook = read(path)
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "title"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)


@every
def test_each_figure_has_alternative_text_that_describes_it(path: Path) -> None:
    figures = [output for output in outputs(read(path)) if _kinds(output) & {"image/png", "image/svg+xml"}]
    for figure in figures:
        alt = figure.metadata.get("image/png", {}).get("alt", "")
        assert len(alt) > 30, f"alternative text: {alt!r}"
        assert figure.data["text/plain"].startswith("Figure: ")


@each_lesson
def test_has_a_drawn_picture_and_a_figure(path: Path) -> None:
    kinds = [_kinds(output) for output in outputs(read(path))]
    assert any("image/svg+xml" in one for one in kinds)
    assert any("image/png" in one and "image/svg+xml" not in one for one in kinds)


# ------------------------------------------------------------------------------------------------------------- claims


@every
def test_claims_decided_are_those_that_are_registered(path: Path) -> None:
    notebook = read(path)
    decided = {ast.literal_eval(call.args[0]) for call in lessons.calls(notebook, "decide")}
    plain = "\n".join(output.get("data", {}).get("text/plain", "") for output in outputs(notebook))
    shown = set(re.findall(r"^([a-z0-9-]+): (?:holds|does not hold|not decided)$", plain, re.MULTILINE))
    registered = {
        name
        for name, claim in definitions().items()
        if path not in SOLUTIONS and claim.lesson == path.stem and claim.lab == (path in LABS)
    }
    assert decided == shown == registered


@every
def test_claims_named_in_the_prose_exist(path: Path) -> None:
    named = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+){2,})`", "\n".join(prose(read(path)))))
    assert {name for name in named if not name.startswith("all-")} <= set(definitions())


# --------------------------------------------------------------------------------------------------------- the series


def test_each_lesson_has_its_solutions_and_each_claim_its_notebook() -> None:
    assert [path.stem for path in SOLUTIONS] == [path.stem for path in LESSONS]
    of_labs = {claim.lesson for claim in definitions().values() if claim.lab}
    there = {path.stem for path in LESSONS}
    assert of_labs & there <= {path.stem for path in LABS}


def test_the_series_is_whole_and_nothing_else_stands_beside_it() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == list(SERIES)
    others = [*NOTEBOOKS.glob("labs/*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")]
    assert {path.stem for path in others} <= set(SERIES)
