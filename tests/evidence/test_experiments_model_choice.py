"""What lesson 01 takes from the record is paired query by query or not taken; on pairs the best control counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stlib.evidence.claims import Claim
from stlib.evidence.estimate import Estimate, key_of
from stlib.evidence.experiments import model_choice
from stlib.evidence.passages import Passages

COUNT = 200


@pytest.fixture
def passages() -> Passages:
    names, blank = [f"word{number}" for number in range(COUNT)], [""] * COUNT
    own, grades = [{n} for n in range(COUNT)], [{n: 2.0} for n in range(COUNT)]
    return Passages(names, names, own, grades, blank, blank, names, {}, {"has_label": False, "sha256": "abc"})


@pytest.mark.parametrize(("value", "verdict"), [(100.0, "holds"), (120.0, "does not hold")])
def test_the_larger_model_is_paired_where_it_was_recorded(
    passages: Passages, monkeypatch: pytest.MonkeyPatch, value: float, verdict: str
) -> None:
    record = {"model": "some/large-model", "passages": {"sha256": "abc"}, "values": [value] * COUNT}
    monkeypatch.setattr(model_choice, "measurement", lambda name: record)
    perfect = Estimate.of(np.full(COUNT, 100.0), "query", key_of(sorted(one) for one in passages.relevant))
    larger = model_choice.mpnet(passages, "all-MiniLM-L6-v2")
    assert larger is not None and Claim.decide("small-is-competitive", perfect - larger).verdict == verdict
    assert model_choice.mpnet(passages, "folder/large-model") is None, "itself"
    record["passages"] = {"sha256": "of other texts"}
    assert model_choice.mpnet(passages, "all-MiniLM-L6-v2") is None


def test_nothing_is_said_of_a_larger_model_without_a_record(
    passages: Passages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(model_choice, "measurement", missing)
    assert model_choice.mpnet(passages, "all-MiniLM-L6-v2") is None


def test_the_best_control_counts() -> None:
    rng = np.random.default_rng(0)
    scores = {name: Estimate.of(at + rng.standard_normal(50), "anchor")
              for name, at in (("the model", 80), ("TF-IDF", 60), ("random weights", 85))}  # fmt: skip
    assert Claim.decide("model-beats-words-on-pairs", model_choice.beyond_controls(scores)).verdict == "does not hold"
    del scores["random weights"]
    assert Claim.decide("model-beats-words-on-pairs", model_choice.beyond_controls(scores)).verdict == "holds"
