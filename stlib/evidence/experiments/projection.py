"""Lesson 03: what a smaller vector loses, by how the layer behind the pooling is filled.

A projection is fed pooled vectors before they are scaled to unit length: pool, project, normalise. Whatever is fitted
or trained is fitted on one half of the queries and judged on the other, both ways round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from stlib.encoder import SentenceEncoder
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.experiments.normalisation import int8, int8_scale, raw
from stlib.evidence.passages import Passages
from stlib.evidence.scores import cosine, neighbour_accuracy, pair_score, ranking
from stlib.evidence.study import Study
from stlib.evidence.training import contrastive_loss
from stlib.evidence.vectors import unit
from stlib.projection import Projection

LESSON = "03_project"
Fit = Callable[[NDArray[np.bool_]], Projection]
"""A layer made from some of the queries."""


@dataclass(frozen=True)
class Search:
    """Queries [q, D] and passages [p, D] as a projection gets them, what answers what, and each query's own passage."""

    queries: Floats
    texts: Floats
    relevant: Sequence[set[int]]
    own: NDArray[np.intp]
    _fitted: dict[tuple[bytes, bool], Projection] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, encoder: SentenceEncoder, passages: Passages) -> Search:
        own = [max(gains, key=lambda one: (gains[one], -one)) for gains in passages.grades]
        return cls(raw(encoder, passages.queries), raw(encoder, passages.texts), passages.relevant, np.array(own))

    @property
    def width(self) -> int:
        return int(self.queries.shape[1])

    def found(self, layer: Projection | None = None, bytes_each: int = 4) -> Estimate:
        """Recall@10 in points behind the layer, the passages stored at 4 bytes a number or at 1."""
        queries, texts = (project(layer, side) for side in (self.queries, self.texts))
        stored = unit(texts)
        if bytes_each == 1:
            scale = int8_scale(stored)
            stored = int8(stored, scale) * scale
        return ranking(unit(queries), stored, self.relevant)

    @cached_property
    def full(self) -> Estimate:
        """With all numbers."""
        return self.found()

    def halves(self, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        first = np.random.default_rng(seed).permutation(len(self.queries)) % 2 == 0
        return first, ~first

    def pairs(self, rows: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Each passage that answers these queries and no other, with one of its queries: [n, D] twice."""
        judged = set().union(*(self.relevant[row] for row in np.flatnonzero(~rows).tolist()))
        mine = {passage: row for row, passage in enumerate(self.own.tolist()) if rows[row] and passage not in judged}
        return self.queries[list(mine.values())], self.texts[list(mine)]

    @cached_property
    def largest(self) -> int:
        """How many components may be fitted: half as many as there are fitting texts, which is one for each pair."""
        return min(self.width, *(len(self.pairs(rows)[0]) for rows in self.halves()))

    def components(self, rows: NDArray[np.bool_], size: int, whiten: bool = False) -> Projection:
        """The first `size` principal components of these queries and their passages; all are fitted once."""
        key = rows.tobytes(), whiten
        if key not in self._fitted:
            self._fitted[key] = Projection.from_pca(np.concatenate(self.pairs(rows)), self.largest, whiten)
        layer, whole = fresh(self.width, size, seed=0), self._fitted[key].linear.state_dict()
        layer.linear.load_state_dict({name: values[:size] for name, values in whole.items()})
        return layer

    def cross_fitted(self, fit: Fit, bytes_each: int = 4) -> Estimate:
        """Recall@10 of each query behind `fit(rows)`, made from the half of the queries that it is not in."""
        values, key = np.empty(len(self.queries)), ""
        for rows in self.halves():
            (part,) = self.found(fit(rows), bytes_each).parts
            values[~rows], key = part.pseudo[~rows], part.key
        return Estimate.of(values, "query", key, most=100)


def project(layer: Projection | None, vectors: Floats) -> Floats:
    """[n, D] -> [n, d]; without a layer they stay as they are."""
    if layer is None:
        return vectors
    with torch.inference_mode():
        projected: Floats = layer(torch.from_numpy(vectors)).numpy()
    return projected


# ------------------------------------------------------------------------------------------------- four ways to fill it


def pca(
    search: Search, size: int, *, bytes_each: int = 4, whiten: bool = False, centred: bool = True
) -> Estimate | None:
    """Recall@10 of `size` principal components; `None` where there are too few texts to fit so many."""
    if size > search.largest:
        return None

    def fit(rows: NDArray[np.bool_]) -> Projection:
        layer = search.components(rows, size, whiten)
        if not centred:
            torch.nn.init.zeros_(layer.linear.bias)
        return layer

    return search.cross_fitted(fit, bytes_each)


def random_map(search: Search, size: int, seeds: Iterable[int] = range(20)) -> Estimate:
    """Recall@10 behind random maps, on average over seeds; queries and seeds both count."""
    return Estimate.over([search.found(Projection.random(search.width, size, seed)) for seed in seeds], "seed")


def truncation(search: Search, size: int) -> Estimate:
    return search.found(Projection.truncation(search.width, size))


def trained(search: Search, size: int, seed: int = 0) -> Estimate | None:
    """Recall@10 behind a layer trained on the other half of the queries; `None` where there are too few of them."""
    if size > search.largest:
        return None
    return search.cross_fitted(lambda rows: train(search.components(rows, size), *search.pairs(rows), seed=seed))


def train(
    layer: Projection, queries: Floats, texts: Floats, *, steps: int = 150, batch: int = 128, rate: float = 1e-3,
    seed: int = 0,
) -> Projection:  # fmt: skip
    """The layer, taught to move each query [n, D] towards its own passage [n, D] and away from the others of the batch.

    The encoder stays as it is, so its vectors are computed once: a second's work.
    """
    one, other = torch.from_numpy(queries), torch.from_numpy(texts)
    order, optimizer = torch.Generator().manual_seed(seed), torch.optim.Adam(layer.parameters(), lr=rate)
    for _ in range(steps):
        rows = torch.randperm(len(one), generator=order)[:batch]
        optimizer.zero_grad()
        contrastive_loss(layer(one[rows]), layer(other[rows])).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return layer.eval()


WAYS: dict[str, Callable[[Search, int], Estimate | None]] = {
    "PCA": pca,
    "truncation": truncation,
    "random map": lambda search, size: random_map(search, size, range(5)),
    "trained": trained,
}


def sizes(search: Search) -> list[int]:
    """Parts of the model's own width, so that a lesson reads alike on a model of any width; none too large."""
    offered = sorted({max(1, round(search.width * part)) for part in (1 / 12, 1 / 6, 1 / 4, 1 / 2, 2 / 3, 1)})
    return [size for size in offered if size <= search.largest] or offered


# ------------------------------------------------------------------------------------------------- against all numbers


def minus_full(search: Search, estimate: Estimate | None) -> Estimate | None:
    return None if estimate is None else estimate - search.full


def by_size(search: Search, ways: Iterable[str] = tuple(WAYS)) -> tuple[list[int], dict[str, list[Estimate]]]:
    """Sizes, and for each way recall@10 minus that of all numbers, in points, at these sizes."""
    offered = sizes(search)
    lines = {name: [minus_full(search, WAYS[name](search, size)) for size in offered] for name in ways}
    return offered, {name: [one for one in line if one] for name, line in lines.items() if None not in line}


def sixth_of_the_bytes(search: Search) -> Estimate | None:
    """Two thirds of the numbers at a byte each, minus all of them at four."""
    return minus_full(search, pca(search, two_thirds(search), bytes_each=1))


def two_thirds(search: Search) -> int:
    """The cut from 1536 to 1024."""
    return round(2 * search.width / 3)


# --------------------------------------------------------------------------------------------------- a bias, untrained


def fresh(width: int, size: int, seed: int) -> Projection:
    """A layer as torch initialises it, bias and all."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Projection(width, size)


def unrelated(vectors: Floats) -> float:
    """The mean cosine of two different texts: [n, D] -> one number."""
    total, n = unit(vectors).sum(axis=0, dtype=np.float64), len(vectors)
    return float((total @ total - n) / (n * (n - 1)))


def bias_shift(vectors: Floats, size: int, seeds: Iterable[int] = range(20)) -> tuple[float, Estimate]:
    """How far a fresh layer moves the cosine of unrelated texts: predicted, and observed over seeds.

    torch draws biases from the same range as weights, so a bias acts like the weight of one more coordinate that is 1
    in every vector: append it, and take the cosine.
    """
    before = unrelated(vectors)
    with_one = np.hstack([vectors, np.ones((len(vectors), 1), dtype=vectors.dtype)])
    after = [unrelated(project(fresh(vectors.shape[1], size, seed), vectors)) for seed in seeds]
    return unrelated(with_one) - before, Estimate.of(np.array(after) - before, "seed")


# --------------------------------------------------------------------------------------------------------- the lab


def first_minus_any(search: Search, size: int, draws: int = 20) -> Estimate:
    """The first `size` numbers − as many chosen at random, over queries and draws."""
    chosen = [np.random.default_rng(seed).choice(search.width, size, replace=False) for seed in range(draws)]
    cut = [ranking(unit(search.queries[:, part]), unit(search.texts[:, part]), search.relevant) for part in chosen]
    return truncation(search, size) - Estimate.over(cut, "draw")


def by_fit(search: Search, others: Floats) -> tuple[list[int], dict[str, list[Estimate]]]:
    """Sizes, and what components lose at them by what they were fitted on: `others` [n, D], or the half not judged."""
    offered = [size for size in sizes(search) if size <= min(search.largest, len(others) // 2)]

    def within(size: int, alone: bool) -> Estimate:
        return search.cross_fitted(
            lambda rows: Projection.from_pca(search.pairs(rows)[1], size) if alone else search.components(rows, size)
        )

    found = {
        "queries, passages": [within(size, alone=False) for size in offered],
        "passages alone": [within(size, alone=True) for size in offered],
        "other texts": [search.found(Projection.from_pca(others, size)) for size in offered],
    }
    return offered, {name: [one - search.full for one in line] for name, line in found.items()}


def other_scores(
    encoder: SentenceEncoder, search: Search, sentences: pd.DataFrame, graded: pd.DataFrame
) -> tuple[list[int], dict[str, list[Estimate]]]:
    """What random maps lose by three scores, in points: passages found, neighbours of one's topic, pairs in order."""
    sides = [raw(encoder, graded[side].tolist()) for side in ("sentence1", "sentence2")]
    points = raw(encoder, sentences["text"].tolist())
    judges = {
        "passages": search.found,
        "topics": lambda layer=None: neighbour_accuracy(unit(project(layer, points)), sentences["label"]),
        "pairs": lambda layer=None: pair_score(cosine(*(project(layer, side) for side in sides)), graded),
    }
    if "label" not in sentences:
        del judges["topics"]
    offered = sizes(search)

    def loss(judge: Callable[..., Estimate], size: int) -> Estimate:
        draws = [judge(Projection.random(search.width, size, seed)) for seed in range(3)]
        return Estimate.over(draws, "seed") - judge()

    return offered, {name: [loss(judge, size) for size in offered] for name, judge in judges.items()}


def trained_minus_pca(search: Search, size: int, seeds: Iterable[int] = range(3)) -> Estimate | None:
    """A trained layer − the principal components that it started from, over queries and seeds."""
    components, layers = pca(search, size), [trained(search, size, seed) for seed in seeds]
    gains = [one - components for one in layers if one and components]
    return Estimate.over(gains, "seed") if gains else None


def chosen_size(search: Search, margin: float = 1.0) -> dict[str, tuple[int, Estimate]]:
    """Each half of the queries chooses the fewest components that lose no `margin` there; the other half judges."""
    offered, lines = by_size(search, ["PCA"])
    losses = dict(zip(offered, lines["PCA"], strict=True))
    found = {}
    for name, rows in zip(("one half", "the other half"), search.halves(seed=1), strict=True):
        values = {size: loss.parts[0].pseudo for size, loss in losses.items()}
        safe = [size for size in losses if Estimate.of(values[size][rows]).interval()[0] >= -margin]
        size = min(safe, default=max(losses))
        found[name] = size, Estimate.of(values[size][~rows], "query")
    return found


def above(vectors: Floats, threshold: float = 0.5) -> float:
    """How many of 100 texts are that close to one half the pool away: [n, D] -> points."""
    rows = unit(vectors)
    return float(100 * ((rows * np.roll(rows, len(rows) // 2, axis=0)).sum(axis=1) > threshold).mean())


def reference(study: Study) -> dict[str, Any]:
    """The numbers that the lesson and its lab quote."""
    search = Search.of(study.encoder, study.passages)
    offered, lines = by_size(search)
    half, size = search.width // 2, two_thirds(search)
    gain = minus_full(search, trained(search, half))
    fed = {"pooled": search.texts, "unit": unit(search.texts)}
    shift = {name: bias_shift(vectors, size) for name, vectors in fed.items()}
    foreign = [*study.sentences["text"], *study.pairs["sentence1"], *study.pairs["sentence2"]]
    others = raw(study.encoder, list(dict.fromkeys(foreign)))
    fits = by_fit(search, others)
    assert gain is not None  # the documentation is large enough
    return {
        "found": search.full.value,
        "length": float(np.linalg.norm(search.texts, axis=1).mean()),
        "above": {"before": above(search.texts), "after": above(project(fresh(search.width, size, 0), fed["unit"]))},
        "shift": {name: {"predicted": one, "observed": other.value} for name, (one, other) in shift.items()},
        "by_size": {
            name.replace(" ", "_"): {str(size): one.value for size, one in zip(offered, line, strict=True)}
            for name, line in lines.items()
        },
        "trained": {"value": gain.value, "low": gain.interval()[0], "high": gain.interval()[1]},
        "by_fit": {
            name.replace(", ", "_").replace(" ", "_"): dict(
                zip(map(str, fits[0]), [one.value for one in line], strict=True)
            )
            for name, line in fits[1].items()
        },
        "chosen": [{"size": size, "loss": loss.value} for size, loss in chosen_size(search).values()],
    }
