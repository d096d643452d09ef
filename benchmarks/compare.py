"""Set MiniLM, its recipes and MPNet side by side on the documentation and on STS-B dev, and record what came out.

    STLIB_DATA_DIR=… python benchmarks/compare.py [--mpnet FOLDER] [--only documentation stsb-dev large]

Writes results/compare_NAME.json, the comparison's record without the texts on which candidates disagree, and how many
seconds it took with an empty cache and with one that has the vectors (from two runs of this program). `large` ranks
100,000 passages made of drawn words, and records the memory that it took: a test of size, not of quality.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from mpnet import assemble

from stlib import SentenceEncoder
from stlib.evidence import Estimate
from stlib.evidence.controls import input_embeddings
from stlib.evidence.corpora import load_pairs, load_passages
from stlib.evidence.passages import Passages
from stlib.evidence.records import machine, now, versions, write_whole
from stlib.evidence.scores import ranking
from stlib.evidence.vectors import cache_folder
from stlib.review.compare import compare
from stlib.review.comparison_page import Record

ROOT = Path(__file__).resolve().parent.parent
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
RUNS = ("documentation", "stsb-dev", "large")


def candidates(mpnet: Path) -> dict[str, Any]:
    recipes = ("", ":pooling=cls", ":pca=192", ":dtype=bfloat16", ":weights=random")
    found: dict[str, Any] = {f"all-MiniLM-L6-v2{recipe}": f"{MINILM}{recipe}" for recipe in recipes}
    return found | {"all-mpnet-base-v2": str(mpnet)}


def inputs(passages: Passages) -> Estimate:
    """Recall@10 of MiniLM's input embeddings, centred."""
    count, texts = len(passages.queries), [*passages.queries, *passages.texts]
    vectors = input_embeddings(SentenceEncoder(MINILM, truncation="ignore"), texts)
    return ranking(vectors[:count], vectors[count:], passages.relevant)


def record(name: str, mpnet: Path) -> None:
    given = candidates(mpnet)
    if name == "documentation":
        data: dict[str, Any] = {"passages": load_passages()}
        given["input embeddings"] = inputs(data["passages"])
    else:
        data = {"pairs": load_pairs(Path(os.environ["STLIB_DATA_DIR"]) / "stsb" / "dev.csv")}
        data["pairs"].attrs["name"] = "stsb-dev.csv"
    cache = "full" if any(cache_folder().glob("vectors/*")) else "empty"
    found = compare(given, **data, progress=lambda text: print(text, end="", flush=True))
    print(found.advice)
    out = ROOT / "results" / f"compare_{name}.json"
    walls = json.loads(out.read_text(encoding="utf-8")).get("wall_seconds", {}) if out.is_file() else {}
    wall = {"wall_seconds": walls | {f"{cache}_cache": round(found.seconds)}}
    write_whole(out, asdict(replace(Record.of(found), disagreements=[])) | wall)


def large(passages: int = 100_000, queries: int = 1_000) -> None:
    """Each query is the first half of its passage."""
    rng = np.random.default_rng(0)
    words = np.array(
        sorted({word for text in load_passages().texts for word in text.lower().split() if word.isalpha()})
    )
    texts = [" ".join(row) for row in rng.choice(words, size=(passages, 8))]
    given = Passages(
        queries=[" ".join(text.split()[:4]) for text in texts[:queries]],
        texts=texts,
        relevant=[{number} for number in range(queries)],
        grades=[{number: 1.0} for number in range(queries)],
        labels=[""] * passages,
        query_labels=[""] * queries,
        names=[""] * passages,
        attrs={"name": "drawn words", "sha256": "", "rows": passages, "used": passages, "stand_in": False},
    )
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STLIB_CACHE"] = folder
        for _ in range(2):  # the second finds the vectors in the cache
            started = time.perf_counter()
            compare(
                [MINILM, f"{MINILM}:pca=192"], passages=given, progress=lambda text: print(text, end="", flush=True)
            )
            seconds.append(round(time.perf_counter() - started))
    measured = {
        "passages": passages,
        "queries": queries,
        "candidates": [MINILM, f"{MINILM}:pca=192", "BM25", "TF-IDF"],
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        "seconds": {"first": seconds[0], "second": seconds[1]},
        "versions": versions(),
        "machine": machine(),
        "date": now(),
    }
    print(measured["peak_mb"], "MB,", seconds, "s")
    write_whole(ROOT / "results" / "compare_large.json", measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mpnet", type=Path, default=ROOT / "build" / "mpnet")
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=RUNS)
    options = parser.parse_args()
    for name in options.only:
        if name == "large":
            large()
        else:
            record(name, assemble(options.mpnet))


if __name__ == "__main__":
    main()
