"""Count the documentation corpus and score the default model and the controls on it: results/documentation.json.

    python benchmarks/documentation.py

Recall@10, recall@1 and nDCG@10 of the own passage (nDCG with those of "See Also" at half its gain) in points, on the
whole corpus and on 1,000 entries drawn from it; five neighbours by module in points; the chance (0 to 1) that a passage
is closer to one of its "See Also" than to another. Each with its 95 % interval.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from stlib import POOLING_MODES, SentenceEncoder
from stlib.evidence.controls import bm25, input_embeddings, random_weights, tfidf, tfidf_vectors
from stlib.evidence.corpora import Passages, documentation
from stlib.evidence.docstrings import HIDDEN
from stlib.evidence.documentation import PACKAGES, cleaned, distinct, things
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.records import now, versions, write_whole
from stlib.evidence.scores import ndcg_of, neighbour_accuracy, ranking_of
from stlib.evidence.vectors import pooled

OUT = Path(__file__).resolve().parent.parent / "results" / "documentation.json"
DRAWN = 1000


def quantiles(values: Iterable[float]) -> dict[str, float]:
    found = np.quantile(list(values), [0, 0.25, 0.5, 0.75, 1])
    return dict(zip(("least", "a quarter", "median", "three quarters", "most"), found.round(2).tolist(), strict=True))


def counts(corpus: Passages, encoder: SentenceEncoder) -> dict[str, Any]:
    """How much there is, how long it is, and how many words a query shares with its passage."""
    read = [thing for package in PACKAGES for thing in things(package)]
    fit = cleaned(read)
    pairs = [
        [set(re.findall(r"\w+", text.lower())) for text in both]
        for both in zip(corpus.queries, corpus.texts, strict=True)
    ]
    links = [len(grades) - 1 for grades in corpus.grades]
    return {
        "docstrings read": len(read),
        "long enough and without their own name in the summary": len(fit),
        "distinct": len(distinct(fit)),
        "by package": dict(Counter(name.split(".")[0] for name in corpus.names)),
        "labels": len(set(corpus.labels)),
        "by label": dict(Counter(corpus.labels).most_common()),
        "with see also": sum(map(bool, links)),
        "links": sum(links),
        "passages with their name hidden": sum(HIDDEN in text for text in corpus.texts),
        "words of a query": quantiles(len(text.split()) for text in corpus.queries),
        "words of a passage": quantiles(len(text.split()) for text in corpus.texts),
        "tokens of a passage": quantiles(encoder.token_counts(corpus.texts)),
        "share of a query's words in its passage": quantiles(len(q & p) / len(q) for q, p in pairs),
    }


def shown(estimate: Estimate, digits: int = 1) -> dict[str, Any]:
    return {"value": round(estimate.value, digits), "interval": [round(end, digits) for end in estimate.interval()]}


def unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ranked(scores: Floats, corpus: Passages) -> dict[str, Any]:
    return {
        "recall@10": shown(ranking_of(scores, corpus.relevant, 10)),
        "recall@1": shown(ranking_of(scores, corpus.relevant, 1)),
        "nDCG@10": shown(ndcg_of(scores, corpus.grades, 10)),
    }


def see_also(vectors: Floats, corpus: Passages) -> Estimate:
    """For each passage with links, the share of the other passages that are further away than a linked one."""
    values = []
    for number, grades in enumerate(corpus.grades):
        linked = [other for other in grades if other != number]
        if linked:
            closeness = vectors @ vectors[number]
            others = np.delete(closeness, [number, *linked])
            values.append(np.mean([(others < closeness[other]).mean() for other in linked]))
    return Estimate.of(values, "passage")


def measured(corpus: Passages, encoder: SentenceEncoder) -> dict[str, Any]:
    queries, passages = pooled(encoder, corpus.queries), pooled(encoder, corpus.texts)
    blank = SentenceEncoder(random_weights(encoder.model), truncation="ignore")
    both = [*corpus.queries, *corpus.texts]
    centred, inputs = (input_embeddings(encoder, both, centre=centre) for centre in (True, False))
    q = len(corpus.queries)
    vectors = {f"MiniLM {mode}": (unit(queries[mode]), unit(passages[mode])) for mode in POOLING_MODES}
    vectors |= {
        "input embeddings, centred": (centred[:q], centred[q:]),
        "input embeddings": (inputs[:q], inputs[q:]),
        "random weights": tuple(unit(pooled(blank, texts)["mean"]) for texts in (corpus.queries, corpus.texts)),
    }
    found = {name: ranked(one @ other.T, corpus) for name, (one, other) in vectors.items()}
    for mode in ("mean", "cls", "max"):
        found[f"MiniLM {mode}, raw dot product"] = ranked(queries[mode] @ passages[mode].T, corpus)
    for name, stemmed in (("BM25", True), ("BM25, as spelled", False)):
        found[name] = ranked(bm25(corpus.queries, corpus.texts, stemmed=stemmed), corpus)
    found["TF-IDF"] = ranked(tfidf(corpus.queries, corpus.texts), corpus)
    texts = {name: other for name, (_, other) in vectors.items()} | {"TF-IDF": tfidf_vectors(corpus.texts)}
    for name, other in texts.items():
        found[name]["five neighbours by module"] = shown(neighbour_accuracy(other, corpus.labels, 5))
        found[name]["see also"] = shown(see_also(other, corpus), 3)
    return found


def main() -> None:
    corpus, encoder = documentation(), SentenceEncoder(truncation="ignore")
    found = {
        "corpus": {name: corpus.attrs[name] for name in ("name", "sha256", "versions", "rows")},
        "counts": counts(corpus, encoder),
        "whole": measured(corpus, encoder),
        f"{DRAWN} drawn": measured(documentation(DRAWN), encoder),
        "versions": versions(),
        "date": now(),
    }
    write_whole(OUT, found)
    for name, scores in found["whole"].items():
        print(f"{name:32}", *(f"{score} {value['value']:6}" for score, value in scores.items()))


if __name__ == "__main__":
    main()
