"""A design claim, what was measured, and the verdict that follows.

The words of each claim and its criterion stand in claims.toml; here they meet an estimate. A claim *holds* or *does not
hold* where the whole interval says so, else it is *not decided* and its default says what to do meanwhile.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from stlib.evidence.estimate import Estimate
from stlib.evidence.plain import plain

Verdict = Literal["holds", "does not hold", "not decided"]
SYMBOLS: dict[str, str] = {"holds": "✓", "does not hold": "✗", "not decided": "?"}
_GRAVEST_FIRST: tuple[Verdict, ...] = ("does not hold", "not decided", "holds")
CRITERIA = ("at_least", "at_most", "within", "no_worse_than")


@dataclass(frozen=True)
class Definition:
    """A claim before it is tried: one entry of claims.toml, whose head explains the fields."""

    id: str
    lesson: str
    sentence: str
    measure: str
    unit: str
    on: Literal["passages", "sentences", "pairs", "machine"]
    criterion: str
    bound: float
    holds: str
    fails: str
    default: str
    flips_when: str
    design: str
    headline: bool = False
    lab: bool = False

    @property
    def level(self) -> float:
        """Of its interval: headlines are right together in 95 % of cases, the rest is exploratory, at 95 % each."""
        return 1 - 0.05 / headlines() if self.headline else 0.95

    @property
    def criterion_text(self) -> str:
        words = ("at least ", "at most ", "within ±", "no worse than −")
        return f"{words[CRITERIA.index(self.criterion)]}{self.bound:g}"

    def advice(self, verdict: Verdict) -> str:
        return {"holds": self.holds, "does not hold": self.fails, "not decided": self.default}[verdict]

    def judge(self, interval: tuple[float, float]) -> Verdict:
        """The verdict for an interval on the scale of the criterion."""
        low, high = interval
        holds, fails = {
            "at_least": (low >= self.bound, high < self.bound),
            "at_most": (high <= self.bound, low > self.bound),
            "within": (-self.bound <= low and high <= self.bound, low > self.bound or high < -self.bound),
            "no_worse_than": (low >= -self.bound, high < -self.bound),  # a gain never counts against it
        }[self.criterion]
        return "holds" if holds else "does not hold" if fails else "not decided"

    def worst(self, estimates: Mapping[str, Estimate]) -> str:
        """Of several comparisons that a claim covers, the one that speaks most against it."""
        rank = {"at_most": lambda e: -e.value, "within": lambda e: -abs(e.value)}.get(self.criterion, lambda e: e.value)
        return min(estimates, key=lambda name: rank(estimates[name]))


@cache
def definitions() -> dict[str, Definition]:
    """All claims by id, in the order of claims.toml. ValueError: an entry that is not whole."""
    with (Path(__file__).parent / "claims.toml").open("rb") as file:
        entries = tomllib.load(file)
    found = {}
    for name, entry in entries.items():
        given = [criterion for criterion in CRITERIA if criterion in entry]
        if len(given) != 1:
            raise ValueError(f"claims.toml: {name!r} needs exactly one of {', '.join(CRITERIA)}, has {given}")
        bound = float(entry.pop(given[0]))
        found[name] = Definition(id=name, criterion=given[0], bound=bound, **entry)
    return found


@cache
def headlines() -> int:
    return sum(one.headline for one in definitions().values())


def definition(claim_id: str) -> Definition:
    """ValueError: no such claim; the message names those that come nearest."""
    import difflib

    if claim_id not in definitions():
        near = difflib.get_close_matches(claim_id, definitions(), n=3)
        raise ValueError(f"claim_id: {claim_id!r} is not in claims.toml; the nearest are {', '.join(near) or 'none'}")
    return definitions()[claim_id]


@dataclass(frozen=True, repr=False)
class Claim:
    """A claim with its verdict, as an evidence file keeps it.

    value, interval: in the claim's unit; `None` where it could not be tried, and then `note` says why.
    standard_error: of the value, for factors ("times") of its logarithm. units: how many of `unit_kind` it rests on.
    """

    id: str
    verdict: Verdict
    value: float | None
    interval: tuple[float, float] | None
    standard_error: float | None
    units: int | None
    unit_kind: str | None
    detectable: float | None
    note: str = ""

    @classmethod
    def decide(cls, claim_id: str, estimate: Estimate | Mapping[str, Estimate], note: str = "") -> Claim:
        """By the criterion in claims.toml. Where several comparisons are given they all have to meet it: of those that
        decide the verdict the worst is recorded, its interval holding together with all others'."""
        claim = definition(claim_id)
        several = estimate if isinstance(estimate, Mapping) else {"": estimate}
        if isinstance(estimate, Mapping):
            ends = Estimate.simultaneous(list(several.values()), claim.level)
        else:
            ends = [estimate.interval(claim.level)]
        intervals = {
            name: (told_as(claim, low), told_as(claim, high)) for name, (low, high) in zip(several, ends, strict=True)
        }
        verdicts = {name: claim.judge(interval) for name, interval in intervals.items()}
        verdict = next(v for v in _GRAVEST_FIRST if v in verdicts.values())
        name = claim.worst({name: one for name, one in several.items() if verdicts[name] == verdict})
        one, reach = several[name], several[name].detectable(claim.level, equivalence=claim.criterion == "within")
        return cls(
            id=claim_id,
            verdict=verdict,
            value=told_as(claim, one.value),
            interval=intervals[name],
            standard_error=one.standard_error,
            units=one.units,
            unit_kind=one.unit,
            detectable=told_as(claim, reach),
            note="; ".join(part for part in (name, note) if part),
        )

    @classmethod
    def undecided(cls, claim_id: str, why: str, shown: Claim | None = None) -> Claim:
        """Not tried here, or only `shown` on data that stand in for the reader's."""
        definition(claim_id)
        if shown is None:
            return cls(claim_id, "not decided", None, None, None, None, None, None, why)
        measured = {**vars(shown), "verdict": "not decided", "note": f"{shown.note}; {why}" if shown.note else why}
        return cls(**measured)

    @classmethod
    def from_record(cls, entry: Mapping[str, Any]) -> Claim:
        """As an evidence file has it."""
        return cls(**{**entry, "interval": entry["interval"] and tuple(entry["interval"])})

    # ------------------------------------------------------------------------------------------------- in words

    @property
    def definition(self) -> Definition:
        return definition(self.id)

    @property
    def advice(self) -> str:
        return self.definition.advice(self.verdict)

    @property
    def measured(self) -> str:
        """The value with its unit and its interval."""
        if self.value is None or self.interval is None:
            return "–"
        width = self.interval[1] - self.interval[0]
        value, low, high = (number_text(number, self.definition.unit, width) for number in (self.value, *self.interval))
        return f"{value} {self.definition.unit} [{low}, {high}]"

    def __repr__(self) -> str:
        return f"{self.id}: {self.verdict}"

    def _repr_markdown_(self) -> str:
        asked = self.definition.criterion_text
        numbers = plain(self.note) if self.value is None else f"{self.measured}, asked: {asked}"
        return f"**{SYMBOLS[self.verdict]} {self.verdict}**: {self.definition.sentence} ({numbers}). `{self.id}`"


def told_as(claim: Definition, number: float) -> float:
    """Factors are estimated as logarithms, for which their intervals are symmetric."""
    return math.exp(number) if claim.unit == "times" else number


def difference_decided(one: Claim, other: Claim, level: float = 0.95) -> bool:
    """Whether two measurements of a claim on different data or models differ: a ✓ beside a ? is no difference.

    By the normal interval of the difference of two independent estimates (Gelman and Stern 2006).
    """
    from scipy import stats

    if one.value is None or other.value is None:
        return False
    factor = one.definition.unit == "times"
    gap = math.log(one.value / other.value) if factor else one.value - other.value
    error = math.hypot(one.standard_error or 0.0, other.standard_error or 0.0)
    return abs(gap) > float(stats.norm.ppf((1 + level) / 2)) * error


def number_text(number: float, unit: str = "", scale: float | None = None) -> str:
    """Rounded to what its size (`scale`) warrants: one decimal for points, else two significant digits."""
    scale = abs(number) if scale is None else scale
    digits = 1 if "point" in unit or "%" in unit else 2
    if "point" not in unit and "%" not in unit and scale:
        digits = min(3, max(0, 1 - math.floor(math.log10(scale))))
    return f"{round(number, digits) + 0.0:,.{digits}f}".replace("-", "−")  # + 0.0: no minus zero
