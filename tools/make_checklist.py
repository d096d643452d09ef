"""One page to print: the nine decisions, what to do until data decide, and what may turn each over.

    python tools/make_checklist.py [--out build/checklist.html]

The questions are those of the lessons, everything else stands in stlib/evidence/claims.toml.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import nbformat
import teaching
from jinja2 import Environment, FileSystemLoader, select_autoescape

from stlib.evidence.claims import definitions

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """One decision; the headline's default and flip come first, the other claims' follow, each once."""

    number: str
    decision: str
    defaults: tuple[str, ...]
    flips: tuple[str, ...]


def rows() -> list[Row]:
    found = []
    for lesson, group in groupby(definitions().values(), key=lambda claim: claim.lesson):
        claims = sorted((claim for claim in group if not claim.lab), key=lambda claim: not claim.headline)
        defaults = _once(claim.default for claim in claims)
        notebook = nbformat.read(ROOT / "notebooks" / f"{lesson}.ipynb", as_version=4)
        found.append(
            Row(
                lesson[:2],
                teaching.boxed(notebook)["The decision"],
                defaults,
                _once(claim.flips_when for claim in claims if claim.default in defaults)[:3],
            )
        )
    return found


def _once(sayings: Iterable[str]) -> tuple[str, ...]:
    """Without those that another one says as well."""
    kept: list[str] = []
    for saying in sayings:
        if not any(saying.rstrip(".") in other for other in kept):
            kept.append(saying)
    return tuple(kept)


def page() -> str:
    templates = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=templates, autoescape=select_autoescape(["j2"]))
    return environment.get_template("checklist.html.j2").render(rows=rows()) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "checklist.html")
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"{out.name}.new")
    beside.write_text(page(), encoding="utf-8")
    beside.replace(out)
    print(f"{out.name}: print it, or save it as a PDF, from a browser")


if __name__ == "__main__":
    main()
