"""Lesson 00: from two sentences to one number, every step with its shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import (
    BLUE,
    GREY,
    LARGE,
    ORANGE,
    PALE_BLUE,
    PALE_ORANGE,
    RULE,
    SMALL,
    Drawing,
    fit,
    on,
    shade,
)

LEFT, RIGHT, END = 176, 640, 748
AXIS = LEFT + 40
COLOURS, PALES = (BLUE, ORANGE), (PALE_BLUE, PALE_ORANGE)
SHOWN = 12
"""So many components of a state are drawn; of a vector four times as many."""


def pipeline(
    sentences: Sequence[str],
    tokens: Sequence[Sequence[str]],
    mask: ArrayLike,
    states: ArrayLike,
    pooled: ArrayLike,
    vectors: ArrayLike,
) -> Drawing:
    """The way of two sentences from text to similarity, drawn from its own values.

    Args:
        sentences: two texts; of more the first two [B].
        tokens: of each, padded to one length [B, T].
        mask: 1 for a token, 0 for padding [B, T].
        states: of the tokens [B, T, H].
        pooled: their masked mean [B, H].
        vectors: the same at unit length [B, H].
    """
    mask, states, pooled, vectors = (np.asarray(array)[:2] for array in (mask, states, pooled, vectors))
    (_, length, width), similarity = states.shape, vectors @ vectors.T
    drawing = Drawing("From text to similarity", 562)
    step = (RIGHT - LEFT) / length

    _stage(drawing, 44, "text", "what you have", "[2]")
    _stage(drawing, 128, "tokens", "pieces of words", f"[2, {length}]")
    _stage(drawing, 222, "token states", "a vector for each", f"[2, {length}, {width}]")
    _stage(drawing, 312, "mask", "1 token, 0 padding", f"[2, {length}]")
    _stage(drawing, 400, "sentence vectors", "then at length 1", f"[2, {width}]")
    _stage(drawing, 500, "similarity", "1: same direction", "[2, 2]")
    steps = {
        82: "tokenizer",
        163: "transformer: the tokens read one another",
        343: "pool: the mean of the states marked 1",
        447: "dot products of the unit vectors",
    }
    for top, words in steps.items():
        drawing.arrow((AXIS, top), (AXIS, top + 16))
        drawing.text(AXIS + 12, top + 8, words, SMALL, anchor="start", fill=GREY)
    drawing.text(AXIS, 276, "×", LARGE, weight="bold")
    drawing.text(AXIS + 12, 276, "the tokenizer says which of them count", SMALL, anchor="start", fill=GREY)
    reach = float(np.abs(states[:, :, :SHOWN]).max())
    for row in range(2):
        drawing.box(LEFT, 14 + 32 * row, RIGHT - LEFT, 26, fill=PALES[row], stroke=COLOURS[row])
        drawing.text(LEFT + 12, 27 + 32 * row, fit(sentences[row], RIGHT - LEFT - 24), anchor="start")
        for at in range(length):
            x, kept = LEFT + at * step, bool(mask[row, at])
            put = partial(drawing.cell, fill=PALES[row]) if kept else drawing.void
            put(x, 102 + 26 * row, step, 26, tokens[row][at])
            (drawing.cell if kept else drawing.void)(x, 184 + 38 * row, step, 38)
            colour = COLOURS[row] if kept else RULE
            drawing.bars(x + 5, 186 + 38 * row, step - 10, 34, states[row, at, :SHOWN], colour, most=reach)
            put(x, 290 + 22 * row, step, 22, str(int(mask[row, at])))
        _vectors(drawing, 366 + 36 * row, pooled[row], vectors[row], COLOURS[row])
    _matrix(drawing, similarity)
    drawing.alt = (
        f"Two sentences become {length} tokens each, the shorter one filled up with padding; {length} states of "
        f"{width} numbers each; their mean over the tokens that the mask keeps; a vector of length 1; and the "
        f"similarity {similarity[0, 1]:.2f}."
    )
    return drawing


def _stage(drawing: Drawing, y: float, name: str, note: str, shape: str) -> None:
    """Names what lies at height y and its shape."""
    drawing.text(12, y - 8, name, anchor="start", weight="bold")
    drawing.text(12, y + 9, note, SMALL, anchor="start", fill=GREY)
    drawing.code(END, y, shape, SMALL, anchor="end")


def _vectors(drawing: Drawing, y: float, pooled: np.ndarray, unit: np.ndarray, colour: str) -> None:
    half = (RIGHT - LEFT - 40) / 2
    for x, vector in ((LEFT, pooled), (RIGHT - half, unit)):
        size = f"length {np.linalg.norm(vector):.2f}"
        drawing.cell(x, y, half, 32)
        drawing.bars(x + 6, y + 2, half - 98, 28, vector[: 4 * SHOWN], colour)
        drawing.text(x + half - 8, y + 16, size, SMALL, anchor="end")
    drawing.arrow((LEFT + half + 6, y + 16), (RIGHT - half - 6, y + 16))


def _matrix(drawing: Drawing, similarity: np.ndarray) -> None:
    x, y, side = LEFT + 168, 486, 64
    for row in range(2):
        drawing.dot(x - 14, y + 15 + 30 * row, 7, COLOURS[row])
        drawing.dot(x + 32 + side * row, y - 12, 7, COLOURS[row])
        for column in range(2):
            value = float(similarity[row, column])
            drawing.cell(x + side * column, y + 30 * row, side, 30, f"{value:.2f}", shade(value), on(value))
