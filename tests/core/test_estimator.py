"""The encoder in the company of scikit-learn and pickle."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from stlib import SentenceEncoder

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


def test_a_refused_parameter_leaves_the_encoder_as_it_was(encoder: Any) -> None:
    fresh = SentenceEncoder(encoder.model)
    with pytest.raises(ValueError, match="truncation"):
        fresh.set_params(truncation="silent")
    assert fresh.get_params()["truncation"] == "warn" and fresh.encode(SENTENCES).shape == (3, 384)
