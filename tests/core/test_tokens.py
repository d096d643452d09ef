"""Texts into token ids: what is cut and how it is told, and the tokenizer's own settings."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
from checkpoints import (
    FAMILIES,
    TEXTS,
    edit_json,
    read_json,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import (
    TOLERANCE,
    Small,
    st_model,
)
from sklearn.base import clone

from stlib import SentenceEncoder, SentenceTransformer
from stlib.tokens import BareTokenizer, batches, load_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training


def test_tokens_added_later_are_seen(encoder: Any) -> None:
    model = SentenceTransformer.from_pretrained(encoder.model.folder)
    shared = SentenceEncoder(model, device="cpu")
    before = shared.token_counts("frobnicate")[0]
    model.tokenizer.add_tokens(["frobnicate"])
    model.backbone.model.resize_token_embeddings(len(model.tokenizer))
    assert shared.token_counts("frobnicate")[0] == 3 < before
    shared.encode("frobnicate")


def test_truncation_is_never_silent(encoder: Any) -> None:
    long = ["short", "word " * 300, "word " * 400]
    model = encoder.model
    with pytest.warns(UserWarning, match="2 of 3 texts were truncated to 256 tokens"):
        cut = SentenceEncoder(model).encode(long)
    with pytest.raises(ValueError, match=r"sentences\[1\].*302 tokens.*256"):
        SentenceEncoder(model, truncation="error").encode(long)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = SentenceEncoder(model, truncation="ignore").encode(long)
        SentenceEncoder(model).encode(["short"])
    np.testing.assert_array_equal(cut, quiet)
    np.testing.assert_allclose(quiet[1], quiet[2], atol=1e-6)


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 512])
def test_max_length_counts_special_tokens(encoder: Any, limit: int) -> None:
    short = SentenceEncoder(encoder.model.folder, max_length=limit, truncation="ignore")
    assert short.max_length == limit == clone(short).max_length
    assert len(short.token_embeddings("word " * 600)[0]) == limit
    assert np.isfinite(short.encode("word " * 600)).all()
    if limit == 2:  # room for the special tokens alone
        assert short._token_ids(["word " * 600])[0].tolist() == [101, 102]


def test_texts_are_cut_on_the_side_that_the_tokenizer_names(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", limit=12)
    edit_json(path / "tokenizer_config.json", truncation_side="left")
    encoder = SentenceEncoder(path, truncation="ignore")
    long = " ".join(TEXTS)
    np.testing.assert_allclose(encoder.encode([long]), st_model(path).encode([long]), atol=1e-5)
    edit_json(path / "tokenizer_config.json", truncation_side="right")
    assert np.abs(SentenceEncoder(path, truncation="ignore").encode([long]) - encoder.encode([long])).max() > 1e-3


def test_padding_and_truncation_baked_into_the_tokenizer_are_cleared(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small("minilm", "old"), tmp_path / "model"))
    side = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    checkpoints.edit_json(
        path / "tokenizer.json",
        truncation={"max_length": 12, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        padding={"strategy": {"Fixed": 12}, **side},
    )
    encoder, clean = SentenceEncoder(path), SentenceEncoder(small("minilm", "old"))
    assert encoder.token_counts(TEXTS) == clean.token_counts(TEXTS)
    assert max(encoder.token_counts(TEXTS)) > 12
    np.testing.assert_allclose(encoder.encode(TEXTS), clean.encode(TEXTS), atol=TOLERANCE)
    assert [len(states) for states in encoder.token_embeddings(TEXTS)] == clean.token_counts(TEXTS)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_is_cut_as_the_tokenizer_itself_cuts_it(family: str, side: str, small: Small) -> None:
    tokenizer = load_tokenizer(small(family))
    tokenizer.truncation_side = side
    text, special = " ".join(TEXTS), tokenizer.num_special_tokens_to_add()
    for limit in range(special, special + 9):
        (ids,) = BareTokenizer(tokenizer).cut([text], limit, "ignore")
        assert ids.tolist() == tokenizer(text, truncation=True, max_length=limit)["input_ids"], limit


@given(lengths=st.lists(st.integers(0, 40), max_size=30), budget=st.integers(1, 100))
def test_batches_hold_each_text_once_with_its_equals_and_within_the_budget(lengths: list[int], budget: int) -> None:
    ids = [np.zeros(length, dtype=np.int32) for length in lengths]
    found = list(batches(ids, budget))
    rows = [row for groups in found for group in groups for row in group]
    assert sorted(rows) == [row for row, length in enumerate(lengths) if length]
    assert [lengths[row] for row in rows] == sorted((lengths[row] for row in rows), reverse=True)
    for groups in found:
        assert all(len({lengths[row] for row in group}) == 1 for group in groups)
        members = [lengths[row] for group in groups for row in group]
        assert sum(members) <= budget or len(members) == 1


def test_lower_casing_reaches_a_tokenizer_that_keeps_the_case(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small("minilm"), tmp_path / "model"))
    edit_json(path / "tokenizer_config.json", do_lower_case=False)
    normalizer = read_json(path / "tokenizer.json")["normalizer"] | {"lowercase": False}
    edit_json(path / "tokenizer.json", normalizer=normalizer)
    cased, lower = load_tokenizer(path), load_tokenizer(path, lower_case=True)
    assert cased("Snow")["input_ids"] != cased("snow")["input_ids"] == lower("Snow")["input_ids"]
