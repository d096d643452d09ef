"""What the scores share: checked arguments, groups of rows, comparisons won, and arrays of a bounded size."""

# mypy: disable-error-code="no-any-return"
# numpy and pandas type what their reductions return as Any.

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from stlib.evidence.estimate import Floats

CHUNK = 4_000_000
"""Numbers held at a time in each working array: 32 MB."""


def chunks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of the rows that hold at most `CHUNK` numbers."""
    step = max(1, CHUNK // max(1, columns))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def comparisons_won(similarity: Floats, positive: NDArray[np.bool_], negative: NDArray[np.bool_]) -> Floats:
    """[a, n]: for a positive, the negatives below it; for a negative, the positives above it; level ones half."""
    wins = np.zeros(similarity.shape)
    for row, scores in enumerate(similarity):
        p, q = np.flatnonzero(positive[row]), np.flatnonzero(negative[row])
        wins[row, p] = _below(scores[q], scores[p])
        wins[row, q] = len(p) - _below(scores[p], scores[q])
    return wins


def _below(values: Floats, limits: Floats) -> Floats:
    """For each limit how many of the values are below it, level ones half."""
    values = np.sort(values)
    return (np.searchsorted(values, limits, "left") + np.searchsorted(values, limits, "right")) / 2


def label_names(labels: ArrayLike) -> list[object]:
    return np.asarray(labels).tolist()


def label_codes(labels: ArrayLike) -> NDArray[np.intp]:
    codes, names = pd.factorize(np.asarray(labels))
    if len(names) < 2:
        raise ValueError(f"labels: expected at least 2 different labels, got {len(names)}")
    return codes


def as_matrix(name: str, values: ArrayLike) -> Floats:
    matrix = np.asarray(values)
    if matrix.ndim != 2 or not len(matrix) or matrix.dtype == object:
        raise ValueError(f"{name}: expected an array [n, D], got shape {list(matrix.shape)}")
    if not np.isfinite(matrix).all():
        row = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise ValueError(f"{name}: expected finite numbers, row {row} holds others")
    return matrix


def truths(related: Floats) -> NDArray[np.bool_]:
    if not np.isin(related, (0, 1)).all() or not 0 < related.sum() < len(related):
        raise ValueError("related: expected true and false, at least one of each")
    return related.astype(bool)


def by_group(groups: ArrayLike | None, n: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Group numbers [n], the rows in order of their group, and where each group starts in that order."""
    codes = np.arange(n) if groups is None else pd.factorize(np.asarray(groups))[0]
    if len(codes) != n:
        raise ValueError(f"groups: expected {n} rows, got {len(codes)}")
    order = np.argsort(codes, kind="stable")
    return codes, order, np.searchsorted(codes[order], np.arange(codes.max() + 1))


def as_columns(**columns: ArrayLike) -> list[Floats]:
    """The named columns as finite float64 arrays of one length."""
    arrays = {name: np.asarray(column, dtype=float) for name, column in columns.items()}
    if len({array.shape for array in arrays.values()}) > 1 or any(array.ndim != 1 for array in arrays.values()):
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise ValueError(f"expected columns of one length, got {shapes}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: row {int(np.argmin(np.isfinite(array))) + 1} is not a finite number")
    return list(arrays.values())
