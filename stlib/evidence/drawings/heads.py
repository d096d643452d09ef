"""Lesson 08: one encoder, two tasks."""

from __future__ import annotations

from stlib.evidence.drawings.canvas import (
    BLUE,
    DASH,
    GREY,
    INK,
    ORANGE,
    PALE,
    PALE_BLUE,
    PALE_ORANGE,
    RED,
    RED_INK,
    SMALL,
    WHITE,
    Drawing,
)

UPPER, LOWER, MIDDLE, TALL = 62.0, 182.0, 122.0, 58.0


def two_heads(width: int = 384, classes: int = 8, weight: float | None = None) -> Drawing:
    """An encoder that learns similarity and classes at once.

    Args:
        width: of the sentence vector.
        classes: of the classification head.
        weight: of the classification loss, that of the similarity being 1; without it the picture says w.
    """
    drawing = Drawing("One encoder, two tasks", 292)
    factor = "w" if weight is None else f"{weight:g}"
    blue, orange = {"fill": PALE_BLUE, "stroke": BLUE}, {"fill": PALE_ORANGE, "stroke": ORANGE}

    def row(x: float, y: float, wide: float, text: str, **look: str) -> None:
        drawing.box(x, y - TALL / 2, wide, TALL, text, **look)

    row(8, UPPER, 130, "pairs\nof one meaning", **blue)
    row(8, LOWER, 130, "texts\nwith a label", **orange)
    drawing.box(184, MIDDLE - 52, 98, 104, "backbone\nshared", fill=PALE)
    drawing.box(324, MIDDLE - 52, 98, 104, "pooling\nshared", fill=PALE)
    row(502, UPPER, 132, "cosines\nunit length, a · b", **blue)
    row(502, LOWER, 132, f"class head\nLinear({width}, {classes})", **orange)
    for y, turn, colour in ((UPPER, MIDDLE - 20, BLUE), (LOWER, MIDDLE + 20, ORANGE)):
        drawing.arrow((138, y), (161, y), (161, turn), (184, turn), stroke=colour)
        drawing.arrow((422, turn), (462, turn), (462, y), (502, y), stroke=colour)
        drawing.arrow((634, y), (690, y), (690, MIDDLE + (14 if y > MIDDLE else -14)), stroke=colour)
    drawing.arrow((282, MIDDLE), (324, MIDDLE))
    drawing.code(303, MIDDLE - 64, f"[B, T, {width}]", SMALL, fill=GREY)
    drawing.code(462, MIDDLE, f"[B, {width}]", SMALL, fill=GREY)
    drawing.code(642, UPPER - 14, "[B, B]", SMALL, anchor="start", fill=GREY)
    drawing.code(642, LOWER + 16, f"[B, {classes}]", SMALL, anchor="start", fill=GREY)
    drawing.text(698, UPPER + 24, "× 1", SMALL, anchor="start")
    drawing.text(698, LOWER - 24, f"× {factor}", SMALL, anchor="start")
    drawing.dot(690, MIDDLE, 14, WHITE, stroke=INK, line=1.6)
    drawing.text(690, MIDDLE, "+", weight="bold")
    drawing.text(710, MIDDLE, "loss", anchor="start", weight="bold")
    drawing.arrow((738, MIDDLE + 14), (738, 248), (233, 248), (233, MIDDLE + 52), stroke=RED, dash=DASH)
    drawing.text(486, 268, "the gradients of both losses meet in the shared weights", SMALL, fill=RED_INK)
    drawing.alt = (
        "Pairs and labelled texts go through one backbone and one pooling; the cosines of pairs and a class head of "
        f"{classes} classes each give a loss; their sum, the second weighted by {factor}, trains the shared weights."
    )
    return drawing
