"""From how many passages on an approximate index pays: results/search.json.

    python benchmarks/search.py [--sizes 10000 100000 300000]

Vectors are drawn around the documentation's own (half a passage, half noise, unit length), so that neighbours are as
uneven as in real text; queries likewise, 200 of them, one at a time, as someone types them. Exact search is one product
of the matrix with the query and a partial sort. The approximate index is usearch's HNSW with its defaults, where it is
installed (`pip install -e '.[bench]'`): building, milliseconds a query, and how many of the ten nearest it finds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlib import SentenceEncoder
from stlib.evidence.corpora import documentation
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.records import machine, now, versions, write_whole
from stlib.evidence.vectors import encoded, unit

OUT = Path(__file__).resolve().parent.parent / "results" / "search.json"
QUERIES, K = 200, 10


def drawn(base: Floats, count: int, seed: int) -> Floats:
    draw = np.random.default_rng(seed)
    noise = unit(draw.standard_normal((count, base.shape[1]), dtype=np.float32))
    return unit(base[draw.integers(len(base), size=count)] + noise)


def timed(ask: Callable[[Floats], Any], queries: Floats) -> tuple[list[Any], dict[str, float]]:
    """The answers, and milliseconds a query with an interval over queries."""
    answers, spent = [], []
    for query in queries:
        started = time.perf_counter()
        answers.append(ask(query))
        spent.append(1000 * (time.perf_counter() - started))
    estimate = Estimate.of(spent[20:], unit="query")
    low, high = estimate.interval()
    return answers, {"ms": estimate.value, "low": low, "high": high}


def at(size: int, base: Floats) -> dict[str, Any]:
    vectors, queries = drawn(base, size, 0), drawn(base, QUERIES, 1)

    def exact(query: Floats) -> Floats:
        scores = vectors @ query
        return np.argpartition(-scores, K)[:K]

    wanted, spent = timed(exact, queries)
    found: dict[str, Any] = {"passages": size, "exact": spent}
    if find_spec("usearch"):
        from usearch.index import Index

        index, started = Index(ndim=base.shape[1], metric="ip"), time.perf_counter()
        index.add(np.arange(size), vectors)
        building = time.perf_counter() - started
        near, quick = timed(lambda query: index.search(query, K).keys, queries)
        hits = [len(set(a.tolist()) & set(b.tolist())) / K for a, b in zip(wanted, near, strict=True)]
        found["approximate"] = quick | {"seconds_to_build": building, "found_of_100": 100 * float(np.mean(hits))}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", type=int, default=[10_000, 100_000, 300_000])
    options = parser.parse_args()
    torch.set_num_threads(2)
    encoder = SentenceEncoder(truncation="ignore")
    base = encoded(encoder, documentation().texts)
    _, question = timed(encoder.encode, documentation().queries[:QUERIES])  # type: ignore[arg-type]
    rows = []
    for size in options.sizes:
        rows.append(at(size, base))
        print(rows[-1], flush=True)
        about = {"date": now(), "machine": machine(), "versions": versions()}
        write_whole(OUT, {"encoding_the_query": question, "sizes": rows} | about)


if __name__ == "__main__":
    main()
