"""The bug hunts: short, real, and with a checker that knows a mended function from a broken one.

A hunt takes a model and a seed; that its bug shows is measured on the default ones. nbval runs the hunts (`make test`);
here stored notebooks are read, solutions run in this process, and the checkers are given functions with other faults.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lessons
import matplotlib
import numpy as np
import pytest
from lessons import NOTEBOOKS, ROOT, code, lines, outputs, prose, read

from stlib.evidence import hunts
from stlib.evidence.scores import cosine
from stlib.evidence.vectors import encoded

HUNTS = sorted((NOTEBOOKS / "hunts").glob("*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "hunts" / "solutions").glob("*.ipynb"))


def _over(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")


each_hunt, each_solution, every = _over(HUNTS), _over(SOLUTIONS), _over([*HUNTS, *SOLUTIONS])


def _verdicts(path: Path) -> list[str]:
    """What the checker cells print, as stored."""
    cells = [cell for cell in code(read(path)) if "hunts.check(" in cell.source]
    return [output["text"].strip() for cell in cells for output in cell.outputs]


def _functions(notebook: Any) -> dict[str, str]:
    """The functions that a notebook defines, without their comments: name -> code."""
    trees = [ast.parse(cell.source) for cell in code(notebook)]
    return {node.name: ast.unparse(node) for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_six_hunts_have_a_solution_each_and_a_checker_each() -> None:
    assert [path.stem[:1] for path in HUNTS] == list("123456")
    assert [path.name for path in SOLUTIONS] == [path.name for path in HUNTS]
    for path in [*HUNTS, *SOLUTIONS]:
        (call,) = lessons.calls(read(path), "check")
        assert ast.literal_eval(call.args[0]) == path.stem[:1]


# ------------------------------------------------------------------------------------------- budgets and structure


@every
def test_is_short(path: Path) -> None:
    lengths = [len(lines(cell.source)) for cell in code(read(path))]
    assert len(lengths) <= 12 and sum(lengths) <= 45, f"lines in the cells: {lengths}"
    assert max(lengths) <= 10, f"lines in the cells: {lengths}"
    widest = max(len(line) for cell in code(read(path)) for line in cell.source.splitlines())
    assert widest <= 120, f"a line of {widest} characters"


@every
def test_takes_a_model_and_a_seed_that_a_pipeline_can_set(path: Path) -> None:
    (cell,) = [cell for cell in code(read(path)) if "parameters" in cell.metadata.get("tags", [])]
    assert [ast.unparse(node.targets[0]) for node in ast.parse(cell.source).body] == ["model", "seed"]
    assert all(ast.unparse(call.args[0]) == "model" for call in lessons.calls(read(path), "load"))


@each_hunt
def test_a_hunt_has_script_symptom_tools_two_folded_hints_and_the_question(path: Path) -> None:
    text = "\n\n".join(prose(read(path)))
    assert text.startswith(f"# Hunt {path.stem[0]}: ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "The script", "The symptom", "Your tools", "Did you find it?"
    ]  # fmt: skip
    assert re.search(r"minutes", text) and text.count("<details>") == text.count("</details>") == 2
    assert f"](solutions/{path.name})" in text.split("## Did you find it?")[1]


@each_solution
def test_a_solution_says_what_it_was_how_to_catch_it_and_which_lesson_has_more(path: Path) -> None:
    text = "\n\n".join(prose(read(path)))
    assert text.startswith(f"# Hunt {path.stem[0]}: what it was") and "**How to catch it.**" in text
    assert f"](../{path.name})" in text and re.search(r"\]\(\.\./\.\./0\d_\w+\.ipynb\)", text)


@every
def test_prose_outweighs_code_and_its_links_lead_somewhere(path: Path) -> None:
    notebook = read(path)
    assert lessons.words(notebook) >= 3 * sum(len(lines(cell.source)) for cell in code(notebook))
    assert len(code(notebook)) <= 2 * len(prose(notebook))
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", "\n".join(prose(notebook))):
        assert (path.parent / target).is_file(), target


@every
def test_numbers_in_the_prose_of_a_hunt_are_those_that_were_recorded(path: Path) -> None:
    text = "\n\n".join(prose(read(path)))
    found = list(lessons.references(text))
    assert text.count("<!--") == len(found)
    assert all(lessons.agrees(shown, lessons.resolve(source, ROOT / "results")) for shown, source in found)


@each_hunt
def test_the_bug_has_a_cure_of_few_lines(path: Path) -> None:
    """The solution keeps the functions of the script, and mends one of them or a line beside them."""
    broken, mended = _functions(read(path)), _functions(read(SOLUTIONS[HUNTS.index(path)]))
    changed = [name for name in broken.keys() & mended.keys() if broken[name] != mended[name]]
    assert broken.keys() & mended.keys() and len(changed) <= 1


# ------------------------------------------------------------------------------------------------- as they are stored


@every
def test_was_run_from_top_to_bottom_and_nothing_stray_was_printed(path: Path) -> None:
    notebook = read(path)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "title"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    for output in outputs(notebook):
        assert output.output_type != "error" and output.get("name") != "stderr"
        text = json.dumps({key: value for key, value in output.items() if key != "metadata"})
        text = re.sub(r'"image/png": "[^"]*"', "", text)
        assert not re.search(r"/(home|root|tmp|work|Users)/|Warning[:\]]|\d+%\||(object )?at 0x", text)


@each_hunt
def test_shows_its_symptom_in_one_figure_and_in_numbers(path: Path) -> None:
    shown = outputs(read(path))
    (figure,) = [output for output in shown if "image/png" in output.get("data", {})]
    assert len(figure.metadata["image/png"]["alt"]) > 30
    texts = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in shown]
    assert any(map(re.compile(r"\d").search, texts)) or list(lessons.references("\n".join(prose(read(path)))))


@each_hunt
def test_the_checker_says_not_yet_on_the_hunt_as_stored(path: Path) -> None:
    assert _verdicts(path) == ["Not found yet."]


@each_solution
def test_the_checker_says_found_on_the_solution(path: Path) -> None:
    (verdict,) = _verdicts(path)
    assert verdict.startswith("Found")


@each_solution
def test_a_solution_that_is_run_again_prints_what_is_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook, names = read(path), {"__name__": path.stem}
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    with matplotlib.rc_context():
        for cell in code(notebook):
            exec(compile(cell.source, path.name, "exec"), names)
    stored = "".join(output.get("text", "") for output in outputs(notebook))
    assert capsys.readouterr().out == stored


# ------------------------------------------------------------------------------------------------------- the checkers


def _says(hunt: str, mended: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> str:
    hunts.check(hunt, mended)
    return capsys.readouterr().out


def test_a_function_that_stops_is_not_found_and_the_reader_learns_why(capsys: pytest.CaptureFixture[str]) -> None:
    def embed(texts: list[str]) -> Any:
        raise KeyError("mask")

    assert _says("1", embed, capsys).startswith("Not found yet: on texts new to it your function stopped with KeyError")


def test_a_hunt_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="hunt: expected one of 1, 2, 3, 4, 5, 6, got '7'"):
        hunts.check("7", len)


def test_answers_that_ignore_the_texts_are_not_found(encoder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever returns the same for all texts has made every symptom go away, and found nothing."""
    constant: dict[str, Callable[..., Any]] = {
        "1": lambda texts: np.ones((len(texts), encoder.dimension)),
        "3": lambda queries, passages: np.tile(np.arange(10), (len(queries), 1)),
        "4": lambda questions, pages: np.zeros(len(questions), dtype=int),
        "5": lambda first, second: np.ones(len(first), dtype=bool),
        "6": lambda history, queries, passages: 50.0,
    }
    assert {_says(hunt, function, capsys) for hunt, function in constant.items()} == {"Not found yet.\n"}


def test_any_cure_is_a_cure(encoder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only that of the solutions: raw vectors that point the right way, windows of words, a limit by eye."""

    def windows(questions: list[str], pages: list[str]) -> Any:
        best = []
        for page in pages:
            words = page.split()
            pieces = [" ".join(words[at : at + 60]) for at in range(0, len(words), 60)]
            best.append((encoded(encoder, questions) @ encoded(encoder, pieces).T).max(axis=1))
        return np.argmax(best, axis=0)

    cures: dict[str, Callable[..., Any]] = {
        "1": lambda texts: 3 * encoded(encoder, texts),
        "3": lambda queries, passages: np.argsort(-encoded(encoder, queries) @ encoded(encoder, passages).T)[:, :10],
        "4": windows,
        "5": lambda first, second: cosine(encoded(encoder, first), encoded(encoder, second)) > 0.7,
    }
    assert all(_says(hunt, function, capsys).startswith("Found") for hunt, function in cures.items())


@each_hunt
def test_no_hunt_shows_the_pairs_that_the_checkers_use(path: Path) -> None:
    """Hunt 5 is the only one on pairs; it stops before the first anchor that is held back."""
    anchors = re.findall(r'"(a\d+)"', "\n".join(cell.source for cell in code(read(path))))
    assert all(anchor < hunts.HELD_BACK[0] for anchor in anchors)
