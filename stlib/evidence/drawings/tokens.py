"""Lesson 05: two sentences, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import GREY, INK, SMALL, WHITE, Drawing, fit, on, shade, width_of

ROW, END = 30, 748


def token_by_token(tokens_a: Sequence[str], tokens_b: Sequence[str], matrix: ArrayLike) -> Drawing:
    """Each token of one sentence against each of the other; the best of each row is framed.

    Args:
        tokens_a: down the side [A].
        tokens_b: along the top [B].
        matrix: cosine similarity of their states [A, B].

    Raises:
        ValueError: `matrix` has another shape.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.shape != (len(tokens_a), len(tokens_b)):
        raise ValueError(
            f"matrix: expected {[len(tokens_a), len(tokens_b)]} for these tokens, got {list(matrix.shape)}"
        )
    rows, columns = ([fit(token, 110, SMALL) for token in tokens] for tokens in (tokens_a, tokens_b))
    left = 24 + max(width_of(token, SMALL) for token in rows)
    top = 30 + 0.77 * max(width_of(token, SMALL) for token in columns)
    step = min((END - left - 40) / len(columns), 60)
    end = top + ROW * len(rows)
    drawing = Drawing("Token by token", end + 44)
    for column, token in enumerate(columns):
        drawing.text(left + step * (column + 0.5), top - 10, token, SMALL, anchor="start", turn=-50)
    for row, token in enumerate(rows):
        drawing.text(left - 10, top + ROW * (row + 0.5), token, SMALL, anchor="end")
        for column, value in enumerate(matrix[row].tolist()):
            number = _short(value) if step >= 34 else ""
            place = (left + step * column, top + ROW * row, step, ROW)
            drawing.cell(*place, number, shade(value), on(value), stroke=WHITE)
    for row, column in enumerate(matrix.argmax(axis=1).tolist()):
        _frame(drawing, left + step * column, top + ROW * row, step, ROW)
    for fifth in range(6):
        drawing.cell(left + 24 * fifth, end + 16, 24, 16, fill=shade(fifth / 5))
    drawing.text(left - 6, end + 24, "0", SMALL, anchor="end")
    drawing.text(left + 150, end + 24, "1  cosine of two token states", SMALL, anchor="start", fill=GREY)
    _frame(drawing, left + 370, end + 14, 26, 20)
    drawing.text(left + 402, end + 24, "best of its row", SMALL, anchor="start", fill=GREY)
    row, column = divmod(int(matrix.argmax()), len(columns))
    drawing.alt = (
        f"A grid of {len(rows)} tokens by {len(columns)}, the darker the more alike. The most alike are "
        f"{tokens_a[row]} and {tokens_b[column]}, at {matrix[row, column]:.2f}."
    )
    return drawing


def _frame(drawing: Drawing, x: float, y: float, width: float, height: float) -> None:
    """Dark upon white, so that it shows on any shade."""
    for colour, line in ((WHITE, 5), (INK, 2)):
        drawing.cell(x + 2.5, y + 2.5, width - 5, height - 5, fill="none", stroke=colour, line=line)


def _short(value: float) -> str:
    """Two decimals without the zero before them."""
    text = f"{abs(value):.2f}".removeprefix("0")
    return f"−{text}" if value <= -0.005 else text
