"""Fill the tables of README.md from what was measured (results/), the lessons and the teaching guide.

python tools/update_readme.py [--check]      (--check: fail where the README is not up to date)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nbformat
import teaching

from stlib.evidence.claims import SYMBOLS, definitions
from stlib.evidence.records import recorded

ROOT = Path(__file__).resolve().parent.parent
RUN = "minilm"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def surprises() -> str:
    """One row a lesson: what surprises in it, in its own words, as the teaching guide quotes them."""
    lines = ["| lesson | its surprise |", "|---|---|"]
    for lesson in teaching.lessons().values():
        name = teaching.notebook_of(lesson.number).name
        lines.append(f"| [{lesson.number} {lesson.title}](notebooks/{name}) | {lesson.surprise} |")
    return "\n".join(lines)


def series() -> str:
    """One row a lesson: what it decides, and its headline claim on the reference model and data."""
    lines = ["| lesson | decides | found |", "|---|---|---|"]
    headlines = {claim.lesson: claim.id for claim in definitions().values() if claim.headline}
    for lesson in teaching.lessons().values():
        path = teaching.notebook_of(lesson.number)
        decision = teaching.boxed(nbformat.read(path, as_version=4))["The decision"]
        found = "–"
        if path.stem in headlines:
            (claim,) = [one for one in recorded(RUN, path.stem).claims if one.id == headlines[path.stem]]
            found = f"{SYMBOLS[claim.verdict]} {claim.verdict}: {claim.definition.sentence}"
            found += f" ({claim.measured})" if claim.value is not None else ""
        lines.append(f"| {lesson.number} | {decision} | {found} |")
    return "\n".join(lines)


def _share(share: float | None) -> str:
    return "" if share is None else f" ({100 * share:.0f} %)"


def speed() -> str:
    """For each processor that was measured: times as fast as sentence-transformers, and the share of the peak."""
    return "\n\n".join(_processor(_read(path)) for path in sorted((ROOT / "results" / "speed").glob("*.json")))


def _processor(record: Any) -> str:
    machine, first = record["machine"], record["first_vector_seconds"]
    rows = {(row["way"], row["corpus"]): row for row in record["throughput"]}
    ways, corpora = (list(dict.fromkeys(key[part] for key in rows)) for part in (0, 1))
    base = rows[ways[0], corpora[0]]
    heads = [f"{corpus}, {rows[ways[0], corpus]['tokens_a_text']:.0f} tokens" for corpus in corpora]
    lines = [
        f"**{machine['id']}** ({machine['processor']}, {' '.join(machine['instructions'])}), "
        f"{machine['threads']} threads, "
        f"{machine['date']}, medians of {record['rounds']} alternating rounds. sentence-transformers encodes "
        f"{base['texts_a_second']:.0f} of the sentences a second.",
        "",
        f"| times as fast (of the peak) | {' | '.join(heads)} |",
        "|---" * (1 + len(heads)) + "|",
    ]
    for way in ways:
        cells = [f"{rows[way, corpus]['ratio']:.2f}{_share(rows[way, corpus]['share_of_peak'])}" for corpus in corpora]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    memory = " ".join(
        f"{row['texts']:,} sentences add {row['added_mb']:.0f} MB, of which the vectors are {row['vectors_mb']:.0f}."
        for row in record.get("memory", [])
    )
    peaks = ", ".join(f"{value:.0f} in {dtype}" for dtype, value in record["peak_gflops"].items() if value)
    recall = ", ".join(f"{value:.1f} in {dtype}" for dtype, value in record["quality"]["recall"].items())
    others = ", ".join(f"{row['family']} {row['ratio_to_plain']:.1f} in {row['dtype']}" for row in record["families"])
    lines += [
        "",
        f"In brackets: the linear layers' share of the peak of packed products, which is {peaks} (GFLOP/s). Recall@10 "
        f"on the documentation: {recall}. Other families, packed against their own plain path: {others}. "
        f"A fresh process that encodes one text takes, from start to end, {first['stlib']:.1f} s against "
        f"{first['sentence_transformers']:.1f} s ({first['ratio']:.2f} of its time); one that only imports what both "
        f"need takes {first['imports of both']:.1f} s. {memory}",
    ]
    return "\n".join(lines)


def times() -> str:
    """How long the review took, without and with what an earlier run left in the cache, and the tests."""
    recorded = _read(ROOT / "results" / "series.json")
    review, tests = recorded["review"], recorded["tests"]["seconds"] / 60
    empty, warm = (review[cache]["seconds"] / 60 for cache in ("empty cache", "warm cache"))
    cores = review["machine"]["cores"]
    told = f"the review took {empty:.1f} minutes the first time and {warm:.1f} the second"
    return f"On {cores} cores, once installed, {told}, the tests {tests:.1f}."


def updated(text: str) -> str:
    for name, table in (("surprises", surprises), ("times", times), ("series", series), ("speed", speed)):
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
