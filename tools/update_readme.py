"""Fill the tables of README.md from what was measured: results/evidence, results/speed.json and the notebooks.

python tools/update_readme.py [--check]      (--check: fail where the README is not up to date)
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _figures(claim: dict[str, Any]) -> str:
    low, high = claim["interval"]
    digits = 1 if claim["unit"] != "AUC" and abs(claim["value"]) >= 0.5 else 2
    unit = f" {claim['unit']}" if claim["unit"] else ""
    return f"{claim['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{unit}"


def series() -> str:
    """One row a notebook: the decision, its headline claim on the reference model and data, and the run time."""
    lines = ["| notebook | decides | found | takes |", "|---|---|---|---|"]
    with (ROOT / "stlib" / "data" / "decisions.csv").open(encoding="utf-8") as file:
        decisions = {row["notebook"]: row for row in csv.DictReader(file)}
    for path in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        takes = re.search(r"\*\*It takes\*\* ([^.,;]+)", "\n".join(cell.source for cell in notebook.cells[:2]))
        evidence = _read(ROOT / "results" / "evidence" / "minilm_builtin" / f"{path.stem}.json")
        (claim,) = [claim for claim in evidence["claims"] if claim["headline"]]
        decision = decisions[path.stem]
        found = f"**{claim['verdict']}**: {claim['claim']} ({_figures(claim)})"
        took = takes.group(1).replace(" on two cores", "").strip() if takes else "–"
        lines.append(f"| [{path.stem}](notebooks/{path.name}) | {decision['question']} | {found} | {took} |")
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
