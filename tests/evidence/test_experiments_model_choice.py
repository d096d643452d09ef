"""The trials of lesson 01 on vectors whose truth is known: each comes out either way, or says that it was not tried."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stlib.evidence.claims import Claim
from stlib.evidence.estimate import Estimate
from stlib.evidence.experiments import model_choice
from stlib.evidence.passages import Passages
from stlib.evidence.vectors import unit

COUNT = 200


def passages(shared: bool) -> Passages:
    """Each query has a passage; they share a word of their own, or none."""
    names = [f"word{number}" for number in range(COUNT)]
    queries = names if shared else [f"other{number}" for number in range(COUNT)]
    attrs = {"has_label": False, "sha256": "abc"}
    own, grades, blank = [{n} for n in range(COUNT)], [{n: 2.0} for n in range(COUNT)], [""] * COUNT
    return Passages(queries, names, own, grades, blank, blank, names, {}, attrs)


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model that knows which query belongs to which passage, and whose input embeddings know nothing."""
    rng = np.random.default_rng(0)
    places = unit(rng.standard_normal((COUNT, 32)))

    def encoded(encoder: Any, texts: list[str]) -> np.ndarray:
        return places

    def inputs(encoder: Any, texts: list[str], *, centre: bool = True) -> np.ndarray:
        assert len(texts) == 2 * COUNT  # queries and texts in one call
        return unit(rng.standard_normal((2 * COUNT, 32)))

    monkeypatch.setattr(model_choice, "encoded", encoded)
    monkeypatch.setattr("stlib.evidence.controls.input_embeddings", inputs)
    return None


@pytest.mark.parametrize(("shared", "verdict"), [(False, "holds"), (True, "does not hold")])
def test_a_model_beats_words_where_they_are_not_shared(perfect: Any, shared: bool, verdict: str) -> None:
    found = model_choice.beyond_words(perfect, passages(shared))
    assert Claim.decide("model-beats-words", found).verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(100.0, "holds"), (120.0, "does not hold")])
def test_the_larger_model_is_paired_where_it_was_recorded(
    perfect: Any, monkeypatch: pytest.MonkeyPatch, value: float, verdict: str
) -> None:
    record = {"passages": {"sha256": "abc"}, "values": [value] * COUNT}
    monkeypatch.setattr(model_choice, "measurement", lambda name: record)
    study: Any = SimpleNamespace(encoder=perfect, passages=passages(False))
    found = model_choice.against_mpnet(study)
    assert found is not None and Claim.decide("small-is-competitive", found).verdict == verdict
    record["passages"] = {"sha256": "of other texts"}
    assert model_choice.against_mpnet(study) is None


def test_nothing_is_said_of_a_larger_model_without_a_record(perfect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(model_choice, "measurement", missing)
    assert model_choice.against_mpnet(SimpleNamespace(encoder=perfect, passages=passages(False))) is None  # type: ignore[arg-type]


def test_the_best_control_counts() -> None:
    rng = np.random.default_rng(0)
    scores = {name: Estimate.of(at + rng.standard_normal(50), "anchor")
              for name, at in (("the model", 80), ("TF-IDF", 60), ("random weights", 85))}  # fmt: skip
    assert Claim.decide("model-beats-words-on-pairs", model_choice.beyond_controls(scores)).verdict == "does not hold"
    del scores["random weights"]
    assert Claim.decide("model-beats-words-on-pairs", model_choice.beyond_controls(scores)).verdict == "holds"
