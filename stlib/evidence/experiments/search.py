"""Trials of a search engine: vectors and words together, a small index, a threshold for silence, and what breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch

from stlib.encoder import SentenceEncoder
from stlib.evidence.controls import bm25
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.experiments.normalisation import int8, int8_scale
from stlib.evidence.passages import Passages
from stlib.evidence.scores import balanced_error, choose_threshold, ranking, ranking_of, top
from stlib.evidence.vectors import encoded, unit
from stlib.projection import Projection

LESSON = "09_search"
FUSION = 60


def fused(*scores: Floats) -> Floats:
    """Reciprocal rank fusion of several scores [q, p]: the sum of 1 / (60 + rank) (Cormack et al. 2009)."""
    total = np.zeros(scores[0].shape)
    for one in scores:
        ranks = np.empty(one.shape)
        np.put_along_axis(ranks, np.argsort(-one, axis=1, kind="stable"), np.arange(1, one.shape[1] + 1)[None], axis=1)
        total += np.where(one != 0, 1 / (FUSION + ranks), 0)  # 0: no word shared, so nothing is said
    return total


def by_way(encoder: SentenceEncoder, passages: Passages, *, stemmed: bool = True) -> dict[str, Estimate]:
    """Recall@10 of vectors, of BM25, and of both; BM25 by stems or by words as they are spelled."""
    dense = encoded(encoder, passages.queries) @ encoded(encoder, passages.texts).T
    words = bm25(passages.queries, passages.texts, stemmed=stemmed)
    found = {"vectors": dense, "BM25": words, "both": fused(dense, words)}
    return {name: ranking_of(scores, passages.relevant) for name, scores in found.items()}


def small_index(encoder: SentenceEncoder, passages: Passages, candidates: int = 100) -> dict[str, Estimate]:
    """Recall@10 of half the numbers in one byte each, alone and with the first `candidates` ranked by the full vectors.

    The principal components are those of the passages themselves: whoever builds an index has these, and no query.
    """
    queries, texts = encoded(encoder, passages.queries), encoded(encoder, passages.texts)
    size = min(texts.shape[1] // 2, len(texts) // 2)
    cut = Projection.from_pca(texts, size)
    rough_queries, rough_texts = (unit(cut(torch.from_numpy(side)).detach().numpy()) for side in (queries, texts))
    scale = int8_scale(rough_texts).astype(np.float32)
    stored = int8(rough_texts, scale) * scale
    return {
        "full": ranking(queries, texts, passages.relevant),
        "small": ranking(rough_queries, stored, passages.relevant),
        "small, rescored": ranking_of(_second_look(rough_queries, stored, queries, texts, candidates),
                                      passages.relevant, pool=len(texts)),
    }  # fmt: skip


def _second_look(
    rough: Floats, stored: Floats, queries: Floats, texts: Floats, candidates: int
) -> Callable[[slice], Floats]:
    count = min(candidates, len(texts))

    def scores(rows: slice) -> Floats:
        found = np.full((rows.stop - rows.start, len(texts)), -np.inf, dtype=np.float32)
        for line, one, exact in zip(found, top(rough[rows] @ stored.T, count), queries[rows], strict=True):
            line[one] = texts[one] @ exact
        return found

    return scores


def mistyped(query: str, words: int = 1) -> str:
    """Two letters in the middle of the longest word exchanged, those that differ; a query without such a word stays.

    words: in so many words, the longest first.
    """
    letters, wrong = list(query), 0
    for word in sorted(re.finditer(r"[^\W\d_]{4,}", query), key=lambda found: len(found[0]), reverse=True):
        middle = word.start() + len(word[0]) // 2 - 1
        inner = sorted(range(word.start() + 1, word.end() - 2), key=lambda at: abs(at - middle))
        differ = [at for at in inner if letters[at] != letters[at + 1]]
        if differ and wrong < words:
            letters[differ[0]], letters[differ[0] + 1] = letters[differ[0] + 1], letters[differ[0]]
            wrong += 1
    return "".join(letters)


def lost_by_typos(encoder: SentenceEncoder, passages: Passages) -> Estimate:
    """Recall@10 of vectors, as typed − mistyped."""
    texts = encoded(encoder, passages.texts)
    typed, wrong = (encoded(encoder, side) for side in (passages.queries, [mistyped(one) for one in passages.queries]))
    return ranking(typed, texts, passages.relevant) - ranking(wrong, texts, passages.relevant)


def silence(
    encoder: SentenceEncoder, passages: Passages, strangers: Sequence[str], seed: int = 0
) -> tuple[float, Estimate]:
    """A threshold on the best cosine that tells answerable queries from `strangers`, and its balanced error in points.

    The threshold is chosen on one half of both, the error counted on the other.
    """
    texts = encoded(encoder, passages.texts)
    best = [(encoded(encoder, list(side)) @ texts.T).max(axis=1) for side in (passages.queries, strangers)]
    cosine, known = np.concatenate(best), np.repeat([1.0, 0.0], [len(one) for one in best])
    half = np.random.default_rng(seed).permutation(len(cosine)) % 2 == 0
    threshold = choose_threshold(cosine[half], known[half])
    return threshold, balanced_error(cosine[~half], known[~half], threshold)
