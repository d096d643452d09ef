"""Candidates of a comparison: an encoder as a recipe says, counting words, or what was measured before.

A recipe is a model's name or folder, perhaps with choices: `M`, `M:pooling=cls`, `M:output_dim=256,dtype=int8`,
`M:prompt_name=query`, `M:pca=192`, and as a control `M:weights=random`. Each keeps its own prompts, pooling, limit and
attention but for what it names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stlib import checkpoint, hub
from stlib.backbone import ATTENTION, DTYPES
from stlib.encoder import SentenceEncoder
from stlib.evidence import controls
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.passages import Passages
from stlib.evidence.records import public_name
from stlib.evidence.scores import cosine
from stlib.evidence.vectors import encoded, pooled, unit
from stlib.pooling import POOLING_MODES
from stlib.review.answers import Cost
from stlib.tokens import FILES

Ranker = Callable[[slice], Floats]
"""Scores [rows, p] of a slice of the queries with all passages."""
MOST_REPOOLED = 10_000
"""Texts of which the vectors of all six modes are kept; of more they would fill the memory."""
PROMPTS = {
    "query": ("query", "s2p_query", "search_query", "retrieval.query"),
    "passage": ("passage", "document", "search_document", "retrieval.passage"),
    "text": ("s2s_query", "sts", "text-matching"),
}
"""Names under which folders declare the prompt of each side; "text": of texts that are compared with their like."""


@dataclass(frozen=True)
class Recipe:
    """What is to be loaded, checked but not loaded yet."""

    text: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """ValueError in one line: a choice that does not exist, a value that is not allowed."""
        match = re.fullmatch(r"(?P<model>.+?)(?::(?P<choices>\w+=.*))?", text.strip(), re.DOTALL)
        if match is None:
            raise ValueError(f"candidate {text!r}: expected a model's name or folder, or MODEL:choice=value,…")
        options: dict[str, Any] = {}
        for choice in filter(None, (match["choices"] or "").split(",")):
            name, _, value = choice.partition("=")
            if name not in _CHOICES:
                raise ValueError(f"candidate {text!r}: no choice {name!r}; allowed are {', '.join(_CHOICES)}")
            try:
                options[name] = _CHOICES[name](value)
            except ValueError as error:
                raise ValueError(f"candidate {text!r}: {name}={value} is not allowed: {error}") from None
        if {"weights", "dtype"} <= set(options):
            raise ValueError(f"candidate {text!r}: weights=random are of float32, so that dtype cannot be chosen")
        return cls(text, match["model"], options)

    @property
    def name(self) -> str:
        """As the page shows it: of the model the last part of its name or folder."""
        return public_name(self.model).rpartition("/")[2] + self.text.strip()[len(self.model) :]

    def check(self) -> None:
        """What can be known before anything is loaded. ValueError in one line."""
        try:
            layout = checkpoint.read_layout(hub.resolve(self.model, self.options.get("revision")))
            check_files(layout.transformer)
        except (OSError, ValueError) as error:
            raise ValueError(f"candidate {self.text!r}: {' '.join(str(error).split())}") from error
        size, sizes = self.options.get("output_dim"), sorted(checkpoint.trained_heads(layout))
        if size is not None and size not in sizes:
            raise ValueError(
                f"candidate {self.text!r}: there is no trained head of {size}, only {sizes or 'none at all'}; an "
                f"untrained one would be no fair candidate: pca={size} takes principal components"
            )
        wanted = self.options.get("prompt_name")
        if wanted is not None and wanted not in layout.prompts:
            raise ValueError(f"candidate {self.text!r}: no prompt {wanted!r}; declared are {list(layout.prompts)}")

    def load(self) -> Encoded:
        """Whatever goes wrong with a model may come out of this."""
        options = {key: value for key, value in self.options.items() if key not in ("prompt_name", "pca", "weights")}
        encoder = SentenceEncoder(self.model, truncation="ignore", **options)
        if "weights" in self.options:
            encoder = _untrained(encoder)
        options = self.options
        return Encoded(self.name, encoder, options.get("prompt_name"), options.get("pca"), "pooling" in options)


def check_files(folder: Path) -> None:
    """ValueError: no config, no weights or no tokenizer there."""
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    if not (folder / "config.json").is_file() or not weights or not any((folder / name).is_file() for name in FILES):
        raise ValueError(f"{folder} holds no model: it needs config.json, weights and a tokenizer")


def _untrained(encoder: SentenceEncoder) -> SentenceEncoder:
    """The same with random weights, prompts and all."""
    model, blank = encoder.model, controls.random_weights(encoder.model)
    blank.prompts, blank.default_prompt_name = dict(model.prompts), model.default_prompt_name
    blank.include_prompt = model.include_prompt
    return SentenceEncoder(blank, truncation="ignore")


def _one_of(allowed: Sequence[str], value: str) -> str:
    if value not in allowed:
        raise ValueError(f"expected one of {', '.join(allowed)}")
    return value


def _modes(value: str) -> tuple[str, ...]:
    return tuple(_one_of(POOLING_MODES, mode) for mode in value.split("+"))


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise ValueError("expected a whole number from 1")
    return int(value)


_CHOICES: dict[str, Callable[[str], Any]] = {
    "pooling": _modes,
    "output_dim": _positive,
    "pca": _positive,
    "dtype": partial(_one_of, tuple(DTYPES)),
    "attention": partial(_one_of, ATTENTION),
    "max_length": _positive,
    "prompt_name": str,
    "revision": str,
    "weights": partial(_one_of, ("random",)),
}


# -------------------------------------------------------------------------------------------------------- an encoder


@dataclass
class Encoded:
    """An encoder with its prompts; `pca` keeps so many principal components of its vectors.

    repooled: its pooling was chosen. Its vectors then come from the pass that keeps all modes, which others share.
    """

    name: str
    encoder: SentenceEncoder
    prompt_name: str | None = None
    pca: int | None = None
    repooled: bool = False

    def options(self, side: str) -> dict[str, Any]:
        """The prompt of one side, as `encode` takes it: the recipe's, else the one declared for it, else the default.

        A prompt that the recipe names is not put before passages.
        """
        prompts = self.encoder.model.prompts
        if self.prompt_name is not None and side != "passage":
            return {"prompt_name": self.prompt_name}
        declared = next((name for name in PROMPTS[side] if name in prompts), None)
        if declared is not None:
            return {"prompt_name": declared}
        return {"prompt": ""} if self.prompt_name is not None else {}

    def prompts(self) -> dict[str, str]:
        """What is put before the texts of each side."""
        return {side: self.encoder.model.prompt(**self.options(side)) for side in PROMPTS}

    def _vectors(self, texts: Sequence[str], side: str) -> Floats:
        """From the cache where they were computed before: unit vectors [n, D]."""
        model, options = self.encoder.model, self.options(side)
        if self.repooled and len(texts) <= MOST_REPOOLED and not model.projections and not model.prompt(**options):
            found = pooled(self.encoder, texts, model.pooling)
            return unit(np.concatenate([found[mode] for mode in model.pooling], axis=1))
        return unit(encoded(self.encoder, texts, **options))

    def rank(self, passages: Passages) -> Ranker:
        """By cosine. Principal components are fitted on the passages of the queries of one half and judged on the
        other, both ways round."""
        queries = self._vectors(passages.queries, "query")
        texts = self._vectors(passages.texts, "passage")
        if self.pca is None:
            return lambda rows: queries[rows] @ texts.T
        half = np.random.default_rng(0).permutation(len(queries)) % 2
        fitted = [
            _principal(
                texts[sorted(set().union(*(passages.relevant[i] for i in np.flatnonzero(half != one))))], self.pca
            )
            for one in (0, 1)
        ]
        pools = [reduce(texts) for reduce in fitted]

        def scores(rows: slice) -> Floats:
            found = np.empty((len(queries[rows]), len(texts)), dtype=np.float32)
            for one, (reduce, pool) in enumerate(zip(fitted, pools, strict=True)):
                mine = half[rows] == one
                found[mine] = reduce(queries[rows][mine]) @ pool.T
            return found

        return scores

    def compare(self, pairs: pd.DataFrame) -> Floats:
        """Cosine of each pair, [n]."""
        sides = [self._vectors(pairs[name].tolist(), "text") for name in ("sentence1", "sentence2")]
        if self.pca is not None:
            reduce = _principal(self._elsewhere(), self.pca)
            sides = [reduce(side) for side in sides]
        return cosine(*sides)

    def place(self, texts: Sequence[str]) -> Floats:
        """Unit vectors [n, D] of texts that are compared with their like."""
        vectors = self._vectors(texts, "text")
        return vectors if self.pca is None else _principal(self._elsewhere(), self.pca)(vectors)

    def _elsewhere(self) -> Floats:
        """Vectors of texts on which nothing is judged but passages, to fit on."""
        from stlib.evidence.corpora import documentation

        return self._vectors(documentation().texts, "text")

    def work(self, texts: Sequence[str]) -> None:
        """What is timed: no cache."""
        self.encoder.encode(list(texts), **self.options("passage"))

    def cost(self, texts: Sequence[str]) -> Cost:
        """All but its speed, from a sample of `texts`."""
        dimension = self.pca or self.encoder.dimension
        model, limit = self.encoder.model, self.encoder.max_length
        prefix = model.prompt(**self.options("passage"))
        counts = np.array(self.encoder.token_counts([prefix + text for text in texts]))
        return Cost(
            dimension=dimension,
            vector_bytes=4 * dimension,
            memory=sum(one.numel() * one.element_size() for one in model.parameters()),
            disk=_disk(model.folder),
            limit=limit,
            cut=float((counts > limit).mean()),
        )


def _principal(texts: Floats, size: int) -> Callable[[Floats], Floats]:
    """A map to `size` principal components of `texts` [n, D], which gives unit vectors."""
    from sklearn.decomposition import PCA

    if 2 * size > len(texts):
        raise ValueError(f"pca={size} needs at least {2 * size} texts to be fitted on, there are {len(texts)}")
    if size > texts.shape[1]:
        raise ValueError(f"pca={size} is more than the {texts.shape[1]} numbers of a vector")
    fitted = PCA(size, svd_solver="covariance_eigh").fit(texts)
    return lambda vectors: unit(fitted.transform(vectors).astype(np.float32)) if len(vectors) else vectors[:, :size]


def _disk(folder: Path | None) -> int | None:
    """Bytes of the weights' files: one kind of them where a folder has several."""
    for ending in ("safetensors", "bin"):
        files = list(folder.rglob(f"*.{ending}")) if folder else []
        if files:
            return sum(file.stat().st_size for file in files)
    return None


# ----------------------------------------------------------------------------------------------------- counting words


@dataclass
class Words:
    """A candidate that counts words and knows no meaning: the least that a model has to beat."""

    name: str
    index: Callable[[Sequence[str]], Callable[[Sequence[str]], Floats]]

    def rank(self, passages: Passages) -> Ranker:
        scores = self.index(passages.texts)
        return lambda rows: scores(passages.queries[rows])

    def work(self, texts: Sequence[str]) -> None:
        self.index(texts)

    def cost(self, texts: Sequence[str]) -> Cost:
        return Cost(vector_bytes=0)

    def prompts(self) -> dict[str, str]:
        return {}


class TfIdf(Words):
    """Its vectors can be compared with their like as well; BM25's scores of a query cannot."""

    def compare(self, pairs: pd.DataFrame) -> Floats:
        return controls.tfidf_similarity(pairs["sentence1"], pairs["sentence2"])

    def place(self, texts: Sequence[str]) -> Floats:
        return controls.tfidf_vectors(texts)


class Chance(TfIdf):
    """It guesses, at once. Where it cannot be tried, the data are at fault and no candidate."""

    def rank(self, passages: Passages) -> Ranker:
        rng, width = np.random.default_rng(0), len(passages.texts)
        return lambda rows: rng.random((len(passages.queries[rows]), width), dtype=np.float32)

    def compare(self, pairs: pd.DataFrame) -> Floats:
        return np.random.default_rng(0).random(len(pairs))

    def place(self, texts: Sequence[str]) -> Floats:
        return np.random.default_rng(0).standard_normal((len(texts), 8))


# --------------------------------------------------------------------------------------------- what was measured before


@dataclass
class Recorded:
    """A candidate that is not run: its estimate on the units of the data that decide is at hand."""

    name: str
    estimate: Estimate

    def cost(self, texts: Sequence[str]) -> Cost:
        return Cost()


Candidate = Encoded | Words


def word_counters() -> dict[str, Words]:
    return {"BM25": Words("BM25", controls.bm25_index), "TF-IDF": TfIdf("TF-IDF", controls.tfidf_index)}


def named(given: Mapping[str, Any] | Sequence[Any]) -> dict[str, Recipe | Encoded | Recorded]:
    """Candidates by the names under which the page shows them: recipes checked, encoders and estimates as they are.

    ValueError: none, a bad recipe, an encoder or an estimate without a name.
    """
    if isinstance(given, str) or not given:
        raise ValueError("candidates: expected at least one model, such as ['A', 'B:pooling=cls'] or {name: encoder}")
    found: dict[str, Recipe | Encoded | Recorded] = {}
    pairs = given.items() if isinstance(given, Mapping) else [("", one) for one in given]
    for name, one in pairs:
        if isinstance(one, SentenceEncoder | Estimate):
            if not name:
                raise ValueError(f"candidates: {type(one).__name__} needs a name, given as a mapping: {{name: …}}")
            found[_free(name, found)] = Encoded(name, one) if isinstance(one, SentenceEncoder) else Recorded(name, one)
        else:
            recipe = Recipe.parse(os.fspath(one))
            recipe.check()
            found[_free(name or recipe.name, found)] = recipe
    return found


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, or with a number behind it where it is taken."""
    taken = {**taken, **word_counters()}
    return next(one for one in (name, *(f"{name} ({n})" for n in range(2, 1000))) if one not in taken)
