"""Sentences or vectors compared with sentences or vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from stlib.files import as_value_error


def cosines(a: Any, b: Any, encode: Callable[[list[Any]], np.ndarray]) -> np.ndarray:
    """Cosine similarity [n, m] of `a` and `b`, of `a` with itself where `b` is `None`: each texts, which `encode` turns
    into vectors in one call (so that it warns once at most), or vectors.

    Raises:
        TypeError: neither sentences nor vectors.
        ValueError: vectors that are not [n, D], or of unequal D.
    """
    sides = [_texts_or_vectors("a", a)] + ([] if b is None else [_texts_or_vectors("b", b)])
    vectors = encode([text for side in sides if isinstance(side, list) for text in side])
    units = []
    for side in sides:
        if isinstance(side, list):
            side, vectors = vectors[: len(side)], vectors[len(side) :]
        units.append(_unit_length(side))
    if units[0].shape[1] != units[-1].shape[1]:
        raise ValueError(f"a has vectors of {units[0].shape[1]} numbers and b of {units[-1].shape[1]}")
    similarity: np.ndarray = units[0] @ units[-1].T
    return similarity


def _texts_or_vectors(name: str, value: Any) -> Any:
    """One side of a comparison: a list of texts, which `encode` then checks, or vectors [n, D]."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be sentences or vectors [n, D], got {type(value).__name__}")
    if getattr(value, "ndim", 1) == 1:  # a collection, or one vector
        value = [_plain(item) for item in value]
        if not value or isinstance(value[0], (str, bytes, bool, type(None))):
            return value
    with as_value_error(f"{name} must be sentences or vectors [n, D]"):
        vectors = np.atleast_2d(np.asarray(_plain(value), dtype=np.float32))
    if vectors.ndim != 2:
        raise ValueError(f"{name} must be sentences or vectors [n, D], got shape {vectors.shape}")
    return vectors


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """Rows [n, D] scaled to length 1; zeros stay. By the largest number first: squares of tiny ones would vanish."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    vectors = vectors / np.where(largest > 0, largest, np.float32(1))
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _plain(value: Any) -> Any:
    return value.detach().float().cpu().numpy() if isinstance(value, Tensor) else value
