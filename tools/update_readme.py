"""Fill the tables of README.md from what was measured: results/evidence, results/speed.json and the lessons.

python tools/update_readme.py [--check]      (--check: fail where the README is not up to date)
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

from stlib.evidence.claims import SYMBOLS, definitions
from stlib.evidence.records import recorded

ROOT = Path(__file__).resolve().parent.parent
RUN = "minilm"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def series() -> str:
    """One row a lesson: what it decides, and its headline claim on the reference model and data."""
    lines = ["| lesson | decides | found |", "|---|---|---|"]
    headlines = {claim.lesson: claim.id for claim in definitions().values() if claim.headline}
    for path in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        prose = "\n".join(cell.source for cell in notebook.cells[:3] if cell.cell_type == "markdown")
        title, decision = (re.search(one, prose) for one in (r"# (.*)", r"\*\*The decision\.\*\* (.*(?:\n> \w.*)*)"))
        assert title is not None and decision is not None, path.name
        found = "–"
        if path.stem in headlines:
            (claim,) = [one for one in recorded(RUN, path.stem).claims if one.id == headlines[path.stem]]
            found = f"{SYMBOLS[claim.verdict]} {claim.verdict}: {claim.definition.sentence}"
            found += f" ({claim.measured})" if claim.value is not None else ""
        words = decision[1].replace("\n> ", " ")
        lines.append(f"| [{path.stem[:2]} {title[1]}](notebooks/{path.name}) | {words} | {found} |")
    return "\n".join(lines)


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def speed() -> str:
    """Throughput against sentence-transformers, and the first vector, as recorded."""
    record = _read(ROOT / "results" / "speed.json")
    machine = record["machine"]
    lines = [
        f"Measured {machine['date']} on {machine['processor']}, {machine['threads']} threads, "
        f"{record['repeats']} alternating rounds; ratios within a round, median.",
        "",
        "| texts | way | texts a second | times sentence-transformers' default | worst cosine to it | of the peak |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["throughput"]:
        lines.append(
            f"| {row['corpus']}, {row['tokens_a_text']:.0f} tokens | {row['way']} | {row['texts_a_second']:.0f} | "
            f"{row['ratio']:.2f} | {row['cosine_worst']:.6f} | {_share(row.get('share_of_peak'))} |"
        )
    first, peak, quality = record["first_vector_seconds"], record["matrix_peak_gflops"], record["quality"]
    memory = "".join(
        f"{row['texts']:,} sentences add {row['added_mb']:.0f} MB, of which the vectors are {row['vectors_mb']:.0f}. "
        for row in record["memory"]
    )
    lines += [
        "",
        f"First vector in a fresh process: {first['stlib']:.1f} s against {first['sentence_transformers']:.1f} s "
        f"({first['ratio']:.2f} of its time). {memory}On {quality['pairs']} ({quality['rows']:,} pairs) float32 scores "
        f"{quality['points']['float32']:.2f} and bfloat16 {quality['points']['bfloat16']:.2f} points of Spearman.",
        "",
        "The last column is what bounds it: the linear layers' share of the peak of packed matrix products of MiniLM's "
        f"shapes, {peak['float32']:.0f} GFLOP/s in float32 and {peak['bfloat16']:.0f} in bfloat16, measured in the "
        "same run; the rest goes into attention, activations, normalisation and tokens.",
    ]
    return "\n".join(lines)


def updated(text: str) -> str:
    for name, table in (("series", series), ("speed", speed)):
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + "\n" + table() + "\n" + end + rest.split(end, 1)[1]
    return text


def main() -> int:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return int(updated(text) != text)
    readme.write_text(updated(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
