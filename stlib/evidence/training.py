"""A fair trial of pooling modes: all layers trained alike, scored against steps on groups that were not trained on.

The notebook on pooling runs one fold of it, `benchmarks/fair_trial.py` the whole protocol, recorded in results/.
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
from stlib.evidence.evaluation import cosine, pair_score, split_groups

RATES = (3e-5, 1e-4, 3e-4)
"""The grid of learning rates, the same for each mode."""
BATCH_PAIRS = 18
WARM_UP = 4
"""Steps over which the rate rises. It then stays, so that a shorter training is the beginning of a longer one."""


def cosent_loss(cosines: Tensor, scores: Tensor, scale: float = 20.0) -> Tensor:
    """Penalty for each two pairs of a batch that the cosines `[n]` put in another order than the scores `[n]`.

    Asks for an order only, so any score scale will do. CoSENT (Su, 2022), as `CoSENTLoss` of sentence-transformers.
    """
    wrong_way = scale * (cosines[None, :] - cosines[:, None])[scores[:, None] > scores[None, :]]
    return torch.cat([cosines.new_zeros(1), wrong_way]).logsumexp(dim=0)


def train(
    model: SentenceTransformer,
    pooling: str,
    pairs: pd.DataFrame,
    held_out: pd.DataFrame,
    *,
    rate: float,
    look_at: Sequence[int],
    seed: int = 0,
) -> dict[int, NDArray[np.floating]]:
    """Trains a copy of `model` under `pooling`; returns the cosines of `held_out` after each step in `look_at`.

    All layers train, by AdamW with torch's defaults, dropout as the model has it, the norm of gradients at most 1.
    Batches depend on the seed alone, so that modes see the same ones. `look_at` may hold 0; its largest ends it.
    """
    model = copy.deepcopy(model).train()
    model.pooling = (pooling,)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARM_UP))
    curve = {0: pair_cosines(model, held_out)} if 0 in look_at else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step, batch in enumerate(_batches(pairs, max(look_at), seed), start=1):
            cosines = _batch_cosines(model, batch)
            loss = cosent_loss(cosines, cosines.new_tensor(batch["score"].tolist()))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            warm_up.step()
            if step in look_at:
                curve[step] = pair_cosines(model, held_out)
    return curve


def pair_cosines(model: SentenceTransformer, pairs: pd.DataFrame) -> NDArray[np.floating]:
    """Cosine of each pair `[n]`, without dropout; a sentence that stands in several pairs is encoded once."""
    sentences, one, other = _unique(pairs)
    vectors = SentenceEncoder(model, truncation="ignore").encode(sentences)  # a fresh one: the weights have moved
    return cosine(vectors[one], vectors[other])


def inner_scores(
    model: SentenceTransformer, pooling: str, pairs: pd.DataFrame, *, steps: int, seed: int = 0
) -> dict[float, float]:
    """What each of `RATES` reaches when half of the groups train and the other half judge: `pair_score`, in points."""
    learn = split_groups(pairs["anchor"], seed)
    judge = part(pairs, ~learn)
    curves = {rate: train(model, pooling, pairs[learn], judge, rate=rate, look_at=[steps], seed=seed) for rate in RATES}
    return {rate: float(pair_score(curve[steps], judge)) for rate, curve in curves.items()}


def part(pairs: pd.DataFrame, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """The pairs in `rows`, with the attrs that `pair_score` reads."""
    chosen = pairs[rows].reset_index(drop=True)
    chosen.attrs = pairs.attrs
    return chosen


def _batches(pairs: pd.DataFrame, steps: int, seed: int) -> Iterator[pd.DataFrame]:
    """`steps` batches of `BATCH_PAIRS` pairs, groups kept together, in a new order each time round."""
    rng, order = np.random.default_rng(seed), np.empty(0, dtype=int)
    places = list(pairs.groupby("anchor", sort=False).indices.values())
    for _ in range(steps):
        while len(order) < BATCH_PAIRS:
            order = np.concatenate([order, *(places[group] for group in rng.permutation(len(places)))])
        yield pairs.iloc[order[:BATCH_PAIRS]]
        order = order[BATCH_PAIRS:]


def _batch_cosines(model: SentenceTransformer, pairs: pd.DataFrame) -> Tensor:
    """Cosine of each pair `[n]`, to be trained on."""
    sentences, one, other = _unique(pairs)
    tokens = model.tokenizer(sentences, padding=True, truncation=True, max_length=model.max_length, return_tensors="pt")
    tokens = tokens.to(next(model.parameters()).device)
    vectors = model(tokens["input_ids"], tokens["attention_mask"])
    return functional.cosine_similarity(vectors[one], vectors[other])


def _unique(pairs: pd.DataFrame) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp]]:
    """The sentences, each once, and for each pair the places of its two."""
    codes, sentences = pd.factorize(np.concatenate([pairs["sentence1"].array, pairs["sentence2"].array]))
    return list(sentences), codes[: len(pairs)], codes[len(pairs) :]
