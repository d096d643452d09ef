"""Scores of similarities and of clusters, and the intervals that say how far to trust them.

Three rules run through the module.

* Resampling is by weights: a resample says how often each group was drawn, and every statistic of pairs takes those
  weights `[R, n]` and returns its `R` values. Two models scored with the same weights are compared on the same draws.
* The unit that is drawn is the group of pairs that share a sentence, never the pair: pairs of one group err together.
* Neighbours are found once, in the data as they are; the values they give each sentence are what is resampled. A
  resample with copies would make each copy its own nearest neighbour, and random vectors would look pure.

Scores called *points* are multiplied by 100.
"""

# mypy: disable-error-code="no-any-return"
# numpy types what its reductions return as Any.

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.floating]

HEADLINE_LEVEL = 1 - 0.05 / 7
"""Level of a headline interval: seven notebooks have one each, so that all seven are right in 95 % of cases."""

CHUNK = 2_000_000
"""Numbers held at a time in each working array: 16 MB."""


# --- Resampling -------------------------------------------------------------------------------------------------------


def _drawn(units: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each of `units` came up in as many draws with replacement: float32 `[resamples, units]`."""
    counts = np.empty((resamples, units), dtype=np.float32)
    for rows in _chunks(resamples, units):
        size = rows.stop - rows.start
        cells = rng.integers(units, size=(size, units)) + np.arange(size)[:, None] * units
        counts[rows] = np.bincount(cells.ravel(), minlength=size * units).reshape(size, units)
    return counts


def _chunks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, CHUNK // max(1, columns))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def group_weights(groups: ArrayLike, resamples: int = 2000, seed: int = 0) -> Floats:
    """Bootstrap weights by group.

    groups: `[n]`, the group of each row. Returns `[resamples, n]`: how often the row's group was drawn.
    ValueError where there are fewer than two groups, for then no resample differs from the data.
    """
    codes, names = pd.factorize(np.asarray(groups))
    if len(names) < 2:
        raise ValueError(
            f"groups: an interval needs at least 2 groups to draw from, got {len(names)}; pairs that all share "
            "sentences form one group unless an 'anchor' column divides them"
        )
    return _drawn(len(names), resamples, np.random.default_rng(seed))[:, codes]


def interval(draws: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of `draws` `[R]`.

    A resample in which the statistic is undefined (all of one grade) is left out; ValueError beyond one in twenty.
    """
    draws = np.asarray(draws, dtype=float)
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(2, 0.95 * len(draws)):
        raise ValueError(f"draws: the statistic is undefined in {len(draws) - len(defined)} of {len(draws)} resamples")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def simultaneous_intervals(values: ArrayLike, draws: ArrayLike, level: float = 0.95) -> Floats:
    """Intervals `[K, 2]` that are right for all `K` values at once, by the maximum of the studentised deviations.

    values: `[K]`, draws: `[R, K]` on the same resamples.
    The "max-t" band; see Montiel Olea and Plagborg-Møller (2019), Simultaneous confidence bands.
    """
    values, draws = np.asarray(values, dtype=float), np.asarray(draws, dtype=float)
    spread = draws.std(axis=0, ddof=1)
    moves = spread > 0  # a value compared with itself does not move, and has an interval of no width
    if not moves.any():
        return np.stack([values, values], axis=1)
    furthest = (np.abs(draws - values)[:, moves] / spread[moves]).max(axis=1)
    reach = np.quantile(furthest, level) * spread
    return np.stack([values - reach, values + reach], axis=1)


def detectable(draws: ArrayLike, level: float = 0.95, power: float = 0.8) -> float:
    """The difference that a sample as variable as this one would tell from nothing with that `power`.

    draws: `[R]` resampled values. The normal formula: (z of the level, two-sided, + z of the power) standard errors.
    """
    z = stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power)
    return float(z * np.nanstd(np.asarray(draws, dtype=float), ddof=1))


def mean_interval(values: ArrayLike, level: float = 0.95, seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """Percentile interval of the mean of per-sentence `values` `[n]`, or of paired differences of them.

    It speaks for new sentences of the same topics, not for new topics.
    """
    return interval(mean_draws(values, seed, resamples), level)


def mean_draws(values: ArrayLike, seed: int = 0, resamples: int = 2000) -> Floats:
    """Resampled means `[resamples]` of per-sentence `values` `[n]`."""
    values, rng = np.asarray(values, dtype=float), np.random.default_rng(seed)
    if len(values) < 2:
        raise ValueError(f"values: an interval needs at least 2, got {len(values)}")
    draws = [_drawn(len(values), rows.stop - rows.start, rng) @ values for rows in _chunks(resamples, len(values))]
    return np.concatenate(draws) / len(values)


def over_seeds(draws: ArrayLike, seed: int = 0) -> Floats:
    """Resamples training seeds as well as groups: `[S, R]`, one row a seed, on the same resamples -> `[R]`."""
    draws = np.asarray(draws, dtype=float)
    return (_drawn(len(draws), draws.shape[1], np.random.default_rng(seed)).T * draws).mean(axis=0)


def split_groups(groups: ArrayLike, seed: int = 0) -> NDArray[np.bool_]:
    """A mask `[n]` that is true in half of the groups: choose there, report on the rest."""
    codes, names = pd.factorize(np.asarray(groups))
    if len(names) < 2:
        raise ValueError(f"groups: a split needs at least 2 groups, got {len(names)}")
    return np.random.default_rng(seed).permutation(len(names))[codes] < (len(names) + 1) // 2


# --- Pairs of sentences -----------------------------------------------------------------------------------------------


def cosine(a: ArrayLike, b: ArrayLike) -> Floats:
    """Cosine of each row of `a` `[n, D]` with the same row of `b` -> `[n]` in float64; 0 where either row is zero."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("nd,nd->n", a, b) / np.where(norms > 0, norms, 1)


class _MidRanks:
    """Weighted mid-ranks: the weight below each value and half the weight at it. Sorts once for all weights."""

    def __init__(self, values: Floats) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self.starts = np.flatnonzero(new)
        self.place = np.empty(len(values), dtype=np.intp)
        self.place[self.order] = np.cumsum(new) - 1  # which of the distinct values each row has

    def __call__(self, weights: Floats) -> Floats:
        """`[R, n]` -> `[R, n]`."""
        at = np.add.reduceat(weights[:, self.order], self.starts, axis=1)  # [R, n] -> [R, distinct]
        return (np.cumsum(at, axis=1) - at / 2)[:, self.place]


def _statistic(n: int, weights: ArrayLike | None, values: Callable[[Floats], Floats]) -> float | Floats:
    """`values` maps weights `[r, n]` to `[r]`: called once for the data as they are, or chunk by chunk for draws."""
    if weights is None:
        return float(values(np.ones((1, n)))[0])
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != n:
        raise ValueError(f"weights: expected shape [resamples, {n}], got {list(weights.shape)}")
    with np.errstate(invalid="ignore", divide="ignore"):  # an undefined resample is NaN; `interval` deals with it
        return np.concatenate([values(weights[rows].astype(float)) for rows in _chunks(*weights.shape)])


def _columns(**columns: ArrayLike) -> list[Floats]:
    """The named columns as finite float64 arrays of one length."""
    arrays = {name: np.asarray(column, dtype=float) for name, column in columns.items()}
    if len({array.shape for array in arrays.values()}) > 1 or any(array.ndim != 1 for array in arrays.values()):
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise ValueError(f"expected columns of one length, got {shapes}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: row {int(np.argmin(np.isfinite(array))) + 1} is not a finite number")
    return list(arrays.values())


def spearman(similarity: ArrayLike, score: ArrayLike, weights: ArrayLike | None = None) -> float | Floats:
    """Spearman's rank correlation in points; ties share their mean rank.

    similarity, score: `[n]`. Returns a float, or draws `[R]` for weights `[R, n]`: whole weights give the value
    of the sample with its rows repeated. ValueError where either column is constant.
    """
    similarity, score = _columns(similarity=similarity, score=score)
    for name, column in (("similarity", similarity), ("score", score)):
        if len(column) < 2 or (column == column[0]).all():
            raise ValueError(f"{name}: a correlation needs at least 2 different values")
    rank_similarity, rank_score = _MidRanks(similarity), _MidRanks(score)

    def correlation(weights: Floats) -> Floats:
        middle = weights.sum(axis=1, keepdims=True) / 2  # the weighted mean of mid-ranks
        a, b = rank_similarity(weights) - middle, rank_score(weights) - middle
        weighted = weights * a
        covariance, square = (weighted * b).sum(axis=1), (weighted * a).sum(axis=1)
        return 100 * covariance / np.sqrt(square * (weights * b * b).sum(axis=1))

    return _statistic(len(score), weights, correlation)


def order_accuracy(
    similarity: ArrayLike, score: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None
) -> float | Floats:
    """How often, within a group, the pair with the higher score has the higher similarity: points, 50 is chance.

    Each group counts once, whatever its size; equal similarities count half; groups of one grade are left out.
    similarity, score, groups: `[n]`. Returns a float, or draws `[R]` for weights `[R, n]` from `group_weights`.
    ValueError where no group has two grades: use `spearman` there.
    """
    similarity, score = _columns(similarity=similarity, score=score)
    codes, names = pd.factorize(np.asarray(groups))
    if len(codes) != len(score):
        raise ValueError(f"groups: expected {len(score)} rows, got {len(codes)}")
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)  # where each group starts in that order
    right, total = np.zeros(len(names)), np.zeros(len(names))
    for size in np.unique(sizes):
        these = np.flatnonzero(sizes == size)
        rows = order[first[these][:, None] + np.arange(size)]  # [groups of this size, size]
        s, g = similarity[rows], score[rows]
        for one in range(size):  # each pair against the others of its group
            above = g[:, [one]] > g
            right[these] += (above * ((s[:, [one]] > s) + 0.5 * (s[:, [one]] == s))).sum(axis=1)
            total[these] += above.sum(axis=1)
    ordered = np.flatnonzero(total)
    if len(ordered) == 0:
        raise ValueError("groups: no group holds two different scores, so nothing can be ordered; use spearman")
    accuracy, leader = 100 * right[ordered] / total[ordered], order[first[ordered]]

    def mean(weights: Floats) -> Floats:
        if (weights != weights[:, order[first]][:, codes]).any():
            raise ValueError("weights: rows of one group must have one weight; take them from group_weights(groups)")
        drawn = weights[:, leader]
        return drawn @ accuracy / drawn.sum(axis=1)

    return _statistic(len(score), weights, mean)


def _ordered_in_groups(pairs: pd.DataFrame) -> bool:
    return bool(pairs.attrs.get("has_anchor", False)) and bool(pairs.groupby("anchor")["score"].nunique().gt(1).any())


def pair_score_name(pairs: pd.DataFrame) -> str:
    """What `pair_score` measures on these pairs: "order accuracy" or "Spearman"."""
    return "order accuracy" if _ordered_in_groups(pairs) else "Spearman"


def pair_score(similarity: ArrayLike, pairs: pd.DataFrame, weights: ArrayLike | None = None) -> float | Floats:
    """The headline score of similarities `[n]` on pairs from `load_pairs`, in points.

    Order accuracy within anchors where the data name anchors that hold two grades or more, else Spearman.
    """
    if _ordered_in_groups(pairs):
        return order_accuracy(similarity, pairs["score"], pairs["anchor"], weights)
    return spearman(similarity, pairs["score"], weights)


@dataclass(frozen=True)
class Difference:
    """A paired difference with its interval, the difference the sample could have detected, and the draws."""

    value: float
    low: float
    high: float
    detectable: float
    draws: Floats = field(repr=False)

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high


def compare(
    similarity_a: ArrayLike,
    similarity_b: ArrayLike,
    pairs: pd.DataFrame,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    weights: ArrayLike | None = None,
    statistic: Callable[..., float | Floats] = pair_score,
) -> Difference:
    """`a` minus `b` in `statistic` (similarity, pairs, weights), both on the same resamples of the pairs' groups."""
    if weights is None:
        weights = group_weights(pairs["anchor"], resamples, seed)
    value = statistic(similarity_a, pairs) - statistic(similarity_b, pairs)
    draws = np.asarray(statistic(similarity_a, pairs, weights)) - np.asarray(statistic(similarity_b, pairs, weights))
    return Difference(float(value), *interval(draws, level), detectable(draws, level), draws)


# --- Related or not: ROC and thresholds -------------------------------------------------------------------------------


def roc_auc(similarity: ArrayLike, related: ArrayLike, weights: ArrayLike | None = None) -> float | Floats:
    """Chance that a related pair is more similar than an unrelated one (area under the ROC curve), 0 to 1.

    similarity: `[n]`, related: bool `[n]`. Returns a float, or draws `[R]` for weights `[R, n]`.
    Counted as the Mann-Whitney statistic, which is that area (Hanley and McNeil, 1982): all draws share one sort.
    """
    similarity, related = _columns(similarity=similarity, related=related)
    if not 0 < related.sum() < len(related) or not np.isin(related, (0, 1)).all():
        raise ValueError("related: expected true and false, at least one of each")
    ranks = _MidRanks(similarity)

    def area(weights: Floats) -> Floats:
        positive, negative = weights * related, weights * (1 - related)
        below = ranks(negative)  # weight of unrelated pairs below, and half of those level
        return (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))

    return _statistic(len(related), weights, area)


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """`roc_auc` for two lists of similarities, of related and of unrelated pairs."""
    positive, negative = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    related = np.repeat([True, False], [len(positive), len(negative)])
    return float(roc_auc(np.concatenate([positive, negative]), related))


def topic_auc(similarity: ArrayLike, labels: ArrayLike) -> Floats:
    """For each sentence, the chance that one of its own topic is closer to it than one of another: `[n, n]` -> `[n]`.

    NaN for a sentence alone in its topic. Resample the values (`mean_interval`), not the matrix.
    """
    similarity, (codes, names) = np.asarray(similarity, dtype=float), pd.factorize(np.asarray(labels))
    _at_least_two_labels(names)
    if similarity.shape != (len(codes), len(codes)):
        raise ValueError(f"similarity: expected shape {[len(codes)] * 2}, got {list(similarity.shape)}")
    others = ~np.eye(len(codes), dtype=bool)
    ranks = stats.rankdata(np.where(others, similarity, -np.inf), axis=1) - 1  # itself ranks lowest
    own = (codes[:, None] == codes) & others
    positive, negative = own.sum(axis=1), (~own & others).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return ((ranks * own).sum(axis=1) - positive * (positive + 1) / 2) / (positive * negative)


def choose_threshold(similarity: ArrayLike, related: ArrayLike) -> float:
    """The similarity from which to call pairs related so that hits minus false alarms is greatest (Youden's J)."""
    from sklearn.metrics import roc_curve

    false_alarms, hits, thresholds = roc_curve(np.asarray(related, dtype=bool), similarity)
    return float(thresholds[1:][np.argmax((hits - false_alarms)[1:])])  # the first is infinite: call nothing related


def at_threshold(similarity: ArrayLike, related: ArrayLike, threshold: float) -> dict[str, float]:
    """What calling pairs with similarity >= `threshold` related gets right and wrong, in per cent."""
    similarity, related = np.asarray(similarity, dtype=float), np.asarray(related, dtype=bool)
    called = similarity >= threshold
    hits, false_alarms = called[related].mean(), called[~related].mean()
    return {
        "hits": 100 * float(hits),
        "false alarms": 100 * float(false_alarms),
        "precision": 100 * float(related[called].mean()) if called.any() else float("nan"),
        "balanced accuracy": 50 * float(hits + 1 - false_alarms),
    }


# --- Labelled sentences: neighbours and clusters ----------------------------------------------------------------------


def _at_least_two_labels(names: Sequence[object]) -> None:
    if len(names) < 2:
        raise ValueError(f"labels: expected at least 2 different labels, got {len(names)}")


def neighbours(embeddings: ArrayLike, k: int, metric: str = "cosine") -> NDArray[np.intp]:
    """The `k` nearest other rows of each row, in no order: `[n, D]` -> `[n, k]`. metric: cosine, dot or euclidean."""
    vectors = np.asarray(embeddings, dtype=float)
    if not 1 <= k < len(vectors):
        raise ValueError(f"k: expected 1 to {len(vectors) - 1} for {len(vectors)} rows, got {k}")
    if metric not in ("cosine", "dot", "euclidean"):
        raise ValueError(f"metric: expected 'cosine', 'dot' or 'euclidean', got {metric!r}")
    norms = np.linalg.norm(vectors, axis=1)
    if metric == "cosine":
        vectors = vectors / np.where(norms > 0, norms, 1)[:, None]
    # -|a-b|^2 / 2 = ab - b^2/2 - a^2/2, of which the last is the same along a row
    penalty = norms**2 / 2 if metric == "euclidean" else 0.0
    nearest = np.empty((len(vectors), k), dtype=np.intp)
    for rows in _chunks(len(vectors), len(vectors)):
        closeness = vectors[rows] @ vectors.T - penalty
        closeness[np.arange(len(closeness)), np.arange(rows.start, rows.stop)] = -np.inf
        nearest[rows] = np.argpartition(-closeness, k - 1, axis=1)[:, :k]
    return nearest


def neighbour_accuracy(embeddings: ArrayLike, labels: ArrayLike, k: int = 5, metric: str = "cosine") -> Floats:
    """For each sentence, how many of its `k` nearest others share its label, in per cent: `[n, D]`, `[n]` -> `[n]`.

    Random vectors give the share of the label among the others.
    """
    codes, names = pd.factorize(np.asarray(labels))
    _at_least_two_labels(names)
    return 100 * (codes[neighbours(embeddings, k, metric)] == codes[:, None]).mean(axis=1)


def hubness(embeddings: ArrayLike, k: int = 10, metric: str = "cosine") -> NDArray[np.intp]:
    """How often each sentence is among the `k` nearest of another: `[n, D]` -> counts `[n]`, whose mean is `k`."""
    nearest = neighbours(embeddings, k, metric)
    return np.bincount(nearest.ravel(), minlength=len(nearest))


def silhouettes(embeddings: ArrayLike, labels: ArrayLike, metric: str = "cosine") -> Floats:
    """Silhouette of each sentence in its label, -1 to 1, 0 at a border: `[n, D]`, `[n]` -> `[n]` (Rousseeuw, 1987)."""
    from sklearn.metrics import silhouette_samples

    return silhouette_samples(np.asarray(embeddings, dtype=float), pd.factorize(np.asarray(labels))[0], metric=metric)


def v_measure(embeddings: ArrayLike, labels: ArrayLike, seeds: Iterable[int] = range(10)) -> Floats:
    """Agreement of k-means with the labels, one value a seed, 0 to 100: V-measure (Rosenberg and Hirschberg, 2007).

    As many clusters as labels. Unlike neighbour accuracy it is above 0 by chance: compare with random vectors.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    vectors, (codes, names) = np.asarray(embeddings, dtype=float), pd.factorize(np.asarray(labels))
    _at_least_two_labels(names)
    clusters = (KMeans(len(names), n_init=1, random_state=seed).fit_predict(vectors) for seed in seeds)
    return 100 * np.array([v_measure_score(codes, found) for found in clusters])


def trust(embeddings: ArrayLike, plane: ArrayLike, k: int = 10, metric: str = "cosine") -> float:
    """Trustworthiness of a plot, 0 to 1: are neighbours in the `plane` `[n, 2]` neighbours in the full space `[n, D]`?

    Venna and Kaski (2001). About 0.5 for a plot that ignores the data.
    """
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(np.asarray(embeddings), np.asarray(plane), n_neighbors=k, metric=metric))


# --- Controls: similarities that know nothing of meaning --------------------------------------------------------------


def _words(sentences: Iterable[str]) -> list[list[str]]:
    return [re.findall(r"\w+", sentence.lower()) for sentence in sentences]


def tfidf_similarity(sentences1: Iterable[str], sentences2: Iterable[str]) -> Floats:
    """Cosine of the TF-IDF vectors of each pair, fitted on all of them: `[n]`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words1, words2 = _words(sentences1), _words(sentences2)
    if not any(words1 + words2):  # punctuation throughout
        return np.zeros(len(words1))
    vectors = TfidfVectorizer(analyzer=list).fit_transform(words1 + words2)
    first, second = vectors[: len(words1)], vectors[len(words1) :]
    return np.asarray(first.multiply(second).sum(axis=1), dtype=float).ravel()


def jaccard_similarity(sentences1: Iterable[str], sentences2: Iterable[str]) -> Floats:
    """Share of the words of each pair that are in both sentences: `[n]`, 0 where there are none."""
    pairs = [(set(a), set(b)) for a, b in zip(_words(sentences1), _words(sentences2), strict=True)]
    return np.array([len(a & b) / max(1, len(a | b)) for a, b in pairs])


def length_ratio(sentences1: Iterable[str], sentences2: Iterable[str]) -> Floats:
    """Words in the shorter sentence of each pair over words in the longer: `[n]`, 1 where both have none."""
    lengths = [(len(a), len(b)) for a, b in zip(_words(sentences1), _words(sentences2), strict=True)]
    return np.array([min(pair) / max(pair) if max(pair) else 1.0 for pair in lengths])
