"""A series of tiny notebooks for the tests of the review: no model is loaded, so each takes a second or two."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'model = ""\npairs = "built-in"\nsentences = "built-in"\npassages = "built-in"\nseed = 0\nevidence = ""'
LIBRARY = """
import json, random
from pathlib import Path
from IPython.display import Markdown, display
claims = []
def decide(id, verdict, value, low, high, note=""):
    claims.append({"id": id, "verdict": verdict, "value": value, "interval": [low, high], "units": 480,
                   "standard_error": (high - low) / 4, "unit_kind": "query", "detectable": 2.5, "note": note})
    display({"text/plain": f"{id}: {verdict}", "text/markdown": f"{verdict}"}, raw=True)
def write(name):
    data = {kind: {"name": "built-in" if source in ("built-in", "none") else Path(source).name, "sha256": "a" * 64,
                   "rows": 480, "used": 480, "stand_in": source == "none"}
            for kind, source in (("pairs", pairs), ("sentences", sentences), ("passages", passages))}
    record = {"version": 2, "lesson": name, "claims": claims, "data": data, "versions": {"python": "3.11"},
              "model": {"name": Path(model).name, "revision": None, "sha256": "b" * 64}, "seed": seed,
              "date": "2026-11-21T12:00:00Z", "machine": {"processor": "a processor", "cores": 2, "system": "Linux"}}
    Path(evidence).mkdir(exist_ok=True)
    (Path(evidence) / f"{name}.json").write_text(json.dumps(record))
""".strip()
MEAN = 'decide("mean-beats-cls", "does not hold", -0.3, -1.2, 0.6)'
COMMON = """
decide("common-direction-hurts-cls", "holds", random.Random(seed).random() + 5, 1.5, 9.0, note=f"model {model}")
""".strip()
DRAWN = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><script>alert(1)</script><rect width="9" height="9"/>'
    "<text>/home/someone/texts/x.csv</text></svg>"
)


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
    """02, its lab and 05: text, links, figures, a table, claims, and outputs that name absolute paths."""
    show = (
        f'display({{"image/png": "{picture()}", "text/plain": "Figure: x"}}, raw=True, '
        'metadata={"image/png": {"alt": "A line that rises, falls & rises <again>."}})'
    )
    draw = f"display({{'image/svg+xml': '''{DRAWN}'''}}, raw=True, metadata={{'image/svg+xml': {{'alt': 'A box.'}}}})"
    write_notebook(
        folder / "02_pool_the_tokens.ipynb",
        ["## Which mode?\n\nSee [heatmaps](05_heatmaps.ipynb#Related?), "
         "[a solution](solutions/02_pool_the_tokens.ipynb), [the lab](labs/02_pool_the_tokens.ipynb), "
         "[a paper](https://example.org/paper), [code](javascript:alert(1)) and ![a picture](https://example.org/picture.png).",
         show, MEAN,
         'print(f"read {passages} and {json.__file__}")', draw,
         'Markdown("| a | b |\\n|---|---|\\n| " + "wide" * 60 + " | 1 |")', 'write("02_pool_the_tokens")'],
        "Pool the tokens: which mode",
    )  # fmt: skip
    write_notebook(
        folder / "labs" / "02_pool_the_tokens.ipynb",
        ["## More\n\nBack to [the lesson](../02_pool_the_tokens.ipynb).", COMMON, 'write("02_pool_the_tokens.lab")'],
        "Pool the tokens, further",
    )
    write_notebook(
        folder / "05_heatmaps.ipynb",
        ["## Related?", show, 'decide("similarity-finds-topics", "not decided", 0.06, 0.01, 0.11)',
         'write("05_heatmaps")'],
        "Read a heatmap: what the scores mean",
    )  # fmt: skip
    return folder
