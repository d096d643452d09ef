"""Execute notebooks from top to bottom and store them with their outputs, without the traces of a run.

python tools/store_notebooks.py [notebooks/02_pool_the_tokens.ipynb ...]  (default: all, with labs, solutions, hunts)
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import papermill
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

ROOT = Path(__file__).resolve().parent.parent
WIDGET = "application/vnd.jupyter.widget-view+json"
KEPT_METADATA = ("kernelspec", "language_info", "title")


def clean(notebook: nbformat.NotebookNode) -> None:
    """Leave only what a reader needs: no times, no papermill record, stable cell ids.

    A widget lives as long as its kernel, so it is not stored: the figure behind it is.
    """
    notebook.metadata = {key: value for key, value in notebook.metadata.items() if key in KEPT_METADATA}
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(notebook.cells):
        tags = [tag for tag in cell.metadata.get("tags", []) if tag != "injected-parameters"]
        cell.metadata = {"tags": tags} if tags else {}
        cell["id"] = f"cell-{number:02d}"
        CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, number)  # two lines may have come a moment apart
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/html", ""))
            noise = output.output_type == "error" or output.get("name") == "stderr"
            if noise or re.search(r"/(home|root|tmp|work|Users)/", text):
                raise SystemExit(f"cell {number}: an error, stderr or an absolute path in its output:\n{text[:400]}")


def store(path: Path) -> float:
    """Execute `path` in place; it is replaced only when every cell has run. Returns seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / path.name
        papermill.execute_notebook(path, out, progress_bar=False, kernel_name="python3", cwd=path.parent)
        notebook = nbformat.read(out, as_version=4)
    clean(notebook)
    fresh = path.with_suffix(".ipynb.new")
    nbformat.write(notebook, fresh)
    fresh.replace(path)
    return time.perf_counter() - started


def main(arguments: list[str]) -> None:
    folder = ROOT / "notebooks"
    kinds = ("", "labs/", "solutions/", "hunts/", "hunts/solutions/")
    everything = [path for kind in kinds for path in sorted(folder.glob(f"{kind}[0-9]*.ipynb"))]
    paths = [Path(argument) for argument in arguments] or everything
    for path in paths:
        print(f"{path.name}: {store(path.resolve()):.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
