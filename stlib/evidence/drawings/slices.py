"""Lesson 03: three ways to a shorter vector, as slices of a cloud."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import BLUE, GREY, ORANGE, PALE_BLUE, RULE, SMALL, Drawing, percent

PANEL, REACH = 252, 92
TURN = 1.75
"""The random direction, in radians."""


def slices(cloud: ArrayLike | None = None, width: int = 384, size: int = 64) -> Drawing:
    """Truncation, PCA and a random map, each keeping one of two dimensions; below, what it does to a vector.

    Args:
        cloud: points [n, 2]; without any, an invented cloud that is wider one way than the other.
        width: of the vectors before.
        size: after.
    """
    points = _example() if cloud is None else np.asarray(cloud, dtype=float)
    points = points - points.mean(axis=0)
    points = points * (REACH / np.abs(points).max())
    spread = points.T @ points
    ways = {
        "truncation": ("keeps the first coordinates", np.array([1.0, 0.0])),
        "PCA": ("keeps the widest directions", np.linalg.eigh(spread)[1][:, -1]),
        "random map": ("keeps directions drawn by lot", np.array([np.cos(TURN), np.sin(TURN)])),
    }
    drawing = Drawing("Three slices of a cloud", 396)
    kept = []
    for number, (name, (note, direction)) in enumerate(ways.items()):
        left = 2 + number * PANEL
        drawing.text(left + PANEL / 2, 16, name, weight="bold")
        drawing.text(left + PANEL / 2, 34, note, SMALL, fill=GREY)
        share = float(direction @ spread @ direction / np.trace(spread))
        kept.append(f"{name} {percent(share)}")
        _cloud(drawing, left + PANEL / 2, 152, points, direction)
        drawing.text(left + PANEL / 2, 268, f"{percent(share)} of the spread stays", SMALL)
        _vector(drawing, left + 18, 296, width, size, mixes=number > 0)
    drawing.alt = (
        "One cloud of points three times, each point dropped onto a line: the first axis, the longest axis of the "
        f"cloud, a random line. What stays of the spread: {', '.join(kept)}."
    )
    return drawing


def _example() -> np.ndarray:
    wide = np.random.default_rng(3).standard_normal((36, 2)) * [1.0, 0.34]
    return wide @ np.array([[0.79, 0.61], [-0.61, 0.79]])


def _cloud(drawing: Drawing, x: float, y: float, cloud: np.ndarray, direction: np.ndarray) -> None:
    """Each point, and where it lands on the line. Up is up."""
    flip = np.array([1.0, -1.0])
    drawing.line((x - REACH - 8, y), (x + REACH + 8, y), stroke=RULE, line=1)
    drawing.line((x, y - REACH - 8), (x, y + REACH + 8), stroke=RULE, line=1)
    ends = [tuple(([x, y] + side * (REACH + 8) * direction * flip).tolist()) for side in (-1, 1)]
    landed = (cloud @ direction)[:, None] * direction
    for point, foot in zip(cloud, landed, strict=True):
        at, to = ([x, y] + place * flip for place in (point, foot))
        drawing.line(tuple(at.tolist()), tuple(to.tolist()), stroke=RULE, line=0.8)
    drawing.line(*ends, line=2.2)
    for places, colour in ((cloud, BLUE), (landed, ORANGE)):
        for across, down in ([x, y] + places * flip).tolist():
            drawing.dot(across, down, 3.2, colour, line=0.6)


def _vector(drawing: Drawing, x: float, y: float, width: int, size: int, mixes: bool) -> None:
    """A vector of `width` numbers above the one of `size` that is made of it."""
    whole = PANEL - 36 - 40
    part = max(whole * size / width, 14)
    if mixes:
        drawing.cell(x, y, whole, 18, fill=PALE_BLUE)
        for share in np.linspace(0, 1, 6).tolist():
            for end in (0.12, 0.88):
                drawing.line((x + share * whole, y + 18), (x + end * part, y + 50), stroke=RULE, line=1)
    else:
        drawing.void(x, y, whole, 18)
        drawing.cell(x, y, part, 18, fill=PALE_BLUE)
        for share in (0.0, 1.0):
            drawing.line((x + share * part, y + 18), (x + share * part, y + 50), stroke=RULE, line=1)
    drawing.cell(x, y + 50, part, 18, fill=ORANGE)
    drawing.code(x + whole + 8, y + 9, f"[{width}]", SMALL, anchor="start")
    drawing.code(x + part + 8, y + 59, f"[{size}]", SMALL, anchor="start")
    note = "each number is made of all" if mixes else "the others are dropped"
    drawing.text(x, y + 86, note, SMALL, anchor="start", fill=GREY)
