"""Trials of training: what some pairs of one's own gain, what they cost elsewhere, and one encoder for two tasks."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stlib.encoder import SentenceEncoder
from stlib.evidence.estimate import Estimate, Units, key_of
from stlib.evidence.passages import Passages
from stlib.evidence.records import measurement
from stlib.evidence.scores import ranking
from stlib.evidence.study import Study
from stlib.evidence.training import Classify, Search, train
from stlib.hub import REFERENCE_SHA256, weights_sha256
from stlib.model import SentenceTransformer

LESSON = "08_train"
RATE, BATCH = 5e-5, 32
LONGEST = 64
"""Tokens of a text that are trained on: the beginning says what a passage is about, at half the cost."""


@dataclass(frozen=True)
class Split:
    """Pairs to train on, and a pool of other passages to be judged in; linked passages stay on one side."""

    learn: list[int]  # queries
    held_out: Passages


def split(passages: Passages, held_out: int = 500, seed: int = 0) -> Split:
    """Divide the queries so that no passage that answers, or is linked to, a held-out query is trained on.

    ValueError: all passages hang together, so that there are no two sides.
    """
    links = [(min(own), other) for own, one in zip(passages.relevant, passages.grades, strict=True) for other in one]
    ends = np.array(links).T
    graph = coo_array((np.ones(len(links)), (ends[0], ends[1])), shape=(len(passages.texts),) * 2)
    group = connected_components(graph, directed=False)[1]
    of_query = np.array([group[min(own)] for own in passages.relevant])
    order = np.random.default_rng(seed).permutation(np.unique(of_query))
    held: set[int] = set()
    for one in order.tolist():
        if sum(np.isin(of_query, list(held))) >= min(held_out, len(of_query) // 2):
            break
        held.add(one)
    judged = np.flatnonzero(np.isin(of_query, list(held))).tolist()
    learn = np.flatnonzero(~np.isin(of_query, list(held))).tolist()
    if len(judged) < 2 or len(learn) < 2:
        raise ValueError(
            "passages: all are linked to one another, so none can be held out; drop the further judgements"
        )
    return Split(np.random.default_rng(seed).permutation(learn).tolist(), chosen(passages, judged))


def chosen(passages: Passages, queries: list[int]) -> Passages:
    """Those queries over the passages that answer them."""
    pool = sorted(set().union(*(passages.relevant[query] for query in queries)))
    place = {old: new for new, old in enumerate(pool)}
    return replace(
        passages,
        queries=[passages.queries[query] for query in queries],
        texts=[passages.texts[old] for old in pool],
        relevant=[{place[old] for old in passages.relevant[query]} for query in queries],
        grades=[
            {place[old]: gain for old, gain in passages.grades[query].items() if old in place} for query in queries
        ],
        labels=[passages.labels[old] for old in pool],
        query_labels=[passages.query_labels[query] for query in queries],
        names=[passages.names[old] for old in pool],
        columns={},
        attrs={**passages.attrs, "used": len(pool)},
    )


def search_task(passages: Passages, queries: list[int]) -> Search:
    """Each query with a passage that answers it."""
    return Search(
        [passages.queries[query] for query in queries],
        [passages.texts[min(passages.relevant[query])] for query in queries],
    )


def recall(model: SentenceTransformer, held_out: Passages) -> Estimate:
    """Recall@10 of the model as it is now, over the held-out queries, passages cut as in training."""
    encoder = SentenceEncoder(
        model, max_length=min(LONGEST, model.max_length), truncation="ignore"
    )  # a fresh one: the weights have moved
    return ranking(encoder.encode(held_out.queries), encoder.encode(held_out.texts), held_out.relevant)


def trained_copy(model: SentenceTransformer, tasks: Any, steps: int, seed: int, **more: Any) -> SentenceTransformer:
    """A copy of `model` after `steps` of training, all layers, texts cut at `LONGEST` tokens meanwhile."""
    trained = copy.deepcopy(model)
    trained.max_length = min(LONGEST, model.max_length)
    train(trained, tasks, **{"steps": steps, "batch": BATCH, "rate": RATE, "seed": seed, **more})
    trained.max_length = model.max_length
    return trained


def steps_for(pairs: int, rounds: int = 2) -> int:
    """So that each pair is seen `rounds` times, and never fewer than ten."""
    return max(10, rounds * pairs // BATCH)


def common_labels(passages: Passages, learn: list[int], least: int = 15) -> tuple[list[str], list[str]]:
    """Texts and labels of the passages to learn from whose label is frequent enough to be learned."""
    owns = [min(passages.relevant[query]) for query in learn]
    labels = [passages.labels[own] for own in owns]
    rows = [
        (passages.texts[own], label) for own, label in zip(owns, labels, strict=True) if labels.count(label) >= least
    ]
    return [text for text, _ in rows], [label for _, label in rows]


def classify_task(texts: list[str], labels: list[str], vectors: Any, seed: int) -> Classify:
    """Starts from the probe on the frozen `vectors` [n, D] of the texts, which training has only to improve on.

    Kumar et al. (2022), Fine-tuning can distort pretrained features.
    """
    task = Classify(texts, labels, vectors.shape[1], seed)
    fitted = regression(vectors, labels)
    weight, bias = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
    if len(task.names) == 2:  # one row tells two labels apart: half of it for the one, half against the other
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    with torch.no_grad():
        task.head.weight.copy_(weight)
        task.head.bias.copy_(bias)
    return task


def regression(vectors: Any, labels: list[str]) -> Any:
    """Logistic regression on frozen vectors: the probe."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=30.0, max_iter=500).fit(vectors, labels)


def accuracy(predicted: list[str], labels: list[str]) -> Estimate:
    """Share of labels that are right, in points; unit: passage."""
    return Estimate.of(
        [100.0 * (one == other) for one, other in zip(predicted, labels, strict=True)], "passage", key_of(labels)
    )


# ---------------------------------------------------------------------------------------- what the protocol recorded


@dataclass(frozen=True)
class Curve:
    """Recall@10 on held-out queries before training, and after training on each number of pairs."""

    sizes: list[int]
    before: float
    after: list[Estimate]


def curve() -> Curve:
    """The learning curve as `benchmarks/training.py` recorded it."""
    record = measurement("training")
    after = [_again(record["after"][f"pairs_{size}"]) for size in record["sizes"]]
    return Curve(record["sizes"], record["before"]["recall"]["value"], after)


def trade_off() -> dict[str, Estimate]:
    """What each head gains or loses in joint training against training for it alone, by the weight of the labels."""
    record = measurement("training")
    found = {}
    for weight in record["weights"]:
        for name, score in (("search", "recall"), ("labels", "accuracy")):
            found[f"{name}, labels weighted {weight:g}"] = _again(record["gains"][f"joint_{weight:g}.{score}"])
    found["labels, probe alone"] = _again(record["gains"]["probe.accuracy"])
    return found


def recorded(study: Study, name: str) -> Estimate | None:
    """A gain of the recorded protocol (`benchmarks/training.py`) if it is about this study's model and passages."""
    record = measurement("training")
    folder = study.encoder.model.folder
    same_model = folder is not None and weights_sha256(folder) == REFERENCE_SHA256
    found = record["gains"].get(name)
    if not found or not same_model or study.passages.attrs["sha256"] != record["passages"]["sha256"]:
        return None
    return _again(found)


def _again(found: dict[str, Any]) -> Estimate:
    """The estimate over units and seeds, from their pseudo-values."""
    rows = [np.array(pseudo) for pseudo in found["pseudo"]]
    runs = zip(found["seeds"], rows, strict=True)
    return Estimate.over([Estimate(value, (Units(found["unit"], found["key"], row),)) for value, row in runs])
