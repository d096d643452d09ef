"""What the notebooks must look like as files: cells, parameters, outputs, figures, and the claims that they check.

nbval runs them (`make test`); this file reads them.
"""

from __future__ import annotations

import ast
import json
import re
import statistics
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
SERIES = sorted((ROOT / "notebooks").glob("0*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
PARAMETERS = {
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "pairs": "built-in",
    "sentences": "built-in",
    "seed": 0,
    "evidence": "",
}


def _read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in _code(notebook) for output in cell.outputs]


def _documented_claims() -> dict[str, set[str]]:
    """docs/claims.md: notebook -> ids of its table."""
    claims: dict[str, set[str]] = {}
    section = None
    for line in (ROOT / "docs" / "claims.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## (0\d_\w+)", line):
            section = claims.setdefault(heading.group(1), set())
        elif line.startswith("## "):
            section = None
        elif section is not None and (row := re.match(r"\| `([a-z0-9-]+)` \|", line)):
            section.add(row.group(1))
    return claims


DOCUMENTED = _documented_claims()
both = pytest.mark.parametrize("path", [*SERIES, *SOLUTIONS], ids=lambda path: f"{path.parent.name}/{path.stem}")
series = pytest.mark.parametrize("path", SERIES, ids=lambda path: path.stem)


def test_each_decision_has_its_notebook_and_each_notebook_its_solutions() -> None:
    assert [path.stem for path in SERIES] == sorted(DOCUMENTED)
    assert [path.stem for path in SOLUTIONS] == [path.stem for path in SERIES]


@both
def test_was_run_from_top_to_bottom_and_stored(path: Path) -> None:
    cells = _code(_read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@both
def test_cells_are_short(path: Path) -> None:
    lengths = [sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in _code(_read(path))]
    assert statistics.median(lengths) <= 5 and max(lengths) <= 20


@both
def test_parameters_are_plain_literals_with_the_common_names(path: Path) -> None:
    (cell,) = [cell for cell in _code(_read(path)) if "parameters" in cell.metadata.get("tags", [])]
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}  # type: ignore[attr-defined]
    assert given == PARAMETERS


@both
def test_nothing_is_printed_that_is_not_meant(path: Path) -> None:
    for output in _outputs(_read(path)):
        assert output.output_type != "error" and output.get("name") != "stderr"
        text = json.dumps({key: value for key, value in output.items() if key != "metadata"})
        text = re.sub(r'"image/png": "[^"]*"', "", text)
        assert not re.search(r"/(home|root|tmp|work|Users)/", text), "an absolute path"
        assert not re.search(r"Warning[:\]]|\d+%\|", text), "a warning or a progress bar"


@series
def test_begins_with_a_verb_and_says_what_it_takes(path: Path) -> None:
    first = "\n".join(cell.source for cell in _read(path).cells[:2] if cell.cell_type == "markdown")
    assert first.startswith("# ")
    for word in ("decide", "You need", "It takes"):
        assert word in first, word


def _prose(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


@both
def test_prose_accompanies_the_code(path: Path) -> None:
    notebook = _read(path)
    assert len(_prose(notebook)) >= len(_code(notebook)) / 2


@series
def test_ends_with_a_decision_and_what_to_do_next(path: Path) -> None:
    text = "\n".join(_prose(_read(path)))
    for part in ("## Decision", "## On your own", "## Read next"):
        assert part in text, part


@both
def test_each_figure_has_alternative_text_that_describes_it(path: Path) -> None:
    figures = [output for output in _outputs(_read(path)) if "image/png" in output.get("data", {})]
    if path in SERIES:
        assert figures
    for figure in figures:
        alt = figure.metadata.get("image/png", {}).get("alt", "")
        assert len(alt) > 30 and figure.data["text/plain"].startswith("Figure: ")


@series
def test_claims_checked_in_the_run_are_those_that_the_documents_name(path: Path) -> None:
    notebook = _read(path)
    checked = set(
        re.findall(r"claims\.check\(\s*[\"']([a-z0-9-]+)[\"']", "\n".join(cell.source for cell in _code(notebook)))
    )
    reported = {
        match.group(1)
        for output in _outputs(notebook)
        for match in re.finditer(
            r"^([a-z0-9-]+): (?:holds|does not hold|not decided)$",
            output.get("data", {}).get("text/plain", ""),
            re.MULTILINE,
        )
    }
    assert reported == checked == DOCUMENTED[path.stem]


@series
def test_claims_named_in_the_prose_exist(path: Path) -> None:
    prose = "\n".join(_prose(_read(path)))
    known = set().union(*DOCUMENTED.values())
    named = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+){2,})`", prose))
    assert named <= known


@series
def test_exactly_one_headline(path: Path) -> None:
    code = "\n".join(cell.source for cell in _code(_read(path)))
    assert code.count("headline=True") == 1


@both
def test_holds_no_trace_of_a_run(path: Path) -> None:
    notebook = _read(path)
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "title"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
