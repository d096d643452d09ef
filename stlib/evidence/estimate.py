"""A measured number, and how far to trust it: the delete-one jackknife behind every interval of the package.

An estimate carries its *pseudo-values*, one for each independent unit: n θ − (n − 1) θ₍₋ᵢ₎, where θ₍₋ᵢ₎ is the
statistic computed without unit i (Quenouille 1956, Tukey 1958; Efron and Stein 1981). Their mean has the standard error
of θ, so differences on the same units are paired by subtracting pseudo-values, and several estimates hold together by
their correlation. For the mean of independent values the pseudo-values are the values themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.floating]
_Z = float(stats.norm.ppf(0.975))


def key_of(units: Iterable[object]) -> str:
    """A short name for a sequence of units, by which two estimates know that they rest on the same ones."""
    digest = hashlib.sha256()
    for one in units:
        digest.update(repr(one).encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Units:
    """The pseudo-values of one kind of independent unit."""

    kind: str
    key: str
    pseudo: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.pseudo)

    @property
    def variance(self) -> float:
        """Of the mean of the pseudo-values."""
        return float(self.pseudo.var(ddof=1)) / len(self)


@dataclass(frozen=True)
class Estimate:
    """A value with its uncertainty.

    parts: one `Units` for each kind of unit over which it generalises, the main one first. Where there are two, such as
    sentences and seeds, their variances add (degrees of freedom by Satterthwaite 1946).
    most: how far a single unit may lie from the others, such as 100 points; 0 where that is not known. Units that all
    agree have no variance, and yet the next one may differ: the standard error is then that of Wilson's interval (1927)
    for a share of which no case was seen.

    Example:
        >>> found_by_a = Estimate.of([100, 100, 0, 100])  # of each query's passages, in points
        >>> found_by_b = Estimate.of([100, 0, 0, 100])
        >>> difference = found_by_a - found_by_b  # query by query
        >>> difference.value, difference.units
        (25.0, 4)
        >>> low, high = difference.interval()
        >>> low < 0 < high  # four queries decide nothing
        True
    """

    value: float
    parts: tuple[Units, ...]
    most: float = 0.0

    @classmethod
    def of(cls, values: ArrayLike, unit: str = "query", key: str | None = None, most: float = 0.0) -> Estimate:
        """The mean of independent `values` [n]: of seeds, processes, queries.

        `key` names the units where something else than their number tells them apart. ValueError: fewer than two
        values, or one that is not finite.
        """
        values = np.asarray(values, dtype=float)
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(f"values: an interval needs at least 2 values in one row, got shape {list(values.shape)}")
        return cls._checked(float(values.mean()), values, unit, key, most)

    @classmethod
    def jackknife(
        cls, value: float, without: ArrayLike, unit: str, key: str | None = None, most: float = 0.0
    ) -> Estimate:
        """A statistic with `value`, and its values `without` [n] each unit in turn."""
        without = np.asarray(without, dtype=float)
        if without.ndim != 1 or len(without) < 2:
            raise ValueError(f"without: an interval needs at least 2 units, got shape {list(without.shape)}")
        return cls._checked(float(value), len(without) * value - (len(without) - 1) * without, unit, key, most)

    @classmethod
    def _checked(cls, value: float, pseudo: Floats, unit: str, key: str | None, most: float) -> Estimate:
        if not np.isfinite(value) or not np.isfinite(pseudo).all():
            where = "the whole" if not np.isfinite(value) else f"{unit} {int(np.argmin(np.isfinite(pseudo)))}"
            raise ValueError(f"values: not finite for {where}, so there is no interval")
        return cls(value, (Units(unit, key or f"{len(pseudo)} of {unit}", pseudo),), most)

    @classmethod
    def over(cls, estimates: Sequence[Estimate], unit: str = "seed") -> Estimate:
        """The mean of one statistic over repeats (seeds) on the same units; both kinds of unit count.

        ValueError: fewer than two repeats, or repeats on other units.
        """
        total = estimates[0]
        for one in estimates[1:]:
            total = total + one
        mean, repeats = total / len(estimates), cls.of([one.value for one in estimates], unit)
        return cls(mean.value, (*mean.parts, *repeats.parts), mean.most)

    # ------------------------------------------------------------------------------------------- what it says

    @property
    def units(self) -> int:
        """How many independent units of the main kind it rests on."""
        return len(self.parts[0])

    @property
    def unit(self) -> str:
        return self.parts[0].kind

    @cached_property
    def standard_error(self) -> float:
        found = float(np.sqrt(sum(part.variance for part in self.parts)))
        return found if found > 1e-9 * self.most else self.most * _Z / (self.units + _Z**2)

    @cached_property
    def degrees_of_freedom(self) -> float:
        variances = [part.variance for part in self.parts]
        if not sum(variances):
            return len(self.parts[0]) - 1.0
        squares = sum(v**2 / (len(part) - 1) for v, part in zip(variances, self.parts, strict=True))
        return float(sum(variances) ** 2 / squares)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """A t-interval at `level`, between 0 and 1."""
        reach = self.standard_error * float(stats.t.ppf((1 + _level(level)) / 2, self.degrees_of_freedom))
        return self.value - reach, self.value + reach

    def detectable(self, level: float = 0.95, power: float = 0.8, *, equivalence: bool = False) -> float:
        """How far beyond a bound the truth must lie for a sample as variable as this one to say so, with that `power`.

        For "at least c", "at most c" and "no worse than d": a truth at bound ± this is decided in `power` of samples.
        With `equivalence`: the smallest d for which "within d" is shown so often where the truth is no difference.
        """
        power = (1 + power) / 2 if equivalence else power
        return self.standard_error * float(
            stats.t.ppf((1 + _level(level)) / 2, self.degrees_of_freedom) + stats.norm.ppf(power)
        )

    def units_to_settle(self, bound: float, level: float = 0.95, power: float = 0.8) -> float:
        """How many units of the main kind would decide on which side of `bound` it lies, if it is where it seems."""
        distance = abs(self.value - bound)
        return float("inf") if distance == 0 else self.units * (self.detectable(level, power) / distance) ** 2

    # ---------------------------------------------------------------------------------------------- arithmetic

    def __sub__(self, other: Estimate) -> Estimate:
        found = self + (-other)
        return Estimate(found.value, found.parts, 0.0 if other is self else max(self.most, other.most))

    def __add__(self, other: Estimate) -> Estimate:
        """Paired: pseudo-values of the same units add up. ValueError where the main units are others."""
        if not isinstance(other, Estimate):
            return NotImplemented
        _same_units([self, other])
        parts = {(part.kind, part.key): part for part in self.parts}
        for part in other.parts:
            mine = parts.get((part.kind, part.key))
            pseudo = part.pseudo if mine is None else mine.pseudo + part.pseudo
            parts[part.kind, part.key] = Units(part.kind, part.key, pseudo)
        return Estimate(self.value + other.value, tuple(parts.values()), self.most + other.most)

    def __mul__(self, factor: float) -> Estimate:
        parts = tuple(Units(part.kind, part.key, part.pseudo * factor) for part in self.parts)
        return Estimate(self.value * factor, parts, self.most * abs(factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Estimate:
        return self * (1 / divisor)

    def __neg__(self) -> Estimate:
        return self * -1.0

    def __repr__(self) -> str:
        low, high = self.interval()
        return f"{self.value:.4g} [{low:.4g}, {high:.4g}], {self.units:,} × {self.unit}"

    # -------------------------------------------------------------------------------------- several at a time

    @staticmethod
    def simultaneous(estimates: Sequence[Estimate], level: float = 0.95) -> list[tuple[float, float]]:
        """Intervals that hold together: all of them cover in `level` of samples.

        Max-t over the correlation of the pseudo-values (Montiel Olea and Plagborg-Møller 2019), the maximum being drawn
        from the multivariate t distribution with a fixed seed. ValueError: none given, or other units among them.
        """
        if not estimates:
            raise ValueError("estimates: expected at least 1, got none")
        _same_units(estimates)
        errors = np.array([one.standard_error for one in estimates])
        moving = np.flatnonzero(errors > 0).tolist()  # an estimate compared with itself has an interval of no width
        reach = np.zeros(len(estimates))
        if len(moving):
            correlation = _covariance([estimates[i] for i in moving]) / np.outer(errors[moving], errors[moving])
            np.fill_diagonal(correlation, 1)  # 0 where all units agree
            freedom = min(estimates[i].degrees_of_freedom for i in moving)
            reach[moving] = _max_t(correlation, freedom, _level(level)) * errors[moving]
        return [(one.value - by, one.value + by) for one, by in zip(estimates, reach.tolist(), strict=True)]


def best_of(estimates: Mapping[str, Estimate]) -> tuple[str, Estimate]:
    """Name and estimate of the highest value: of several controls, the strongest."""
    name = max(estimates, key=lambda one: estimates[one].value)
    return name, estimates[name]


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level!r}")
    return level


def _same_units(estimates: Sequence[Estimate]) -> None:
    first = estimates[0].parts[0]
    for one in estimates[1:]:
        other = one.parts[0]
        if (first.kind, first.key, len(first)) != (other.kind, other.key, len(other)):
            raise ValueError(
                f"units: {len(first):,} × {first.kind} and {len(other):,} × {other.kind} are not the same units, "
                "so there is nothing to pair"
            )


def _covariance(estimates: Sequence[Estimate]) -> Floats:
    """Of the values, [K, K]: the kinds of unit are independent of one another, so their covariances add."""
    total: Any = np.zeros((len(estimates), len(estimates)))
    sizes = {(part.kind, part.key): len(part) for one in estimates for part in one.parts}
    for name, size in sizes.items():
        columns = [
            next((part.pseudo for part in one.parts if (part.kind, part.key) == name), np.zeros(size))
            for one in estimates
        ]
        total = total + np.atleast_2d(np.cov(np.stack(columns), ddof=1)) / size
    return np.asarray(total)


def _max_t(correlation: Floats, freedom: float, level: float, draws: int = 20_000) -> float:
    """The quantile of the largest of K correlated |t|."""
    rng = np.random.default_rng(0)
    values, axes = np.linalg.eigh(correlation)
    normal = rng.standard_normal((draws, len(values))) * np.sqrt(np.clip(values, 0, None)) @ axes.T
    scale = np.sqrt(rng.chisquare(freedom, draws) / freedom)
    return float(np.quantile(np.abs(normal).max(axis=1) / scale, level))
