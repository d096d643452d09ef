"""A fair trial of pooling modes: all layers trained alike, scored against steps on pairs whose groups were not trained on.

The notebook on pooling runs one fold of it, `benchmarks/fair_trial.py` the whole protocol.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stlib.encoder import SentenceEncoder, SentenceTransformer
from stlib.evaluation import cosine

BATCH_PAIRS = 30


def cosent_loss(cosines: Tensor, scores: Tensor, scale: float = 20.0) -> Tensor:
    """Penalty for each two pairs of a batch that the cosines `[n]` put in another order than the scores `[n]`.

    Asks for an order only, so any score scale will do. CoSENT (Su, 2022), as `CoSENTLoss` of sentence-transformers.
    """
    wrong_way = scale * (cosines[None, :] - cosines[:, None])[scores[:, None] > scores[None, :]]
    return torch.cat([cosines.new_zeros(1), wrong_way]).logsumexp(dim=0)


def batches(pairs: pd.DataFrame, steps: int, seed: int) -> Iterator[pd.DataFrame]:
    """`steps` batches of `BATCH_PAIRS` pairs, groups kept together, in a new order each time round."""
    rng, order = np.random.default_rng(seed), np.empty(0, dtype=int)
    places = list(pairs.groupby("anchor", sort=False).indices.values())
    for _ in range(steps):
        while len(order) < BATCH_PAIRS:
            order = np.concatenate([order, *(places[group] for group in rng.permutation(len(places)))])
        yield pairs.iloc[order[:BATCH_PAIRS]]
        order = order[BATCH_PAIRS:]


def pair_cosines(model: SentenceTransformer, pairs: pd.DataFrame) -> NDArray[np.floating]:
    """Cosine of each pair `[n]`, without dropout; a sentence that stands in several pairs is encoded once."""
    sentences, one, other = _unique(pairs)
    vectors = SentenceEncoder(model, truncation="ignore").encode(sentences)  # a fresh one: the weights have moved
    return cosine(vectors[one], vectors[other])


def _batch_cosines(model: SentenceTransformer, pairs: pd.DataFrame) -> Tensor:
    """Cosine of each pair `[n]`, to be trained on."""
    sentences, one, other = _unique(pairs)
    tokens = model.tokenizer(sentences, padding=True, truncation=True, max_length=model.max_length, return_tensors="pt")
    device = next(model.parameters()).device
    vectors = model(tokens["input_ids"].to(device), tokens["attention_mask"].to(device))
    return functional.cosine_similarity(vectors[one], vectors[other])


def _unique(pairs: pd.DataFrame) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp]]:
    """The sentences, each once, and for each pair the places of its two."""
    codes, sentences = pd.factorize(np.concatenate([pairs["sentence1"].array, pairs["sentence2"].array]))
    return list(sentences), codes[: len(pairs)], codes[len(pairs) :]


def train(
    model: SentenceTransformer,
    pooling: str,
    pairs: pd.DataFrame,
    held_out: pd.DataFrame,
    *,
    rate: float,
    steps: int,
    seed: int = 0,
    look_at: Sequence[int] = (),
) -> dict[int, NDArray[np.floating]]:
    """Trains a copy of `model` under `pooling`, all layers; returns the cosines of `held_out` by step, the last included.

    AdamW with its defaults, rate warmed up over the first tenth of the steps, dropout as the model has it, norm of
    gradients at most 1. Both modes see the same batches: they depend on the seed alone.
    """
    model = copy.deepcopy(model).train()
    model.pooling = (pooling,)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, steps // 10)))
    curve = {0: pair_cosines(model, held_out)} if 0 in look_at else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step, batch in enumerate(batches(pairs, steps, seed), start=1):
            loss = cosent_loss(_batch_cosines(model, batch), torch.as_tensor(batch["score"].to_numpy(), device=next(model.parameters()).device))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            warm_up.step()
            if step in look_at or step == steps:
                curve[step] = pair_cosines(model, held_out)
    return curve
