"""Lesson 02: what the mode of pooling, and a forgotten mask, do to search, to neighbours and to pairs.

All modes are made from the same token states, so they differ in nothing but the last step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from stlib.encoder import SentenceEncoder
from stlib.evidence.corpora import original_groups
from stlib.evidence.estimate import Estimate, Floats, key_of
from stlib.evidence.passages import Passages
from stlib.evidence.scores import cosine, neighbour_accuracy, pair_score, ranking
from stlib.evidence.study import Study
from stlib.evidence.vectors import distinct, kept, pooled, rows_of, unit
from stlib.pooling import POOLING_MODES, pool

LESSON = "02_pool_the_tokens"
RIVALS = tuple(mode for mode in POOLING_MODES if mode not in ("mean", "mean_sqrt_len_tokens"))
"""The sum over the root of the count has the direction of the mean, so it is no rival."""
FORGOTTEN = "mean over all cells"


# --------------------------------------------------------------------------------------------------------- six modes


def search(encoder: SentenceEncoder, passages: Passages) -> dict[str, Estimate]:
    """Recall@10 in points under each mode: {mode: Estimate}, over the same queries."""
    queries, texts = (pooled(encoder, side) for side in (passages.queries, passages.texts))
    return {mode: ranking(unit(queries[mode]), unit(texts[mode]), passages.relevant) for mode in POOLING_MODES}


def mean_minus_cls(encoder: SentenceEncoder, passages: Passages) -> Estimate:
    found = search(encoder, passages)
    return found["mean"] - found["cls"]


def rivals_minus_mean(encoder: SentenceEncoder, passages: Passages) -> dict[str, Estimate]:
    found = search(encoder, passages)
    return {mode: found[mode] - found["mean"] for mode in RIVALS}


def topics(encoder: SentenceEncoder, sentences: pd.DataFrame) -> dict[str, Estimate] | None:
    """Neighbour accuracy at 5 in points under each mode; `None` where the sentences have no labels."""
    if "label" not in sentences:
        return None
    vectors = pooled(encoder, sentences["text"].tolist())
    return {mode: neighbour_accuracy(unit(vectors[mode]), sentences["label"]) for mode in POOLING_MODES}


def pairs(encoder: SentenceEncoder, graded: pd.DataFrame) -> dict[str, Estimate]:
    """The pair score in points under each mode, without the built-in groups that were added for its sake."""
    judged = original_groups(graded)
    texts, _ = distinct(graded)
    left, right = (rows_of(judged[side], texts) for side in ("sentence1", "sentence2"))
    vectors = pooled(encoder, texts)
    return {mode: pair_score(cosine(found[left], found[right]), judged) for mode, found in vectors.items()}


def in_thirds(estimate: Estimate, counts: ArrayLike) -> dict[str, Estimate]:
    """A mean over queries in three parts of them by `counts` [q], such as tokens: {"5 to 11": Estimate, …}."""
    counts, values = np.asarray(counts), estimate.parts[0].pseudo  # of a mean, the values themselves
    third = np.searchsorted(np.quantile(counts, [1 / 3, 2 / 3]), counts, side="left")
    parts = [np.flatnonzero(third == number) for number in range(3)]
    return {
        f"{counts[rows].min()} to {counts[rows].max()}": Estimate.of(values[rows], estimate.unit, key_of(rows.tolist()))
        for rows in parts
        if len(rows) > 1
    }


# ---------------------------------------------------------------------------------------------------------- the mask


def over_all_cells(encoder: SentenceEncoder, texts: Sequence[str], rows: int = 32) -> Floats:
    """What a mean without its mask gives, [n, H]: batches of `rows` in order of arrival, padding counted as text.

    The model itself has the mask, so the states of the tokens are right.
    """

    @torch.no_grad()
    def compute() -> dict[str, Floats]:
        batches = [_tokens(encoder, texts[start : start + rows]) for start in range(0, len(texts), rows)]
        return {"v": torch.cat([encoder.model.backbone(*batch).mean(dim=1) for batch in batches]).float().cpu().numpy()}

    return kept(encoder, texts, ["over all cells", rows], compute)["v"]


def forgotten_mask(encoder: SentenceEncoder, passages: Passages, most: int = 320) -> dict[str, Estimate]:
    """Recall@10 of "mean", of "cls" and of the mean over all cells, in one small pool, for padding is slow."""
    drawn = passages.drawn(most, seed=0)
    queries, texts = (
        {mode: found[rows_of(side, whole)] for mode, found in pooled(encoder, whole, ("mean", "cls")).items()}
        | {FORGOTTEN: over_all_cells(encoder, side)}
        for whole, side in ((passages.queries, drawn.queries), (passages.texts, drawn.texts))
    )
    return {name: ranking(unit(queries[name]), unit(texts[name]), drawn.relevant) for name in queries}


def by_length(encoder: SentenceEncoder, passages: Passages, most: int = 320) -> dict[str, dict[str, Estimate]]:
    """What the mode gains in the whole pool, and what the mask gains in a part of it: by tokens of the query."""
    found, masked, drawn = (
        search(encoder, passages),
        forgotten_mask(encoder, passages, most),
        passages.drawn(most, seed=0),
    )
    gains = {
        f"mean − CLS, {len(passages.queries):,} queries": (found["mean"] - found["cls"], passages.queries),
        f"with the mask − without, {len(drawn.queries):,} queries": (masked["mean"] - masked[FORGOTTEN], drawn.queries),
    }
    return {
        name: in_thirds(gain, np.minimum(encoder.token_counts(queries), encoder.max_length))
        for name, (gain, queries) in gains.items()
    }


def _tokens(encoder: SentenceEncoder, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [B, T] of a padded batch."""
    cut = {"truncation": True, "max_length": encoder.max_length}
    batch = encoder.tokenizer(list(texts), padding=True, return_tensors="pt", **cut)
    device = next(encoder.model.parameters()).device
    return batch["input_ids"].to(device), batch["attention_mask"].to(device)


# ----------------------------------------------------------------------------------------------------------- the lab


def common_direction(encoder: SentenceEncoder, passages: Passages, mode: str = "cls") -> Estimate:
    """Recall@10 after − before the mean of the passages' vectors is subtracted from both sides."""
    queries, texts = (pooled(encoder, side)[mode] for side in (passages.queries, passages.texts))
    centre = texts.mean(axis=0)
    after = ranking(unit(queries - centre), unit(texts - centre), passages.relevant)
    return after - ranking(unit(queries), unit(texts), passages.relevant)


def common_length(encoder: SentenceEncoder, texts: Sequence[str]) -> dict[str, float]:
    """Length of the average of all unit vectors under each mode: 1 where all point one way, near 0 where none do."""
    return {mode: float(np.linalg.norm(unit(vectors).mean(axis=0))) for mode, vectors in pooled(encoder, texts).items()}


def by_layer(encoder: SentenceEncoder, passages: Passages, most: int = 240) -> dict[str, list[Estimate]]:
    """Recall@10 from the states of each layer, 0 being the input embeddings, for "mean" and "cls"."""
    drawn = passages.drawn(most, seed=0)
    sides = [_layers(encoder, side) for side in (drawn.queries, drawn.texts)]
    return {
        mode: [
            ranking(unit(one), unit(other), drawn.relevant)
            for one, other in zip(sides[0][mode], sides[1][mode], strict=True)
        ]
        for mode in ("mean", "cls")
    }


def _layers(encoder: SentenceEncoder, texts: Sequence[str]) -> dict[str, Floats]:
    """{mode: [layers + 1, n, H]}"""

    @torch.no_grad()
    def compute() -> dict[str, Floats]:
        order = np.argsort(encoder.token_counts(texts), kind="stable")
        found: dict[str, list[Any]] = {"mean": [], "cls": []}
        for rows in np.array_split(order, max(1, len(order) // 32)):
            ids, mask = _tokens(encoder, [texts[row] for row in rows])
            states = encoder.model.backbone.encoder(
                input_ids=ids, attention_mask=mask, output_hidden_states=True
            ).hidden_states
            for mode, vectors in found.items():
                vectors.append(torch.stack([pool(layer, mask, mode) for layer in states]).float().cpu().numpy())
        back = np.argsort(order)
        return {mode: np.concatenate(vectors, axis=1)[:, back] for mode, vectors in found.items()}

    return kept(encoder, texts, ["layers"], compute)


def words_only(encoder: SentenceEncoder, passages: Passages, most: int = 240) -> dict[str, dict[str, Estimate]]:
    """Recall@10 of the first, the last and the mean of all tokens, and of those that the text itself brought."""
    drawn, modes = passages.drawn(most, seed=0), ("cls", "lasttoken", "mean")
    states = [
        [torch.from_numpy(one)[None] for one in encoder.token_embeddings(side)] for side in (drawn.queries, drawn.texts)
    ]
    own = [[_own(encoder, text) for text in side] for side in (drawn.queries, drawn.texts)]
    every = [[torch.ones_like(mask) for mask in side] for side in own]

    def found(masks: list[list[torch.Tensor]], mode: str) -> Estimate:
        queries, texts = (
            np.stack([pool(one, mask, mode)[0].numpy() for one, mask in zip(*side, strict=True)])
            for side in zip(states, masks, strict=True)
        )
        return ranking(unit(queries), unit(texts), drawn.relevant)

    kinds = {"all tokens": every, "the text's own": own}
    return {name: {mode: found(masks, mode) for mode in modes} for name, masks in kinds.items()}


def _own(encoder: SentenceEncoder, text: str) -> torch.Tensor:
    """1 where a token belongs to the text, 0 where the tokenizer added it: [1, T]."""
    cut = {"truncation": True, "max_length": encoder.max_length}
    return 1 - torch.tensor([encoder.tokenizer(text, return_special_tokens_mask=True, **cut)["special_tokens_mask"]])


def agreement(encoder: SentenceEncoder, texts: Sequence[str]) -> dict[str, Estimate]:
    """Mean cosine of a text's tokens with one another ("one text"), and with those of the other texts ("two texts")."""
    rows = zip(texts, encoder.token_embeddings(texts), strict=True)
    inner = [unit(states[_own(encoder, text)[0].bool().numpy()]) for text, states in rows]
    inner = [states for states in inner if len(states) > 1]
    sums, counts = np.stack([states.sum(axis=0) for states in inner]), np.array([len(states) for states in inner])
    # the squared length of a sum of unit vectors holds each cosine twice, and 1 for each token with itself
    within = ((sums**2).sum(axis=1) - counts) / (counts * (counts - 1))
    across = (sums * (sums.sum(axis=0) - sums)).sum(axis=1) / (counts * (counts.sum() - counts))
    return {"one text": Estimate.of(within, "text"), "two texts": Estimate.of(across, "text")}


def share_of_time(encoder: SentenceEncoder, texts: Sequence[str], repeats: int = 9) -> dict[str, float]:
    """How much of the time to encode a padded batch each mode takes, in per cent: the median of some repeats."""
    ids, mask = _tokens(encoder, texts)
    with torch.no_grad():
        states = encoder.model.backbone(ids, mask)
        whole = _seconds(partial(encoder.model.backbone, ids, mask), repeats)
        return {mode: 100 * _seconds(partial(pool, states, mask, mode), repeats) / whole for mode in POOLING_MODES}


def _seconds(work: Callable[[], object], repeats: int) -> float:
    ticks = [time.perf_counter()]
    for _ in range(repeats):
        work()
        ticks.append(time.perf_counter())
    return float(np.median(np.diff(ticks)))


def reference(study: Study) -> dict[str, Any]:
    """The numbers that the lesson and its lab quote."""
    encoder, docs, texts = study.encoder, study.passages, study.sentences["text"].tolist()
    found, masked, layers = search(encoder, docs), forgotten_mask(encoder, docs), by_layer(encoder, docs)
    topic, graded, words = topics(encoder, study.sentences), pairs(encoder, study.pairs), words_only(encoder, docs)
    low, high = (masked["cls"] - masked[FORGOTTEN]).interval()
    assert topic is not None  # the built-in sentences have labels
    return {
        "found": {mode: one.value for mode, one in found.items()},
        "passages": len(docs.texts),
        "topics": {mode: one.value for mode, one in topic.items()},
        "pairs": {"mean_minus_cls": (graded["mean"] - graded["cls"]).value},
        "mask": {"mean": masked["mean"].value, "cls": masked["cls"].value, "forgotten": masked[FORGOTTEN].value},
        "mask_and_mode": {"units": masked["mean"].units, "low": low, "high": high},
        "by_length": [[part.value for part in parts.values()] for parts in by_length(encoder, docs).values()],
        "layers": {mode: [one.value for one in line] for mode, line in layers.items()},
        "words": [{mode: one.value for mode, one in kind.items()} for kind in words.values()],
        "common_length": common_length(encoder, docs.texts),
        "agreement": [one.value for one in agreement(encoder, texts).values()],
    }
