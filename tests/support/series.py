"""A series of two tiny notebooks for the tests of the review: no model is loaded, so each takes a second or two."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'model = ""\npairs = "built-in"\nsentences = "built-in"\nseed = 0\nevidence = ""'
LIBRARY = """
import json, random
from pathlib import Path
from IPython.display import Markdown, display
claims = []
ENTRY = {"unit": "points", "level": 0.95, "criterion": "at_least", "bound": 1.0, "headline": False, "on": "pairs",
         "detectable": 2.5, "expected": None, "flips_when": "the model changes", "note": ""}
class Book:
    def check(self, id, claim, verdict, value, low, high, **more):
        measured = {"value": value, "interval": [low, high]}
        claims.append(ENTRY | measured | {"id": id, "claim": claim, "verdict": verdict} | more)
    def report(self, name):
        data = {kind: {"name": "built-in" if source in ("built-in", "none") else Path(source).name, "sha256": "a" * 64,
                       "rows": 480, "used": 480, "stand_in": source == "none"}
                for kind, source in (("pairs", pairs), ("sentences", sentences))}
        record = {"version": 1, "notebook": name,
                  "model": {"name": Path(model).name, "revision": None, "sha256": "b" * 64},
                  "data": data, "versions": {"python": "3.11"}, "seed": seed, "date": "2026-11-21T12:00:00Z",
                  "machine": {"processor": "a processor", "cores": 2, "system": "Linux"}, "claims": claims}
        Path(evidence).mkdir(exist_ok=True)
        (Path(evidence) / f"{name}.json").write_text(json.dumps(record))
book = Book()
""".strip()

MEAN = """
book.check("mean-beats-cls", "Mean pooling ranks pairs better than CLS", "does not hold", -0.3, -1.2, 0.6,
           headline=True)
""".strip()
PADDING = """
book.check("padding-is-free", "Padding leaves the vector alone", "holds", random.Random(seed).random() + 5, 1.5, 9.0,
           note=f"model {model}")
""".strip()


def picture() -> str:
    """A small figure, as base64."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5))
    axes.plot([1, 3, 2, 4], "o-")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return base64.b64encode(file.getvalue()).decode()


def write_notebook(path: Path, cells: list[str], title: str, parameters: str = PARAMETERS) -> None:
    """Cells that begin with `#` and a space are text."""
    kinds = [new_markdown_cell(cell) if cell.startswith(("# ", "## ")) else new_code_cell(cell) for cell in cells]
    given = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[new_markdown_cell(f"# {title}"), given, new_code_cell(LIBRARY), *kinds])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def write_series(folder: Path) -> Path:
    """02 and 05 of a series: text, links, a figure, a table, claims, and outputs that name absolute paths."""
    show = (
        f'display({{"image/png": "{picture()}", "text/plain": "Figure: x"}}, raw=True, '
        'metadata={"image/png": {"alt": "A line that rises, falls & rises <again>."}})'
    )
    write_notebook(
        folder / "02_pooling.ipynb",
        ["## Which mode?\n\nSee [similarity](05_similarity.ipynb), [a solution](solutions/02_pooling.ipynb), "
         "[a paper](https://example.org/paper) and ![a picture](https://example.org/picture.png).",
         show, MEAN, PADDING,
         'print(f"read {pairs} and {json.__file__}")',
         'Markdown("| a | b |\\n|---|---|\\n| " + "wide" * 60 + " | 1 |")', 'book.report("02_pooling")'],
        "Pool the tokens: which mode",
    )  # fmt: skip
    write_notebook(
        folder / "05_similarity.ipynb",
        ["## Related?", show,
         'book.check("similarity-captures-meaning", "Related sentences score higher", "not decided", 0.06, 0.01, 0.11, '
         'headline=True, unit="of AUC", bound=0.05, on="sentences")', 'book.report("05_similarity")'],
        "Read the scores: what they mean",
    )  # fmt: skip
    return folder
