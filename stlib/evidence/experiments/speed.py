"""Lesson 07: what buckets, packed weights, joint products and bfloat16 buy here, over processes; what precision costs.

A timing differs from process to process more than within one (where memory lies, what else runs), so processes are the
units. In each, all ways encode the same texts in turn, and ratios are taken within a round: a machine that slows down
half-way favours none. One thread works: several wait for each other wherever the machine is busy. Where there are two
cores, two processes run at a time, which changed neither the times nor their spread where it was tried. Each process is
forked from a server that has imported torch and done nothing else: weights and packed weights are its own.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stlib.backbone import Backbone
from stlib.encoder import SentenceEncoder
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.scores import ranking
from stlib.evidence.vectors import encoded, kept
from stlib.fast import FastBackbone, StatesOf
from stlib.linear import Packed

if TYPE_CHECKING:
    from stlib.evidence.passages import Passages
    from stlib.evidence.study import Study

LESSON = "07_speed"
PROCESSES, ROUNDS, TEXTS = 6, 2, 40
"""Processes, rounds in each, texts in a round."""
AT_ONCE = min(2, os.cpu_count() or 1)
"""Processes at a time."""
MOST_SECONDS = 4.0
"""After so long no further round begins."""
DRAWN = 600
"""Queries on which lower precision is judged, unless more are asked for."""
STEPS = {
    "buckets": ("padded", "plain"),
    "weights": ("plain", "packed"),
    "together": ("packed", "together"),
    "bfloat16": ("together", "bfloat16"),
    "packing": ("plain", "together"),
}
"""The way before, and the way with one trick more; "packing" is all that `SentenceEncoder.packed` switches on."""

# --------------------------------------------------------------------------------------------------------- the ways


def sample(study: Study, count: int = TEXTS) -> list[str]:
    """At most `count` of the study's sentences."""
    texts = study.sentences["text"]
    return list(texts.sample(min(count, len(texts)), random_state=study.seed))


def padding(lengths: Sequence[int] | Floats, batch: int = 32) -> float:
    """Of 100 places computed, how many are padding, in batches of texts in the order given."""
    parts = [np.asarray(lengths[start : start + batch]) for start in range(0, len(lengths), batch)]
    return float(100 - 100 * sum(part.sum() for part in parts) / sum(len(part) * part.max() for part in parts))


def padded(encoder: SentenceEncoder, texts: Sequence[str], batch: int = 32) -> Floats:
    """The usual way, [n, D]: sorted by characters, batches padded to their longest text, a mask."""
    model, order = encoder.model, np.argsort([-len(text) for text in texts], kind="stable")
    vectors = np.zeros((len(texts), encoder.dimension), dtype=np.float32)
    for rows in (order[start : start + batch] for start in range(0, len(order), batch)):
        inputs = encoder.tokenizer(
            [texts[row] for row in rows], padding=True, truncation=True, max_length=model.max_length,
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            vectors[rows] = model(inputs["input_ids"], inputs["attention_mask"]).float().cpu().numpy()
    return vectors


def plain(encoder: SentenceEncoder) -> SentenceEncoder:
    """The same model with its weights as they are."""
    other = SentenceEncoder(encoder.model, truncation="ignore", device="cpu")
    other.packed = False
    return other


class BucketByBucket(SentenceEncoder):
    """Packed weights and fused steps, but each product takes the tokens of one length only."""

    def _states_function(self, backbone: Backbone) -> StatesOf:
        together = super()._states_function(backbone)
        return lambda groups: [together([group])[0] for group in groups]


def path(encoder: SentenceEncoder) -> str:
    """Of one that has encoded: "plain" where this processor has no packed products of the encoder's type."""
    return encoder._fast.path if encoder._fast else "plain"


def linear_flops(encoder: SentenceEncoder) -> int:
    """Operations of the linear layers for each token: two for each weight."""
    layers = encoder.model.backbone.encoder.named_modules()
    linear = [layer for name, layer in layers if type(layer) is torch.nn.Linear and "pooler" not in name]
    return 2 * sum(layer.weight.numel() for layer in linear)


# ---------------------------------------------------------------------------------------------------- one process


def alternate(
    calls: dict[str, Callable[[], Any]], rounds: int, most_seconds: float = MOST_SECONDS, warm: bool = False
) -> dict[str, list[float]]:
    """Seconds of each call in each round; fewer rounds where these take too long.

    The first round is not counted, unless the calls are `warm`, that is have run before.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    for number in range(1 if warm else 0, rounds + 1):
        if number > 1 and time.perf_counter() - begun > most_seconds:
            break
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def products(width: int, inner: int, rows: int = 2048) -> tuple[float, Callable[[], None]]:
    """Packed products in the shapes of a layer (queries, keys and values in one): operations, and how to run them."""
    shapes = ((width, 3 * width), (width, width), (width, inner), (inner, width))
    maps = [(Packed(torch.randn(outputs, inputs), None), torch.randn(rows, inputs)) for inputs, outputs in shapes]

    def run() -> None:
        for weight, states in maps:
            weight(states)

    return float(sum(2 * rows * inputs * outputs for inputs, outputs in shapes)), run


def one_process(folder: str, texts: list[str], rounds: int = ROUNDS) -> dict[str, float]:
    """Medians over the rounds: the logarithm of each gain, and the share of the peak, as far as the processor has them.

    The share: operations a second of the linear layers, over those of packed products alone in the same round.
    """
    encoder = SentenceEncoder(folder, truncation="ignore", device="cpu")
    half = SentenceEncoder(folder, truncation="ignore", device="cpu", dtype="bfloat16")
    bare = plain(encoder)
    packed = BucketByBucket(encoder.model, truncation="ignore", device="cpu")
    for one in (bare, packed, encoder, half):
        one.encode(texts[:8])  # the first time is always slower: weights are packed, memory is asked for
    ways = {"padded": lambda: padded(bare, texts), "plain": lambda: bare.encode(texts)}
    if path(encoder) != "plain":
        config = encoder.model.backbone.config
        width = encoder.model.backbone.width
        flops, run = products(width, getattr(config, "intermediate_size", 4 * width))
        ways |= {"packed": lambda: packed.encode(texts), "together": lambda: encoder.encode(texts), "peak": run}
        run()
        if path(half) != "plain":
            ways["bfloat16"] = lambda: half.encode(texts)
    seconds = {name: np.array(spent) for name, spent in alternate(ways, rounds, warm=True).items()}
    found = {
        name: float(np.median(np.log(seconds[slow] / seconds[quick])))
        for name, (slow, quick) in STEPS.items()
        if quick in seconds
    }
    if "together" in seconds:
        tokens = np.minimum(encoder.token_counts(texts), encoder.max_length).sum()
        rate, peak = linear_flops(encoder) * tokens / seconds["together"], flops / seconds["peak"]
        found["share"] = float(np.median(100 * rate / peak))
    return found


# ------------------------------------------------------------------------------------------------- over processes


def measured(study: Study, processes: int = PROCESSES) -> dict[str, Estimate | None]:
    """The "share" of the peak in points; the other gains as logarithms, over the way before.

    `None` for what could not be measured: `note` says why.
    """
    folder = study.encoder.model.folder
    if folder is None:
        return dict.fromkeys(("share", *STEPS))
    start(study)
    return _measured(str(folder), tuple(sample(study)), processes)


def start(study: Study) -> None:
    """Lets the server begin with its imports, beside what follows; without this `measured` would wait for them."""
    if os.name == "posix":
        family = type(study.encoder.model.backbone.encoder).__module__
        multiprocessing.set_forkserver_preload([__name__, family])  # imported once, not by each process
        forkserver.ensure_running()


@lru_cache(maxsize=4)
def _measured(folder: str, texts: tuple[str, ...], processes: int) -> dict[str, Estimate | None]:
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    with ProcessPoolExecutor(AT_ONCE, context, _alone, max_tasks_per_child=1) as pool:
        runs = [pool.submit(one_process, folder, list(texts)) for _ in range(processes)]
        return over([run.result() for run in runs])


def _alone() -> None:
    """One thread: on a busy machine several wait for each other, and that would be what is timed."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)


def over(runs: Sequence[dict[str, float]]) -> dict[str, Estimate | None]:
    """What every process measured, with its interval over the processes."""
    return {
        name: Estimate.of([run[name] for run in runs], "process") if all(name in run for run in runs) else None
        for name in ("share", *STEPS)
    }


def note(estimate: Estimate | None) -> str:
    return "" if estimate else "this processor or this build of torch has no packed products of that type"


@dataclass(frozen=True)
class Factor:
    """A gain told as a factor, for a figure; estimated as its logarithm."""

    log: Estimate

    @property
    def value(self) -> float:
        return float(np.exp(self.log.value))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        low, high = self.log.interval(level)
        return float(np.exp(low)), float(np.exp(high))


# ---------------------------------------------------------------------------------------------------- lower precision


@lru_cache(maxsize=8)
def found_by(study: Study, dtype: str, queries: int = DRAWN) -> Estimate | None:
    """Recall@10 on some of the passages in that precision; `None` where the processor cannot multiply in it."""
    encoder = SentenceEncoder(study.model, truncation="ignore", device="cpu", dtype=dtype)
    if dtype == "int8" and not FastBackbone(encoder.model.backbone).int8:
        return None
    passages: Passages = study.passages.drawn(queries, study.seed)
    sides = ((passages.queries, study.passages.queries), (passages.texts, study.passages.texts))
    asked, texts = (_vectors(encoder, side, whole, dtype) for side, whole in sides)
    return ranking(asked, texts, passages.relevant)


def _vectors(encoder: SentenceEncoder, texts: list[str], whole: list[str], dtype: str) -> Floats:
    if dtype != "int8":  # in bfloat16 rounding differs with what a text is encoded beside
        return encoded(encoder, texts, among=whole if dtype == "float32" else None)
    # weights stay float32 in int8, so the cache has to be told
    return kept(encoder, texts, ["encode", "int8"], lambda: {"v": encoder.encode(texts)})["v"]


def lost(study: Study, dtype: str, **drawn: int) -> Estimate | None:
    """Recall@10 in `dtype` minus in float32, points; both as `found_by` found them."""
    other, exact = found_by(study, dtype, **drawn), found_by(study, "float32", **drawn)
    return None if other is None or exact is None else other - exact


# ------------------------------------------------------------------------------------------------------- and lengths


def by_length(encoder: SentenceEncoder, lengths: Sequence[int], rounds: int = 5) -> dict[int, float]:
    """Microseconds a token, median: about a thousand tokens each time, as many short texts or as a few long ones."""
    texts = {size: [" ".join(["river"] * max(1, size - 2))] * max(1, 1024 // size) for size in lengths}
    spent = alternate({str(size): lambda size=size: encoder.encode(texts[size]) for size in lengths}, rounds)  # type: ignore[misc]
    return {size: 1e6 * float(np.median(spent[str(size)])) / (size * len(texts[size])) for size in lengths}


def reference(study: Study) -> dict[str, Any]:
    """What the lesson quotes besides verdicts."""
    encoder, texts = study.encoder, list(study.sentences["text"])
    tokens = np.minimum(encoder.token_counts(texts), encoder.max_length)
    characters = np.array([len(text) for text in texts])
    return {
        "padding": {
            "as_they_come": padding(tokens),
            "by_characters": padding(tokens[np.argsort(-characters, kind="stable")]),
            "by_tokens": padding(tokens[np.argsort(-tokens, kind="stable")]),
        }
    }
