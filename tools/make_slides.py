"""Slides of the lessons for teaching: slides/NN_name.html, from the notebooks as they are stored.

    python tools/make_slides.py [notebooks/02_pool_the_tokens.ipynb ...]     (default: all lessons)

A heading begins a slide; parameters and imports are left out. The pages fetch reveal.js when they are shown, unless
`--reveal FOLDER` names a copy of it. They are not stored in the repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "https://unpkg.com/reveal.js@4.0.2"


def divided(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Each cell told its part: a slide where a heading stands, else more of the one before; bookkeeping is skipped."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        imports = cell.cell_type == "code" and cell.source.startswith(("import ", "from "))
        bookkeeping = imports or "parameters" in tags
        heading = cell.cell_type == "markdown" and cell.source.startswith("#")
        kind = "skip" if bookkeeping else "slide" if heading else "-"
        cell.metadata["slideshow"] = {"slide_type": kind}
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--reveal", default=NETWORK, help="where reveal.js lies")
    parser.add_argument("--out", type=Path, default=ROOT / "slides")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    exporter = SlidesExporter(reveal_url_prefix=options.reveal, reveal_scroll=True)
    for path in options.notebooks or sorted((ROOT / "notebooks").glob("0*.ipynb")):
        page, _ = exporter.from_notebook_node(divided(nbformat.read(path, as_version=4)))
        (options.out / f"{path.stem}.html").write_text(page, encoding="utf-8")
        print(f"{path.stem}.html")


if __name__ == "__main__":
    main()
