"""A verdict follows from the whole interval and the criterion; the words of each claim stand in one file, whole."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stlib.evidence import Estimate, decide
from stlib.evidence.claims import Claim, definition, definitions, difference_decided, headlines, number_text
from stlib.evidence.scores import ranking

RNG = np.random.default_rng(0)


def around(value: float, spread: float = 0.01, unit: str = "query") -> Estimate:
    values = RNG.standard_normal(50)
    return Estimate.of(value + spread * (values - values.mean()), unit, "the same")


@pytest.mark.parametrize(
    ("criterion", "interval", "verdict"),
    [
        (("at_least", 1), (1.0, 3), "holds"),
        (("at_least", 1), (0.9, 3), "not decided"),
        (("at_least", 1), (-1, 1.0), "not decided"),
        (("at_least", 1), (-1, 0.9), "does not hold"),
        (("at_most", 1), (0.1, 1.0), "holds"),
        (("at_most", 1), (0.1, 1.1), "not decided"),
        (("at_most", 1), (1.1, 2), "does not hold"),
        (("within", 1), (-1.0, 1.0), "holds"),
        (("within", 1), (-0.2, 1.1), "not decided"),
        (("within", 1), (-3, -1.1), "does not hold"),
        (("no_worse_than", 1), (-1.0, 0), "holds"),
        (("no_worse_than", 1), (5, 9), "holds"),  # a gain never counts against it
        (("no_worse_than", 1), (-1.1, 3), "not decided"),
        (("no_worse_than", 1), (-3, -1.1), "does not hold"),
    ],
)
def test_a_verdict_follows_from_the_whole_interval(
    criterion: tuple[str, float], interval: tuple[float, float], verdict: str
) -> None:
    claim = replace(definition("mean-beats-cls"), criterion=criterion[0], bound=criterion[1])
    assert claim.judge(interval) == verdict


@pytest.mark.parametrize("name", list(definitions()))
def test_each_claim_can_go_either_way(name: str) -> None:
    claim = definition(name)
    factor = (lambda x: math.log(x)) if claim.unit == "times" else (lambda x: x)
    good, bad = {
        "at_least": (claim.bound * 2, claim.bound / 2),
        "at_most": (claim.bound / 2, claim.bound * 2),
        "within": (0.0, claim.bound * 3),
        "no_worse_than": (0.0, -claim.bound * 3),
    }[claim.criterion]
    assert Claim.decide(name, around(factor(good), 1e-4)).verdict == "holds"
    assert Claim.decide(name, around(factor(bad), 1e-4)).verdict == "does not hold"


def test_each_lesson_with_claims_has_one_headline_which_is_not_in_a_lab() -> None:
    by_lesson: dict[str, list[bool]] = {}
    for claim in definitions().values():
        by_lesson.setdefault(claim.lesson, []).append(claim.headline)
        assert not (claim.headline and claim.lab)
    assert all(sum(marks) == 1 for marks in by_lesson.values())
    assert headlines() == len(by_lesson)


def test_headlines_hold_together_and_the_rest_at_95_per_cent() -> None:
    assert definition("mean-beats-cls").level == pytest.approx(1 - 0.05 / headlines())
    assert definition("mean-generalises").level == 0.95
    estimate = around(3, 1)
    assert Claim.decide("mean-beats-cls", estimate).interval == pytest.approx(
        estimate.interval(definition("mean-beats-cls").level)
    )


@pytest.mark.parametrize("name", list(definitions()))
def test_the_words_of_a_claim_are_whole_sentences(name: str) -> None:
    claim = definition(name)
    for advice in (claim.holds, claim.fails, claim.default):
        assert advice.endswith(".") and len(advice) > 15
    assert not claim.sentence.endswith(".") and claim.flips_when and claim.measure


def test_of_several_comparisons_the_worst_is_recorded_and_all_must_meet_the_criterion() -> None:
    modes = {"cls": around(-3, 0.1), "max": around(0.99, 0.1), "lasttoken": around(-9, 0.1)}
    claim = decide("no-other-mode-beats-mean", modes)
    assert claim.note == "max" and claim.value == pytest.approx(0.99)
    assert claim.verdict == "not decided"
    assert decide("no-other-mode-beats-mean", {**modes, "max": around(2, 0.1)}).verdict == "does not hold"
    assert decide("no-other-mode-beats-mean", {**modes, "max": around(-2, 0.1)}).verdict == "holds"


def test_what_is_shown_of_several_comparisons_speaks_for_the_verdict() -> None:
    """One that misses for certain decides, though another lies lower and is merely uncertain."""
    wide = Estimate.of(np.array([-0.5, 0.5] * 10) + 0.03)
    narrow = Estimate.of(np.array([-0.001, 0.001] * 10) + 0.04)
    claim = Claim.decide("similarity-finds-topics", {"A": wide, "B": narrow})
    assert claim.verdict == "does not hold" and claim.note == "B" and claim.interval[1] < claim.definition.bound


def test_a_handful_of_queries_decides_nothing_by_agreeing() -> None:
    vectors = np.eye(12)
    found = ranking(vectors, vectors, [{row} for row in range(12)])
    same = ranking(vectors, vectors, [{row} for row in range(12)])
    for claim in ("mean-beats-cls", "int8-loses-nothing", "typos-cost"):
        assert Claim.decide(claim, found - same).verdict == "not decided"
    many = np.full(3000, 100.0)
    none_differs = Estimate.of(many, most=100) - Estimate.of(many, most=100)
    assert Claim.decide("int8-loses-nothing", none_differs).verdict == "holds"


def test_factors_are_estimated_as_logarithms_and_told_as_factors() -> None:
    claim = decide("buckets-pay", around(math.log(1.5), 0.05, "process"))
    assert claim.value == pytest.approx(1.5) and claim.verdict == "holds"
    assert claim.interval is not None and claim.interval[0] < 1.5 < claim.interval[1]


def test_a_claim_that_could_not_be_tried_is_not_decided_and_says_why() -> None:
    claim = decide("mean-generalises", None, note="the sentences have no labels")
    assert claim.verdict == "not decided" and claim.measured == "–"
    assert "no labels" in claim._repr_markdown_() and claim.advice == claim.definition.default


def test_two_verdicts_differ_only_where_the_difference_is_decided() -> None:
    one, other = decide("mean-beats-cls", around(2, 10)), decide("mean-beats-cls", around(0.5, 10))
    assert not difference_decided(one, other)
    assert difference_decided(decide("mean-beats-cls", around(2, 0.1)), decide("mean-beats-cls", around(0.5, 0.1)))


def test_a_claim_shows_as_its_verdict_alone_where_only_text_is_compared() -> None:
    assert repr(decide("mean-beats-cls", around(9, 1))) == "mean-beats-cls: holds"


def test_an_unknown_claim_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ValueError, match="mean-beats-cls"):
        decide("mean-beats-csl", around(1))


@pytest.mark.parametrize(
    ("number", "unit", "scale", "text"),
    [
        (5.84, "points", None, "5.8"),
        (-0.04, "points", None, "0.0"),
        (0.2612, "of AUC", 0.03, "0.261"),
        (-3.2, "points", 1, "−3.2"),
    ],
)
def test_numbers_are_rounded_to_what_their_interval_warrants(
    number: float, unit: str, scale: float | None, text: str
) -> None:
    assert number_text(number, unit, scale) == text


def test_the_page_of_claims_is_made_from_the_file() -> None:
    tool = Path(__file__).resolve().parents[2] / "tools" / "render_claims.py"
    assert subprocess.run([sys.executable, str(tool), "--check"]).returncode == 0
