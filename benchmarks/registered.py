"""The registered run: claims whose outcome was written down (registered.toml) before the data were looked at.

    STLIB_DATA_DIR=… python benchmarks/registered.py     -> results/registered.json

It refuses data with another hash than the registered one. A verdict that is the expected one is *confirmed*; where it
is not, the record says so. BM25 counts words as they are spelled here, as it did when this was registered.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from stlib import SentenceEncoder
from stlib.evidence import Estimate
from stlib.evidence.claims import Claim
from stlib.evidence.controls import bm25, input_embeddings
from stlib.evidence.corpora import documentation, load_pairs
from stlib.evidence.experiments import heatmaps, model_choice, normalisation, pooling, search
from stlib.evidence.records import machine, now, versions, write_whole
from stlib.evidence.scores import ranking, ranking_of
from stlib.evidence.vectors import encoded
from stlib.review.compare import compare

HERE = Path(__file__).resolve().parent


def main() -> None:
    plan = tomllib.loads((HERE / "registered.toml").read_text(encoding="utf-8"))
    passages = documentation(packages=tuple(plan["data"]["passages"]["packages"]))
    pairs = load_pairs(Path(os.environ["STLIB_DATA_DIR"]) / plan["data"]["pairs"]["file"])
    for name, data in (("passages", passages), ("pairs", pairs)):
        if data.attrs["sha256"] != plan["data"][name]["sha256"]:
            raise SystemExit(f"{name}: other data than were registered: {data.attrs['sha256']}")
    encoder = SentenceEncoder(truncation="ignore")
    raw = normalisation.raw_vectors(encoder, passages)
    unit = encoded(encoder, passages.queries), encoded(encoder, passages.texts)

    def stored(name: str) -> Estimate:
        return normalisation.loss_in(normalisation.by_precision(*unit, passages), name)

    def dot() -> Estimate:
        found = normalisation.by_metric(*raw, passages)
        return found["cosine"] - found["dot product"]

    def hybrid() -> Estimate:
        found = search.by_way(encoder, passages, stemmed=False)
        return found["both"] - found["vectors"]

    def beyond_words() -> Estimate:
        inputs = input_embeddings(encoder, [*passages.queries, *passages.texts])
        bag = ranking(inputs[: len(passages.queries)], inputs[len(passages.queries) :], passages.relevant)
        words = ranking_of(bm25(passages.queries, passages.texts, stemmed=False), passages.relevant)
        found = compare({"model": encoder, "words": words, "input embeddings": bag}, passages=passages, rounds=0)
        return found.lead("model", "words", "input embeddings")

    trials: dict[str, Callable[[], Estimate]] = {
        "model-beats-words": beyond_words,
        "mean-beats-cls": lambda: pooling.mean_minus_cls(encoder, passages),
        "dot-suffers-without-norm": dot,
        "int8-loses-nothing": lambda: stored("int8"),
        "rescoring-mends-bits": lambda: stored("bits, rescored"),
        "hybrid-beats-dense": hybrid,
        "typos-cost": lambda: search.lost_by_typos(encoder, passages),
        "model-beats-words-on-pairs": lambda: model_choice.beyond_controls(model_choice.pairs(encoder, pairs)),
        "threshold-errs": lambda: heatmaps.threshold_errs(encoder, pairs),
    }
    rows = []
    for name, expected in plan["expected"].items():
        claim = Claim.decide(name, trials[name]())
        rows.append({"expected": expected, "confirmed": claim.verdict == expected, **asdict(claim)})
        print(f"{name}: {claim.measured}, expected {expected}, found {claim.verdict}", flush=True)
    write_whole(HERE.parent / "results" / "registered.json", {
        "registered": str(plan["registered"]), "data": plan["data"], "claims": rows,
        "versions": versions(), "machine": machine(), "date": now(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
