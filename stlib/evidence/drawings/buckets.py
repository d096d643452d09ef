"""Lesson 07: padded batches against buckets of one length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from stlib.evidence.drawings.canvas import GREY, LARGE, PALE_BLUE, SMALL, Drawing, percent

ROW, GAP, TOP, WIDE = 19.0, 9.0, 66.0, 316.0


def padding_and_buckets(lengths: Sequence[int], batch_size: int = 4) -> Drawing:
    """The same texts in batches as they come, padded to their longest, and in buckets of one length.

    Args:
        lengths: tokens of each text; about a dozen texts can be told apart.
        batch_size: texts a batch.
    """
    order = list(range(len(lengths)))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    by_length = sorted(order, key=lambda text: lengths[text])
    buckets = [list(group) for _, group in groupby(by_length, key=lambda text: lengths[text])]
    height = TOP + ROW * len(order) + GAP * max(len(batches), len(buckets))
    drawing = Drawing("Padding and buckets", height + 4)
    cells = [sum(max(lengths[text] for text in one) * len(one) for one in groups) for groups in (batches, buckets)]
    wasted = [1 - sum(lengths) / total for total in cells]
    names = (f"batches of {batch_size}, as they come", "buckets of one length")
    for left, name, groups, total, share in zip((12, 404), names, (batches, buckets), cells, wasted, strict=True):
        drawing.text(left, 16, name, LARGE, anchor="start", weight="bold")
        words = f"{total} places computed, {percent(share)} of them padding"
        drawing.text(left, 38, words, SMALL, anchor="start", fill=GREY)
        _groups(drawing, left, groups, lengths)
    drawing.alt = (
        f"{len(order)} texts of {min(lengths)} to {max(lengths)} tokens. In batches of {batch_size} as they come, "
        f"{percent(wasted[0])} of the places computed are padding; in buckets of one length {percent(wasted[1])}."
    )
    return drawing


def _groups(drawing: Drawing, left: float, groups: Sequence[Sequence[int]], lengths: Sequence[int]) -> None:
    """A row for each text, its number before it, hatched up to the longest of its group."""
    y, unit = TOP, WIDE / max(lengths)
    for group in groups:
        longest = max(lengths[text] for text in group)
        for text in group:
            drawing.text(left + 18, y + ROW / 2, str(text + 1), SMALL, anchor="end", fill=GREY)
            drawing.cell(left + 26, y, lengths[text] * unit, ROW - 3, fill=PALE_BLUE)
            if lengths[text] < longest:
                drawing.void(left + 26 + lengths[text] * unit, y, (longest - lengths[text]) * unit, ROW - 3)
            y += ROW
        y += GAP
