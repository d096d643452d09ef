"""Vectors of the same model and texts are computed once: a cache on disk, keyed by weights, recipe and texts."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import stlib
from stlib.encoder import SentenceEncoder
from stlib.evidence.estimate import Floats
from stlib.pooling import POOLING_MODES, pool

MOST_BYTES = 2 * 10**9
"""The oldest files go when the cache grows beyond this."""
_POOLED = ["pooled"]


def cache_folder() -> Path:
    """Where what can be computed again is kept: the folder in STLIB_CACHE, else stlib in the user's cache."""
    if given := os.environ.get("STLIB_CACHE"):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "stlib"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "stlib"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stlib"


def encoded(
    encoder: SentenceEncoder, texts: Sequence[str], *, among: Sequence[str] | None = None, **options: Any
) -> Floats:
    """`encoder.encode(texts, **options)` [n, D], from the cache where it was computed before.

    among: texts that hold all of these, whose vectors are taken if they are in the cache: equal but for rounding.
    """
    if among is not None and (whole := _read(_path(encoder, among, ["encode", options]))):
        return whole["v"][rows_of(texts, among)]
    return kept(encoder, texts, ["encode", options], lambda: {"v": encoder.encode(list(texts), **options)})["v"]


def pooled(encoder: SentenceEncoder, texts: Sequence[str], modes: Sequence[str] = POOLING_MODES) -> dict[str, Floats]:
    """Pooled vectors {mode: [n, H]} from one pass, neither projected nor scaled to unit length.

    All modes are computed and kept together, so that whoever asks for one of them later finds it.
    """

    def compute() -> dict[str, Floats]:
        # without a prompt these states are those that `encode` pools: its vectors cost nothing more
        same = not encoder.model.prompt(None, None)

        def every(states: torch.Tensor) -> torch.Tensor:
            own = [encoder.model.head(states)] if same else []
            return torch.cat([*(pool(states, None, mode) for mode in POOLING_MODES), *own], dim=1)

        width = encoder.model.backbone.width
        *modes, own = np.split(encoder.map_states(texts, every), np.arange(1, len(POOLING_MODES) + 1) * width, axis=1)
        if same:
            _store(_path(encoder, texts, ["encode", {}]), {"v": np.ascontiguousarray(own)})
        return dict(zip(POOLING_MODES, map(np.ascontiguousarray, modes), strict=True))

    found = kept(encoder, texts, _POOLED, compute)
    return {mode: found[mode] for mode in modes}


def distinct(pairs: pd.DataFrame) -> tuple[list[str], NDArray[np.intp]]:
    """The sentences of pairs, each once, and which of them stand on either side: [2, n].

    Who asks for the vectors of pairs asks for this list, so that all find one another's in the cache.
    """
    codes, texts = pd.factorize(np.concatenate([pairs["sentence1"].array, pairs["sentence2"].array]))
    return list(texts), codes.reshape(2, len(pairs))


def unit(vectors: Floats) -> Floats:
    """Each row at unit length, [n, D]; a row of zeros stays."""
    scaled: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def kept(
    encoder: SentenceEncoder, texts: Sequence[str], what: list[Any], compute: Callable[[], dict[str, Floats]]
) -> dict[str, Floats]:
    """`compute()`, arrays by name, from the cache where the same `what` of the same model and texts was computed."""
    path = _path(encoder, texts, what)
    found = _read(path)
    if found is None:
        _store(path, found := compute())
    return found


def rows_of(part: Iterable[str], whole: Sequence[str]) -> list[int]:
    """Where each text of `part` stands in `whole`."""
    places = {text: row for row, text in enumerate(whole)}
    return [places[text] for text in part]


def _path(encoder: SentenceEncoder, texts: Sequence[str], what: list[Any]) -> Path:
    return cache_folder() / "vectors" / f"{_key(encoder, texts, what)}.npz"


def _read(path: Path) -> dict[str, Floats] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        path.touch()  # used just now
        return found
    except Exception:  # not there, or damaged: it is computed again
        return None


def _store(path: Path, found: dict[str, Floats]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.npz")
        np.savez(beside, **found)  # type: ignore[arg-type]
        beside.replace(path)
        _prune(path.parent)
    except OSError:  # a cache that cannot be written is no reason to stop
        pass


def _prune(folder: Path) -> None:
    files = sorted(folder.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > MOST_BYTES:
            file.unlink(missing_ok=True)


def _key(encoder: SentenceEncoder, texts: Sequence[str], what: list[Any]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    # pooled vectors of all modes are made of the states, whatever the model does with them
    used: list[Any] = [encoder.identity(states=what == _POOLED)]
    if what != _POOLED:
        used += [encoder.model.prompts, encoder.model.default_prompt_name]
    digest.update(repr([stlib.__version__, torch.__version__, what, *used]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
