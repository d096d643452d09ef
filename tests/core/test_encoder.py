"""The contract of `SentenceEncoder`: what goes in, what comes out, what is refused before any work is done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import Small
from texts import VARIED

import stlib
from stlib import SentenceEncoder

SENTENCES = ["A dog barks.", "Un chien aboie.", "Stocks fell sharply on Monday after the report."]


# ------------------------------------------------------------------------------------------------ what comes out


def test_one_text_gives_one_vector_and_n_give_n_rows(encoder: Any) -> None:
    one, many = encoder.encode(SENTENCES[0]), encoder.encode(SENTENCES)
    assert one.shape == (384,) and many.shape == (3, 384) and encoder.dimension == 384
    assert many.dtype == np.float32 and many.flags.c_contiguous and one.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(one, many[0], atol=1e-6)


def test_no_texts_give_an_empty_array_of_the_right_width(encoder: Any) -> None:
    for nothing in ([], (), np.array([], dtype=object), iter([])):
        assert encoder.encode(nothing).shape == (0, 384)
    assert encoder.encode([]).dtype == np.float32
    assert encoder.encode([], convert_to_tensor=True).shape == (0, 384)


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u200b", "\x00"])
def test_blank_text_gives_a_finite_unit_vector(encoder: Any, blank: str) -> None:
    vector = encoder.encode(blank)
    assert np.isfinite(vector).all() and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "container",
    [
        tuple,
        np.array,
        pd.Series,
        iter,
        lambda texts: (text for text in texts),
        lambda texts: pd.Series(texts, index=[7, 3, 7]),
        lambda texts: pd.Series(texts, dtype="string"),
        lambda texts: np.array(texts, dtype=object),
    ],
)
def test_any_one_dimensional_collection_of_str(encoder: Any, container: Any) -> None:
    np.testing.assert_array_equal(encoder.encode(container(SENTENCES)), encoder.encode(SENTENCES))


def test_a_datasets_column(encoder: Any) -> None:
    datasets = pytest.importorskip("datasets")
    column = datasets.Dataset.from_dict({"text": SENTENCES})["text"]
    np.testing.assert_array_equal(encoder.encode(column), encoder.encode(SENTENCES))


def test_tensor_output_can_be_trained_on(encoder: Any) -> None:
    vectors = encoder.encode(SENTENCES, convert_to_tensor=True)
    assert isinstance(vectors, torch.Tensor) and vectors.dtype == torch.float32 and not vectors.is_inference()
    weight = torch.nn.Linear(384, 1)
    weight(vectors).sum().backward()
    assert weight.weight.grad is not None


def test_token_embeddings_and_counts(encoder: Any) -> None:
    states = encoder.token_embeddings(SENTENCES)
    assert [len(state) for state in states] == encoder.token_counts(SENTENCES)
    assert all(state.dtype == np.float32 and state.shape[1] == 384 for state in states)
    assert encoder.token_counts(["", "word " * 1000]) == [2, 1002]  # before truncation, special tokens included
    assert len(encoder.token_embeddings(["word " * 1000])[0]) == 256


def test_prompts(encoder: Any) -> None:
    prompted = encoder.encode("a dog", prompt="query: ")
    np.testing.assert_array_equal(prompted, encoder.encode("query: a dog"))
    with pytest.raises(ValueError, match="prompt_name='query'"):
        encoder.encode("a dog", prompt_name="query")
    with pytest.raises(ValueError, match="not both"):
        encoder.encode("a dog", prompt="x", prompt_name="y")
    with pytest.raises(TypeError, match="prompt"):
        encoder.encode("a dog", prompt=3)


def test_a_prompt_that_leaves_no_room_for_a_text_is_refused(small: Small) -> None:
    short = SentenceEncoder(small("minilm"), max_length=10, truncation="ignore", device="cpu")
    prompt = "word " * 20
    assert short.encode(SENTENCES, prompt=prompt).any()  # it counts, and is cut as any text
    short.model.include_prompt = False
    length = short.token_counts("word ")[0] - 2
    for words in (20, 9 // length, 8 // length):
        with pytest.raises(ValueError, match=r"prompt has \d+ tokens.*max_length=10"):
            short.encode(SENTENCES, prompt="word " * words)
    assert all(vector.any() for vector in short.encode(SENTENCES, prompt="word"))


def test_a_text_that_is_cut_on_the_left_keeps_the_prompt_that_is_left_out(small: Small) -> None:
    short = SentenceEncoder(small("minilm"), max_length=8, truncation="ignore", device="cpu")
    short.model.include_prompt, short.tokenizer.truncation_side = False, "left"
    short.model.pooling, short.model.normalize = ("cls",), False  # the first token after the prompt
    whole = short.token_counts(["a b c d e f g h"])[0]
    cut = short.encode("a b c d e f g h", prompt="w ")
    kept = short.encode("d e f g h", prompt="w ")
    assert whole == 10 and np.abs(cut - kept).max() < 1e-5


def test_similarity_of_sentences_and_vectors(encoder: Any) -> None:
    vectors = encoder.encode(SENTENCES)
    expected = vectors @ vectors.T
    np.testing.assert_allclose(encoder.similarity(SENTENCES), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.similarity(3 * vectors, torch.from_numpy(vectors)), expected, atol=1e-6)
    assert encoder.similarity(SENTENCES[0], SENTENCES).shape == (1, 3)
    assert encoder.similarity(vectors[0], vectors[1]).shape == (1, 1)
    assert encoder.similarity(np.zeros((1, 384)), vectors).tolist() == [[0, 0, 0]]
    assert encoder.similarity([], SENTENCES).shape == (0, 3)
    with pytest.raises(ValueError, match="383"):
        encoder.similarity(vectors, vectors[:, :383])
    np.testing.assert_allclose(encoder.similarity(vectors * 1e-25, pd.DataFrame(vectors)), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.similarity([list(map(float, row)) for row in vectors]), expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [b"abc", {"a": "text"}, 3, [b"abc"], [None], pd.DataFrame({"text": SENTENCES})])
def test_similarity_of_what_is_neither_is_refused(encoder: Any, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^(a|b|sentences\[0\]) must be"):
        encoder.similarity(wrong)


def test_similarity_of_long_texts_warns_once_and_points_at_the_caller(encoder: Any) -> None:
    with pytest.warns(UserWarning, match="2 of 2 texts were truncated") as caught:
        SentenceEncoder(encoder.model).similarity("word " * 300, "word " * 400)
    assert [warning.filename for warning in caught] == [__file__]


# ------------------------------------------------------------------------------------------------ invariances


@pytest.fixture(scope="module")
def alone(encoder: Any) -> np.ndarray:
    return np.stack([encoder.encode(text) for text in VARIED])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(0, len(VARIED) - 1), min_size=1, max_size=12), budget=st.sampled_from([1, 7, 64, 100_000])
)
def test_result_depends_on_neither_batch_nor_order_nor_mates(
    encoder: Any, alone: np.ndarray, rows: list[int], budget: int
) -> None:
    together = encoder.encode([VARIED[row] for row in rows], batch_tokens=budget)
    assert np.abs(together - alone[rows]).max() < 1e-5


def test_padded_model_call_equals_encode_on_either_side(encoder: Any, alone: np.ndarray) -> None:
    for side in ("left", "right"):
        batch = encoder.tokenizer(
            VARIED, padding=True, truncation=True, max_length=256, padding_side=side, return_tensors="pt"
        )
        with torch.no_grad():
            vectors = encoder.model(batch["input_ids"], batch["attention_mask"])
        assert np.abs(vectors.numpy() - alone).max() < 1e-5, side


# ------------------------------------------------------------------------------------------------ company


def test_public_names() -> None:
    assert set(stlib.__all__) == {"SentenceEncoder", "SentenceTransformer", "Projection", "pool", "POOLING_MODES"}
    assert stlib.POOLING_MODES == ("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def test_concatenated_modes_and_fresh_projection(encoder: Any) -> None:
    with pytest.warns(UserWarning, match="untrained"):
        projected = SentenceEncoder(encoder.model.folder, pooling=("max", "mean"), output_dim=32)
    assert projected.encode(SENTENCES).shape == (3, 32)
    assert projected.model.projection[0].in_features == 768


def test_without_normalisation_the_order_is_pool_then_project(encoder: Any) -> None:
    raw = SentenceEncoder(encoder.model.folder, normalize=False).encode(SENTENCES)
    means = np.stack([states.mean(axis=0) for states in encoder.token_embeddings(SENTENCES)])
    np.testing.assert_allclose(raw, means, atol=1e-5)


def test_a_function_of_the_states_gives_what_encode_gives(encoder: SentenceEncoder) -> None:
    texts = ["A dog barks.", "", "Two.", "A hound is barking at the postman again."]
    np.testing.assert_array_equal(encoder.map_states(texts, encoder.model.head), encoder.encode(texts))
    lengths = encoder.map_states(texts, lambda states: torch.full((len(states),), states.shape[1]))
    assert lengths.tolist() == encoder.token_counts(texts)
    assert encoder.map_states([], encoder.model.head).shape == (0, encoder.dimension)
    with pytest.raises(TypeError, match=r"sentences\[1\]"):
        encoder.map_states(["one", None], encoder.model.head)
