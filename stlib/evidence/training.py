"""Training a sentence encoder: three losses, three tasks, one loop on `SentenceTransformer` itself.

Pooling, projection and normalisation are what is trained, not a stand-in for them: each task runs the model as it will
be used. Several tasks share one encoder, each with its weight.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from stlib.evidence.training_checkpoint import mark_of, read, write
from stlib.model import SentenceTransformer
from stlib.tokens import BareTokenizer

# ------------------------------------------------------------------------------------------------------------- losses


def contrastive_loss(queries: Tensor, passages: Tensor, same: Tensor | None = None, scale: float = 20.0) -> Tensor:
    """Each query [n, D] should be closer to its own passage [n, D] than to the others of the batch.

    Cross-entropy over scaled cosines (in-batch negatives: Henderson et al. 2017; `MultipleNegativesRankingLoss` of
    sentence-transformers). `same` [n, n] is true where a passage of the batch answers a query as well: no negative.
    """
    cosines = functional.normalize(queries, dim=-1) @ functional.normalize(passages, dim=-1).T  # [n, n]
    if same is not None:
        own = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
        cosines = cosines.masked_fill(same & ~own, -torch.inf)
    return functional.cross_entropy(scale * cosines, torch.arange(len(cosines), device=cosines.device))


def cosent_loss(cosines: Tensor, scores: Tensor, scale: float = 20.0) -> Tensor:
    """Penalty for each two pairs of a batch that the cosines [n] put in another order than the scores [n].

    Asks for an order only, so any score scale will do. CoSENT (Su, 2022), as `CoSENTLoss` of sentence-transformers.
    """
    wrong_way = scale * (cosines[None, :] - cosines[:, None])[scores[:, None] > scores[None, :]]
    return torch.cat([cosines.new_zeros(1), wrong_way]).logsumexp(dim=0)


# -------------------------------------------------------------------------------------------------------------- tasks


class Task(Protocol):
    """Rows to learn from, and the loss of some of them."""

    def __len__(self) -> int: ...

    def loss(self, model: SentenceTransformer, rows: NDArray[np.intp]) -> Tensor: ...


def embed(model: SentenceTransformer, texts: Sequence[str]) -> Tensor:
    """Vectors [n, D] that can be trained on, padded to the longest text and cut at the model's limit.

    As in `encode`, the model's default prompt, where it has one, stands before each text.
    """
    device, prompt = next(model.parameters()).device, model.prompt()
    tokens = model.tokenizer(
        [prompt + text for text in texts], padding=True, truncation=True, max_length=model.max_length,
        return_tensors="pt",
    ).to(device)  # fmt: skip
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    if not prompt or model.include_prompt:
        vectors: Tensor = model(ids, mask)
        return vectors
    skip = BareTokenizer(model.tokenizer).prompt_length(prompt, model.max_length)
    return model.head(model.backbone(ids, mask), mask, skip=skip)


@dataclass
class Search:
    """Query i belongs to passage i: contrastive loss. ValueError: fewer than two pairs, or lists of two lengths."""

    queries: Sequence[str]
    passages: Sequence[str]

    def __post_init__(self) -> None:
        _check_columns(queries=self.queries, passages=self.passages)
        if len(set(self.passages)) < 2:
            raise ValueError("passages: contrastive loss needs at least 2 different passages, each other's negatives")

    def __len__(self) -> int:
        return len(self.queries)

    def loss(self, model: SentenceTransformer, rows: NDArray[np.intp]) -> Tensor:
        passages = np.array([self.passages[row] for row in rows], dtype=object)
        same = torch.from_numpy(passages[:, None] == passages).to(next(model.parameters()).device)
        return contrastive_loss(embed(model, [self.queries[row] for row in rows]), embed(model, list(passages)), same)


@dataclass
class Grade:
    """Pairs with a score: CoSENT. ValueError: fewer than two pairs, lists of other lengths, NaN, or one score only."""

    sentences1: Sequence[str]
    sentences2: Sequence[str]
    scores: Sequence[float]

    def __post_init__(self) -> None:
        _check_columns(sentences1=self.sentences1, sentences2=self.sentences2, scores=self.scores)
        for row, score in enumerate(self.scores):
            if score != score:  # NaN, which is above and below nothing: no order to learn
                raise ValueError(f"scores[{row}]: expected a number, got {score}")
        if len(set(self.scores)) < 2:
            raise ValueError(f"scores: all are {self.scores[0]}, so there is no order to learn")

    def __len__(self) -> int:
        return len(self.scores)

    def loss(self, model: SentenceTransformer, rows: NDArray[np.intp]) -> Tensor:
        one, other = (embed(model, [texts[row] for row in rows]) for texts in (self.sentences1, self.sentences2))
        scores = one.new_tensor([self.scores[row] for row in rows])
        return cosent_loss(functional.cosine_similarity(one, other), scores)


@dataclass(eq=False)  # a head is itself and no other's equal
class Classify:
    """Texts with labels: cross-entropy on a linear head over the model's vectors.

    Attributes:
        head: `nn.Linear` from D to the number of labels; trained along with the model.
        names: the labels in the order of the head's outputs.

    ValueError: fewer than two texts or labels, or lists of two lengths.
    """

    texts: Sequence[str]
    labels: Sequence[str]
    width: int
    seed: int = 0
    names: list[str] = field(init=False)
    head: nn.Linear = field(init=False)

    def __post_init__(self) -> None:
        _check_columns(texts=self.texts, labels=self.labels)
        self.names = sorted(set(map(str, self.labels)))
        if len(self.names) < 2:
            raise ValueError(f"labels: all are {self.labels[0]!r}, so there is nothing to tell apart")
        self._targets = [self.names.index(str(label)) for label in self.labels]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.head = nn.Linear(self.width, len(self.names))
        with torch.no_grad():  # unit vectors are short: from torch's own start the head could hardly tell them apart
            self.head.weight *= self.width**0.5

    def __len__(self) -> int:
        return len(self.texts)

    def loss(self, model: SentenceTransformer, rows: NDArray[np.intp]) -> Tensor:
        vectors = embed(model, [self.texts[row] for row in rows])
        targets = torch.tensor([self._targets[row] for row in rows], device=vectors.device)
        return functional.cross_entropy(self.head(vectors), targets)

    def predict(self, vectors: NDArray[np.floating]) -> list[str]:
        """The label of each vector [n, D]."""
        with torch.no_grad():
            device = self.head.weight.device
            chosen = self.head(torch.from_numpy(np.asarray(vectors, np.float32)).to(device)).argmax(dim=1).cpu()
        return [self.names[number] for number in chosen.tolist()]


def _check_columns(**columns: Sequence[Any]) -> None:
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"expected lists of one length, got {', '.join(f'{n} {size}' for n, size in sizes.items())}")
    name, size = next(iter(sizes.items()))
    if size < 2:
        raise ValueError(f"{name}: training needs at least 2 rows, got {size}")


# ----------------------------------------------------------------------------------------------------------- the loop


@dataclass(frozen=True)
class Training:
    """What happened: losses [steps], and (step, score) wherever `judge` looked.

    `best` is the step whose weights were kept; 0: the last one's, since there was no score but NaN.
    """

    losses: list[float]
    scores: list[tuple[int, float]]
    best: int


def train(
    model: SentenceTransformer,
    tasks: Task | Mapping[str, tuple[Task, float]],
    *,
    steps: int,
    batch: int = 32,
    rate: float = 5e-5,
    warm_up: float = 0.1,
    clip: float = 1.0,
    accumulate: int = 1,
    precision: str = "float32",
    seed: int = 0,
    judge: Callable[[SentenceTransformer], float] | None = None,
    look_every: int = 10,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    show_progress: bool = False,
) -> Training:
    """Train `model` in place, on the device that it is on; parameters without gradient stay as they are.

    AdamW; the rate rises over a `warm_up` share of the steps, then falls to nothing in a line. Batches and dropout
    depend on the seed and the step alone.

    Args:
        tasks: one, or {name: (task, weight)}: the weighted losses of a batch of each add up.
        accumulate: how many batches make a step, for little memory; contrastive negatives stay within one batch.
        precision: "bfloat16" computes in it and keeps the weights in float32.
        judge: a score of the model on held-out data, higher is better and NaN is worst, taken every `look_every` steps;
            the weights that scored best come back at the end. `patience`: stop after so many looks without a better.
        checkpoint: a file, written beside and renamed at every look. After a kill the same call, on the model as it was
            at the start, goes on from it; once all is done it only gives back what is there. `steps` may become more.

    Raises:
        ValueError: an argument outside what is allowed; a checkpoint that cannot be read, is of a run on other start
            weights, tasks or settings, or has done more than `steps`.
    """
    weighted = list(tasks.values()) if isinstance(tasks, Mapping) else [(tasks, 1.0)]
    _check_arguments(weighted, steps, batch, accumulate, look_every, precision, judge, patience)
    heads = nn.ModuleList(task.head for task, _ in weighted if isinstance(task, Classify))
    parts, mark, saved = nn.ModuleDict({"model": model, "heads": heads}), "", None
    if checkpoint is not None:
        mark = mark_of(model, heads, weighted, [batch, rate, warm_up, clip, accumulate, precision, seed])
        saved = read(Path(checkpoint), mark, steps)
    device = next(model.parameters()).device
    parts.to(device)
    trained = [weight for weight in parts.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate)
    optimizer.zero_grad()  # what others have left on the model is no part of the first step
    rising = max(1, round(warm_up * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rising, (steps - step) / max(1, steps - rising + 1))
    )
    history = Training([], [], 0)
    best, first = None, 0
    if saved is not None:
        parts.load_state_dict(saved["parts"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        history = Training(saved["losses"], saved["scores"], saved["best_step"])
        best, first = saved["best"], saved["step"]

    was_training = model.training
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        _bar(steps, first, show_progress) as bar,
    ):
        for step in range(first, steps):
            if patience is not None and _looks_since(history) >= patience:
                break
            torch.manual_seed(seed * 1_000_003 + step)
            parts.train()
            total = 0.0
            for turn in range(accumulate):
                with torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext():
                    losses = [
                        weight * task.loss(model, _rows(len(task), batch, step * accumulate + turn, seed))
                        for task, weight in weighted
                    ]
                    loss = torch.stack(losses).sum() / accumulate
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
            torch.nn.utils.clip_grad_norm_(trained, clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            history.losses.append(total)
            bar.update(1)
            if (step + 1) % look_every and step + 1 < steps:
                continue
            if judge is not None:
                parts.eval()
                history.scores.append((step + 1, float(judge(model))))
                latest, numbers = history.scores[-1][1], [score for _, score in history.scores if not math.isnan(score)]
                if numbers and latest >= max(numbers):  # NaN is not
                    best = copy.deepcopy(parts.state_dict())
                    history = Training(history.losses, history.scores, step + 1)
            if checkpoint is not None:
                write(Path(checkpoint), {
                    "mark": mark,
                    "parts": parts.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                    "losses": history.losses, "scores": history.scores, "best": best, "best_step": history.best,
                    "step": step + 1,
                })  # fmt: skip
    if best is not None:
        parts.load_state_dict(best)
    model.train(was_training)
    return history


def _check_arguments(
    tasks: Sequence[Any],
    steps: int,
    batch: int,
    accumulate: int,
    look_every: int,
    precision: str,
    judge: Any,
    patience: int | None,
) -> None:
    if not tasks:
        raise ValueError("tasks: expected at least 1, got none")
    for name, value in (("steps", steps), ("batch", batch), ("accumulate", accumulate), ("look_every", look_every)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if batch < 2:
        raise ValueError(f"batch: expected at least 2, got {batch}: one text has nothing to be compared with")
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision={precision!r} is not allowed: use 'float32' or 'bfloat16'")
    if patience is not None and (judge is None or patience < 1):
        raise ValueError("patience: needs `judge`, and a number of looks of at least 1")


def _rows(n: int, batch: int, number: int, seed: int) -> NDArray[np.intp]:
    """The batch of that number: a new order of all rows each time round."""
    batch = min(batch, n)
    places = number * batch + np.arange(batch)
    rounds = {turn: np.random.default_rng((seed, turn)).permutation(n) for turn in np.unique(places // n).tolist()}
    return np.array([rounds[place // n][place % n] for place in places.tolist()], dtype=np.intp)


def _looks_since(history: Training) -> int:
    return sum(step > history.best for step, _ in history.scores)


def _bar(steps: int, first: int, show: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=steps, initial=first, unit="step", disable=not show)


# ------------------------------------------------------------------------------------- the head travels in the folder


def save_head(folder: str | os.PathLike[str], task: Classify) -> None:
    """Put the classification head beside a saved model: `classifier/`, which sentence-transformers does not look at."""
    from safetensors.torch import save_file

    from stlib.files import write_json

    place = Path(folder) / "classifier"
    place.mkdir(parents=True, exist_ok=True)
    save_file(
        {"weight": task.head.weight.detach().cpu(), "bias": task.head.bias.detach().cpu()}, place / "model.safetensors"
    )
    write_json(place / "config.json", {"in_features": task.head.in_features, "labels": task.names})


def load_head(folder: str | os.PathLike[str]) -> tuple[nn.Linear, list[str]]:
    """The head of `save_head` and its labels. ValueError: none there, or one that does not fit its labels."""
    from safetensors.torch import load_file

    from stlib.files import first_line, read_json

    place = Path(folder) / "classifier"
    told = read_json(place / "config.json")
    labels, width = told.get("labels"), told.get("in_features")
    try:
        weights = load_file(place / "model.safetensors")
        head = nn.Linear(width, len(labels))
        head.load_state_dict(weights)
    except Exception as error:
        raise ValueError(f"{place}: cannot read the classification head ({first_line(error)})") from error
    return head, [str(label) for label in labels]
