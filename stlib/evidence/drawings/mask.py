"""Lesson 02: a batch as a grid, and what a mean counts with and without the mask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from stlib.evidence.drawings.canvas import BLUE, PALE_BLUE, RED_INK, SMALL, Drawing, width_of

LEFT, RIGHT, CELL, TOP = 12, 478, 28, 44
WITH, WITHOUT, COSINE = 528, 630, 722


def mask_grid(
    tokens: Sequence[Sequence[str]], cosines: Sequence[float] | None = None, length: int | None = None
) -> Drawing:
    """The batch that a few sentences make, padding hatched, and over what the mean is taken.

    Args:
        tokens: of each sentence, without padding.
        cosines: between each sentence's mean with the mask and without it, where they were measured.
        length: to which all are padded; without it that of the longest.

    Raises:
        ValueError: `length` is shorter than a sentence.
    """
    longest = max(map(len, tokens))
    if length is not None and length < longest:
        raise ValueError(f"length: expected at least {longest}, the tokens of the longest sentence, got {length}")
    longest = length or longest
    edges = _edges(tokens, longest)
    empty = sum(longest - len(words) for words in tokens)
    drawing = Drawing("The mask", TOP + len(tokens) * (CELL + 6) + 8)
    drawing.code(LEFT, 22, f"[{len(tokens)}, {longest}]", SMALL, anchor="start")
    share = f"{empty} of {len(tokens) * longest} places are padding"
    drawing.text(
        LEFT + width_of(f"[{len(tokens)}, {longest}]", SMALL, family="monospace") + 12, 22, share, SMALL, anchor="start"
    )
    heads = [(WITH, "mean with", "the mask", BLUE), (WITHOUT, "mean", "without it", RED_INK)]
    for x, above, below, colour in [*heads, (COSINE, "their", "cosine", "#1F2328")][: 3 if cosines is not None else 2]:
        drawing.text(x, 14, above, SMALL, fill=colour, weight="bold")
        drawing.text(x, 29, below, SMALL, fill=colour, weight="bold")
    for row, words in enumerate(tokens):
        y, missing = TOP + row * (CELL + 6), longest - len(words)
        for at, word in enumerate(words):
            drawing.cell(edges[at], y, edges[at + 1] - edges[at], CELL, word, PALE_BLUE)
        if missing:
            drawing.void(edges[len(words)], y, RIGHT - edges[len(words)], CELL, "padding")
        drawing.text(WITH, y + CELL / 2, f"{len(words)} states", SMALL)
        drawing.text(
            WITHOUT, y + CELL / 2, f"{len(words)} + {missing} padding" if missing else f"{len(words)} states", SMALL
        )
        if cosines is not None:
            drawing.text(COSINE, y + CELL / 2, f"{cosines[row]:.2f}", SMALL, weight="bold" if missing else "normal")
    drawing.alt = (
        f"{len(tokens)} sentences in a grid of {longest} places each; {share}. With the mask, the mean is taken over "
        "each sentence's own tokens; without it, padding counts as well."
    )
    return drawing


def _edges(tokens: Sequence[Sequence[str]], length: int) -> list[float]:
    """Where the columns begin and end: each as wide as its tokens ask for, and what is left over shared by all."""
    asked = [
        max((width_of(words[at], SMALL) + 5 for words in tokens if at < len(words)), default=6.0)
        for at in range(length)
    ]
    scale, left = min(1.0, (RIGHT - LEFT) / sum(asked)), max(0.0, RIGHT - LEFT - sum(asked))
    return [LEFT, *(LEFT + scale * total + left * at / length for at, total in enumerate(accumulate(asked), 1))]
