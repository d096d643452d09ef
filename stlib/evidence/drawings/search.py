"""Lesson 09: from a folder of documents to a list of answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import (
    BLUE,
    GREY,
    INK,
    LARGE,
    ORANGE,
    PALE,
    PALE_BLUE,
    SMALL,
    WHITE,
    Drawing,
    fit,
)

TABLE, ROW = 232.0, 28.0
WORDS, COSINE, PLACE, BAR = 352.0, 540.0, 752.0, 90.0


def search_pipeline(
    query: str,
    passages: Sequence[str],
    cosine: ArrayLike,
    bm25: ArrayLike,
    hybrid: ArrayLike,
    right: Collection[int] = (),
    width: int = 384,
    rows: int = 5,
) -> Drawing:
    """Chunk, encode, rank and merge with BM25; with one query's true scores.

    Args:
        query: what was asked.
        passages: the chunks [p].
        cosine: similarity of each to the query [p].
        bm25: their scores by words [p].
        hybrid: the score by which the answer is ordered [p].
        right: the numbers of the passages that answer it; they stand in bold.
        width: of a vector.
        rows: so many passages are drawn, the best first.
    """
    cosine, bm25, hybrid = (np.asarray(scores, dtype=float) for scores in (cosine, bm25, hybrid))
    best = np.argsort(-hybrid, kind="stable")[:rows].tolist()
    drawing = Drawing("Search", TABLE + 28 + ROW * len(best))
    _flow(drawing, query, len(passages), width)
    for x, words, note in (
        (WORDS, "by words", "BM25 (rank)"),
        (COSINE, "by meaning", "cosine (rank)"),
        (PLACE, "merged", "place"),
    ):
        drawing.text(x, TABLE - 10, words, weight="bold", anchor="end" if x == PLACE else "start")
        drawing.text(x, TABLE + 8, note, SMALL, fill=GREY, anchor="end" if x == PLACE else "start")
    most_words, most_cosine = max(float(bm25.max()), 1e-9), max(float(cosine.max()), 1e-9)
    for place, passage in enumerate(best, 1):
        y, weight = TABLE + 36 + ROW * (place - 1), "bold" if passage in right else "normal"
        name = fit(passages[passage], 0.9 * (WORDS - 24), SMALL)  # bold letters are wider
        drawing.text(8, y, name, SMALL, anchor="start", weight=weight)
        by_words = f"({1 + int((bm25 > bm25[passage]).sum())})" if bm25[passage] > 0 else "(–)"
        by_meaning = f"({1 + int((cosine > cosine[passage]).sum())})"
        _bar(drawing, WORDS, y, bm25[passage] / most_words, f"{bm25[passage]:.1f} {by_words}", ORANGE)
        _bar(drawing, COSINE, y, cosine[passage] / most_cosine, f"{cosine[passage]:.2f} {by_meaning}", BLUE)
        drawing.text(PLACE, y, str(place), SMALL, anchor="end", weight=weight)
    found = [str(place) for place, passage in enumerate(best, 1) if passage in right]
    drawing.alt = (
        f"Documents, {len(passages)} chunks of them, are encoded once; a query is encoded, chunks are ranked by cosine "
        f"and by BM25, and the ranks are merged. Drawn are the {len(best)} best chunks"
        + (f"; the right one, in bold, is on place {', '.join(found)}." if found else ".")
    )
    return drawing


def _bar(drawing: Drawing, x: float, y: float, share: float, number: str, fill: str) -> None:
    """A score and its number, with the rank that it gives."""
    drawing.cell(x, y - 8, BAR * max(share, 0.01), 16, fill=fill)
    drawing.text(x + BAR + 80, y, number, SMALL, anchor="end", fill=GREY)


def _flow(drawing: Drawing, query: str, count: int, width: int) -> None:
    """The two lanes above the table: what is done once, and what is done for each query."""
    drawing.text(8, 34, "once", SMALL, anchor="start", fill=GREY)
    drawing.text(8, 114, "each query", SMALL, anchor="start", fill=GREY)
    drawing.box(92, 10, 100, 48, "documents")
    drawing.box(232, 10, 100, 48, f"chunks\n{count:,} of them")
    drawing.box(92, 90, 240, 48, fit(f"“{query}”", 220), fill=PALE_BLUE, stroke=BLUE)
    drawing.box(372, 10, 100, 128, "encoder", fill=PALE)
    drawing.box(512, 10, 110, 48, f"vectors\n[{count}, {width}]")
    drawing.box(512, 90, 110, 48, f"vector\n[{width}]", fill=PALE_BLUE, stroke=BLUE)
    for start, end in ((192, 232), (332, 372), (472, 512)):
        drawing.arrow((start, 34), (end, 34))
    for start, end in ((332, 372), (472, 512)):
        drawing.arrow((start, 114), (end, 114), stroke=BLUE)
    drawing.arrow((622, 34), (680, 34), (680, 60))
    drawing.arrow((622, 114), (680, 114), (680, 88), stroke=BLUE)
    drawing.dot(680, 74, 14, WHITE, stroke=INK, line=1.6)
    drawing.text(680, 74, "·", LARGE, weight="bold")
    drawing.arrow((694, 74), (738, 74), (738, 178), (COSINE + 34, 178), (COSINE + 34, TABLE - 22))
    drawing.arrow((212, 138), (212, 178), (WORDS + 28, 178), (WORDS + 28, TABLE - 22), stroke=ORANGE)
    drawing.text(220, 166, "words shared with each chunk", SMALL, anchor="start", fill=GREY)
    drawing.text(730, 166, "one dot product with each chunk", SMALL, anchor="end", fill=GREY)
