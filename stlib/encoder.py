"""`SentenceEncoder`: sentences in, vectors out."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stlib import checks
from stlib.backbone import Backbone
from stlib.estimator import Estimator, Parameter
from stlib.fast import FastBackbone, StatesOf
from stlib.files import as_value_error
from stlib.hub import DEFAULT_MODEL
from stlib.identity import identity
from stlib.model import SentenceTransformer
from stlib.modules import in_evaluation, is_listened_to, without_autocast
from stlib.pooling import Pooling
from stlib.similarity import cosines
from stlib.tokens import TRUNCATION, BareTokenizer, batches

_BATCH_TOKENS = 4096
# What is chosen while a model is loaded, and what is taken where nothing is said.
_CHOICES: dict[str, Any] = SentenceTransformer.from_pretrained.__func__.__kwdefaults__  # type: ignore[attr-defined]
_LOCK = threading.RLock()  # held while weights are packed, so that threads that share an encoder do not all do it


class SentenceEncoder(Estimator):
    """Sentences in, vectors out. Works in a scikit-learn `Pipeline`.

    Vectors are those of the model and the tokenizer as they are at the call, also while others train the model. Packed
    weights give them where no hook and no patched `forward` is to be called. Not noticed: a row written by `.data`, a
    number set in a layer, a config or a vocabulary, patches of torch's functions. Then make a new encoder.

    Args:
        model: a name, a folder or a `SentenceTransformer`, whose own choices then hold.
        pooling, output_dim, normalize, attention, dtype, revision: as in `SentenceTransformer.from_pretrained`.
        device: "cpu", "cuda", …; `None` takes a GPU where there is one.
        max_length: tokens a text, special ones included, 1 to the model's positions; `None` takes the model's. It is
            the encoder's own. A model that the encoder has loaded itself gets it, too, and is saved with it.
        truncation: of longer texts: "warn" once a call, "error" or "ignore".

    Raises:
        ValueError: any argument outside what is allowed; the message lists what is.
        FileNotFoundError: no such model.

    Example:
        >>> encoder = SentenceEncoder()
        >>> encoder.encode(["A dog barks.", "A hound is barking."]).shape
        (2, 384)
    """

    _model: SentenceTransformer
    _stated: int | None  # the limit in the folder, where the encoder has loaded the model itself
    pooling, output_dim, normalize, attention, dtype, revision, device, truncation = (Parameter() for _ in range(8))

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
        self.packed = True  # False: the plain path, to compare with
        self._params = {}
        self._become(
            model=model, pooling=pooling, output_dim=output_dim, normalize=normalize, attention=attention, dtype=dtype,
            revision=revision, device=device, max_length=max_length, truncation=truncation,
        )  # fmt: skip

    def _become(self, **changes: Any) -> None:
        """Take other arguments: all, or none where one is refused. The model stays where none of them decides it."""
        params = self._params | changes
        checks.choice("truncation", params["truncation"], TRUNCATION)
        _check_device(params["device"])
        state, chosen = self.__dict__ | {"_params": params}, bool(changes.keys() & {"model", *_CHOICES})
        if chosen:
            model = _given_or_loaded(params["model"], {name: params[name] for name in _CHOICES})
            state |= {"_model": model, "_stated": None if model is params["model"] else model.max_length, "_made": {}}
        model, limit = state["_model"], params["max_length"]
        if limit is not None:
            checks.positive_integer("max_length", limit, model.backbone.positions)
        if chosen or "device" in changes:
            model.to(params["device"] or ("cuda" if torch.cuda.is_available() else _device(model)))
        if state["_stated"] is not None and (chosen or "max_length" in changes):
            model.max_length = limit or state["_stated"]
        self.__dict__.update(state)  # at once: an `encode` that has begun goes on with what was there

    @property
    def model(self) -> SentenceTransformer:
        """What is set here is what may be given as `model`; arguments that chose the last one are dropped."""
        return self._model

    @model.setter
    def model(self, value: Any) -> None:
        self._become(**_CHOICES, model=value)

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
        """Tokens a text, special ones included: the encoder's own limit, else the model's."""
        return int(self._params["max_length"] or self.model.max_length)

    @max_length.setter
    def max_length(self, value: int | None) -> None:
        self._become(max_length=value)

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
            ValueError: a lone surrogate; a text beyond `max_length` under `truncation="error"`; an unknown prompt name;
                a prompt that takes up all of `max_length` and is left out of the vectors.

        The result depends on neither batch, order nor batch mates (float32: within 1e-5): nothing is padded.
        """
        texts = checks.sentences(sentences)
        budget = _BATCH_TOKENS if batch_tokens is None else checks.positive_integer("batch_tokens", batch_tokens)
        now = copy.copy(self)  # what other threads set meanwhile holds from their next call on
        prefix = now.model.prompt(prompt, prompt_name)
        left_out = prefix and not now.model.include_prompt
        skipped = now._tokenize().prompt_length(prefix, now.max_length) if left_out else 0
        ids = now._token_ids([prefix + text for text in texts] if prefix else texts, skipped)
        vectors = _mapped(now, ids, lambda model, states: model.head(states, skip=skipped), budget, show_progress)
        result: Any = vectors[0] if isinstance(sentences, str) else vectors
        return torch.from_numpy(result).to(_device(now.model)) if convert_to_tensor else result

    def token_embeddings(self, sentences: str | Iterable[str]) -> list[np.ndarray]:
        """Token states of each text, special tokens included: a list of float32 arrays [T_i, H]."""
        texts, now = checks.sentences(sentences), copy.copy(self)
        ids = now._token_ids(texts)
        found: list[np.ndarray] = [np.zeros((0, now.model.backbone.width), dtype=np.float32)] * len(texts)
        with _evaluating(now.model) as model:
            states_of = now._states_function(model.backbone)
            for rows, states in _states(states_of, ids, _device(model), _BATCH_TOKENS):
                for row, state in zip(rows, states.float().cpu().numpy(), strict=True):
                    found[row] = state
        return found

    def map_states(self, sentences: str | Iterable[str], function: Callable[[Tensor], Tensor]) -> np.ndarray:
        """A pooling of your own: `function` gives [b, …] for states [b, T, H], this float32 [n, …] for the n texts.

        Texts of equal token count go together, so nothing is padded. With `model.head` it is `encode` without prompts.
        """
        now = copy.copy(self)
        return _mapped(now, now._token_ids(checks.sentences(sentences)), lambda _, states: function(states))

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
        return cosines(a, b, self.encode)

    def identity(self, states: bool = False) -> str:
        """SHA-256 of all that decides the vectors, or the token states, but for the prompt and the place it lies in."""
        return identity(self.model.backbone if states else self.model, [self.max_length, self._tokenize().identity()])

    @property
    def _fast(self) -> FastBackbone | None:
        return self._made.get("fast")

    def _tokenize(self) -> BareTokenizer:
        bare: BareTokenizer | None = self._made.get("bare")
        if bare is None or not bare.is_current(self.tokenizer):
            bare = self._made["bare"] = BareTokenizer(self.tokenizer)
        return bare

    def _token_ids(self, texts: list[str], prompt: int = 0) -> list[np.ndarray]:
        """int32 [T] of each text, cut to `max_length`. Truncation is reported before anything is computed."""
        known = self.model.backbone.vocabulary
        return self._tokenize().cut(texts, self.max_length, self.truncation, vocabulary=known, prompt=prompt)

    def _states_function(self, backbone: Backbone) -> StatesOf:
        """Groups [b, T] of token ids -> their states: the fast path where it is to be had, else `backbone` itself."""
        if not self.packed or is_listened_to(backbone):
            return lambda groups: [backbone(input_ids) for input_ids in groups]
        with _LOCK:
            fast: FastBackbone | None = self._fast
            if fast is None or not fast.is_current(self.model.backbone):
                fast = self._made["fast"] = FastBackbone(self.model.backbone)
            return fast


def _mapped(
    encoder: SentenceEncoder,
    ids: list[np.ndarray],
    function: Callable[[SentenceTransformer, Tensor], Tensor],
    budget: int = _BATCH_TOKENS,
    show_progress: bool = False,
) -> np.ndarray:
    """`function(model, states)` in the order of the texts, float32 [n, …]."""
    with _evaluating(encoder.model) as model:
        states_of = encoder._states_function(model.backbone)
        nothing = torch.zeros(0, 1, model.backbone.width, device=_device(model))
        found = np.zeros((len(ids), *function(model, nothing).shape[1:]), dtype=np.float32)
        for rows, states in _states(states_of, ids, _device(model), budget, show_progress):
            found[rows] = function(model, states).float().cpu().numpy()
    return found


def _states(
    states_of: StatesOf, ids: list[np.ndarray], device: torch.device, budget: int, show_progress: bool = False
) -> Iterator[tuple[list[int], Tensor]]:
    """Row numbers [b] and token states [b, T, H] of texts with equal token counts, longest first."""
    from tqdm import tqdm

    with tqdm(total=len(ids), unit="text", disable=not show_progress) as bar:
        for groups in batches(ids, budget):
            batch = [torch.from_numpy(np.stack([ids[row] for row in rows])).long().to(device) for rows in groups]
            for rows, states in zip(groups, states_of(batch), strict=True):
                yield rows, states
                bar.update(len(rows))


@contextlib.contextmanager
def _evaluating(model: SentenceTransformer) -> Iterator[SentenceTransformer]:
    """The model without dropout, gradients and autocast: itself, or a twin where it is in training, which it stays."""
    # not inference mode: the result may be trained on
    with torch.no_grad(), without_autocast(_device(model)):
        yield in_evaluation(model) if any(part.training for part in model.modules()) else model


def _check_device(device: Any) -> None:
    with as_value_error(f"device={device!r} is not available"):
        if torch.empty(0, device=device).is_meta:
            raise ValueError("what lies there has shapes and no numbers")


def _device(model: SentenceTransformer) -> torch.device:
    return next(model.parameters()).device


def _given_or_loaded(model: Any, choices: dict[str, Any]) -> SentenceTransformer:
    if isinstance(model, SentenceTransformer):
        changed = [name for name, value in choices.items() if value != _CHOICES[name]]
        if changed:
            raise ValueError(f"{', '.join(changed)}: already decided by the SentenceTransformer given as model")
        if any(weight.is_meta for weight in model.parameters()):
            raise ValueError("model: its weights are on the device meta, where they have shapes and no numbers")
        return model
    if not isinstance(model, (str, os.PathLike)) or not os.fspath(model):
        raise ValueError(f"model must be a name, a path or a SentenceTransformer, got {model!r:.80}")
    return SentenceTransformer.from_pretrained(model, **choices)
