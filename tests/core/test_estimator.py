"""The encoder in the company of scikit-learn and pickle."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import TEXTS, build, edit_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import Small
from sklearn.base import clone

from stlib import SentenceEncoder, SentenceTransformer

SENTENCES = ["A dog barks.", "Un chien aboie.", "Stocks fell sharply on Monday after the report."]


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


# ------------------------------------------------------------------------------------------------ set_params


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models with other weights and other limits."""
    place = tmp_path_factory.mktemp("two")
    found = [build("minilm", place / str(seed), seed=seed) for seed in (0, 1)]
    edit_json(found[1] / "tokenizer_config.json", model_max_length=40)
    return found


def state(encoder: SentenceEncoder) -> dict[str, Any]:
    """All that tells what an encoder is."""
    told = ("model", "max_length", "truncation", "tokenizer", "dimension", "packed")
    return encoder.get_params() | {name: getattr(encoder, name) for name in told} | {"own": encoder.identity()}


ALLOWED: dict[str, list[Any]] = {
    "model": [0, 1],
    "pooling": [None, "cls", ("max", "mean")],
    "normalize": [True, False],
    "max_length": [None, 7, 512],
    "truncation": ["warn", "ignore"],
    "device": [None, "cpu"],
}
REFUSED: dict[str, list[Any]] = {
    "model": [3, "/nowhere/at/all"],
    "pooling": ["average", ()],
    "attention": ["causal", "sideways"],
    "dtype": ["int4"],
    "max_length": [0, 513, "long", 1.5],
    "truncation": ["silent"],
    "device": ["meta", "nonsense"],
    "nonsense": [1],
}


def _some(of: dict[str, list[Any]], least: int, most: int) -> st.SearchStrategy[dict[str, Any]]:
    names = st.lists(st.sampled_from(sorted(of)), unique=True, min_size=least, max_size=most)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: st.sampled_from(of[name]) for name in chosen}))


def _named(arguments: dict[str, Any], folders: list[Path]) -> dict[str, Any]:
    number = arguments.get("model")
    return arguments | ({"model": folders[number]} if number in (0, 1) else {})


FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(steps=st.lists(_some(ALLOWED, 1, 3), min_size=1, max_size=2))
def test_set_params_gives_what_a_new_encoder_is(folders: list[Path], steps: list[dict[str, Any]]) -> None:
    encoder = SentenceEncoder(folders[0], device="cpu")
    for step in steps:
        encoder.set_params(**_named(step, folders))
    encoder.set_params(truncation="ignore")
    new = SentenceEncoder(**encoder.get_params())
    told = ("max_length", "truncation", "dimension")
    assert [getattr(encoder, name) for name in told] == [getattr(new, name) for name in told]
    np.testing.assert_array_equal(encoder.encode(TEXTS[:3]), new.encode(TEXTS[:3]))


@FEW
@given(allowed=_some(ALLOWED, 0, 4), refused=_some(REFUSED, 1, 1))
def test_what_is_refused_leaves_the_encoder_as_it_was(
    folders: list[Path], allowed: dict[str, Any], refused: dict[str, Any]
) -> None:
    encoder = SentenceEncoder(folders[0], max_length=9, truncation="ignore", device="cpu")
    before, vectors = state(encoder), encoder.encode(TEXTS[:3])
    with pytest.raises((ValueError, FileNotFoundError)):
        encoder.set_params(**_named(allowed | refused, folders))
    assert state(encoder) == before and encoder.model.max_length == 9
    np.testing.assert_array_equal(encoder.encode(TEXTS[:3]), vectors)


def test_a_refused_encoder_leaves_the_model_that_it_was_given_as_it_was(folders: list[Path]) -> None:
    model = SentenceTransformer.from_pretrained(folders[0])
    for refused in ({"device": "meta"}, {"truncation": "silent"}, {"max_length": 513}, {"pooling": "cls"}):
        with pytest.raises(ValueError, match=next(iter(refused))):
            SentenceEncoder(model, **{"max_length": 5, **refused})
    assert model.max_length == 512 and model.pooling == ("mean",)


def test_weights_that_were_trained_survive_a_change_of_what_does_not_decide_them(folders: list[Path]) -> None:
    encoder = SentenceEncoder(folders[0], truncation="ignore", device="cpu")
    encoder.model.backbone.model.embeddings.word_embeddings.weight.data += 0.1
    encoder.packed = False
    expected = encoder.encode(TEXTS)
    encoder.set_params(truncation="warn", device="cpu", max_length=100)
    assert not encoder.packed
    np.testing.assert_array_equal(encoder.encode(TEXTS), expected)


def test_what_is_set_as_an_attribute_is_a_parameter(folders: list[Path]) -> None:
    encoder = SentenceEncoder(folders[0])
    encoder.truncation, encoder.max_length = "error", 6
    assert (encoder.get_params()["truncation"], encoder.get_params()["max_length"]) == ("error", 6)
    with pytest.raises(ValueError, match="truncation='silent'"):
        encoder.truncation = "silent"
    encoder.pooling = "cls"
    np.testing.assert_array_equal(
        encoder.encode(["a"]), SentenceEncoder(folders[0], pooling="cls", max_length=6).encode(["a"])
    )
    twin = copy.copy(encoder)
    twin.truncation, twin.max_length = "ignore", 4
    assert (encoder.truncation, encoder.get_params()["max_length"], clone(encoder).max_length) == ("error", 6, 6)


# ------------------------------------------------------------------------------------------------ whose limit it is


def test_the_limit_is_the_encoders_own(small: Small) -> None:
    model = SentenceTransformer.from_pretrained(small("minilm"))
    first, second = SentenceEncoder(model), SentenceEncoder(model, max_length=9)
    assert (first.max_length, second.max_length, model.max_length) == (512, 9, 512)
    second.max_length = 7
    assert (first.max_length, second.max_length, model.max_length) == (512, 7, 512)
    model.max_length = 30  # the first has none of its own
    assert (first.max_length, second.max_length) == (30, 7)
    assert second.set_params(max_length=None).max_length == 30
    assert pickle.loads(pickle.dumps(first.set_params(max_length=8))).max_length == 8


def test_a_model_that_the_encoder_has_loaded_is_saved_with_its_limit(small: Small, tmp_path: Path) -> None:
    encoder = SentenceEncoder(small("minilm"), max_length=9)
    encoder.max_length = 11
    encoder.model.save_pretrained(tmp_path / "saved")
    assert SentenceEncoder(tmp_path / "saved").max_length == 11
    assert encoder.set_params(max_length=None).max_length == encoder.model.max_length == 512


def test_another_model_brings_its_own_limit(folders: list[Path]) -> None:
    encoder, other = SentenceEncoder(folders[0]), SentenceTransformer.from_pretrained(folders[1])
    encoder.model = other
    assert encoder.max_length == 40 and clone(encoder).max_length == 40
