"""Lesson 01: one set of weights, loaded to read both ways or only backwards."""

from __future__ import annotations

from collections.abc import Sequence

from stlib.evidence.drawings.canvas import BLUE, GREY, LARGE, ORANGE, RED_INK, SMALL, WHITE, Drawing, fit

CELL, TOP, BESIDE = 28, 104, 76


def attention(tokens: Sequence[str], cosine: float | None = None) -> Drawing:
    """Who reads whom: bidirectional attention beside causal attention.

    Args:
        tokens: of one sentence [T]; eight at most are drawn.
        cosine: between the sentence's vectors out of the two, where it was measured.
    """
    tokens = list(tokens)[:8]
    end = TOP + CELL * len(tokens)
    drawing = Drawing("Who reads whom", end + (20 if cosine is None else 48))
    _grid(drawing, 12, tokens, "both ways", "as it was trained", causal=False)
    _grid(drawing, 392, tokens, "causal", "what you get by default", causal=True)
    if cosine is not None:
        words = f"same weights, same sentence, no warning: the two vectors agree to a cosine of {cosine:.2f}"
        drawing.text(380, end + 28, words)
    drawing.alt = (
        f"Two grids, {len(tokens)} tokens by {len(tokens)}: a row reads, a column is read. Both ways, every token "
        "reads every other. Causal, only the lower triangle is filled: the first reads itself, the last reads all."
    )
    return drawing


def _grid(drawing: Drawing, left: float, tokens: Sequence[str], name: str, note: str, causal: bool) -> None:
    """Rows read, columns are read."""
    count, x = len(tokens), left + BESIDE
    drawing.text(left, 18, name, LARGE, anchor="start", weight="bold")
    drawing.text(left, 38, note, SMALL, anchor="start", fill=GREY)
    for row, token in enumerate(tokens):
        drawing.text(x - 8, TOP + CELL * (row + 0.5), fit(token, BESIDE - 8, SMALL), SMALL, anchor="end")
        drawing.text(x + CELL * (row + 0.5), TOP - 8, fit(token, 60, SMALL), SMALL, anchor="start", turn=-50)
        for column in range(count):
            place = (x + CELL * column, TOP + CELL * row, CELL, CELL)
            if causal and column > row:
                drawing.void(*place)
            else:
                drawing.cell(*place, fill=ORANGE if causal else BLUE, stroke=WHITE)
    beside, middle = x + CELL * count + 10, TOP + CELL / 2
    drawing.note(beside, middle + CELL * (count - 1), "reads all")
    if causal:
        drawing.note(beside, middle - 8, "reads only\nitself", fill=RED_INK, weight="bold")
    else:
        drawing.note(beside, middle, "reads all")
