"""An estimate is paired by its units, knows how far to trust itself, and refuses what cannot be paired."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stlib.evidence import Estimate, best_of

RNG = np.random.default_rng(0)
A, B = RNG.normal(3, 1, 30), RNG.normal(2, 1, 30)


def test_the_mean_of_independent_values_has_students_interval() -> None:
    expected = stats.t.interval(0.9, 29, loc=A.mean(), scale=stats.sem(A))
    assert Estimate.of(A).interval(0.9) == pytest.approx(expected)
    assert Estimate.of(A).units == 30


def test_pseudo_values_of_a_mean_are_the_values() -> None:
    without = [np.delete(A, i).mean() for i in range(30)]
    np.testing.assert_allclose(Estimate.jackknife(A.mean(), without, "query").parts[0].pseudo, A)


def test_a_difference_is_paired() -> None:
    correlated = A + 0.1 * B
    paired = Estimate.of(correlated) - Estimate.of(A)
    assert paired.interval() == pytest.approx(Estimate.of(0.1 * B).interval())
    unpaired = np.hypot(Estimate.of(correlated).standard_error, Estimate.of(A).standard_error)
    assert paired.standard_error < unpaired / 5


def test_an_estimate_minus_itself_is_exactly_nothing() -> None:
    nothing = Estimate.of(A) - Estimate.of(A)
    assert (nothing.value, nothing.interval()) == (0.0, (0.0, 0.0))
    assert Estimate.simultaneous([nothing, nothing]) == [(0.0, 0.0), (0.0, 0.0)]


@pytest.mark.parametrize(
    "other",
    [
        Estimate.of(A[:20]),
        Estimate.of(A, "seed"),
        Estimate.of(A, key="other queries"),
        Estimate.over([Estimate.of(A, "seed"), Estimate.of(B, "seed")], "run"),
    ],
)
def test_other_units_cannot_be_paired(other: Estimate) -> None:
    with pytest.raises(ValueError, match="not the same units"):
        Estimate.of(A) - other
    with pytest.raises(ValueError, match="not the same units"):
        Estimate.simultaneous([Estimate.of(A), other])


def test_units_and_seeds_add_their_variances() -> None:
    runs = [Estimate.of(A + shift) for shift in (0.0, 1.0, 2.0)]
    both = Estimate.over(runs)
    assert both.value == pytest.approx(A.mean() + 1)
    assert both.standard_error**2 == pytest.approx(A.var(ddof=1) / 30 + 1 / 3)
    assert 2 < both.degrees_of_freedom < 31
    assert (both - Estimate.of(A)).standard_error == pytest.approx(np.sqrt(1 / 3))


def test_scaling_scales_the_interval_and_a_minus_turns_it() -> None:
    low, high = Estimate.of(A).interval()
    assert (100 * Estimate.of(A)).interval() == pytest.approx((100 * low, 100 * high))
    assert (-Estimate.of(A) / 2).interval() == pytest.approx((-high / 2, -low / 2))


def test_intervals_that_hold_together_are_wider_but_not_as_wide_as_bonferroni() -> None:
    several = [Estimate.of(A + 0.5 * RNG.normal(size=30)) for _ in range(6)]
    for one, (low, high) in zip(several, Estimate.simultaneous(several), strict=True):
        single, bonferroni = one.interval(0.95), one.interval(1 - 0.05 / 6)
        assert high - low > single[1] - single[0]
        assert high - low < bonferroni[1] - bonferroni[0]
    assert Estimate.simultaneous(several[:1])[0] == pytest.approx(several[0].interval(), rel=0.02)


def test_what_is_detectable_is_found_that_often() -> None:
    """Samples whose truth lies that far beyond the bound are decided with the power stated."""
    reach = np.mean([Estimate.of(np.random.default_rng(s).normal(0, 1, 40)).detectable(0.95, 0.8) for s in range(200)])
    truth = 1.0 + reach
    found = np.mean([Estimate.of(np.random.default_rng(s).normal(truth, 1, 40)).interval()[0] >= 1 for s in range(800)])
    assert found == pytest.approx(0.8, abs=0.04)


def test_equivalence_asks_for_more() -> None:
    reach = float(
        np.mean(
            [Estimate.of(np.random.default_rng(s).normal(0, 1, 40)).detectable(equivalence=True) for s in range(200)]
        )
    )
    inside = [Estimate.of(np.random.default_rng(s).normal(0, 1, 40)).interval() for s in range(800)]
    assert np.mean([-reach <= low and high <= reach for low, high in inside]) == pytest.approx(0.8, abs=0.05)


def test_units_to_settle_grow_with_the_square_of_the_nearness() -> None:
    one = Estimate.of(A)
    near, far = one.units_to_settle(one.value - 0.1), one.units_to_settle(one.value - 0.2)
    assert near == pytest.approx(4 * far)
    assert one.units_to_settle(one.value) == float("inf")


@pytest.mark.parametrize("values", [[1.0], [], [[1.0, 2.0]], [1.0, float("nan")]])
def test_values_that_have_no_interval_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values"):
        Estimate.of(values)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        Estimate.of(A).interval(level)


def test_the_best_is_named() -> None:
    assert best_of({"low": Estimate.of(B), "high": Estimate.of(A)})[0] == "high"
