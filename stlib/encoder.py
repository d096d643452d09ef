"""`SentenceTransformer`, the model (pool, project, normalise over a backbone), and its helper `SentenceEncoder`."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stlib import checkpoint
from stlib.backbone import ATTENTION, DTYPES, Backbone, load_backbone, quiet
from stlib.fast import FastBackbone, has_hooks
from stlib.files import first_line, read_json
from stlib.pooling import Pooling, pool, pooling_modes
from stlib.projection import Projection, positive_integer
from stlib.startup import collection_paused

TRUNCATION = ("warn", "error", "ignore")
# Texts are turned into ids this many at a time: the tokenizer's own objects are fifty times as large as the ids.
_TEXTS_AT_ONCE = 2048
_BATCH_TOKENS = 4096
_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


class SentenceTransformer(nn.Module):
    """Token ids in, one vector a text out: backbone, then pool, project and normalise, in that order.

    The model is whole: it carries what saving and encoding need.

    Attributes:
        backbone: token ids [B, T] -> token states [B, T, H].
        pooling: tuple of modes, concatenated.
        projection: `nn.Sequential` of `Projection`, possibly empty.
        normalize: scale each vector to unit length.
        tokenizer, prompts, default_prompt_name, max_length: as `save_pretrained` writes them.
        folder, source: where it was loaded from, and the name it was asked for by; `None` where built by hand.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Any,
        *,
        pooling: Pooling = "mean",
        projection: Sequence[Projection] = (),
        normalize: bool = True,
        max_length: int | None = None,
        layout: checkpoint.Layout | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.pooling = pooling_modes(pooling)
        self.projection = nn.Sequential(*projection)
        self.normalize = normalize
        self._layout = layout or checkpoint.Layout(transformer=Path())
        self.prompts: dict[str, str] = dict(self._layout.prompts)
        self.default_prompt_name = self._layout.default_prompt_name
        self.include_prompt = self._layout.include_prompt
        self.max_length = max_length or _default_limit(backbone, tokenizer)
        self.folder: Path | None = None
        self.source: str | None = None
        width = backbone.width * len(self.pooling)
        for part in self.projections:
            if part.in_features != width:
                raise ValueError(f"the projection takes {part.in_features} numbers, but {width} come in")
            width = part.out_features

    @classmethod
    @collection_paused()
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        pooling: Pooling | None = None,
        output_dim: int | None = None,
        normalize: bool = True,
        attention: str = "auto",
        dtype: str = "float32",
        revision: str | None = None,
    ) -> SentenceTransformer:
        """Load a sentence-transformers folder or a plain Hugging Face one, in eval mode. No code in it is run.

        Args:
            name_or_path: a folder, or a name that is found in an installed package, the local hub cache or the hub.
            pooling: a mode or a tuple of modes; `None` takes what the checkpoint declares, else mean.
            output_dim: `None` takes what the checkpoint declares; a number takes its trained head of that size, or
                builds an untrained projection, with a warning, where the checkpoint has no heads at all.
            normalize: scale to unit length, whether or not the checkpoint has a Normalize module.
            attention: "auto", "bidirectional" or "causal"; see `stlib.backbone.load_backbone`.
            dtype: of the backbone: "float32" or "bfloat16". Pooling and projection are float32 in any case.
            revision: of a model on the hub.

        Raises:
            ValueError: an argument outside what is allowed, or a folder that is damaged or not understood.
            FileNotFoundError: no such model.
        """
        _check_choice("attention", attention, ATTENTION)
        _check_choice("dtype", dtype, tuple(DTYPES))
        modes = None if pooling is None else pooling_modes(pooling)
        if output_dim is not None:
            positive_integer("output_dim", output_dim)
        folder = checkpoint.resolve(name_or_path, revision)
        layout = checkpoint.read_layout(folder)
        tokenizer = _load_tokenizer(layout)
        declares_mean = layout.pooling == ("mean",)
        backbone = load_backbone(
            layout.transformer,
            pad_id=tokenizer.pad_token_id,
            attention=attention,
            dtype=dtype,
            declares_mean=declares_mean,
        )
        modes = modes or layout.pooling or ("mean",)
        parts = _choose_projection(layout, output_dim, backbone.width * len(modes), folder)
        limit = min(filter(None, (layout.max_length, _default_limit(backbone, tokenizer))))
        model = cls(
            backbone, tokenizer, pooling=modes, projection=parts, normalize=normalize, max_length=limit, layout=layout
        )
        model.folder, model.source = folder, os.fspath(name_or_path)
        return model.eval()

    @property
    def projections(self) -> list[Projection]:
        """The linear maps after pooling, in order; often none."""
        return [part for part in self.projection if isinstance(part, Projection)]

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return ([self.backbone.width * len(self.pooling)] + [part.out_features for part in self.projections])[-1]

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Token ids [B, T] and mask [B, T] -> vectors [B, D] in float32. Differentiable; padded on either side."""
        return self.head(self.backbone(input_ids, attention_mask), attention_mask)

    def head(self, token_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Pool, project, normalise: [B, T, H], [B, T] -> [B, D] in float32."""
        vectors = pool(token_states.float(), attention_mask, self.pooling)  # float32 from here, whatever the backbone
        vectors = self.projection(vectors)
        return functional.normalize(vectors, dim=-1) if self.normalize else vectors

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that sentence-transformers and `from_pretrained` load to the same vectors.

        It is written beside and renamed: what stood there before stays until the new one is whole. Weights are written
        in the backbone's type: a bfloat16 model gives the same vectors again with `dtype="bfloat16"`.

        Raises:
            ValueError: the folder is there and holds something else than a model.
        """
        if self.backbone.config.is_encoder_decoder:
            warnings.warn(
                "sentence-transformers reads the decoder's states from this folder; stlib reads the encoder's",
                stacklevel=2,
            )
        layout = copy.copy(self._layout)
        layout.pooling, layout.normalize, layout.max_length = self.pooling, self.normalize, self.max_length
        layout.prompts, layout.default_prompt_name = self.prompts, self.default_prompt_name
        layout.include_prompt = self.include_prompt

        def write(fresh: Path) -> None:
            config = self.backbone.config
            if hasattr(config, "auto_map"):
                del config.auto_map  # the saved model needs no code of its own, and must not ask others to run any
            with quiet():
                self.backbone.model.save_pretrained(fresh, safe_serialization=True)
            tokenizer = _plain_tokenizer(self.tokenizer)
            tokenizer.model_max_length = self.max_length
            tokenizer.save_pretrained(fresh)
            checkpoint.write_layout(fresh, layout, self.projections, self.backbone.width)

        checkpoint.replace_folder(Path(folder), write)


class SentenceEncoder:
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
        model: str | os.PathLike[str] | SentenceTransformer = checkpoint.DEFAULT_MODEL,
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
        loading = {"pooling": pooling, "output_dim": output_dim, "normalize": normalize, "attention": attention,
                   "dtype": dtype, "revision": revision}  # fmt: skip
        params = {"model": model, **loading, "device": device, "max_length": max_length, "truncation": truncation}
        _check_choice("truncation", truncation, TRUNCATION)
        _check_device(device)
        if isinstance(model, SentenceTransformer):
            usual = inspect.signature(SentenceTransformer.from_pretrained).parameters
            changed = [name for name, value in loading.items() if value != usual[name].default]
            if changed:
                raise ValueError(f"{', '.join(changed)}: already decided by the SentenceTransformer given as model")
            self.model = model
        elif isinstance(model, (str, os.PathLike)):
            self.model = SentenceTransformer.from_pretrained(model, **loading)  # type: ignore[arg-type]
        else:
            raise ValueError(f"model must be a name, a path or a SentenceTransformer, got {type(model).__name__}")
        self.truncation = truncation
        self._params = params  # after everything that may fail, so that a refused set_params leaves no trace
        if max_length is not None:
            self.max_length = max_length
        if device is None:
            device = "cuda" if torch.cuda.is_available() else next(self.model.parameters()).device
        self.model.to(device)
        self._lock = threading.Lock()
        self._encoding = 0  # calls at work, and the modules to put back into training when the last one ends
        self._training: list[nn.Module] = []
        self.packed = True  # False: the plain path, to compare with
        self._fast: FastBackbone | None = None
        self._backend: Any = None
        self._backend_of: tuple[int, int] | None = None

    # -------------------------------------------------------------------------------------------- what it knows

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
        highest = self.model.backbone.positions
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or not 1 <= value <= (highest or value):
            allowed = f"1 to {highest}, the model's positions" if highest else "whole numbers from 1"
            raise ValueError(f"max_length={value!r} is not allowed: {allowed}")
        self.model.max_length = int(value)
        self._params["max_length"] = value

    # -------------------------------------------------------------------------------------------- encoding

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
        texts, single = check_sentences(sentences)
        budget = _BATCH_TOKENS if batch_tokens is None else positive_integer("batch_tokens", batch_tokens)
        prefix = self._prompt(prompt, prompt_name)
        ids = self._token_ids([prefix + text for text in texts] if prefix else texts)
        skipped = 0 if self.model.include_prompt or not prefix else self._prompt_length(prefix)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)

        def keep(rows: np.ndarray, states: Tensor) -> None:
            mask = None
            if skipped:
                mask = (torch.arange(states.shape[1], device=states.device) >= skipped).expand(states.shape[:2])
            vectors[rows] = self.model.head(states, mask).cpu().numpy()

        self._each_batch(ids, budget, show_progress, keep)
        result: Any = vectors[0] if single else vectors
        return torch.from_numpy(result).to(next(self.model.parameters()).device) if convert_to_tensor else result

    def token_embeddings(self, sentences: str | Iterable[str]) -> list[np.ndarray]:
        """Token states of each text, special tokens included: a list of float32 arrays [T_i, H]."""
        texts, _ = check_sentences(sentences)
        states_of: list[np.ndarray] = [np.zeros((0, self.model.backbone.width), dtype=np.float32)] * len(texts)

        def keep(rows: np.ndarray, states: Tensor) -> None:
            for row, state in zip(rows, states.float().cpu().numpy(), strict=True):
                states_of[row] = state

        self._each_batch(self._token_ids(texts), _BATCH_TOKENS, False, keep)
        return states_of

    def token_counts(self, sentences: str | Iterable[str]) -> list[int]:
        """How many tokens each text has, special ones included, before truncation."""
        texts, _ = check_sentences(sentences)
        return [len(ids) for chunk in _chunks(texts) for ids in self._tokenize(chunk)]

    def similarity(self, a: Any, b: Any = None) -> np.ndarray:
        """Cosine similarity [n, m] of vectors or sentences `a` and `b`; of `a` with itself without `b`.

        A single vector or sentence counts as a list of one. Zero vectors are similar to nothing: 0.

        Raises:
            TypeError: neither sentences nor vectors.
            ValueError: vectors that are not [n, D], or of unequal D.
        """
        sides = [_vectors_or_texts("a", a)] + ([] if b is None else [_vectors_or_texts("b", b)])
        texts = [text for side in sides if isinstance(side, list) for text in side]
        encoded = self.encode(texts)  # in one call, so that there is one warning at most
        for number, side in enumerate(sides):
            if isinstance(side, list):
                sides[number], encoded = encoded[: len(side)], encoded[len(side) :]
        first, second = _unit_length(sides[0]), _unit_length(sides[-1])
        if first.shape[1] != second.shape[1]:
            raise ValueError(f"a has vectors of {first.shape[1]} numbers and b of {second.shape[1]}")
        similarity: np.ndarray = first @ second.T
        return similarity

    # -------------------------------------------------------------------------------------------- scikit-learn

    def fit(self, X: Any = None, y: Any = None) -> SentenceEncoder:
        """Nothing to learn. Returns self."""
        return self

    def transform(self, X: Iterable[str]) -> np.ndarray:
        """`encode`, under the name that scikit-learn uses: n texts -> [n, D]."""
        vectors: np.ndarray = self.encode([X] if isinstance(X, str) else X)
        return vectors

    def fit_transform(self, X: Iterable[str], y: Any = None) -> np.ndarray:
        return self.transform(X)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, as they were given."""
        return dict(self._params)

    def set_params(self, **params: Any) -> SentenceEncoder:
        """Change constructor arguments; the encoder is built anew."""
        unknown = sorted(set(params) - set(self._params))
        if unknown:
            raise ValueError(f"unknown parameters {unknown}: allowed are {list(self._params)}")
        if params:
            self.__init__(**{**self._params, **params})  # type: ignore[misc]
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(string=True, one_d_array=True, two_d_array=False),
            requires_fit=False,
        )

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._params.items() if name != "model")
        name = self._params["model"] if isinstance(self._params["model"], (str, os.PathLike)) else "SentenceTransformer"
        return f"SentenceEncoder({os.fspath(name)!r}, {given})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_lock": None, "_fast": None, "_backend": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_lock": threading.Lock()}

    # -------------------------------------------------------------------------------------------- inside

    def _prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        if prompt is not None and prompt_name is not None:
            raise ValueError("give prompt or prompt_name, not both")
        if prompt is not None:
            if not isinstance(prompt, str):
                raise TypeError(f"prompt must be a str, got {type(prompt).__name__}")
            _check_text("prompt", prompt)
            return prompt
        name = prompt_name if prompt_name is not None else self.model.default_prompt_name
        if name is None:
            return ""
        if name not in self.model.prompts:
            raise ValueError(f"prompt_name={name!r} is not among the model's prompts: {list(self.model.prompts)}")
        return self.model.prompts[name]

    def _prompt_length(self, prefix: str) -> int:
        """How many leading tokens belong to the prompt: all of them but a closing special token."""
        ids = self._tokenize([prefix])[0]
        return len(ids) - (bool(ids) and ids[-1] in self.tokenizer.all_special_ids)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, special tokens included, nothing cut and nothing padded."""
        tokenizer = (id(self.tokenizer), len(self.tokenizer))  # tokens may have been added since
        if self._backend is None or self._backend_of != tokenizer:
            self._backend, self._backend_of = _backend(self.tokenizer), tokenizer
        if self._backend is False:  # a tokenizer in Python alone
            ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=True, truncation=False)["input_ids"]
            return ids
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts)]

    def _token_ids(self, texts: list[str]) -> list[np.ndarray]:
        """Ids of each text, cut to `max_length`: int32 arrays. Truncation is reported before anything is computed."""
        limit = self.max_length
        cut: list[int] = []
        ids: list[np.ndarray] = []
        for chunk in _chunks(texts):
            start = len(ids)
            ids += [np.asarray(row, dtype=np.int32) for row in self._tokenize(chunk)]
            cut += [index for index in range(start, len(ids)) if len(ids[index]) > limit]
        if cut and self.truncation == "error":
            first = f"sentences[{cut[0]}] has {len(ids[cut[0]])} tokens"
            raise ValueError(f"{first}, more than max_length={limit}; so have {len(cut)} of {len(texts)} texts")
        if cut and self.truncation == "warn":
            message = f"{len(cut)} of {len(texts)} texts were truncated to {limit} tokens"
            warnings.warn(message, stacklevel=_callers_level())
        self._check_vocabulary(ids)
        if cut:
            shorten = _shortener(self.tokenizer, limit)
            for index in cut:
                ids[index] = np.asarray(shorten(texts[index], ids[index]), dtype=np.int32)
        return ids

    def _check_vocabulary(self, ids: list[np.ndarray]) -> None:
        """A tokenizer may know more tokens than the model has rows for; then the error says which text has one."""
        rows = self.model.backbone.vocabulary
        if len(self.tokenizer) > rows:
            for index, row in enumerate(ids):
                if len(row) and row.max() >= rows:
                    raise ValueError(
                        f"sentences[{index}] holds token id {row.max()}, but the model has only {rows} embeddings"
                    )

    @contextlib.contextmanager
    def _eval(self) -> Iterator[None]:
        """No dropout while encoding; a model in training comes back as it was."""
        with self._lock:
            self._encoding += 1
            if self._encoding == 1:
                self._training = [module for module in self.model.modules() if module.training]
                for module in self._training:
                    module.training = False
        try:
            yield
        finally:
            with self._lock:
                self._encoding -= 1
                if self._encoding == 0:  # the last of the threads that share this encoder
                    for module in self._training:
                        module.training = True

    def _each_batch(self, ids: list[np.ndarray], budget: int, show_progress: bool, keep: Any) -> None:
        """Call `keep(rows, token states [b, T, H])` for groups of texts with equal token counts, longest first."""
        bar = contextlib.nullcontext()
        if show_progress:
            from tqdm import tqdm

            bar = tqdm(total=len(ids), unit="text")
        device = next(self.model.parameters()).device
        # no_grad rather than inference mode: what comes out may be trained on
        with self._eval(), torch.no_grad(), bar as progress:
            states_of = self._states_function()
            for groups in _batches(ids, budget):
                batch = [torch.from_numpy(np.stack([ids[row] for row in rows])).long().to(device) for rows in groups]
                for rows, states in zip(groups, states_of(batch), strict=True):
                    keep(rows, states)
                    if progress is not None:
                        progress.update(len(rows))

    def _states_function(self) -> Any:
        """Groups [b, T] of token ids -> their states: the fast path where it is to be had, else the backbone itself."""
        backbone = self.model.backbone
        if not self.packed or has_hooks(backbone):
            return lambda groups: [backbone(input_ids) for input_ids in groups]
        with self._lock:
            if self._fast is None or not self._fast.is_current():
                self._fast = FastBackbone(backbone)
            return self._fast


# ------------------------------------------------------------------------------------------------ helpers


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: use one of {allowed}")


def check_sentences(sentences: Any) -> tuple[list[str], bool]:
    """The texts as a list, and whether a single one was given."""
    if isinstance(sentences, str):
        texts, single = [sentences], True
    else:
        dimensions = getattr(sentences, "ndim", 1)
        if (
            sentences is None
            or isinstance(sentences, (bytes, bytearray, Mapping))
            or dimensions != 1
            or not isinstance(sentences, Iterable)
        ):
            shape = f" with {dimensions} dimensions" if dimensions != 1 else ""
            raise TypeError(f"sentences must be a str or a sequence of str, got {type(sentences).__name__}{shape}")
        texts, single = list(sentences), False
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"sentences[{index}] must be a str, got {type(text).__name__}: {text!r:.80}")
        _check_text(f"sentences[{index}]", text)
    return texts, single


def _vectors_or_texts(name: str, value: Any) -> Any:
    """One side of a comparison: an array [n, D], or a list of texts that `encode` then checks."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be sentences or vectors [n, D], got {type(value).__name__}")
    if getattr(value, "ndim", 1) != 1:  # an array, a tensor or a data frame
        value = value.detach().float().cpu() if isinstance(value, Tensor) else value
    else:
        value = [row.detach().float().cpu().numpy() if isinstance(row, Tensor) else row for row in value]
        if not value or not _is_vector_or_number(value[0]):
            return value
    try:
        vectors = np.atleast_2d(np.asarray(value, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be sentences or vectors [n, D]: {error}") from None
    if vectors.ndim != 2:
        raise ValueError(f"{name} must be sentences or vectors [n, D], got shape {vectors.shape}")
    return vectors


def _is_vector_or_number(first: Any) -> bool:
    if isinstance(first, (str, bytes, bool)):
        return False
    return isinstance(first, (int, float, np.number)) or hasattr(first, "__len__")


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zeros stay. By the largest number first: squares of tiny ones would vanish."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    vectors = vectors / np.where(largest > 0, largest, 1)
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _check_text(name: str, text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name} holds a lone surrogate at character {error.start}: not valid text") from None


def _check_device(device: Any) -> None:
    try:
        if device is not None:
            torch.empty(0, device=device)
    except (AssertionError, RuntimeError, TypeError) as error:  # torch without CUDA asserts
        raise ValueError(f"device={device!r} is not available: {first_line(error)}") from None


def _callers_level() -> int:
    """The stacklevel of a warning that points at the first line outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("stlib."):
        level, frame = level + 1, frame.f_back
    return level


def _chunks(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(texts), _TEXTS_AT_ONCE))


def _batches(ids: list[np.ndarray], budget: int) -> Iterator[list[np.ndarray]]:
    """Batches of up to `budget` tokens, or one longer text: lists of groups, the row numbers of texts of equal length.

    Longest first, so that memory that does not suffice is noticed at once. Texts without a token are left out.
    """
    lengths = np.fromiter((len(row) for row in ids), dtype=np.int64, count=len(ids))
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    groups: list[np.ndarray] = []
    room = budget
    for rows in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        while len(rows):
            length = int(lengths[rows[0]])
            if room < length and groups:
                yield groups
                groups, room = [], budget
            fitting = max(1, room // length)
            groups.append(rows[:fitting])
            room -= length * len(groups[-1])
            rows = rows[fitting:]
    if groups:
        yield groups


def _load_tokenizer(layout: checkpoint.Layout) -> Any:
    from transformers import AutoTokenizer

    folder = layout.transformer
    files = [name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    if not files:  # transformers would make up an empty one
        raise ValueError(f"{folder} holds no tokenizer: none of {', '.join(_TOKENIZER_FILES)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ValueError(f"{folder}: cannot read its tokenizer, {files[0]} ({first_line(error)})") from error
    if layout.lower_case:
        _lower(tokenizer)
    return tokenizer


def _lower(tokenizer: Any) -> None:
    """`do_lower_case` of sentence_bert_config.json: lower the text before anything else is done to it."""
    from tokenizers.normalizers import Lowercase, Sequence

    backend = tokenizer.backend_tokenizer
    if "lowercase" not in str(backend.normalizer).lower():
        backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])


def _backend(tokenizer: Any) -> Any:
    """A private copy of the Rust tokenizer without truncation and padding, or False where there is none."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "encode_batch_fast"):
        return False
    backend = copy.deepcopy(backend)
    backend.no_truncation()  # MiniLM's own file cuts and pads to 128
    backend.no_padding()
    return backend


def _plain_tokenizer(tokenizer: Any) -> Any:
    """The tokenizer as it is saved: fixed truncation and padding would override the limit that is written beside it."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.init_kwargs.pop("auto_map", None)  # no code of its own, as for the model
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and hasattr(backend, "no_truncation"):
        backend.no_truncation()
        backend.no_padding()
    return tokenizer


def _shortener(tokenizer: Any, limit: int) -> Any:
    """A function (text, all its ids) -> ids cut to `limit`, special tokens kept as the tokenizer itself keeps them."""
    special = tokenizer.num_special_tokens_to_add()
    backend = _backend(tokenizer)
    if limit < special:
        return lambda text, ids: ids[:limit]  # no room for text: what fits of the special tokens and the first word
    if backend is False:
        return lambda text, ids: tokenizer(text, truncation=True, max_length=limit)["input_ids"]
    backend.enable_truncation(limit, direction=tokenizer.truncation_side)
    return lambda text, ids: backend.encode(text).ids


def _default_limit(backbone: Backbone, tokenizer: Any) -> int:
    """Tokens a text: what the tokenizer says, at most what the model has positions for; 512 where neither says."""
    stated = getattr(tokenizer, "model_max_length", None)
    limits = [limit for limit in (stated, backbone.positions) if limit is not None and 0 < limit < 10**9]
    return int(min(limits, default=512))


def _choose_projection(layout: checkpoint.Layout, output_dim: int | None, width: int, folder: Path) -> list[Projection]:
    """The declared Dense modules, or the trained head of size `output_dim`, or an untrained projection."""
    if not layout.dense and not layout.heads:
        return [] if output_dim is None else [checkpoint.untrained(width, output_dim)]
    if output_dim is None:
        places = layout.dense
    else:
        sizes = {size: [place] for size, place in layout.heads.items() if place not in layout.dense}
        if layout.dense:
            declared = read_json(layout.dense[-1] / "config.json").get("out_features")
            sizes[declared] = layout.dense
        if output_dim not in sizes:
            raise ValueError(
                f"output_dim={output_dim}: {folder} has no trained head of that size, only {sorted(sizes)}"
            )
        places = sizes[output_dim]
    return [checkpoint.read_projection(place) for place in places]
