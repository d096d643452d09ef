"""Four decisions of the series on four sets of data and two models, beside one another: results/beside.json.

    STLIB_DATA_DIR=… python benchmarks/beside.py [--mpnet FOLDER]

Documentation: recall@10. Sentences: neighbours on the same topic. Pairs: order within anchors, without the groups that
were added after the outcome was seen. STS-B dev: Spearman. All in points, as differences with 95 % intervals. Principal
components are fitted on the documentation's other half, for the other data on all its passages.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mpnet import assemble

from stlib import Projection, SentenceEncoder
from stlib.evidence.controls import input_embeddings
from stlib.evidence.corpora import documentation, load_pairs, load_sentences, original_groups
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.experiments import normalisation, pooling, projection
from stlib.evidence.records import machine, now, versions, write_whole
from stlib.evidence.scores import cosine, neighbour_accuracy, pair_score, ranking
from stlib.evidence.vectors import unit

ROOT = Path(__file__).resolve().parent.parent
Vectors = Callable[[list[str]], Floats]
"""n texts -> [n, D]"""
SENTENCES, PAIRS = load_sentences(), original_groups(load_pairs())


def stsb() -> pd.DataFrame:
    return load_pairs(str(Path(os.environ["STLIB_DATA_DIR"]) / "stsb" / "dev.csv"))


def by_cosine(left: Floats, right: Floats) -> Floats:
    return cosine(left, right)


def by_dot(left: Floats, right: Floats) -> Floats:
    products: Floats = (left * right).sum(axis=1)
    return products


def on_texts(vectors: Vectors, similarity: Callable[[Floats, Floats], Floats] = by_cosine) -> dict[str, Estimate]:
    """The score of each set but the documentation."""
    metric = "dot" if similarity is by_dot else "cosine"
    found = {"sentences": neighbour_accuracy(vectors(SENTENCES["text"].tolist()), SENTENCES["label"], metric=metric)}
    for name, pairs in {"pairs": PAIRS, "STS-B dev": stsb()}.items():
        both = vectors([*pairs["sentence1"], *pairs["sentence2"]])
        found[name] = pair_score(similarity(both[: len(pairs)], both[len(pairs) :]), pairs)
    return found


def minus(one: dict[str, Estimate], other: dict[str, Estimate]) -> dict[str, Estimate]:
    return {name: one[name] - other[name] for name in one}


def decisions(encoder: SentenceEncoder) -> dict[str, dict[str, Estimate]]:
    passages = documentation()

    def raw(texts: list[str]) -> Floats:
        return normalisation.raw(encoder, texts)

    def of_mode(mode: str) -> Vectors:
        return lambda texts: pooling.pooled(encoder, texts)[mode]

    own = on_texts(raw)
    queries, texts = normalisation.raw_vectors(encoder, passages)
    words = input_embeddings(encoder, [*passages.queries, *passages.texts])
    full = ranking(unit(queries), unit(texts), passages.relevant)
    search = projection.Search.of(encoder, passages)
    half = projection.pca(search, search.width // 2)
    assert half is not None
    layer = Projection.from_pca(texts, search.width // 2)
    metrics, modes = normalisation.by_metric(queries, texts, passages), pooling.search(encoder, passages)
    return {
        "model − its centred input embeddings": {
            "documentation": full - ranking(words[: len(queries)], words[len(queries) :], passages.relevant),
            **minus(own, on_texts(lambda lines: input_embeddings(encoder, lines))),
        },
        "mean − CLS": {
            "documentation": modes["mean"] - modes["cls"],
            **minus(on_texts(of_mode("mean")), on_texts(of_mode("cls"))),
        },
        "half the numbers − all": {
            "documentation": half - search.full,
            **minus(on_texts(lambda lines: projection.project(layer, raw(lines))), own),
        },
        "cosine − dot product": {
            "documentation": metrics["cosine"] - metrics["dot product"],
            **minus(own, on_texts(raw, by_dot)),
        },
    }


def told(estimate: Estimate) -> dict[str, float | int | str]:
    low, high = estimate.interval()
    return {"value": estimate.value, "low": low, "high": high, "units": estimate.units, "unit": estimate.unit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mpnet", type=Path, default=ROOT / "build" / "mpnet")
    options = parser.parse_args()
    models: dict[str, Any] = {"all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}
    models["all-mpnet-base-v2"] = assemble(options.mpnet)
    found: dict[str, Any] = {}
    for name, model in models.items():
        encoder = SentenceEncoder(model, truncation="ignore")
        found[name] = {
            decision: {data: told(one) for data, one in by_data.items()}
            for decision, by_data in decisions(encoder).items()
        }
        for decision, by_data in found[name].items():
            print(
                name,
                decision,
                {data: np.round([one["value"], one["low"], one["high"]], 1).tolist() for data, one in by_data.items()},
                flush=True,
            )
    about = {"date": now(), "machine": machine(), "versions": versions()}
    write_whole(ROOT / "results" / "beside.json", {"models": found} | about)


if __name__ == "__main__":
    main()
