"""The file from which an interrupted training goes on, and the mark by which it is that of this run and of no other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stlib.files import as_value_error, in_place_of
from stlib.identity import identity
from stlib.model import SentenceTransformer
from stlib.tokens import BareTokenizer

if TYPE_CHECKING:
    from stlib.evidence.training import Task

COLUMNS = ("queries", "passages", "sentences1", "sentences2", "scores", "texts", "labels")
"""Of a task; one of another kind than ours is known by those that it has."""


def mark_of(
    model: SentenceTransformer, heads: Iterable[nn.Module], tasks: Sequence[tuple[Task, float]], settings: list[Any]
) -> str:
    """Hash of what decides a run but for its length: the weights that it starts from, its tasks and its settings."""
    rows = [[[str(value) for value in getattr(task, name, ())] for name in COLUMNS] for task, _ in tasks]
    told = [(type(task).__name__, len(task), float(weight)) for task, weight in tasks]
    starts = [weight.tolist() for head in heads for weight in head.parameters()]
    learning = [weight.requires_grad for weight in model.parameters()]
    words = [BareTokenizer(model.tokenizer).identity(), model.prompt(), model.max_length]
    return identity(model, [rows, told, starts, learning, words, settings])


def read(path: Path, mark: str, steps: int) -> dict[str, Any] | None:
    """What the checkpoint of this run holds; `None` where there is none. ValueError: it is none of this run's."""
    if not path.exists():
        return None
    name = f"checkpoint={str(path)!r}"
    if not path.is_file():
        raise ValueError(f"{name} is no file: choose another name")
    with as_value_error(f"{name} is empty, damaged or no checkpoint: remove it, or choose another name"):
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        known, done = saved.get("mark"), saved["step"]
    if known != mark:
        told = "is of a run on other start weights, tasks or settings"
        raise ValueError(f"{name} {told}: load the model anew, remove the file, or choose another name")
    if done > steps:
        raise ValueError(f"steps={steps}: {name} has done {done} already; take as many or more, or another name")
    return saved


def write(path: Path, state: dict[str, Any]) -> None:
    """Whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with in_place_of(path) as fresh:
        torch.save(state, fresh)
