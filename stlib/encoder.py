"""`SentenceEncoder`: sentences in, vectors out."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stlib import checks
from stlib.estimator import Estimator
from stlib.fast import FastBackbone, has_hooks
from stlib.files import as_value_error
from stlib.hub import DEFAULT_MODEL
from stlib.model import SentenceTransformer
from stlib.pooling import Pooling
from stlib.tokens import TRUNCATION, BareTokenizer, batches

_BATCH_TOKENS = 4096
# Held while something is set on a model or made of it: threads may share an encoder, and encoders a model.
_LOCK = threading.RLock()


class SentenceEncoder(Estimator):
    """Sentences in, vectors out. Works in a scikit-learn `Pipeline`.

    Args:
        model: a name, a folder or a `SentenceTransformer`, whose own choices then hold.
        pooling, output_dim, normalize, attention, dtype, revision: as in `SentenceTransformer.from_pretrained`.
        device: "cpu", "cuda", …; `None` takes a GPU where there is one.
        max_length: tokens a text, special ones included, 1 to the model's positions; `None` takes the checkpoint's.
        truncation: of longer texts: "warn" once a call, "error" or "ignore".

    Raises:
        ValueError: any argument outside what is allowed; the message lists what is.
        FileNotFoundError: no such model.

    Example:
        >>> encoder = SentenceEncoder()
        >>> encoder.encode(["A dog barks.", "A hound is barking."]).shape
        (2, 384)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | SentenceTransformer = DEFAULT_MODEL,
        *,
        pooling: Pooling | None = None,
        output_dim: int | None = None,
        normalize: bool = True,
        attention: str = "auto",
        dtype: str = "float32",
        revision: str | None = None,
        device: str | torch.device | None = None,
        max_length: int | None = None,
        truncation: str = "warn",
    ) -> None:
        choices = {"pooling": pooling, "output_dim": output_dim, "normalize": normalize, "attention": attention,
                   "dtype": dtype, "revision": revision}  # fmt: skip
        self._params = {"model": model, **choices, "device": device, "max_length": max_length, "truncation": truncation}
        checks.choice("truncation", truncation, TRUNCATION)
        with as_value_error(f"device={device!r} is not available"):
            torch.empty(0, device=device)
        self.model = _given_or_loaded(model, choices)
        self.truncation = truncation
        if max_length is not None:
            self.max_length = max_length
        self.model.to(device or ("cuda" if torch.cuda.is_available() else self._device))
        self.packed = True  # False: the plain path, to compare with
        self._fast: FastBackbone | None = None  # both are made when they are needed
        self._bare: BareTokenizer | None = None

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer."""
        return self.model.tokenizer

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return self.model.dimension

    @property
    def max_length(self) -> int:
        """Tokens a text, special ones included. What is set here is what gets saved."""
        return self.model.max_length

    @max_length.setter
    def max_length(self, value: int) -> None:
        self.model.max_length = checks.positive_integer("max_length", value, self.model.backbone.positions)
        self._params["max_length"] = value

    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress: bool = False,
        convert_to_tensor: bool = False,
    ) -> Any:
        """Vectors of one text, [D], or of n texts, [n, D]: C-contiguous float32.

        Args:
            sentences: a `str`, or any iterable of `str`. All are checked before any work is done.
            prompt: put before each text. `prompt_name` names one of `model.prompts` instead.
            batch_tokens: tokens computed at once, a soft budget: a longer text goes alone.
            show_progress: a bar, in texts.
            convert_to_tensor: a torch tensor on the model's device in place of an array.

        Returns:
            The vectors. A text without a single token (possible for "" where a family adds no special ones) gives
            zeros, before and after normalisation.

        Raises:
            TypeError: something else than `str` among the texts; the message names its index and type.
            ValueError: a lone surrogate; a text beyond `max_length` under `truncation="error"`; an unknown prompt name.

        The result depends neither on batch, nor on order, nor on batch mates (float32: within 1e-5). Texts of equal
        token count go together, so nothing is padded and no mask is needed.
        """
        texts = checks.sentences(sentences)
        budget = _BATCH_TOKENS if batch_tokens is None else checks.positive_integer("batch_tokens", batch_tokens)
        prefix = self.model.prompt(prompt, prompt_name)
        ids = self._token_ids([prefix + text for text in texts] if prefix else texts)
        skipped = 0 if self.model.include_prompt or not prefix else self._tokenize().prompt_length(prefix)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        with _evaluating(self.model):
            for rows, states in self._states(ids, budget, show_progress):  # [b], [b, T, H]
                mask = None
                if skipped:
                    mask = (torch.arange(states.shape[1], device=states.device) >= skipped).expand(states.shape[:2])
                vectors[rows] = self.model.head(states, mask).cpu().numpy()
        result: Any = vectors[0] if isinstance(sentences, str) else vectors
        return torch.from_numpy(result).to(self._device) if convert_to_tensor else result

    def token_embeddings(self, sentences: str | Iterable[str]) -> list[np.ndarray]:
        """Token states of each text, special tokens included: a list of float32 arrays [T_i, H]."""
        texts = checks.sentences(sentences)
        ids = self._token_ids(texts)
        found: list[np.ndarray] = [np.zeros((0, self.model.backbone.width), dtype=np.float32)] * len(texts)
        with _evaluating(self.model):
            for rows, states in self._states(ids, _BATCH_TOKENS):
                for row, state in zip(rows, states.float().cpu().numpy(), strict=True):
                    found[row] = state
        return found

    def token_counts(self, sentences: str | Iterable[str]) -> list[int]:
        """How many tokens each text has, special ones included, before truncation."""
        return [len(ids) for ids in self._tokenize().whole(checks.sentences(sentences))]

    def similarity(self, a: Any, b: Any = None) -> np.ndarray:
        """Cosine similarity [n, m] of vectors or sentences `a` and `b`; of `a` with itself without `b`.

        A single vector or sentence counts as a list of one. Zero vectors are similar to nothing: 0.

        Raises:
            TypeError: neither sentences nor vectors.
            ValueError: vectors that are not [n, D], or of unequal D.
        """
        sides = [_texts_or_vectors("a", a)] + ([] if b is None else [_texts_or_vectors("b", b)])
        texts = [text for side in sides if isinstance(side, list) for text in side]
        vectors = self.encode(texts)  # in one call, so that there is one warning at most
        units = []
        for side in sides:
            if isinstance(side, list):
                side, vectors = vectors[: len(side)], vectors[len(side) :]
            units.append(_unit_length(side))
        if units[0].shape[1] != units[-1].shape[1]:
            raise ValueError(f"a has vectors of {units[0].shape[1]} numbers and b of {units[-1].shape[1]}")
        similarity: np.ndarray = units[0] @ units[-1].T
        return similarity

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._params.items() if name != "model")
        name = self._params["model"] if isinstance(self._params["model"], (str, os.PathLike)) else "SentenceTransformer"
        return f"SentenceEncoder({os.fspath(name)!r}, {given})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_fast": None, "_bare": None}

    def _tokenize(self) -> BareTokenizer:
        if self._bare is None or not self._bare.is_current(self.tokenizer):
            self._bare = BareTokenizer(self.tokenizer)
        return self._bare

    def _token_ids(self, texts: list[str]) -> list[np.ndarray]:
        """int32 [T] of each text, cut to `max_length`. Truncation is reported before anything is computed."""
        ids = self._tokenize().cut(texts, self.max_length, self.truncation)
        if len(self.tokenizer) > self.model.backbone.vocabulary:
            _check_embeddings(ids, self.model.backbone.vocabulary)
        return ids

    def _states(
        self, ids: list[np.ndarray], budget: int, show_progress: bool = False
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Row numbers [b] and token states [b, T, H] of texts with equal token counts, longest first."""
        from tqdm import tqdm

        states_of = self._states_function()
        with tqdm(total=len(ids), unit="text", disable=not show_progress) as bar:
            for groups in batches(ids, budget):
                batch = [torch.from_numpy(np.stack([ids[row] for row in rows])).long() for rows in groups]
                found = states_of([group.to(self._device) for group in batch])
                for rows, states in zip(groups, found, strict=True):
                    yield rows, states
                    bar.update(len(rows))

    def _states_function(self) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """Groups [b, T] of token ids -> their states: the fast path where it is to be had, else the backbone itself."""
        backbone = self.model.backbone
        if not self.packed or has_hooks(backbone):
            return lambda groups: [backbone(input_ids) for input_ids in groups]
        with _LOCK:
            if self._fast is None or not self._fast.is_current():
                self._fast = FastBackbone(backbone)
            return self._fast


@contextlib.contextmanager
def _evaluating(model: SentenceTransformer) -> Iterator[None]:
    """No gradients and no dropout inside; a model in training goes back to it, and works for one thread at a time."""
    with torch.no_grad(), contextlib.ExitStack() as until_done:  # not inference mode: the result may be trained on
        until_done.enter_context(_LOCK)
        training = [module for module in model.modules() if module.training]
        if not training:
            until_done.close()  # the lock: nothing is set, so that all may work at once
        for module in training:
            module.training = False
            until_done.callback(setattr, module, "training", True)
        yield


def _given_or_loaded(model: Any, choices: dict[str, Any]) -> SentenceTransformer:
    if isinstance(model, SentenceTransformer):
        usual = inspect.signature(SentenceTransformer.from_pretrained).parameters
        changed = [name for name, value in choices.items() if value != usual[name].default]
        if changed:
            raise ValueError(f"{', '.join(changed)}: already decided by the SentenceTransformer given as model")
        return model
    if not isinstance(model, (str, os.PathLike)):
        raise ValueError(f"model must be a name, a path or a SentenceTransformer, got {type(model).__name__}")
    return SentenceTransformer.from_pretrained(model, **choices)


def _check_embeddings(ids: list[np.ndarray], embeddings: int) -> None:
    """A tokenizer may know more tokens than the model has embeddings for; then the error says which text has one."""
    for index, row in enumerate(ids):
        if row.max(initial=0) >= embeddings:
            raise ValueError(
                f"sentences[{index}] holds token id {row.max()}, but the model has {embeddings} embeddings"
            )


def _texts_or_vectors(name: str, value: Any) -> Any:
    """One side of a comparison: a list of texts, which `encode` then checks, or vectors [n, D]."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be sentences or vectors [n, D], got {type(value).__name__}")
    if getattr(value, "ndim", 1) == 1:  # a collection, or one vector
        value = [_plain(item) for item in value]
        if not value or isinstance(value[0], (str, bytes, bool, type(None))):
            return value
    with as_value_error(f"{name} must be sentences or vectors [n, D]"):
        vectors = np.atleast_2d(np.asarray(_plain(value), dtype=np.float32))
    if vectors.ndim != 2:
        raise ValueError(f"{name} must be sentences or vectors [n, D], got shape {vectors.shape}")
    return vectors


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """Rows [n, D] scaled to length 1; zeros stay. By the largest number first: squares of tiny ones would vanish."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    vectors = vectors / np.where(largest > 0, largest, np.float32(1))
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _plain(value: Any) -> Any:
    return value.detach().float().cpu().numpy() if isinstance(value, Tensor) else value
