"""Lesson 04: vectors drop onto the unit circle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import BLUE, DASH, GREY, INK, ORANGE, RULE, SMALL, Drawing, Point, fit

CENTRE, REACH, SMALLEST = (216.0, 216.0), 190.0, 84.0
TABLE, ROW, LONGEST = 448.0, 30.0, 220.0


def unit_circle(vectors: ArrayLike, labels: Sequence[str]) -> Drawing:
    """Vectors of the plane, what normalising makes of them, and whom it makes the first one's nearest.

    Args:
        vectors: [n, 2], n from 3 to 10, none of them zero. Where they are many times longer than 1, the
            circle is drawn larger, and the picture says so.
        labels: what each stands for.
    """
    vectors = np.asarray(vectors, dtype=float)[:10]
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / lengths[:, None]
    scale = REACH / max(1.0, float(lengths.max()))
    radius = max(1.0, SMALLEST / scale)
    drawing = Drawing("Onto the unit circle", 432)

    def place(vector: np.ndarray) -> Point:
        return CENTRE[0] + scale * float(vector[0]), CENTRE[1] - scale * float(vector[1])

    drawing.line((8, CENTRE[1]), (424, CENTRE[1]), stroke=RULE, line=1)
    drawing.line((CENTRE[0], 8), (CENTRE[0], 424), stroke=RULE, line=1)
    drawing.dot(*CENTRE, scale * radius, "none", stroke=INK, line=2)
    for raw, short in zip(vectors, radius * unit, strict=True):
        drawing.line(CENTRE, place(short), stroke=RULE, line=1)
        drawing.arrow(place(raw), place(short), stroke=BLUE, line=1.2, dash=DASH)
    for number, (raw, short) in enumerate(zip(vectors, radius * unit, strict=True), 1):
        drawing.dot(*place(short), 5, ORANGE)
        drawing.numbered(*place(raw), number)
    drawing.text(TABLE, 18, "length before", SMALL, anchor="start", weight="bold")
    for number, (name, length) in enumerate(zip(labels, lengths.tolist(), strict=False), 1):
        y, bar = 48 + ROW * (number - 1), LONGEST * length / float(lengths.max())
        drawing.numbered(TABLE + 10, y, number)
        drawing.text(TABLE + 28, y - 6, fit(name, 280, SMALL), SMALL, anchor="start")
        drawing.cell(TABLE + 28, y + 4, bar, 6, fill=BLUE, stroke=BLUE)
        drawing.text(TABLE + 34 + bar, y + 7, f"{length:.2f}", SMALL, anchor="start", fill=GREY)
    by_dot, by_cosine = (int((of @ of[0])[1:].argmax()) + 2 for of in (vectors, unit))
    below = 48 + ROW * len(vectors)
    drawing.dot(TABLE + 10, below, 5, ORANGE)
    larger = "" if radius == 1 else f", drawn {radius:.1f} times as large"
    drawing.text(TABLE + 28, below, f"after: length 1{larger}", SMALL, anchor="start")
    drawing.text(TABLE, below + 34, "nearest to 1", SMALL, anchor="start", weight="bold")
    for x, words, number in ((TABLE + 10, "by dot product", by_dot), (TABLE + 150, "by cosine", by_cosine)):
        drawing.numbered(x, below + 58, number)
        drawing.text(x + 18, below + 58, words, SMALL, anchor="start")
    drawing.alt = (
        f"{len(vectors)} vectors of lengths {lengths.min():.2f} to {lengths.max():.2f} in the plane, each moved along "
        "its own ray onto the unit circle: directions stay, lengths go. Nearest to the first is number "
        f"{by_dot} by dot product, number {by_cosine} by cosine."
    )
    return drawing
