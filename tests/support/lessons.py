"""The notebooks as files: which there are, their code and prose, how many lines teach, the numbers that are sourced."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
SERIES = (
    "00_first_vector", "01_choose_a_model", "02_pool_the_tokens", "03_project", "04_normalise", "05_heatmaps",
    "06_clusters", "07_speed", "08_train", "09_search",
)  # fmt: skip
PARAMETERS = {
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "pairs": "built-in",
    "sentences": "built-in",
    "passages": "built-in",
    "seed": 0,
    "evidence": "",
}


def existing(kind: str = "") -> list[Path]:
    """The lessons that are there, in the order of the series; kind: "", "labs" or "solutions"."""
    paths = [NOTEBOOKS / kind / f"{name}.ipynb" for name in SERIES]
    return [path for path in paths if path.is_file()]


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def prose(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in code(notebook) for output in cell.outputs]


def lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


def words(notebook: Any) -> int:
    """Of the prose, as a reader sees it: without comments, links' addresses and marks."""
    text = re.sub(r"<!--.*?-->|\]\([^)]*\)", " ", "\n".join(prose(notebook)), flags=re.DOTALL)
    return len(re.findall(r"\w[\w'’.,-]*", text))


# ------------------------------------------------------------------------------------------------------ what teaches

SHOWS = {"show", "display", "Markdown", "HTML"}
SETS_UP = {"load", "use_style", "decide"}
PICTURES = {"drawings", "widgets"}


def teaching_share(notebook: Any) -> float:
    """The share of code lines that a reader should learn to write.

    All but: the parameters, imports, `load`, `use_style` and `decide`, and what puts a result on the screen (`show`
    with its alternative text, `display`, `Markdown`, a drawn picture), each statement with all its lines.
    """
    total = taught = 0
    for cell in code(notebook):
        count = len(lines(cell.source))
        total += count
        if "parameters" not in cell.metadata.get("tags", []):
            taught += count - sum(_lines_of(node, cell.source) for node in ast.parse(cell.source).body if _serves(node))
    return taught / total


def _lines_of(node: ast.stmt, source: str) -> int:
    return len(lines("\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])))


def _serves(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    call = node.value if isinstance(node, ast.Assign | ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    if isinstance(node, ast.Expr) and isinstance(call.func, ast.Attribute):
        module = call.func.value
        if isinstance(module, ast.Name) and module.id in PICTURES:
            return True
    return called(call) in SHOWS | SETS_UP


def called(call: ast.Call) -> str:
    """The last name of what is called: `show` of `figures.show(…)`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def calls(notebook: Any, name: str) -> list[ast.Call]:
    trees = [ast.walk(ast.parse(cell.source)) for cell in code(notebook)]
    return [node for tree in trees for node in tree if isinstance(node, ast.Call) and called(node) == name]


# ------------------------------------------------------------------------------------------- numbers and their source

NUMBER = r"[-−]?\d[\d,]*(?:\.\d+)?"
SOURCED = re.compile(rf"({NUMBER})(?:\s?%)?\*{{0,2}}\s?<!--\s*(.*?)\s*-->", re.DOTALL)


def references(text: str) -> Iterator[tuple[str, str]]:
    """(number as it is shown, source) of each number with a comment after it."""
    return ((match.group(1), " ".join(match.group(2).split())) for match in SOURCED.finditer(text))


def resolve(source: str, results: Path) -> float:
    """What `results` has recorded under a source.

    "RUN LESSON CLAIM.FIELD" with value, low, high or units: a claim in evidence/RUN/LESSON.json or of its lab;
    "FILE PATH": a dotted path in FILE.json, numbers being places in a list. "minus" before either turns the sign, for
    what the prose calls a loss, and "percent" makes points of a share. ValueError: no such source.
    """
    parts = source.split()
    factor = {"minus": -1, "percent": 100}.get(parts[0], 1)
    parts = parts[1:] if factor != 1 else parts
    try:
        if len(parts) == 3:
            return factor * _of_claim(*parts, results)
        file, path = parts
        found = json.loads((results / f"{file}.json").read_text(encoding="utf-8"))
        while path:
            if isinstance(found, list):
                name = path.partition(".")[0]
                found = found[int(name)]
            else:
                name = next(n for n in _beginnings(path) if n in found)  # the longest, since names may hold dots
                found = found[name]
            path = path[len(name) + 1 :]
        return factor * float(found)
    except (OSError, LookupError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(f"{source!r} is not to be found in results/ ({type(error).__name__}: {error})") from error


def _of_claim(run: str, lesson: str, field: str, results: Path) -> float:
    claim_id, _, field = field.rpartition(".")
    files = [results / "evidence" / run / f"{lesson}{part}.json" for part in ("", ".lab")]
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    (claim,) = [claim for record in records for claim in record["claims"] if claim["id"] == claim_id]
    low, high = claim["interval"]
    return float({"value": claim["value"], "units": claim["units"], "low": low, "high": high}[field])


def _beginnings(path: str) -> Iterator[str]:
    parts = path.split(".")
    return (".".join(parts[:count]) for count in range(len(parts), 0, -1))


def agrees(shown: str, value: float) -> bool:
    """Whether `value`, rounded to the digits of `shown`, reads so."""
    digits = len(shown.partition(".")[2])
    return float(shown.replace("−", "-").replace(",", "")) == round(value, digits)


def boxes(text: str) -> list[str]:
    """The blockquotes of a Markdown text that speak of the reference run."""
    quotes = re.findall(r"(?:^>.*\n?)+", text, re.MULTILINE)
    return [quote for quote in quotes if quote.startswith("> **Reference run.**")]


def unsourced(box: str) -> list[str]:
    """Numbers in a box that nothing stands behind. Free are 100 ("of 100 queries") and names: `code`, L6, recall@10,
    grade 5, lesson 02.
    """
    names = r"`[^`]*`|\]\([^)]*\)|\b(?:grade|lesson|seed|layer)s?\s+\d+(?:\s+(?:and|or|to)\s+\d+)?"
    text = re.sub(names, " ", SOURCED.sub(" ", box))
    return [number for number in re.findall(rf"(?<![\w@.,-])({NUMBER})(?![\w-])", text) if number.rstrip(",") != "100"]
