"""Whether the bug of a hunt (`notebooks/hunts/`) is gone: the reader's function works on texts that no hunt shows.

What is compared is what the function does, never how it is written, so any cure that works is a cure. The verdict does
not say what was looked at: that would be telling.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stlib.encoder import SentenceEncoder
from stlib.evidence.corpora import load_pairs, load_sentences
from stlib.evidence.estimate import Floats
from stlib.evidence.scores import balanced_error, choose_threshold, cosine
from stlib.evidence.vectors import encoded, unit
from stlib.hub import DEFAULT_MODEL

HELD_BACK = ("a71", "a99")
"""The first and the last anchor of the built-in pairs that no hunt shows."""


def check(hunt: str, mended: Callable[..., Any], model: str | Path = DEFAULT_MODEL) -> None:
    """Prints the verdict on `mended`, the function that the hunt of this number names.

    Args:
        hunt: "1" to "6".
        mended: called as the notebook calls it. Where it fails, the bug is not found yet.
        model: the one that `mended` encodes with, a name or a folder.

    Raises:
        ValueError: no such hunt.
    """
    if hunt not in _CHECKS:
        raise ValueError(f"hunt: expected one of {', '.join(_CHECKS)}, got {hunt!r}")
    try:
        found = _CHECKS[hunt](_encoder(model), mended)
    except Exception as error:  # whatever a half mended function may raise
        print(f"Not found yet: on texts new to it your function stopped with {type(error).__name__}: {error}")
        return
    print("Found: on texts new to it your function does what it should." if found else "Not found yet.")


@cache
def _encoder(model: str | Path) -> SentenceEncoder:
    return SentenceEncoder(model, truncation="ignore")


@cache
def _pairs() -> Any:
    pairs = load_pairs("built-in")
    return pairs[pairs["anchor"].between(*HELD_BACK)]


def _gives_the_encoders_vectors(encoder: SentenceEncoder, embed: Callable[[list[str]], Any]) -> bool:
    """Alone as in company."""
    texts = sorted(_pairs()["sentence2"], key=len)
    texts = [*texts[:16], *texts[-16:]]  # short and long in turn: there is something to fill up
    right = encoded(encoder, texts)
    found = np.vstack([embed(texts), *(embed([text]) for text in texts[:3])])
    return bool(np.all(cosine(found, np.vstack([right, right[:3]])) > 0.999))


def _ranks_by_cosine(encoder: SentenceEncoder, search: Callable[[list[str], list[str]], Any]) -> bool:
    pairs = _pairs()
    queries, passages = pairs["sentence1"].drop_duplicates().tolist(), pairs["sentence2"].tolist()
    right = np.argsort(-encoded(encoder, queries) @ encoded(encoder, passages).T, axis=1)[:, :10]
    found = np.asarray(search(queries, passages))
    shared = [len(set(row) & set(other)) for row, other in zip(right.tolist(), found.tolist(), strict=True)]
    return float(np.mean(shared)) > 9.9


def _reads_pages_to_the_end(encoder: SentenceEncoder, search: Callable[[list[str], list[str]], Any]) -> bool:
    """Pages of lines on all topics, so that only the right line gives a page away; it stands near the end."""
    lines = np.random.default_rng(4).permutation(np.array(load_sentences("built-in")["text"].tolist())).reshape(8, -1)
    pages = ["\n".join(page) for page in lines]
    questions = lines[:, 32:38]
    found = np.asarray(search(questions.ravel().tolist(), pages)).reshape(questions.shape)
    return float(np.mean(found == np.arange(len(pages))[:, None])) > 0.45  # by chance 0.125


def _knows_the_same_from_another(encoder: SentenceEncoder, same: Callable[[list[str], list[str]], Any]) -> bool:
    pairs = _pairs()
    first, second, truth = pairs["sentence1"].tolist(), pairs["sentence2"].tolist(), pairs["score"].to_numpy() >= 4
    cosines = cosine(encoded(encoder, first), encoded(encoder, second))
    best = balanced_error(cosines, truth, choose_threshold(cosines, truth)).value
    said = np.asarray(same(first, second), dtype=float)
    return balanced_error(said, truth, 0.5).value < best + 5


def _reports_what_will_be(encoder: SentenceEncoder, report: Callable[[Floats, Floats, Floats], Any]) -> bool:
    pairs = _pairs()
    pairs = pairs[pairs["score"] == 5]
    queries, passages = (encoded(encoder, pairs[side].tolist()) for side in ("sentence1", "sentence2"))
    others = load_sentences("built-in")["text"].tolist()[:40]
    history = encoded(encoder, others)
    return abs(float(report(history, queries, passages)) - _first_places(history, queries, passages, 24)) < 0.5


def _first_places(history: Floats, queries: Floats, passages: Floats, size: int) -> float:
    """Queries of 100 whose passage, of the same number, comes first, by `size` principal axes of `history`."""
    centre = history.mean(axis=0)
    axes = np.linalg.svd(history - centre, full_matrices=False)[2][:size]
    reduced = [unit((side - centre) @ axes.T) for side in (queries, passages)]
    return 100 * float(np.mean((reduced[0] @ reduced[1].T).argmax(axis=1) == np.arange(len(queries))))


_CHECKS: dict[str, Callable[[SentenceEncoder, Callable[..., Any]], bool]] = {
    "1": _gives_the_encoders_vectors,
    "2": _gives_the_encoders_vectors,
    "3": _ranks_by_cosine,
    "4": _reads_pages_to_the_end,
    "5": _knows_the_same_from_another,
    "6": _reports_what_will_be,
}
