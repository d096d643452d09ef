"""Ranking in a stated, fixed pool: recall and nDCG, an estimate over the queries."""

# mypy: disable-error-code="no-any-return"
# numpy and pandas type what their reductions return as Any.

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stlib.evidence.estimate import Estimate, Floats, key_of
from stlib.evidence.scores.checks import as_matrix, chunks

Scores = ArrayLike | Callable[[slice], Floats]
"""Scores [q, p] of each query with each passage, or a function that gives those of a slice of the queries."""


def ranking(queries: ArrayLike, passages: ArrayLike, relevant: Sequence[Collection[int]], k: int = 10) -> Estimate:
    """Recall@k by the dot product, in points: the share of a query's relevant passages among its k best; unit: query.

    Args:
        queries, passages: vectors [q, D], [p, D]; unit vectors make it a ranking by cosine.
        relevant: for each query the numbers of its relevant passages, at least one.

    Example:
        >>> queries, passages = [[1, 0], [0, 1]], [[1, 0], [0.6, 0.8], [-1, 0]]
        >>> ranking(queries, passages, relevant=[{0}, {2}], k=1).value
        50.0
    """
    queries, passages = as_matrix("queries", queries), as_matrix("passages", passages)
    if len(queries) != len(relevant):
        raise ValueError(f"relevant: expected one set for each of {len(queries)} queries, got {len(relevant)}")
    return ranking_of(lambda rows: queries[rows] @ passages.T, relevant, k, pool=len(passages))


def ranking_of(
    scores: Scores, relevant: Sequence[Collection[int]], k: int = 10, *, pool: int | None = None
) -> Estimate:
    """`ranking` by any `scores`; `pool` is the number of passages where they come from a function."""
    gains = [dict.fromkeys(map(int, chosen), 1.0) for chosen in relevant]
    shares = _in_first(scores, gains, np.ones(_checked_k(k)), pool)
    values = np.array([share.sum() / len(share) for share in shares])
    return Estimate.of(100 * values, "query", key_of(sorted(one) for one in gains), most=100)


def ndcg_of(scores: Scores, grades: Sequence[Mapping[int, float]], k: int = 10, *, pool: int | None = None) -> Estimate:
    """nDCG@k in points (Järvelin and Kekäläinen 2002) with the gains of `grades`; unit: query."""
    discounts = 1 / np.log2(np.arange(2, _checked_k(k) + 2))
    gains = [{int(passage): float(gain) for passage, gain in one.items() if gain > 0} for one in grades]
    shares = _in_first(scores, gains, discounts, pool)
    values = []
    for one, share in zip(gains, shares, strict=True):
        gain = np.array(list(one.values()))
        ideal = np.sort(gain)[::-1][:k]
        values.append((gain @ share) / (ideal @ discounts[: len(ideal)]))
    return Estimate.of(100 * np.array(values), "query", key_of(sorted(one) for one in gains), most=100)


def _in_first(scores: Scores, gains: Sequence[Mapping[int, float]], weights: Floats, pool: int | None) -> list[Floats]:
    """For each query, the weight of the rank of each passage in `gains`; equal scores share the ranks they fill."""
    if not callable(scores):
        matrix = as_matrix("scores", scores)
        pool, scores = matrix.shape[1], lambda rows: matrix[rows]
        if len(matrix) != len(gains):
            raise ValueError(f"relevant: expected one set for each of {len(matrix)} queries, got {len(gains)}")
    assert pool is not None
    for number, one in enumerate(gains):
        if not one or not 0 <= min(one) <= max(one) < pool:
            raise ValueError(f"relevant[{number}]: expected numbers of passages from 0 to {pool - 1}, got {list(one)}")
    filled = np.concatenate([[0.0], np.cumsum(weights)])  # weight of the first r ranks
    found = []
    for rows in chunks(len(gains), pool):
        block = scores(rows)
        if block.shape != (rows.stop - rows.start, pool):
            raise ValueError(f"relevant: expected one set for each query, got {len(gains)}")
        for line, one in zip(block, gains[rows], strict=True):
            own = line[list(one)][:, None]
            above, level = (line > own).sum(axis=1), (line == own).sum(axis=1)
            ends = np.minimum([above, above + level], len(weights))
            found.append((filled[ends[1]] - filled[ends[0]]) / level)
    return found


def top(scores: ArrayLike, k: int) -> NDArray[np.intp]:
    """The k best of each row, best first: [q, p] -> [q, k]."""
    scores = np.asarray(scores)
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)


def _checked_k(k: int) -> int:
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    return k
