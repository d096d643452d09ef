"""What a comparison of candidates answers, by rules that were fixed before: no number is chosen after the fact.

Each candidate against the baseline, in intervals that hold together; the set that is not shown worse than the best, by
Hsu's multiple comparisons with the best (1981, 1984), each candidate being the control in turn; slices, with Holm's
correction (1979).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stlib.evidence.estimate import Estimate

Verdict = Literal["better", "worse", "no difference", "no worse", "no better", "open"]
SMALLEST_SLICE = 10
"""Fewer units than these make no slice."""


@dataclass(frozen=True)
class Against:
    """A candidate against the baseline. interval: holds together with those of the other candidates.

    more: how many units beyond those at hold would settle it, if it is where it seems; `None` where it is settled.
    """

    difference: Estimate
    interval: tuple[float, float]
    verdict: Verdict
    more: float | None


@dataclass(frozen=True)
class Answer:
    """What one kind of data says. measure: "recall@10" and the like, in points; margin: the same.

    best: the names that are not shown worse than the best by the margin. safe: those that are shown no worse than any
    other by the margin.
    """

    measure: str
    margin: float
    baseline: str
    estimates: dict[str, Estimate]
    against: dict[str, Against]
    best: list[str]
    safe: list[str]

    @classmethod
    def of(
        cls, measure: str, estimates: Mapping[str, Estimate], baseline: str, margin: float, level: float = 0.95
    ) -> Answer:
        """`estimates` on the same units, the baseline's among them."""
        differences = {name: one - estimates[baseline] for name, one in estimates.items() if name != baseline}
        intervals = Estimate.simultaneous(list(differences.values()), level) if differences else []
        against = {}
        for (name, one), interval in zip(differences.items(), intervals, strict=True):
            verdict = judge(interval, margin)
            each = 1 - (1 - level) / len(differences)  # near what holds together, for what is not there yet
            against[name] = Against(one, interval, verdict, _more(one, interval, margin, each))
        bounds = with_the_best(estimates, level)
        best = [name for name, (_, high) in bounds.items() if high >= -margin]
        safe = [name for name, (low, _) in bounds.items() if low >= -margin]
        return cls(measure, margin, baseline, dict(estimates), against, best, safe)

    @property
    def unit(self) -> str:
        return self.estimates[self.baseline].unit

    @property
    def leader(self) -> str:
        """The highest value; whether it is the best is another question."""
        return max(self.estimates, key=lambda name: self.estimates[name].value)


def judge(interval: tuple[float, float], margin: float) -> Verdict:
    """Where a difference lies. "No worse": no more than the margin is lost; "better": at least so much is gained."""
    low, high = interval
    if low >= margin > 0 or low > margin == 0:
        return "better"
    if high <= -margin < 0 or high < margin == 0:
        return "worse"
    above, below = low >= -margin, high <= margin
    return "no difference" if above and below else "no worse" if above else "no better" if below else "open"


def _more(difference: Estimate, interval: tuple[float, float], margin: float, level: float) -> float | None:
    """Units that are missing until each bound is on one side of the interval."""
    low, high = interval
    undecided = [bound for bound in {-margin, margin} if low < bound < high]
    if not undecided:
        return None
    return max(0.0, max(difference.units_to_settle(bound, level) for bound in undecided) - difference.units)


def with_the_best(estimates: Mapping[str, Estimate], level: float = 0.95) -> dict[str, tuple[float, float]]:
    """For each candidate, bounds on how far it lies from the best of the others: {name: (low, high)}.

    The truly best candidate has an upper bound of 0 or more in at least `level` of samples: of its differences to all
    others, whose intervals hold together, none may lie below what is true.
    """
    found = {}
    for name, one in estimates.items():
        others = [one - other for rival, other in estimates.items() if rival != name]
        intervals = Estimate.simultaneous(others, level) if others else [(0.0, 0.0)]
        found[name] = (min(low for low, _ in intervals), min(high for _, high in intervals))
    return found


# ------------------------------------------------------------------------------------------------------------ slices


@dataclass(frozen=True)
class Slice:
    """A candidate against the baseline on part of the units. decided: other than 0 after Holm's correction over all
    slices and candidates of the comparison."""

    column: str
    part: str
    candidate: str
    units: int
    value: float
    interval: tuple[float, float]
    p: float
    decided: bool


def sliced(
    difference: Callable[[str, NDArray[np.bool_]], Estimate | None],
    names: Sequence[str],
    columns: Mapping[str, Sequence[object]],
    level: float = 0.95,
) -> list[Slice]:
    """`difference(name, mask)` for each part of each column; parts that are too small are left out."""
    found = []
    for column, values in columns.items():
        codes = np.array([str(value) for value in values])
        for part in sorted(set(codes.tolist()), key=_by_number):
            mask = codes == part
            for name in names if SMALLEST_SLICE <= mask.sum() < len(mask) else ():
                one = difference(name, mask)
                if one is not None and one.units >= SMALLEST_SLICE:
                    found.append((column, part, name, one))
    decided = holm([_p(one) for *_, one in found], 1 - level)
    return [
        Slice(column, part, name, one.units, one.value, one.interval(level), _p(one), yes)
        for (column, part, name, one), yes in zip(found, decided, strict=True)
    ]


def _by_number(part: str) -> list[str | int]:
    """So that "8 to 9 words" stands before "10 to 32 words"."""
    return [int(piece) if number % 2 else piece for number, piece in enumerate(re.split(r"(\d+)", part))]


def holm(p: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses fall, all of them right together in 1 − `alpha` of samples (Holm 1979)."""
    order, fallen = np.argsort(p), np.zeros(len(p), dtype=bool)
    for rank, number in enumerate(order):
        if p[number] > alpha / (len(p) - rank):
            break
        fallen[number] = True
    return fallen.tolist()


def _p(difference: Estimate) -> float:
    from scipy import stats

    if difference.standard_error == 0:
        return float(difference.value == 0)
    t = abs(difference.value) / difference.standard_error
    return float(2 * stats.t.sf(t, difference.degrees_of_freedom))


# ------------------------------------------------------------------------------------------------------------ advice


@dataclass(frozen=True)
class Cost:
    """What a candidate costs. speed: texts a second, the median over the rounds, with the slowest and the fastest.

    dimension and vector_bytes: of a text's vector, 0 bytes where there is none. memory: bytes of the weights as they
    are held. disk: bytes of the weights' files. limit: tokens that are read of a text; cut: the share of texts that are
    longer. `None`: not known.
    """

    speed: tuple[float, float, float] | None = None
    dimension: int | None = None
    vector_bytes: int | None = None
    memory: int | None = None
    disk: int | None = None
    limit: int | None = None
    cut: float | None = None


def cheapest(names: Sequence[str], costs: Mapping[str, Cost]) -> str:
    """Of the fastest (four fifths of the highest speed count as that) the one with the smallest vectors, else the first
    named."""
    speeds = {name: cost.speed[0] for name in names if (cost := costs[name]).speed}
    fast = [name for name in names if not speeds or speeds.get(name, 0.0) >= 0.8 * max(speeds.values())]
    return min(fast, key=lambda name: math.inf if (size := costs[name].vector_bytes) is None else float(size))


def advice(answers: Mapping[str, Answer], costs: Mapping[str, Cost]) -> tuple[str, str]:
    """The candidate to take, and one sentence that says why. The first answer decides; the others may object."""
    kind, answer = next(iter(answers.items()))
    by, choice = points(answer.margin), cheapest(answer.best, costs)
    if len(answer.estimates) == 1:
        sentence = f"Nothing was compared: {choice} alone could be tried."
    elif len(answer.best) == 1:
        sentence = f"Take {choice}: each other candidate is shown to lose {by} or more of {answer.measure}."
    elif choice in answer.safe:
        many = len(answer.best)
        sentence = (
            f"Take {choice}: the cheapest of the {many} not shown worse than the best, and shown to give up less than "
            f"{by} of {answer.measure} against any."
        )
    else:
        lost = f"gives up {by} of {answer.measure} to the best"
        open_ones = f"whether {choice}, the cheapest candidate left, {lost} is open"
        choice = answer.baseline if answer.baseline in answer.best else answer.leader
        verb = "Keep" if choice == answer.baseline else "Take"
        sentence = f"{verb} {choice} for now: {open_ones}{_needed(answer)}."
    objections = [
        f"on the {other}, {choice} is shown worse than the best"
        for other, one in answers.items()
        if other != kind and choice in one.estimates and choice not in one.best
    ]
    return choice, f"{sentence[:-1]}; but {', and '.join(objections)}." if objections else sentence


def _needed(answer: Answer) -> str:
    """How many more units would settle the nearest of the open comparisons, and which that is."""
    missing = {name: one.more for name, one in answer.against.items() if name in answer.best and one.more}
    nearest = min(missing, key=lambda name: missing[name], default="")
    if missing.get(nearest, math.inf) >= 1e6:
        return ""
    plural = f"{answer.unit[:-1]}ies" if answer.unit.endswith("y") else f"{answer.unit}s"
    return f" (some {rounded(missing[nearest]):,} more {plural} would settle {nearest} against {answer.baseline})"


def points(margin: float) -> str:
    return f"{margin:g} point{'s' * (margin != 1)}"


def rounded(number: float) -> int:
    """To two digits, upwards."""
    step = 10 ** max(0, int(math.log10(max(number, 1))) - 1)
    return math.ceil(number / step) * step
