"""Lesson 04: unit length, the few bytes that a unit vector needs, and what each finds in a pool of passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stlib.encoder import SentenceEncoder
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.scores import hub_share, neighbours, occurrences, ranking, ranking_of, spearman, top
from stlib.evidence.vectors import pooled, unit

if TYPE_CHECKING:
    from stlib.evidence.passages import Passages
    from stlib.evidence.study import Study

LESSON = "04_normalise"
CANDIDATES = 100
"""How many a rough search hands over to an exact one."""
PARTS = 10
"""Hubs are counted in so many parts of the pool."""
WORDS = (1, 2, 4, 8, 16, 32)
"""Lengths to which texts are cut."""

# ------------------------------------------------------------------------------------------------------- raw vectors


def raw(encoder: SentenceEncoder, texts: Sequence[str]) -> Floats:
    """[n, D], pooled as the model declares and projected, not scaled to unit length."""
    model = encoder.model
    parts = pooled(encoder, texts, model.pooling)
    vectors = torch.from_numpy(np.concatenate([parts[mode] for mode in model.pooling], axis=1))
    with torch.no_grad():
        return np.asarray(model.projection(vectors).numpy())


def raw_vectors(encoder: SentenceEncoder, passages: Passages) -> tuple[Floats, Floats]:
    """Queries [q, D] and passages [p, D]."""
    return raw(encoder, passages.queries), raw(encoder, passages.texts)


def tokens(encoder: SentenceEncoder, texts: Sequence[str]) -> Floats:
    """How many tokens of each text the model sees: [n]."""
    return np.minimum(encoder.token_counts(texts), encoder.max_length)


def norm_and_length(encoder: SentenceEncoder, passages: Passages) -> Estimate | None:
    """Spearman of raw norm and number of tokens in points, counted positive; `None` where all are equally long."""
    norms, counts = np.linalg.norm(raw(encoder, passages.texts), axis=1), tokens(encoder, passages.texts)
    if np.ptp(norms) == 0 or np.ptp(counts) == 0:
        return None
    found = spearman(norms, counts)
    return -found if found.value < 0 else found


def growing(encoder: SentenceEncoder, texts: Sequence[str], most: int = 60) -> dict[int, Floats]:
    """Lengths of the raw vectors of the same texts, cut to their first words: {words: [n]}."""
    long = [words for words in (text.split() for text in texts) if len(words) >= max(WORDS)][:most]
    return {
        count: np.linalg.norm(raw(encoder, [" ".join(words[:count]) for words in long]), axis=1)
        for count in (WORDS if long else ())
    }


# ---------------------------------------------------------------------------------------------------------- measures


def by_metric(queries: Floats, texts: Floats, passages: Passages) -> dict[str, Estimate]:
    """Recall@10 by cosine, dot product and Euclidean distance between vectors as they are."""
    return {
        "cosine": ranking(unit(queries), unit(texts), passages.relevant),
        "dot product": ranking(queries, texts, passages.relevant),
        "Euclidean distance": ranking_of(by_distance(queries, texts), passages.relevant, pool=len(texts)),
    }


def by_distance(queries: Floats, texts: Floats) -> Callable[[slice], Floats]:
    """Scores that rank by Euclidean distance, for a slice of the queries."""
    penalty = (texts**2).sum(axis=1) / 2  # -|q-p|^2 / 2 = qp - p^2/2 - q^2/2, of which the last moves no rank
    return lambda rows: queries[rows] @ texts.T - penalty


def queries_stretched(queries: Floats, texts: Floats, passages: Passages, factors: Sequence[float]) -> list[Estimate]:
    """Recall@10 by Euclidean distance where all queries are so many times as long."""
    pool, relevant = len(texts), passages.relevant
    return [ranking_of(by_distance(factor * queries, texts), relevant, pool=pool) for factor in factors]


def more_hubs_by_dot(texts: Floats, k: int = 10) -> Estimate | None:
    """Of 100 places among the k nearest, those that go to texts beyond their fair share of k, dot product − cosine.

    `None` where a part of the pool is not four times as large as k: with so few there are no hubs to be seen.
    """
    if len(texts) < 4 * PARTS * k:
        return None
    return hub_share(texts, k, "dot", PARTS) - hub_share(texts, k, "cosine", PARTS)


def in_fifths(encoder: SentenceEncoder, passages: Passages) -> dict[str, Estimate]:
    """Cosine − dot product, recall@10, where the pool holds passages of about one length, and where it does not.

    Each pool is a fifth of the passages, by tokens or drawn at random, with the queries that it answers; the estimates
    of five pools are put together.
    """
    order = np.argsort(tokens(encoder, passages.texts), kind="stable")
    mixed = np.random.default_rng(0).permutation(len(order))
    pools = {"pools of one length": order, "pools of all lengths": mixed}
    return {name: _lost_in(encoder, passages, rows) for name, rows in pools.items()}


def _lost_in(encoder: SentenceEncoder, passages: Passages, order: np.ndarray) -> Estimate:
    queries, texts = raw_vectors(encoder, passages)
    lost = np.zeros(len(queries))
    for rows in np.array_split(order, 5):
        place = {passage: number for number, passage in enumerate(rows.tolist())}
        asked = [number for number, own in enumerate(passages.relevant) if own & place.keys()]
        relevant = [{place[one] for one in passages.relevant[query] if one in place} for query in asked]
        one, other = queries[asked], texts[rows]
        if asked:
            found = ranking(unit(one), unit(other), relevant) - ranking(one, other, relevant)
            lost[asked] = found.parts[0].pseudo
    return Estimate.of(lost, "query")


# --------------------------------------------------------------------------------------------------------- few bytes


def int8_scale(vectors: Floats) -> Floats:
    """The step of each dimension: its largest size in `vectors` [n, D] is 127 steps."""
    return np.maximum(np.abs(vectors).max(axis=0), 1e-12) / 127


def int8(vectors: Floats, scale: Floats) -> np.ndarray:
    """One byte a number: the nearest of 255 steps of `scale` [D]; what lies beyond is cut."""
    return np.clip(np.round(vectors / scale), -127, 127).astype(np.int8)


def signs(vectors: Floats) -> Floats:
    """A bit a number as 1 and −1: their dot product is D − 2 × the Hamming distance."""
    return np.where(vectors > 0, 1, -1).astype(np.float32)


def by_precision(queries: Floats, texts: Floats, passages: Passages) -> dict[str, Estimate]:
    """Recall@10 of unit vectors stored in fewer bytes; the query stays as it is, but for bits."""
    scale = int8_scale(texts)
    stored = {
        "float32": (queries, texts),
        "float16": (queries, texts.astype(np.float16).astype(np.float32)),
        "int8": (queries, int8(texts, scale) * scale.astype(np.float32)),
        "bits": (signs(queries), signs(texts)),
    }
    found = {name: ranking(one, other, passages.relevant) for name, (one, other) in stored.items()}
    return {**found, "bits, rescored": rescored(queries, texts, passages)}


def rescored(queries: Floats, texts: Floats, passages: Passages, candidates: int = CANDIDATES) -> Estimate:
    """Recall@10 where bits choose the candidates and exact vectors rank them."""
    rough, count = signs(texts), min(candidates, len(texts))

    def scores(rows: slice) -> Floats:
        chosen = top(signs(queries[rows]) @ rough.T, count)  # [r, candidates]
        exact = queries[rows] @ texts.T
        kept = np.full_like(exact, -np.inf)
        np.put_along_axis(kept, chosen, np.take_along_axis(exact, chosen, axis=1), axis=1)
        return kept

    return ranking_of(scores, passages.relevant, pool=len(texts))


def loss_in(precisions: dict[str, Estimate], name: str) -> Estimate:
    """What a precision loses or gains against float32."""
    return precisions[name] - precisions["float32"]


def shared(vectors: Floats, stored: Floats, candidates: int = 10, k: int = 10) -> float:
    """Of 100 among the k nearest by `vectors`, how many are among the nearest `candidates` by `stored`."""
    exact, rough = neighbours(vectors, k), neighbours(stored, candidates)
    return float(100 * np.mean([np.isin(one, other).mean() for one, other in zip(exact, rough, strict=True)]))


def orders(queries: Floats, texts: Floats, passages: Passages, sizes: Sequence[int]) -> dict[str, list[Estimate]]:
    """Recall@10 by dot product of the first numbers of raw vectors: cut and scaled to unit length, in either order."""
    return {
        "cut, then normalise": [
            ranking(unit(queries[:, :size]), unit(texts[:, :size]), passages.relevant) for size in sizes
        ],
        "normalise, then cut": [
            ranking(unit(queries)[:, :size], unit(texts)[:, :size], passages.relevant) for size in sizes
        ],
    }


# --------------------------------------------------------------------------------------------------------- precision


def product_error(vectors: Floats, kind: torch.dtype, *, products_too: bool = False) -> float:
    """Mean error of dot products between vectors [n, D] stored as `kind`, over the spread of the exact ones.

    products_too: the products are stored as `kind` as well, as some indexes return them. NaN where they overflow.
    """
    exact = torch.from_numpy(np.asarray(vectors, dtype=np.float64))
    stored = exact.to(kind).double()
    found, truth = stored @ stored.T, exact @ exact.T
    found = found.to(kind).double() if products_too else found
    others = ~torch.eye(len(exact), dtype=torch.bool)
    error = ((found - truth).abs()[others].mean() / truth[others].std()).item()
    return error if np.isfinite(error) else float("nan")


# --------------------------------------------------------------------------------------------------------- reference


def reference(study: Study) -> dict[str, Any]:
    """The numbers that the lesson quotes."""
    queries, texts = raw_vectors(study.encoder, study.passages)
    whole = unit(texts)
    metrics, precisions = by_metric(queries, texts, study.passages), by_precision(unit(queries), whole, study.passages)
    seen = {metric: occurrences(neighbours(texts, 10, metric)) for metric in ("cosine", "dot", "euclidean")}
    stretched = queries_stretched(queries, texts, study.passages, [0.5, 2])
    grown = growing(study.encoder, study.passages.texts)
    some = raw(study.encoder, study.passages.texts[:300])
    return {
        "recall": {name.replace(" ", "_"): one.value for name, one in metrics.items()},
        "precision": {name.replace(", ", "_"): one.value for name, one in precisions.items()},
        "norms": _spread(np.linalg.norm(texts, axis=1)) | {"queries": float(np.linalg.norm(queries, axis=1).mean())},
        "most_often": {metric: int(counts.max()) for metric, counts in seen.items()},
        "never": {metric: 100 * float(np.mean(counts == 0)) for metric, counts in seen.items()},
        "nearest_by_bits": {str(n): shared(whole, signs(whole), n) for n in (10, 20, 50, CANDIDATES, 200)},
        "stretched": {"half": stretched[0].value, "twice": stretched[1].value},
        "grown": {str(count): float(np.median(lengths)) for count, lengths in grown.items()},
        "error": {
            f"{kind}_{name}": product_error(vectors, getattr(torch, kind))
            for kind in ("float16", "bfloat16")
            for name, vectors in (("raw", some), ("unit", unit(some)))
        },
    }


def _spread(values: Floats) -> dict[str, float]:
    return dict(zip(("shortest", "median", "longest"), np.percentile(values, [0, 50, 100]).tolist(), strict=True))
