"""Labelled sentences: neighbours, topics, hubs and clusters, an estimate over the sentences.

A sentence is deleted from the data and from everyone's neighbourhood: with k + 1 neighbours stored, nothing is computed
again.
"""

# mypy: disable-error-code="no-any-return"
# numpy and pandas type what their reductions return as Any.

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from stlib.evidence.estimate import Estimate, key_of
from stlib.evidence.scores.checks import as_matrix, chunks, comparisons_won, label_codes, label_names
from stlib.evidence.scores.ranking import top


def neighbours(vectors: ArrayLike, k: int, metric: str = "cosine") -> NDArray[np.intp]:
    """The k nearest other rows of each row, nearest first: [n, D] -> [n, k]. metric: cosine, dot or euclidean."""
    vectors = as_matrix("vectors", vectors).astype(np.float64)
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
    for rows in chunks(len(vectors), len(vectors)):
        closeness = vectors[rows] @ vectors.T - penalty
        closeness[np.arange(len(closeness)), np.arange(rows.start, rows.stop)] = -np.inf
        nearest[rows] = top(closeness, k)
    return nearest


def neighbour_accuracy(vectors: ArrayLike, labels: ArrayLike, k: int = 5, metric: str = "cosine") -> Estimate:
    """How many of a sentence's k nearest others share its label, in points; unit: sentence.

    Random vectors give the share of the label among the others. ValueError: fewer than two labels, or k + 2 rows.
    """
    codes = label_codes(labels)
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    if np.bincount(codes).max() < 2:
        raise ValueError("labels: expected a label with at least two sentences, each stands once")
    nearest = neighbours(vectors, k + 1, metric)  # one more, to move up where a neighbour is deleted
    same = codes[nearest] == codes[:, None]
    hits = same[:, :k].sum(axis=1)
    gain = np.zeros(len(codes))  # what deleting a sentence does to those that had it among their k
    np.add.at(gain, nearest[:, :k], same[:, [k]].astype(float) - same[:, :k])
    without = (hits.sum() - hits + gain) / (len(codes) - 1)
    key = key_of(label_names(labels))
    return Estimate.jackknife(100 * hits.mean() / k, 100 * without / k, "sentence", key, most=100)


def topic_auc(vectors: ArrayLike, labels: ArrayLike) -> Estimate:
    """The chance that a sentence is closer to one of its own topic than to one of another, 0 to 1; unit: sentence.

    The mean over sentences of the area under the ROC curve, by dot product (cosine for unit vectors [n, D]); a sentence
    alone in its topic is left out. See `topic_aucs` for one estimate a topic.
    """
    return _topic_auc(vectors, labels, None)


def topic_aucs(vectors: ArrayLike, labels: ArrayLike) -> dict[str, Estimate]:
    """`topic_auc` for the sentences of each topic against all others: {label: Estimate}, over the same sentences."""
    counts = pd.Series(label_names(labels)).value_counts(sort=False)
    return {str(label): _topic_auc(vectors, labels, label) for label in counts.index[counts > 2]}


def _topic_auc(vectors: ArrayLike, labels: ArrayLike, label: object | None) -> Estimate:
    vectors, codes, names = as_matrix("vectors", vectors), label_codes(labels), label_names(labels)
    n = len(codes)
    anchors = np.flatnonzero([label is None or name == label for name in names])
    sizes = np.bincount(codes)
    total, lost, counted = 0.0, np.zeros(n), np.zeros(n)  # sums over anchors of AUC, and of AUC without each sentence
    own_areas = np.full(n, np.nan)
    for rows in chunks(len(anchors), n):
        these = anchors[rows]
        similarity = vectors[these] @ vectors.T
        own = codes[these][:, None] == codes
        itself = np.zeros_like(own)
        itself[np.arange(len(these)), these] = True
        positive, negative = own & ~itself, ~own
        wins = comparisons_won(similarity, positive, negative)  # [anchors, n], of those that a sentence takes part in
        p = (sizes[codes[these]] - 1)[:, None].astype(float)
        q = n - 1 - p
        all_wins = (wins * positive).sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            area = (all_wins / (p * q))[:, 0]
            without = (all_wins - wins) / ((p - positive) * (q - negative))
        without[itself | ~np.isfinite(without)] = np.nan  # an anchor falls out with itself, or when left without others
        own_areas[these] = area
        lost += np.nansum(without, axis=0)
        counted += np.isfinite(without).sum(axis=0)
        total += np.nansum(area)
    known = np.isfinite(own_areas).sum()
    if not known or not counted.min():
        raise ValueError("labels: expected a label with at least two sentences, and another beside it")
    return Estimate.jackknife(total / known, lost / counted, "sentence", key_of(names), most=1)


def occurrences(nearest: NDArray[np.intp]) -> NDArray[np.intp]:
    """How often each sentence is among the k nearest of another: [n, k] -> [n], whose mean is k."""
    return np.bincount(nearest.ravel(), minlength=len(nearest))


def hub_share(vectors: ArrayLike, k: int = 10, metric: str = "cosine", parts: int = 10, seed: int = 0) -> Estimate:
    """Of 100 places among the k nearest, how many go to sentences beyond their fair share of k; unit: part of the data.

    The Robin Hood index of `occurrences` (Feldbauer et al. 2018), in `parts` random parts of the data: deleting single
    sentences gives intervals that are half as wide again as they should be, and for the usual measure, skewness
    (Radovanović et al. 2010), which hangs on a few hubs, ones that do not cover. Hubs grow with the number of
    sentences: a value belongs to the size of a part.
    """
    vectors = as_matrix("vectors", vectors)
    order = np.random.default_rng(seed).permutation(len(vectors))
    if len(vectors) < parts * (k + 2):
        raise ValueError(f"parts: {len(vectors)} rows do not make {parts} parts of at least k + 2 = {k + 2}")
    values = []
    for rows in np.array_split(order, parts):
        beyond = np.maximum(occurrences(neighbours(vectors[rows], k, metric)) - k, 0)
        values.append(100 / k * beyond.mean())
    return Estimate.of(values, "part of the data", f"{parts} parts of {len(vectors)} by seed {seed}")


def v_measure(vectors: ArrayLike, labels: ArrayLike, parts: int = 6, seed: int = 0) -> Estimate:
    """Agreement of k-means with the labels in points, k = number of labels (Rosenberg and Hirschberg 2007).

    Unit: part of the data, each clustered by itself from three starts. Deleting sentences from clusters that were found
    once covers too little (86 %), for other data would have been clustered otherwise.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    vectors, codes = as_matrix("vectors", vectors), label_codes(labels)
    order = np.random.default_rng(seed).permutation(len(vectors))
    values = []
    for rows in np.array_split(order, parts):
        found = KMeans(codes.max() + 1, n_init=3, random_state=seed).fit_predict(vectors[rows])
        values.append(100 * v_measure_score(codes[rows], found))
    return Estimate.of(values, "part of the data", f"{parts} parts of {len(vectors)} by seed {seed}")
