"""Trials of unit length and of the precision in which vectors are stored: what each finds in a pool of passages."""

from __future__ import annotations

from typing import Any

import numpy as np

from stlib.encoder import SentenceEncoder
from stlib.evidence.corpora import Passages
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.scores import hub_share, ranking, ranking_of, spearman, top
from stlib.evidence.study import Study
from stlib.evidence.vectors import pooled, unit

LESSON = "04_normalise"
CANDIDATES = 100
"""How many a rough search hands over to an exact one."""


def raw_vectors(encoder: SentenceEncoder, passages: Passages) -> tuple[Floats, Floats]:
    """Queries [q, D] and passages [p, D] as they come out of pooling and projection, before the division by length."""
    return raw(encoder, passages.queries), raw(encoder, passages.texts)


def raw(encoder: SentenceEncoder, texts: list[str]) -> Floats:
    """[n, D], pooled as the model declares and projected, not scaled."""
    import torch

    model = encoder.model
    parts = pooled(encoder, texts, model.pooling)
    vectors = torch.from_numpy(np.concatenate([parts[mode] for mode in model.pooling], axis=1))
    with torch.no_grad():
        return np.asarray(model.projection(vectors).numpy())


def by_metric(queries: Floats, texts: Floats, passages: Passages) -> dict[str, Estimate]:
    """Recall@10 by cosine, dot product and Euclidean distance between vectors as they are."""
    lengths = (texts**2).sum(axis=1) / 2  # -|q-p|^2 / 2 = qp - p^2/2 - q^2/2, of which the last moves no rank
    return {
        "cosine": ranking(unit(queries), unit(texts), passages.relevant),
        "dot product": ranking(queries, texts, passages.relevant),
        "Euclidean distance": ranking_of(
            lambda rows: queries[rows] @ texts.T - lengths, passages.relevant, pool=len(texts)
        ),
    }


def more_hubs_by_dot(texts: Floats) -> Estimate:
    """Places among the 10 nearest that go to hubs, dot product − cosine."""
    return hub_share(texts, metric="dot") - hub_share(texts, metric="cosine")


def norm_and_length(encoder: SentenceEncoder, passages: Passages) -> Estimate:
    """Spearman of raw norm and number of tokens, counted positive."""
    norms = np.linalg.norm(raw(encoder, passages.texts), axis=1)
    found = spearman(norms, np.minimum(encoder.token_counts(passages.texts), encoder.max_length))
    return -found if found.value < 0 else found


def int8(vectors: Floats, scale: Floats) -> Floats:
    """One byte a number: the nearest of 255 steps of `scale` [D]; what lies beyond is cut."""
    return np.clip(np.round(vectors / scale), -127, 127).astype(np.int8)


def int8_scale(vectors: Floats) -> Floats:
    """The step of each dimension: its largest size in `vectors` [n, D] is 127 steps."""
    return np.maximum(np.abs(vectors).max(axis=0), 1e-12) / 127


def by_precision(queries: Floats, texts: Floats, passages: Passages) -> dict[str, Estimate]:
    """Recall@10 of unit vectors stored in fewer bytes; the query stays as it is, but for bits."""
    scale, bits = int8_scale(texts), [np.where(side > 0, 1.0, -1.0).astype(np.float32) for side in (queries, texts)]
    stored = {
        "float32": (queries, texts),
        "float16": (queries, texts.astype(np.float16).astype(np.float32)),
        "int8": (queries, int8(texts, scale) * scale.astype(np.float32)),
        "bits": (bits[0], bits[1]),  # the dot product of signs is D − 2 × the Hamming distance
    }
    found = {name: ranking(one, other, passages.relevant) for name, (one, other) in stored.items()}
    return {**found, "bits, rescored": rescored(*bits, queries, texts, passages)}


def rescored(
    rough_queries: Floats, rough_texts: Floats, queries: Floats, texts: Floats, passages: Passages
) -> Estimate:
    """Recall@10 where rough vectors choose `CANDIDATES` passages and exact ones rank them."""

    def scores(rows: slice) -> Floats:
        chosen = top(rough_queries[rows] @ rough_texts.T, min(CANDIDATES, len(texts)))  # [r, c]
        exact = np.full((len(chosen), len(texts)), -np.inf, dtype=np.float32)
        np.put_along_axis(exact, chosen, np.einsum("rd,rcd->rc", queries[rows], texts[chosen]), axis=1)
        return exact

    return ranking_of(in_steps(scores, len(texts), texts.shape[1]), passages.relevant, pool=len(texts))


def in_steps(scores: Any, pool: int, width: int) -> Any:
    """Fewer queries at a time: each brings its candidates' vectors along."""
    step = max(1, 20_000_000 // (CANDIDATES * width))

    def stepped(rows: slice) -> Floats:
        starts = range(rows.start, rows.stop, step)
        return np.concatenate([scores(slice(start, min(start + step, rows.stop))) for start in starts])

    return stepped


def loss_in(precisions: dict[str, Estimate], name: str) -> Estimate:
    """What a precision loses or gains against float32."""
    return precisions[name] - precisions["float32"]


def reference(study: Study) -> dict[str, Any]:
    """The numbers that the lesson quotes."""
    queries, texts = raw_vectors(study.encoder, study.passages)
    metrics, norms = by_metric(queries, texts, study.passages), np.linalg.norm(texts, axis=1)
    precisions = by_precision(unit(queries), unit(texts), study.passages)
    return {
        "recall": {name.replace(" ", "_"): one.value for name, one in metrics.items()},
        "precision": {name.replace(", ", "_"): one.value for name, one in precisions.items()},
        "norms": {"shortest": float(norms.min()), "longest": float(norms.max())},
        "hubs": {metric: hub_share(texts, metric=metric).value for metric in ("cosine", "dot")},
    }
