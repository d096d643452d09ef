"""A comparison's answers follow from rules: no difference is none, the best is in the set, Holm, advice, cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stlib.evidence import Estimate
from stlib.review.answers import Answer, Cost, advice, cheapest, holm, judge, rounded, sliced, with_the_best

DRAWS = 400


def queries(rng: np.random.Generator, rates: dict[str, float], n: int = 60) -> dict[str, Estimate]:
    """Each candidate finds a query's passage at its rate; easy queries are easy for all of them."""
    ease = rng.standard_normal(n)
    found = {}
    for name, rate in rates.items():
        hit = 0.7 * ease + 0.7 * rng.standard_normal(n) < 0.99 * _quantile(rate)
        found[name] = Estimate.of(100.0 * hit)
    return found


def _quantile(rate: float) -> float:
    from scipy import stats

    return float(stats.norm.ppf(rate))


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((1.0, 3.0), "better"),
        ((-3.0, -1.0), "worse"),
        ((-1.0, 1.0), "no difference"),
        ((-1.0, 3.0), "no worse"),
        ((0.2, 3.0), "no worse"),
        ((-3.0, 1.0), "no better"),
        ((-1.1, 1.1), "open"),
    ],
)
def test_a_verdict_follows_from_the_whole_interval_and_the_margin(interval: tuple[float, float], verdict: str) -> None:
    assert judge(interval, 1.0) == verdict


def test_a_candidate_against_itself_is_no_difference_exactly() -> None:
    one = Estimate.of(np.random.default_rng(0).random(40) * 100)
    answer = Answer.of("recall@10", {"a": one, "again": one}, "a", 1.0)
    against = answer.against["again"]
    assert against.difference.value == 0.0 and against.interval == (0.0, 0.0)
    assert against.verdict == "no difference" and against.more is None
    assert answer.best == answer.safe == ["a", "again"]


def test_the_set_contains_the_best_candidate() -> None:
    rates = {"a": 0.60, "b": 0.70, "best": 0.72, "c": 0.71, "d": 0.40}
    held = [
        with_the_best(queries(np.random.default_rng(draw), rates))["best"][1] >= 0  # the hardest case: margin 0
        for draw in range(DRAWS)
    ]
    assert np.mean(held) >= 0.95


def test_the_set_leaves_out_what_is_clearly_worse_and_keeps_what_differs_by_less_than_the_margin() -> None:
    rng = np.random.default_rng(1)
    found = queries(rng, {"best": 0.80, "close": 0.80, "far": 0.30}, n=400)
    assert set(Answer.of("recall@10", found, "far", 1.0).best) == {"best", "close"}


def test_as_many_queries_as_are_said_to_be_missing_settle_it() -> None:
    """A sample of that size, as variable and in the same place, is decided."""
    values = np.random.default_rng(2).standard_normal(100) * 10
    values += 2.0 - values.mean()
    other = Estimate.of(np.zeros(100))
    answer = Answer.of("recall@10", {"a": other, "b": Estimate.of(values)}, "a", 1.0)
    more = answer.against["b"].more
    assert answer.against["b"].verdict == "no worse" and more is not None
    enough = np.tile(values, math.ceil((100 + more) / 100))
    settled = Answer.of("recall@10", {"a": Estimate.of(np.zeros(len(enough))), "b": Estimate.of(enough)}, "a", 1.0)
    assert settled.against["b"].verdict == "better"


def test_what_lies_on_the_margin_no_number_of_queries_settles() -> None:
    values = np.random.default_rng(3).standard_normal(50)
    one = Estimate.of(values - values.mean() + 1.0)
    answer = Answer.of("recall@10", {"a": Estimate.of(np.zeros(50)), "b": one}, "a", 1.0)
    assert answer.against["b"].more == math.inf


def test_holm_steps_down_and_stops() -> None:
    assert holm([0.001, 0.04, 0.02, 0.012], 0.05) == [True, True, True, True]
    assert holm([0.001, 0.04, 0.03, 0.012], 0.05) == [True, False, False, True]
    assert holm([0.02, 0.02], 0.05) == [True, True] and holm([0.03, 0.03], 0.05) == [False, False]


def test_slices_without_a_difference_are_decided_in_few_samples() -> None:
    wrong = 0
    for draw in range(200):
        rng = np.random.default_rng(draw)
        values = rng.standard_normal(80)
        parts = {"length": rng.integers(0, 3, 80).tolist(), "kind": rng.integers(0, 2, 80).tolist()}
        wrong += any(one.decided for one in sliced(lambda name, mask, v=values: Estimate.of(v[mask]), ["b"], parts))
    assert wrong / 200 <= 0.09  # 5 % and three standard errors


def test_small_parts_make_no_slice() -> None:
    found = sliced(lambda name, mask: Estimate.of(np.arange(mask.sum())), ["b"], {"x": ["one"] * 9 + ["two"] * 30})
    assert [one.part for one in found] == ["two"]


def test_slices_stand_in_the_order_of_their_numbers() -> None:
    parts = ["10 to 32 words"] * 12 + ["8 to 9 words"] * 12 + ["other"] * 12
    found = sliced(lambda name, mask: Estimate.of(np.arange(mask.sum())), ["b"], {"length": parts})
    assert [one.part for one in found] == ["8 to 9 words", "10 to 32 words", "other"]


COSTS = {
    "fast": Cost(speed=(900.0, 800.0, 1000.0), vector_bytes=1536),
    "small": Cost(speed=(850.0, 800.0, 1000.0), vector_bytes=768),
    "slow": Cost(speed=(100.0, 90.0, 110.0), vector_bytes=256),
}


def test_the_cheapest_is_as_fast_as_any_and_has_the_smallest_vectors() -> None:
    assert cheapest(["slow", "fast", "small"], COSTS) == "small"
    assert cheapest(["slow", "fast"], COSTS) == "fast"
    assert cheapest(["b", "a"], {"a": Cost(), "b": Cost()}) == "b"  # nothing is known: the first
    assert cheapest(["recorded", "a"], {"recorded": Cost(), "a": Cost(vector_bytes=1536)}) == "a"


def certain(**values: float) -> dict[str, Estimate]:
    noise = np.random.default_rng(4).standard_normal(200)
    return {name: Estimate.of(value + 0.01 * (noise - noise.mean())) for name, value in values.items()}


def test_advice_takes_the_cheapest_that_is_shown_to_do() -> None:
    answer = Answer.of("recall@10", certain(slow=80.0, fast=79.5, bad=60.0), "slow", 1.0)
    costs = COSTS | {"bad": Cost(speed=(5000.0, 1.0, 1.0))}
    choice, sentence = advice({"passages": answer}, costs)
    assert choice == "fast"
    assert sentence == (
        "Take fast: the cheapest of the 2 not shown worse than the best, and shown to give up less than 1 point of "
        "recall@10 against any."
    )


def test_advice_takes_the_only_one_that_is_left() -> None:
    answer = Answer.of("recall@10", certain(slow=80.0, fast=70.0), "fast", 1.0)
    choice, sentence = advice({"passages": answer}, COSTS)
    assert choice == "slow" and sentence.startswith("Take slow: each other candidate is shown to lose 1 point or more")


def test_advice_keeps_the_baseline_while_it_is_open_and_says_what_would_settle_it() -> None:
    rng = np.random.default_rng(5)
    estimates = {name: Estimate.of(50 + 20 * rng.standard_normal(40)) for name in ("slow", "fast")}
    choice, sentence = advice({"passages": Answer.of("recall@10", estimates, "slow", 1.0)}, COSTS)
    assert choice == "slow" and sentence.startswith("Keep slow for now: whether fast, the cheapest candidate left,")
    assert sentence.endswith(" would settle fast against slow).")


def test_other_data_may_object_but_nothing_is_averaged() -> None:
    first = Answer.of("recall@10", certain(slow=80.0, fast=79.5), "slow", 1.0)
    second = Answer.of("Spearman", certain(slow=80.0, fast=70.0), "slow", 1.0)
    choice, sentence = advice({"passages": first, "pairs": second}, COSTS)
    assert choice == "fast" and sentence.endswith("; but on the pairs, fast is shown worse than the best.")


def test_numbers_of_queries_are_rounded_upwards_to_two_digits() -> None:
    assert [rounded(number) for number in (3.2, 87.1, 1234.0)] == [4, 88, 1300]
