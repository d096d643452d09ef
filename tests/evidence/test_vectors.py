"""Vectors of the same weights, recipe and texts are computed once; anything else is computed anew."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stlib import POOLING_MODES, SentenceEncoder, pool
from stlib.evidence import vectors
from stlib.evidence.vectors import encoded, pooled

TEXTS = ["A dog barks.", "Stocks fell sharply in early trading.", "", "A hound is barking at the postman."]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    return tmp_path / "vectors"


@pytest.fixture
def own(encoder: SentenceEncoder) -> SentenceEncoder:
    """One whose weights a test may change."""
    return SentenceEncoder(copy.deepcopy(encoder.model), truncation="ignore")


def counted(encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    plain = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda *args, **more: (calls.append(args), plain(*args, **more))[1])
    return calls


def test_texts_are_encoded_once(own: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(own, monkeypatch)
    first, again = encoded(own, TEXTS), encoded(own, TEXTS)
    np.testing.assert_array_equal(first, again)
    assert len(calls) == 1


def test_of_texts_whose_whole_was_encoded_only_rows_are_taken(
    own: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(own, monkeypatch)
    alone = encoded(own, TEXTS[2:0:-1], among=TEXTS)
    assert len(calls) == 1  # the whole was not there, and is not asked for
    whole = encoded(own, TEXTS)
    again = encoded(own, [TEXTS[3], TEXTS[1]], among=TEXTS)
    assert len(calls) == 2
    np.testing.assert_array_equal(again, whole[[3, 1]])
    np.testing.assert_allclose(alone, whole[[2, 1]], atol=1e-6)


def test_sentences_of_pairs_stand_once_and_the_sides_lead_back_to_them() -> None:
    pairs = pd.DataFrame({"sentence1": ["a", "b", "a"], "sentence2": ["b", "c", "d"]})
    texts, sides = vectors.distinct(pairs)
    assert texts == ["a", "b", "c", "d"]
    assert [[texts[code] for code in side] for side in sides] == [["a", "b", "a"], ["b", "c", "d"]]


CHANGES: dict[str, Callable[[SentenceEncoder], Any]] = {
    "a weight": lambda e: next(e.model.parameters()).data.mul_(1.0).add_(1e-3),
    "the pooling": lambda e: setattr(e.model, "pooling", ("cls",)),
    "normalising": lambda e: setattr(e.model, "normalize", False),
    "the limit": lambda e: setattr(e, "max_length", 5),
    "a constant of a layer": lambda e: setattr(e.model.backbone.model.embeddings.LayerNorm, "eps", 0.1),
    "int8": lambda e: setattr(e.model.backbone, "int8", True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_model_is_seen(change: str, own: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded(own, TEXTS)
    with torch.no_grad():
        CHANGES[change](own)
    calls = counted(own, monkeypatch)
    np.testing.assert_array_equal(encoded(own, TEXTS), own.encode(TEXTS))
    assert len(calls) == 2


def test_other_texts_and_prompts_are_other_vectors(own: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(own, monkeypatch)
    for texts, options in ((TEXTS, {}), (TEXTS[::-1], {}), (TEXTS, {"prompt": "query: "})):
        encoded(own, texts, **options)
    assert len(calls) == 3


def test_whoever_used_the_tokenizer_before_changes_nothing(
    own: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(own, monkeypatch)
    encoded(own, TEXTS)
    own.tokenizer(TEXTS, padding=True, truncation=True, max_length=7)
    encoded(own, TEXTS)
    assert len(calls) == 1


def test_a_damaged_file_is_computed_again(own: SentenceEncoder, cache: Path) -> None:
    expected = encoded(own, TEXTS)
    (file,) = cache.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(encoded(own, TEXTS), expected)


def test_a_cache_that_cannot_be_written_stops_nothing(
    own: SentenceEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "file"))
    assert encoded(own, TEXTS).shape == (4, 384)


def test_the_oldest_go_when_the_cache_is_full(
    own: SentenceEncoder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "MOST_BYTES", 20_000)
    for number in range(6):
        encoded(own, [f"text {number} {part}" for part in range(4)])
    assert 1 <= len(list(cache.glob("*.npz"))) <= 3


def test_all_modes_come_from_one_pass_and_equal_pool(own: SentenceEncoder) -> None:
    found = pooled(own, TEXTS)
    for row, states in enumerate(own.token_embeddings(TEXTS)):
        for mode in POOLING_MODES:
            alone = pool(torch.from_numpy(states)[None], None, mode)[0].numpy()
            np.testing.assert_allclose(found[mode][row], alone, atol=1e-5)


@pytest.mark.parametrize("prompt", [None, "query"])
def test_the_pass_for_all_modes_keeps_what_encode_gives(
    prompt: str | None, own: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last digit; not where a prompt comes before each text, since the modes go without it."""
    own.model.prompts, own.model.default_prompt_name = {"query": "query: "}, prompt
    expected = own.encode(TEXTS)
    pooled(own, TEXTS)
    calls = counted(own, monkeypatch)
    np.testing.assert_array_equal(encoded(own, TEXTS), expected)
    assert len(calls) == (1 if prompt else 0)


def test_no_texts_have_no_vectors(own: SentenceEncoder) -> None:
    assert {vectors.shape for vectors in pooled(own, []).values()} == {(0, 384)} and encoded(own, []).shape == (0, 384)
