"""Lesson 06: a few sentences and their nearest in all dimensions, looked up in the plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import BLUE, DASH, GREY, INK, RED, RED_INK, RULE, SMALL, Drawing, fit

ROW, GAP, TOP = 38.0, 8.0, 66.0
THERE = 376.0
LEFT, RIGHT = 436.0, 740.0
SHOWN = 64
NEAR = 5


def two_spaces(vectors: ArrayLike, plane: ArrayLike, texts: Sequence[str], shown: Sequence[int]) -> Drawing:
    """A few sentences, each above its nearest in all dimensions; where both lie in the plane, which may part them.

    Args:
        vectors: unit vectors of all sentences [n, H].
        plane: their places in the plane [n, 2].
        texts: all sentences [n].
        shown: the rows of those that are drawn, five at most.
    """
    vectors, plane, rows = np.asarray(vectors, dtype=float), np.asarray(plane, dtype=float), list(shown)[:5]
    width, span = vectors.shape[1], np.ptp(plane, axis=0)
    end = TOP + (2 * ROW + GAP) * len(rows) - GAP
    drawing = Drawing("Two spaces", end + 44)
    drawing.text(12, 16, f"{width} dimensions", anchor="start", weight="bold")
    drawing.text(12, 36, "each sentence, and below it its nearest", SMALL, anchor="start", fill=GREY)
    drawing.note(THERE, 16, "its rank\nin the plane", anchor="middle")
    drawing.text(LEFT, 16, "in the plane", anchor="start", weight="bold")
    drawing.text(LEFT, 36, f"all {len(plane)} sentences", SMALL, anchor="start", fill=GREY)
    drawing.cell(LEFT, 50, RIGHT - LEFT, end - 50)
    scale = float((np.array([RIGHT - LEFT - 48, end - 50 - 48]) / np.where(span == 0, 1, span)).min())
    middle = np.array([(LEFT + RIGHT) / 2, (50 + end) / 2])
    at = middle + (plane - (plane.max(axis=0) + plane.min(axis=0)) / 2) * scale * [1, -1]
    for x, y in at.tolist():
        drawing.dot(x, y, 2.2, RULE, stroke="none")
    most, ranks = float(np.abs(vectors[rows, :SHOWN]).max()), []
    for number, row in enumerate(rows):
        others = np.arange(len(plane)) != row
        nearest = int(np.where(others, vectors @ vectors[row], -np.inf).argmax())
        apart = np.linalg.norm(plane - plane[row], axis=1)
        ranks.append(1 + int((apart[others] < apart[nearest]).sum()))
        kept = ranks[-1] <= NEAR
        y = TOP + (2 * ROW + GAP) * number
        for beside, one in enumerate((row, nearest)):
            _mark(drawing, 22, y + ROW * beside, filled=one == row)
            drawing.text(40, y + ROW * beside - 6, fit(texts[one], 290, SMALL), SMALL, anchor="start")
            drawing.bars(40, y + ROW * beside + 2, 290, 20, vectors[one, :SHOWN], BLUE, most=most)
        drawing.text(22, y + ROW / 2, str(number + 1), weight="bold")
        drawing.text(THERE, y + ROW / 2, str(ranks[-1]), fill=INK if kept else RED_INK, weight="bold")
        _joined(drawing, at[row], at[nearest], str(number + 1), kept)
    count = sum(rank <= NEAR for rank in ranks)
    _legend(drawing, end + 22, f"among its {NEAR} nearest: {count} of {len(rows)}")
    drawing.alt = (
        f"{len(rows)} sentences as bars of their first {SHOWN} of {width} numbers, each above its nearest; beside them "
        f"the plane, a line from each to that one: {count} of {len(rows)} are still among the {NEAR} nearest there."
    )
    return drawing


def _joined(drawing: Drawing, here: np.ndarray, there: np.ndarray, name: str, kept: bool) -> None:
    """A sentence and its nearest in the plane, their number on the far side of either."""
    look = {"stroke": INK} if kept else {"stroke": RED, "dash": DASH}
    drawing.line(tuple(here.tolist()), tuple(there.tolist()), **look)
    along = (here - there) / (float(np.hypot(*(here - there))) or 1.0)
    _mark(drawing, there[0], there[1], filled=False)
    _mark(drawing, here[0], here[1], filled=True)
    for place, side in ((here, 1), (there, -1))[: 1 if kept else 2]:
        x, y = (place + 16 * side * along).tolist()
        drawing.text(x, y, name, weight="bold", halo=True)


def _mark(drawing: Drawing, x: float, y: float, filled: bool) -> None:
    drawing.dot(x, y, 4.5 if filled else 6.5, BLUE if filled else "none", stroke="none" if filled else INK, line=1.6)


def _legend(drawing: Drawing, y: float, kept: str) -> None:
    for x, filled, words in ((22, True, "a sentence"), (122, False, "its nearest in all dimensions")):
        _mark(drawing, x, y, filled)
        drawing.text(x + 14, y, words, SMALL, anchor="start")
    drawing.line((LEFT, y), (LEFT + 26, y), stroke=INK)
    drawing.text(LEFT + 34, y, kept, SMALL, anchor="start")
    drawing.line((LEFT + 208, y), (LEFT + 234, y), stroke=RED, dash=DASH)
    drawing.text(LEFT + 242, y, "no longer", SMALL, anchor="start")
