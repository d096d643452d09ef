"""Trials of training: what some pairs of one's own gain, what they cost elsewhere, and one encoder for two tasks."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch.nn import functional

from stlib.encoder import SentenceEncoder
from stlib.evidence.corpora import connected_groups
from stlib.evidence.estimate import Estimate, Floats, key_of
from stlib.evidence.passages import Passages
from stlib.evidence.records import measurement
from stlib.evidence.scores import cosine, neighbour_accuracy, pair_score, pair_score_name, ranking, split_groups
from stlib.evidence.training import Classify, Search, contrastive_loss, cosent_loss, train
from stlib.evidence.vectors import distinct, encoded, rows_of
from stlib.model import SentenceTransformer
from stlib.projection import Projection

if TYPE_CHECKING:
    from stlib.evidence.study import Study

LESSON = "08_train"
RATE, BATCH = 5e-5, 32
LONGEST = 64
"""Tokens of a text that are trained on: the beginning says what a passage is about, at half the cost."""


@dataclass(frozen=True)
class Split:
    """Pairs to train on, and a pool of other passages to be judged in; linked and equal passages stay on one side."""

    learn: list[int]  # queries
    held_out: Passages


def split(passages: Passages, held_out: int = 500, seed: int = 0) -> Split:
    """Divide the queries so that no text that answers, is linked to or asks a held-out query is trained on.

    ValueError: there are no two sides, since there are fewer than four queries or all hang together.
    """
    node = pd.factorize(np.array([*passages.texts, *passages.queries], dtype=object))[0]  # equal texts are one
    asked = node[len(passages.texts) :]
    linked = [own | grades.keys() for own, grades in zip(passages.relevant, passages.grades, strict=True)]
    ends = np.array([(asked[query], node[one]) for query, own in enumerate(linked) for one in own]).T
    graph = coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(node.max() + 1,) * 2)
    of_query = connected_components(graph, directed=False)[1][asked]
    order = np.random.default_rng(seed).permutation(np.unique(of_query))
    size = np.bincount(of_query)[order]
    held = order[np.cumsum(size) - size < min(held_out, len(of_query) // 2)]
    is_held = np.isin(of_query, held)
    judged, learn = np.flatnonzero(is_held).tolist(), np.flatnonzero(~is_held).tolist()
    if len(judged) < 2 or len(learn) < 2:
        raise ValueError(
            "passages: fewer than four queries, or all are linked to one another, so none can be held out; "
            "give more, or drop the further judgements"
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
    often = {label for label in labels if label and labels.count(label) >= least}
    rows = [(passages.texts[own], label) for own, label in zip(owns, labels, strict=True) if label in often]
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

    return LogisticRegression(C=30.0, max_iter=500, solver="newton-cg").fit(vectors, labels)  # quick at many labels


def accuracy(predicted: list[str], labels: list[str]) -> Estimate:
    """Share of labels that are right, in points; unit: passage."""
    return Estimate.of(
        [100.0 * (one == other) for one, other in zip(predicted, labels, strict=True)], "passage", key_of(labels)
    )


# ------------------------------------------------------------------ live: a projection behind the frozen backbone


@dataclass(frozen=True, eq=False)  # each its own, so that what was trained on it can be kept
class Frozen:
    """Unit vectors that stay as they are: of the pairs to learn from, of the held-out side, and of other sentences."""

    sides: Split
    queries: Floats
    passages: Floats
    labels: list[str]
    held_queries: Floats
    held_passages: Floats


def frozen(encoder: SentenceEncoder, passages: Passages, seed: int = 0) -> Frozen:
    """The vectors of both sides, each text encoded once."""
    sides = split(passages, seed=seed)
    queries, texts = encoded(encoder, passages.queries), encoded(encoder, passages.texts)
    owns = [min(passages.relevant[query]) for query in sides.learn]
    held_queries = queries[rows_of(sides.held_out.queries, passages.queries)]
    held_texts = texts[rows_of(sides.held_out.texts, passages.texts)]
    labels = [passages.labels[own] for own in owns]
    return Frozen(sides, queries[sides.learn], texts[owns], labels, held_queries, held_texts)


@dataclass(frozen=True)
class Trained:
    """A projection, and the head behind it with its labels."""

    projection: Projection
    head: torch.nn.Linear
    names: list[str]

    @torch.no_grad()
    def move(self, vectors: Floats) -> Floats:
        """[n, D] -> unit vectors [n, D]"""
        return np.asarray(functional.normalize(self.projection(torch.from_numpy(vectors)), dim=1))

    @torch.no_grad()
    def predict(self, vectors: Floats) -> list[str]:
        chosen = self.head(torch.from_numpy(self.move(vectors))).argmax(dim=1)
        return [self.names[number] for number in chosen.tolist()]


@functools.lru_cache(maxsize=64)
def project(
    data: Frozen,
    pairs: int,
    seed: int,
    *,
    search: float = 1.0,
    labels: float = 0.0,
    probe: Classify | None = None,
    steps: int = 120,
) -> Trained:
    """Train a square projection from the identity, by contrastive loss and cross-entropy with these weights.

    The head starts as the `probe` on the frozen vectors (Kumar et al. 2022): training has only to improve on it.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(data.queries))[:pairs]
    one, other = torch.from_numpy(data.queries[drawn]), torch.from_numpy(data.passages[drawn])
    width = one.shape[1]
    projection = Projection.truncation(width, width)
    head = copy.deepcopy(probe.head) if probe else torch.nn.Linear(width, 2)
    names = probe.names if probe else []
    topics = [data.labels[row] for row in drawn]
    targets = torch.tensor([names.index(topic) if topic else -100 for topic in topics]) if probe else None

    def loss(rows: torch.Tensor) -> torch.Tensor:
        moved = projection(other[rows])
        total = search * contrastive_loss(projection(one[rows]), moved)
        if targets is not None and (targets[rows] >= 0).any():  # cross-entropy passes over −100
            total = total + labels * functional.cross_entropy(head(functional.normalize(moved, dim=1)), targets[rows])
        return total

    descend([*projection.parameters(), *head.parameters()], loss, len(drawn), rng, steps)
    return Trained(projection.eval(), head, names)


def descend(
    weights: list[torch.nn.Parameter],
    loss: Callable[[torch.Tensor], torch.Tensor],
    n: int,
    rng: np.random.Generator,
    steps: int = 120,
) -> None:
    """Lower the loss of some of `n` rows by AdamW, 64 rows a step."""
    optimizer = torch.optim.AdamW(weights, lr=5e-4)
    for _ in range(steps):
        rows = torch.from_numpy(rng.choice(n, size=min(64, n), replace=False))
        optimizer.zero_grad()
        loss(rows).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def probe_of(data: Frozen, pairs: int, seed: int) -> Classify:
    """Logistic regression on the frozen vectors of the passages that `project` draws with that seed, if labelled."""
    drawn = labelled(data, pairs, seed)
    labels = [data.labels[row] for row in drawn]
    return classify_task([""] * len(labels), labels, data.passages[drawn], seed)


def labelled(data: Frozen, pairs: int, seed: int) -> list[int]:
    """The rows with a label among those that `project` draws."""
    drawn = np.random.default_rng(seed).permutation(len(data.queries))[:pairs].tolist()
    return [row for row in drawn if data.labels[row]]


def gain_in_search(data: Frozen, trained: Trained | None = None) -> Estimate:
    """Recall@10 over the held-out queries: of the frozen vectors, or of what a projection makes of them."""
    move = trained.move if trained else (lambda vectors: vectors)
    queries, passages = (move(side).astype(float) for side in (data.held_queries, data.held_passages))
    return ranking(queries, passages, data.sides.held_out.relevant)  # in float64 nearly equal cosines stay apart


def gains(data: Frozen, sizes: Sequence[int], seeds: Sequence[int] = (0, 1, 2)) -> dict[int, Estimate]:
    """After − before, over queries and seeds, for each size that there is; where there is none, for all pairs."""
    before, there = gain_in_search(data), len(data.queries)
    return {
        size: Estimate.over([gain_in_search(data, project(data, size, seed)) - before for seed in seeds])
        for size in [size for size in sizes if size <= there] or [there]
    }


def recorded(passages: Passages) -> dict[int, Estimate]:
    """What training all layers was recorded to gain, by pairs; nothing for other passages than those of the record."""
    try:
        found = measurement("training")
    except FileNotFoundError:
        return {}
    if found["passages"]["sha256"] != passages.attrs.get("sha256"):
        return {}
    curve = {size: found["gains"][f"pairs_{size}"] for size in found["sizes"]}
    return {
        size: Estimate.over([Estimate.of(run, gain["unit"], gain["key"]) for run in gain["pseudo"]])
        for size, gain in curve.items()
    }


def price(data: Frozen, texts: Floats, labels: Sequence[str], pairs: int, seeds: Sequence[int] = (0, 1, 2)) -> Estimate:
    """Neighbour accuracy of other sentences, after − before, over sentences and seeds."""
    before = neighbour_accuracy(texts, labels)
    return Estimate.over(
        [neighbour_accuracy(project(data, pairs, seed).move(texts), labels) - before for seed in seeds]
    )


def gain_on_pairs(
    encoder: SentenceEncoder, pairs: pd.DataFrame, seed: int = 0, seeds: Sequence[int] = (0, 1, 2)
) -> Estimate | None:
    """`pair_score` of graded pairs behind a projection that learned the order of others (CoSENT), after − before.

    Half of the groups of pairs that share an anchor or a sentence is trained on, the other half judged, over it and
    over the seeds of the batches. `None` where a half holds fewer than two grades or groups, or where order is
    judged within anchors and only one of the other half has two grades.
    """
    texts, codes = distinct(pairs)
    sides = encoded(encoder, texts)[codes]  # [2, n, D]
    anchors = pd.DataFrame({"sentence1": pairs["sentence1"], "sentence2": "\0" + pairs["anchor"].astype(str)})
    groups = connected_groups(pd.concat([pairs[["sentence1", "sentence2"]], anchors]))[: len(pairs)]  # linked by either
    learn = split_groups(groups, seed) if len(set(groups)) >= 4 else np.zeros(len(pairs), dtype=bool)
    held = pairs[~learn]
    ordered = int(held.groupby("anchor")["score"].nunique().gt(1).sum())
    alone = ordered == 1 and pair_score_name(held) == "order accuracy"
    owners = held.groupby("score")["anchor"].agg(["nunique", "first"])  # an interval leaves out each anchor in turn
    least = len(owners) - max(Counter(owners.loc[owners["nunique"] == 1, "first"]).values(), default=0)
    if alone or min(pairs.loc[learn, "score"].nunique(), least) < 2:
        return None
    one, other = (torch.from_numpy(side[learn]) for side in sides)
    scores = torch.tensor(pairs.loc[learn, "score"].to_numpy(), dtype=torch.float32)

    def judged(projection: torch.nn.Module) -> Estimate:
        with torch.no_grad():
            a, b = (projection(torch.from_numpy(side[~learn])).numpy() for side in sides)
        return pair_score(cosine(a, b), held)

    def trained(number: int) -> Projection:
        projection = Projection.truncation(one.shape[1], one.shape[1])

        def loss(rows: torch.Tensor) -> torch.Tensor:
            return cosent_loss(
                functional.cosine_similarity(projection(one[rows]), projection(other[rows])), scores[rows]
            )

        descend(list(projection.parameters()), loss, len(one), np.random.default_rng(number))
        return projection

    before = judged(torch.nn.Identity())
    return Estimate.over([judged(trained(number)) - before for number in seeds])


def reference(study: Study) -> dict[str, Any]:
    """What the lesson quotes besides verdicts and the recorded training."""
    gain = gain_on_pairs(study.encoder, study.pairs, study.seed)
    if gain is None:
        return {}
    low, high = gain.interval()
    return {"graded_pairs": {"value": gain.value, "low": low, "high": high}}


@dataclass(frozen=True)
class TwoTasks:
    """Each estimate is over held-out queries or passages, and seeds."""

    probe: Estimate  # accuracy of logistic regression on frozen vectors − of the head trained for labels alone
    search: dict[float, Estimate]  # recall of joint training − of search alone, by the weight of the labels
    labels: dict[float, Estimate]  # accuracy of joint training − of labels alone


def two_tasks(
    data: Frozen, pairs: int, weights: Sequence[float] = (0.3, 1.0), seeds: Sequence[int] = (0, 1, 2)
) -> TwoTasks | None:
    """One projection for search and for labels, against one for each; unlabelled passages are not asked for theirs.

    `None` where a seed draws fewer than two labels, or fewer than two held-out passages have one.
    """
    held = [row for row, label in enumerate(data.sides.held_out.labels) if label]
    if len(held) < 2 or any(len({data.labels[row] for row in labelled(data, pairs, seed)}) < 2 for seed in seeds):
        return None
    right, judges = [data.sides.held_out.labels[row] for row in held], data.held_passages[held]
    runs: dict[Any, list[Estimate]] = {}
    for seed in seeds:
        probe = probe_of(data, pairs, seed)
        alone = gain_in_search(data, project(data, pairs, seed))
        classifier = project(data, pairs, seed, search=0.0, labels=1.0, probe=probe)
        classified = accuracy(classifier.predict(judges), right)
        runs.setdefault("probe", []).append(accuracy(probe.predict(judges), right) - classified)
        for weight in weights:
            joint = project(data, pairs, seed, labels=weight, probe=probe)
            runs.setdefault(("search", weight), []).append(gain_in_search(data, joint) - alone)
            judged = accuracy(joint.predict(judges), right)
            runs.setdefault(("labels", weight), []).append(judged - classified)
    found = {name: Estimate.over(one) for name, one in runs.items()}
    return TwoTasks(
        found["probe"],
        {weight: found["search", weight] for weight in weights},
        {weight: found["labels", weight] for weight in weights},
    )
