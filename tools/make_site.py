"""The lessons, labs, solutions, hunts, guides and the API as one static site, build/site/index.html.

    python tools/make_site.py [--out build/site]

The pages are laid out beside each other as they lie in the repository and built by Sphinx (MyST-NB) with its warnings
as errors. Nothing is executed, nothing is fetched: the notebooks are shown as they are stored.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import make_checklist
import make_slides
import nbformat

from stlib.review.cells import figure_of

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ("teaching", "leading_a_review", "claims", "architecture")
SECTIONS = {"labs": "Labs", "solutions": "Solutions", "hunts": "Bug hunts", "hunts/solutions": "Solutions of the hunts"}
CONTENTS = "\n```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{pages}\n```\n"


def lay_out(source: Path) -> None:
    """Copy what the site shows to `source`, with a front page and the contents of each folder."""
    (source / "docs").mkdir(parents=True)
    for page in (*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.png")):
        shutil.copy(page, source / "docs" / page.name)
    shutil.copy(ROOT / "docs" / "site" / "conf.py", source)
    shutil.copy(ROOT / "docs" / "site" / "api.md", source)
    lessons = _notebooks(source, "")
    folders = [folder for folder in SECTIONS if _notebooks(source, folder)]
    for folder in folders:
        _contents(source, folder)
    _decks(source)
    (source / "index.md").write_text(_front(lessons, folders), encoding="utf-8")
    mend_links(source)


def _notebooks(source: Path, folder: str) -> list[str]:
    """Copy the notebooks of a folder. Comments that name the source of a number are not for readers."""
    out = source / "notebooks" / folder
    found = sorted((ROOT / "notebooks" / folder).glob("*.ipynb"))
    for path in found:
        out.mkdir(parents=True, exist_ok=True)
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = re.sub(r"\s*<!--.*?-->", "", cell.source, flags=re.DOTALL)
                continue
            figures = [figure for output in cell.outputs if (figure := figure_of(output))]
            if figures:  # MyST-NB takes the words for a picture from its cell
                cell.metadata["mystnb"] = {"image": {"alt": figures[0]["alt"]}}
        nbformat.write(notebook, out / path.name)
    return [path.stem for path in found]


def _contents(source: Path, folder: str) -> None:
    path = source / "notebooks" / folder
    pages = "\n".join(sorted(page.stem for page in path.glob("*.ipynb")))
    (path / "index.md").write_text(f"# {SECTIONS[folder]}\n\n```{{toctree}}\n\n{pages}\n```\n", encoding="utf-8")


def _front(lessons: list[str], folders: list[str]) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(
        r'<img src="([^"]+)"[^>]*? alt="([^"]+)">', r"![\2](\1)", text
    )  # so that Sphinx takes the picture along
    pages = "\n".join(f"{name[:2]} {_title(name)} <notebooks/{name}>" for name in lessons)
    text += CONTENTS.format(caption="Lessons", pages=pages)
    text += CONTENTS.format(caption="Going on", pages="\n".join(f"notebooks/{name}/index" for name in folders))
    text += CONTENTS.format(caption="Guides", pages="\n".join(["decks", *(f"docs/{name}" for name in GUIDES), "api"]))
    return text


def _title(name: str) -> str:
    return str(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells[0].source.split("\n")[0][2:])


def _decks(source: Path) -> None:
    """The slides and the checklist as files of their own, and a page that leads to them."""
    decks = make_slides.write(source / "extra" / "slides", [])
    (source / "extra" / "checklist.html").write_text(make_checklist.page(), encoding="utf-8")
    lines = [f'<a href="slides/{deck.name}">{deck.stem.replace("_", " ")}</a>' for deck in decks]
    lines.append('<a href="checklist.html">the checklist</a>, one page to print')
    page = "# Slides and checklist\n\nEach deck is one file; **S** opens the speaker's view.\n\n"
    (source / "decks.md").write_text(page + "".join(f"* {line}\n" for line in lines), encoding="utf-8")


def mend_links(source: Path) -> None:
    """The README is the front page here, and a folder's page is its contents. Of what the repository has and the site
    does not, the words are left; what neither has stays as it is, and Sphinx refuses it."""
    for page in (*source.rglob("*.md"), *source.rglob("*.ipynb")):
        text = page.read_text(encoding="utf-8")

        def mended(found: re.Match[str], page: Path = page) -> str:
            words, target = found[1], found[2]
            if re.match(r"https?:|#|data:", target):
                return found[0]
            path = target.partition("#")[0]
            at = (page.parent / path).resolve()
            if at == (source / "README.md").resolve():
                return f"[{words}]({'../' * (len(page.relative_to(source).parts) - 1)}index.md)"
            if (at / "index.md").is_file():
                return f"[{words}]({path.rstrip('/')}/index.md)"
            place = page.relative_to(source)
            origin = ROOT / ("README.md" if str(place) == "index.md" else place)
            return found[0] if at.is_file() or not (origin.parent / path).exists() else words

        page.write_text(re.sub(r"(?<!!)\[([^\]\[]*)\]\(([^()\s]+)\)", mended, text), encoding="utf-8")


def build(out: Path) -> int:
    """Build the site in `out`, which is replaced when it is whole. Returns Sphinx's exit status."""
    from sphinx.cmd.build import main as sphinx

    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder).resolve() / "source", Path(folder) / "site"
        lay_out(source)
        strict = ["-q", "-W", "--keep-going"]
        status = sphinx(["-b", "html", *strict, "-d", str(Path(folder) / "doctrees"), str(source), str(made)])
        if status == 0:
            shutil.rmtree(out, ignore_errors=True)
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(made, out)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    return build(parser.parse_args().out)


if __name__ == "__main__":
    sys.exit(main())
