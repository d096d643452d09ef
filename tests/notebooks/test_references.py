"""Numbers in the prose of the notebooks stand in results/: a box of the reference run cannot go stale."""

from __future__ import annotations

import json
from pathlib import Path

import lessons
import nbformat
import pytest
from lessons import ROOT

PATHS = [path for kind in ("", "labs", "solutions") for path in lessons.existing(kind)]
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")


def _text(path: Path) -> str:
    return "\n\n".join(lessons.prose(lessons.read(path)))


@each
def test_numbers_are_those_that_were_recorded(path: Path) -> None:
    wrong = []
    for shown, source in lessons.references(_text(path)):
        value = lessons.resolve(source, ROOT / "results")
        if not lessons.agrees(shown, value):
            wrong.append(f"{shown} is {value:.4f} in {source!r}")
    assert not wrong


@each
def test_each_number_of_a_reference_box_names_its_source(path: Path) -> None:
    loose = {box: lessons.unsourced(box) for box in lessons.boxes(_text(path))}
    assert not {box: numbers for box, numbers in loose.items() if numbers}


@each
def test_each_comment_stands_directly_behind_a_number(path: Path) -> None:
    text = _text(path)
    assert text.count("<!--") == len(list(lessons.references(text)))


# --------------------------------------------------------------------------------------------- the rules themselves


@pytest.fixture
def results(tmp_path: Path) -> Path:
    run, figures = tmp_path / "evidence" / "minilm", tmp_path / "figures"
    run.mkdir(parents=True)
    figures.mkdir()
    claim = {"id": "mean-beats-cls", "value": 5.849, "interval": [4.21, 7.49], "units": 1000}
    (run / "02_pool_the_tokens.json").write_text(json.dumps({"claims": [claim]}))
    (run / "02_pool_the_tokens.lab.json").write_text(
        json.dumps({"claims": [claim | {"id": "in-the-lab", "value": -1.0}]})
    )
    (figures / "02.json").write_text(json.dumps({"by mode": {"mean": 84.94}}))
    return tmp_path


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("minilm 02_pool_the_tokens mean-beats-cls.value", 5.849),
        ("minilm 02_pool_the_tokens mean-beats-cls.low", 4.21),
        ("minilm 02_pool_the_tokens mean-beats-cls.high", 7.49),
        ("minilm 02_pool_the_tokens mean-beats-cls.units", 1000),
        ("minus minilm 02_pool_the_tokens in-the-lab.value", 1.0),
        ("figures/02 by mode.mean", None),
        ("figures/02 by_mode", None),
        ("percent minilm 02_pool_the_tokens in-the-lab.value", -100.0),
    ],
)
def test_a_source_leads_to_what_was_recorded(results: Path, source: str, value: float | None) -> None:
    if value is None:  # names with spaces cannot be told from several parts, and what is not there is an error
        with pytest.raises(ValueError, match="not to be found in results"):
            lessons.resolve(source, results)
    else:
        assert lessons.resolve(source, results) == value


def test_a_path_goes_through_names_with_dots_and_places_in_lists(results: Path) -> None:
    (results / "speed.json").write_text(json.dumps({"v1.5": {"runs": [1.5, [2.5, 3.5]]}}))
    assert lessons.resolve("speed v1.5.runs.1.0", results) == 2.5
    with pytest.raises(ValueError, match="not to be found"):
        lessons.resolve("speed v1.5.runs.2", results)


@pytest.mark.parametrize("shown, value", [("84.9", 84.94), ("1,000", 1000), ("−3", -3.4), ("0.50", 0.5), ("5", 4.6)])
def test_a_number_agrees_to_the_digits_that_it_shows(shown: str, value: float) -> None:
    assert lessons.agrees(shown, value) and not lessons.agrees(shown, value + 1) and not lessons.agrees(shown, -value)


def test_a_box_may_hold_no_number_without_a_source() -> None:
    names = "@10, `x[3]`, L6, grades 4 and 5"
    box = f"> **Reference run.** Of 100 queries mean found **84.9**<!-- a b c.value --> ({names}), CLS 79 %.\n"
    assert lessons.boxes(f"Text 12.\n\n{box}\nText 13.\n\n> Another box with 14.") == [box]
    assert lessons.unsourced(box) == ["79"]
    assert list(lessons.references(box)) == [("84.9", "a b c.value")]


def test_what_teaches_is_what_neither_sets_up_nor_shows() -> None:
    cells = [
        ("import numpy as np\nfrom stlib.evidence import decide, figures, load\n\nstudy = load(model)", []),
        ('model = "x"\nseed = 0', ["parameters"]),
        ("# why\nvectors = study.encoder.encode(texts)\nsimilarity = vectors @ vectors.T\nsimilarity.shape", []),
        ('figures.show(\n    figures.heatmap(similarity),\n    alt="a heatmap",\n)\ndecide("a-b-c", estimate)', []),
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source, metadata={"tags": tags}) for source, tags in cells]
    )
    assert lessons.teaching_share(notebook) == 4 / (3 + 2 + 4 + 5)
