"""Graded pairs: order, correlation, thresholds, each an estimate over groups of pairs that share a sentence."""

# mypy: disable-error-code="no-any-return"
# numpy and pandas type what their reductions return as Any.

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from stlib.evidence.corpora import connected_groups
from stlib.evidence.estimate import Estimate, Floats, key_of
from stlib.evidence.scores.checks import CHUNK, as_columns, by_group, comparisons_won, truths


def cosine(a: ArrayLike, b: ArrayLike) -> Floats:
    """Cosine of each row of `a` [n, D] with the same row of `b` -> [n] in float64; 0 where either row is zero."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("nd,nd->n", a, b) / np.where(norms > 0, norms, 1)


def pair_score_name(pairs: pd.DataFrame) -> str:
    """What `pair_score` measures on these pairs: "order accuracy" or "Spearman"."""
    return "order accuracy" if _ordered_in_groups(pairs) else "Spearman"


def _ordered_in_groups(pairs: pd.DataFrame) -> bool:
    given = "anchor" in pairs and pairs.attrs.get("has_anchor", True)
    if not given:
        return False
    ordered = pairs.groupby("anchor")["score"].transform("nunique") > 1
    return bool(ordered.mean() >= 0.5)


def pair_score(similarity: ArrayLike, pairs: pd.DataFrame) -> Estimate:
    """How well `similarity` [n] follows the scores of `pairs`, in points; unit: the anchor or connected group.

    Order accuracy within anchors where at least half of the pairs share their anchor with one of another grade, else
    Spearman: few such pairs would be judged, and the others left out.
    """
    groups = pairs["anchor"] if "anchor" in pairs else connected_groups(pairs)
    measure = order_accuracy if _ordered_in_groups(pairs) else spearman
    return measure(similarity, pairs["score"], groups)


def order_accuracy(similarity: ArrayLike, score: ArrayLike, groups: ArrayLike) -> Estimate:
    """How often, within a group, the pair with the higher score has the higher similarity: points, 50 is chance.

    Each group counts once; equal similarities count half; groups of one grade are left out.
    """
    similarity, score = as_columns(similarity=similarity, score=score)
    frame = pd.DataFrame({"group": np.asarray(groups), "similarity": similarity, "score": score})
    names, values = [], []
    for name, group in frame.groupby("group", sort=False):
        s, g = group["similarity"].to_numpy(), group["score"].to_numpy()
        above = g[:, None] > g
        if above.any():
            right = (s[:, None] > s) + 0.5 * (s[:, None] == s)
            names.append(name)
            values.append(100 * right[above].mean())
    if len(values) < 2:
        raise ValueError(f"groups: expected at least 2 groups with two different scores, got {len(values)}")
    return Estimate.of(values, "anchor", key_of(names), most=100)


def spearman(x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """Spearman's rank correlation in points; ties share their mean rank. Unit: the group, else the row."""
    x, y = as_columns(x=x, y=y)
    for name, column in (("x", x), ("y", y)):
        if len(column) < 3 or (column == column[0]).all():
            raise ValueError(f"{name}: a correlation needs at least 3 rows and 2 different values")
    codes, order, starts = by_group(groups, len(x))
    whole = np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1]
    ranks = [stats.rankdata(column) for column in (x, y)]
    without = []
    bounds = np.append(starts, len(x))
    step = max(1, CHUNK // len(x) // max(1, int(np.diff(bounds).max())))
    for first in range(0, len(starts), step):
        last = min(first + step, len(starts))
        rows = order[bounds[first] : bounds[last]]
        kept = codes[order[starts[first:last]]][:, None] != codes  # [groups, n]
        sides = []
        for column, rank in zip((x, y), ranks, strict=True):  # a rank falls by what is deleted below it
            below = (column[rows][:, None] < column) + 0.5 * (column[rows][:, None] == column)
            left = rank - np.add.reduceat(below, starts[first:last] - bounds[first], axis=0)
            sides.append(np.where(kept, left - (kept.sum(axis=1, keepdims=True) + 1) / 2, 0.0))
        a, b = sides
        with np.errstate(invalid="ignore"):
            without.append((a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)))
    unit = "row" if groups is None else "group"
    return Estimate.jackknife(100 * whole, 100 * np.concatenate(without), unit, key_of(codes.tolist()))


def roc_auc(similarity: ArrayLike, related: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """The chance that a related pair is more similar than an unrelated one, 0 to 1; unit: the group of pairs.

    The Mann-Whitney statistic (Hanley and McNeil 1982). similarity: [n], related: true or false [n].
    """
    similarity, related = as_columns(similarity=similarity, related=related)
    positive = truths(related)
    codes, order, starts = by_group(groups, len(related))
    wins = comparisons_won(similarity[None], positive[None], ~positive[None])[0]
    lost = np.add.reduceat(wins[order], starts)
    p, q = (np.add.reduceat(chosen[order].astype(float), starts) for chosen in (positive, ~positive))
    for number, rows in enumerate(np.split(order, starts[1:])):  # comparisons within the group were counted twice
        s, own = similarity[rows], positive[rows]
        lost[number] -= ((s[own][:, None] > s[~own]) + 0.5 * (s[own][:, None] == s[~own])).sum()
    total = wins[positive].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        without = (total - lost) / ((p.sum() - p) * (q.sum() - q))
    value = total / (p.sum() * q.sum())
    return Estimate.jackknife(value, without, "row" if groups is None else "group", key_of(codes.tolist()), most=1)


def choose_threshold(similarity: ArrayLike, related: ArrayLike) -> float:
    """The similarity from which to call pairs related so that hits minus false alarms is greatest (Youden's J)."""
    from sklearn.metrics import roc_curve

    false_alarms, hits, thresholds = roc_curve(truths(np.asarray(related, dtype=float)), similarity)
    return float(thresholds[1:][np.argmax((hits - false_alarms)[1:])])  # the first is infinite: call nothing related


def balanced_error(
    similarity: ArrayLike, related: ArrayLike, threshold: float, groups: ArrayLike | None = None
) -> Estimate:
    """Mean of the shares missed and wrongly called related at a given `threshold`, in points; unit: the group.

    The threshold is given, not chosen: choose it on other groups (`split_groups`).
    """
    similarity, related = as_columns(similarity=similarity, related=related)
    positive, called = truths(related), similarity >= threshold
    codes, order, starts = by_group(groups, len(related))

    def sums(rows: NDArray[np.bool_]) -> Floats:
        return np.add.reduceat(rows[order].astype(float), starts)

    missed, p = sums(positive & ~called), sums(positive)
    alarms, q = sums(~positive & called), sums(~positive)
    value = 50 * (missed.sum() / p.sum() + alarms.sum() / q.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        without = 50 * ((missed.sum() - missed) / (p.sum() - p) + (alarms.sum() - alarms) / (q.sum() - q))
    unit = "row" if groups is None else "group"
    return Estimate.jackknife(value, without, unit, key_of(codes.tolist()), most=100)


def split_groups(groups: ArrayLike, seed: int = 0) -> NDArray[np.bool_]:
    """A mask [n] that is true in half of the groups: choose there, report on the rest."""
    codes, names = pd.factorize(np.asarray(groups))
    if len(names) < 2:
        raise ValueError(f"groups: a split needs at least 2 groups, got {len(names)}")
    return np.random.default_rng(seed).permutation(len(names))[codes] < (len(names) + 1) // 2
