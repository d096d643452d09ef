"""Record all-mpnet-base-v2's cosines of the pairs, so that `small-is-competitive` can be tried without its 404 MB.

    python benchmarks/mpnet_cosines.py FOLDER [PAIRS.csv ...]      (FOLDER: see benchmarks/mpnet.py)

Writes results/mpnet_cosines.json: for each pairs file (the built-in one always), keyed by its SHA-256, one cosine a row
(5 digits) and no sentence; and what a token costs, beside an untrained BERT of the base size timed in the same run, so
that another machine can place the cost beside its own. What is recorded is kept; delete the file to measure anew.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlib import SentenceEncoder, hub
from stlib.evidence.claims import machine, versions
from stlib.evidence.controls import untrained_bert
from stlib.evidence.corpora import load_pairs, load_sentences
from stlib.evidence.evaluation import cosine

RESULTS = Path(__file__).resolve().parent.parent / "results" / "mpnet_cosines.json"
REPEATS = 5


def cosines(encoder: SentenceEncoder, source: str) -> dict[str, Any]:
    pairs = load_pairs(source)
    similarity = cosine(encoder.encode(pairs["sentence1"]), encoder.encode(pairs["sentence2"]))
    return {
        "name": pairs.attrs["name"],
        "rows": len(pairs),
        "cosines": [round(float(value), 5) for value in similarity],
    }


def milliseconds_a_thousand_tokens(encoders: dict[str, SentenceEncoder], sentences: list[str]) -> dict[str, float]:
    """Median of alternating repeats, in processor time: other programs on the machine hardly matter then."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for repeat in range(REPEATS + 1):
        for name, encoder in encoders.items():
            started = time.process_time()
            encoder.encode(sentences)
            if repeat:  # the first warms up
                seconds[name].append(time.process_time() - started)
    tokens = {name: sum(encoder.token_counts(sentences)) for name, encoder in encoders.items()}
    return {name: round(1e6 * float(np.median(times)) / tokens[name], 1) for name, times in seconds.items()}


def main(folder: str, *sources: str) -> None:
    mpnet = SentenceEncoder(folder, truncation="ignore")
    old = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"pairs": {}}
    pairs = {}
    for source in ("built-in", *sources):
        sha256 = load_pairs(source).attrs["sha256"]
        pairs[sha256] = old["pairs"].get(sha256) or cosines(mpnet, source)
    small = SentenceEncoder()
    ruler = untrained_bert(small)
    contenders = {"all-mpnet-base-v2": mpnet, "untrained BERT, base size": ruler, "all-MiniLM-L6-v2": small}
    times = "processor_milliseconds_a_thousand_tokens"
    record = {
        "what": "cosine of each pair by all-mpnet-base-v2, keyed by the SHA-256 of the pairs file",
        "model": {"name": "all-mpnet-base-v2", "sha256": hub.weights_sha256(Path(folder))},
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine() | {"threads": torch.get_num_threads()},
        "versions": versions(),
        times: old.get(times) or milliseconds_a_thousand_tokens(contenders, load_sentences()["text"].tolist()[:48]),
        "pairs": pairs,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
