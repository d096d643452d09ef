"""Lesson 06: the same sentences in all dimensions and in the plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import BLUE, DASH, GREY, INK, RED, SMALL, Drawing, fit

ROW, TOP = 40.0, 52.0
HERE, THERE = 342.0, 398.0
LEFT, RIGHT, BOTTOM = 436.0, 740.0, 30.0
SHOWN = 64


def two_spaces(vectors: ArrayLike, plane: ArrayLike, texts: Sequence[str]) -> Drawing:
    """A few sentences with their nearest neighbours: in all dimensions and in the plane, which may lose them.

    Args:
        vectors: unit vectors [n, H], n from 3 to 10.
        plane: the same sentences' places in the plane [n, 2].
        texts: the sentences.
    """
    vectors, plane = np.asarray(vectors, dtype=float)[:10], np.asarray(plane, dtype=float)[:10]
    count, width = vectors.shape
    similarity = vectors @ vectors.T
    distance = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(similarity, -np.inf)
    np.fill_diagonal(distance, np.inf)
    nearest, here = similarity.argmax(axis=1), distance.argmin(axis=1)
    kept = nearest == here
    end = TOP + ROW * count
    drawing = Drawing("Two spaces", end + 40)
    drawing.text(12, 16, f"in {width} dimensions", anchor="start", weight="bold")
    drawing.text(HERE, 16, "nearest", SMALL, fill=GREY)
    drawing.text(THERE, 16, "in plane", SMALL, fill=GREY)
    drawing.text(LEFT, 16, "in the plane", anchor="start", weight="bold")
    for row in range(count):
        y = TOP + ROW * row
        drawing.numbered(22, y, row + 1)
        drawing.text(40, y - 9, fit(texts[row], 270, SMALL), SMALL, anchor="start")
        drawing.bars(40, y, 270, 20, vectors[row, :SHOWN], BLUE, most=float(np.abs(vectors[:, :SHOWN]).max()))
        drawing.numbered(HERE, y, int(nearest[row]) + 1)
        drawing.numbered(THERE, y, int(here[row]) + 1, BLUE if kept[row] else RED)
    span = plane.max(axis=0) - plane.min(axis=0)
    room = np.array([RIGHT - LEFT - 40, end - 44 - 40])
    scale = float((room / span).min())
    middle = (plane.max(axis=0) + plane.min(axis=0)) / 2
    at = np.array([(LEFT + RIGHT) / 2, 34 + (end - 44) / 2]) + (plane - middle) * scale * [1, -1]
    drawing.cell(LEFT, 34, RIGHT - LEFT, end - 44)
    for row, to in enumerate(nearest.tolist()):
        along = at[to] - at[row]
        apart = float(np.hypot(*along)) or 1.0
        start, stop = at[row] + 11 * along / apart, at[to] - 13 * along / apart
        if apart > 44:  # closer dots leave no room for an arrow: the columns on the left say it
            look = {"stroke": INK} if kept[row] else {"stroke": RED, "dash": DASH}
            drawing.arrow(tuple(start.tolist()), tuple(stop.tolist()), **look)
    for row, (x, y) in enumerate(at.tolist()):
        drawing.numbered(x, y, row + 1)
    drawing.arrow((LEFT, end + 16), (LEFT + 30, end + 16))
    drawing.text(LEFT + 38, end + 16, f"still nearest: {kept.sum()} of {count}", SMALL, anchor="start")
    drawing.arrow((LEFT + 186, end + 16), (LEFT + 216, end + 16), stroke=RED, dash=DASH)
    drawing.text(LEFT + 224, end + 16, "no longer", SMALL, anchor="start")
    drawing.alt = (
        f"{count} sentences as bars of their first {SHOWN} of {width} numbers, each with its nearest; beside them the "
        f"same in the plane, an arrow from each to its nearest: {kept.sum()} of {count} are nearest there as well."
    )
    return drawing
