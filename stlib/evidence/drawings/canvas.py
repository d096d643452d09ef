"""The visual language of the drawn pictures: a few primitives, written as SVG and painted as PNG.

A notebook's reader may be anywhere. GitHub puts an SVG output into its own page and takes `style` and ids out of it, so
all looks stand in plain attributes and nothing refers to anything: no markers, patterns or clip paths. JupyterLab shows
an SVG output only in a notebook that it trusts, so a PNG lies behind. The ground is white under any theme. Fonts are
the reader's own: text is measured in DejaVu Sans, one of the widest, so that it fits in the others.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import ArrayLike

Point = tuple[float, float]

WIDTH = 760
"""Of each picture, in the reader's pixels. No text is smaller than `SMALL` at this width."""
SMALL, NORMAL, LARGE = 12, 13, 15
# Of Okabe and Ito's colours (2008) three that also differ in grey: dark, light, and between them for what goes wrong.
BLUE, ORANGE, RED = "#0072B2", "#E69F00", "#D55E00"
RED_INK = "#A84A00"  # the last for letters, which are thin
INK, GREY, RULE, PALE, WHITE = "#1F2328", "#57606A", "#8C959F", "#EEF0F2", "#FFFFFF"
PALE_BLUE, PALE_ORANGE = "#D9EAF5", "#FBECCB"
CORNER, THIN, LINE, DASH = 5.0, 1.0, 1.6, (5.0, 3.0)
_POINTS = 0.72  # a pixel in matplotlib's points, at 100 pixels an inch


def _number(value: float) -> str:
    return (
        f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
    )


def _step(across: int, down: int) -> str:
    """A relative line of a path, in tenths of a pixel."""
    if not down:
        return f"h{_number(across / 10)}" if across else ""
    return f"l{_number(across / 10)} {_number(down / 10)}" if across else f"v{_number(down / 10)}"


@lru_cache(maxsize=4096)
def width_of(text: str, size: float = NORMAL, weight: str = "normal", family: str = "sans-serif") -> float:
    """How wide `text` is, in pixels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(
        family="DejaVu Sans Mono" if family == "monospace" else "DejaVu Sans", weight=weight, size=size
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font lacks
        return float(text_to_path.get_text_width_height_descent(text.replace("$", "S"), font, ismath=False)[0])


def fit(text: str, width: float, size: float = NORMAL, weight: str = "normal") -> str:
    """The text, or as much of it as `width` pixels hold and an ellipsis."""
    text = " ".join(text.split())
    if width_of(text, size, weight) <= width:
        return text
    while text and width_of(text + "…", size, weight) > width:
        text = text[:-1].rstrip()
    return text + "…"


def shade(share: float) -> str:
    """White for 0, dark blue for 1, even in lightness between: a value as a colour that grey keeps."""
    share = min(max(float(share), 0.0), 1.0)
    low, high = np.array([255, 255, 255]), np.array([0, 62, 108])
    return "#{:02X}{:02X}{:02X}".format(*np.rint(low + share * (high - low)).astype(int))


def on(share: float) -> str:
    """The colour of text upon `shade(share)`."""
    return WHITE if share > 0.62 else INK


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


@dataclass(frozen=True)
class Rectangle:
    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = "none"
    radius: float = 0.0
    line: float = THIN
    dash: tuple[float, float] | None = None
    tip: str = ""

    def svg(self) -> str:
        place = " ".join(
            f'{name}="{_number(value)}"'
            for name, value in (("x", self.x), ("y", self.y), ("width", self.width), ("height", self.height))
        )
        corner = f' rx="{_number(self.radius)}"' if self.radius else ""
        return _element("rect", f"{place}{corner}{_look(self)}", self.tip)

    def paint(self, axes: Any) -> None:
        from matplotlib.patches import FancyBboxPatch
        from matplotlib.patches import Rectangle as Plain

        if self.radius:
            style = f"round,pad=0,rounding_size={min(self.radius, self.height / 2, self.width / 2)}"
            axes.add_patch(FancyBboxPatch((self.x, self.y), self.width, self.height, style, **_brush(self)))
        else:
            axes.add_patch(Plain((self.x, self.y), self.width, self.height, **_brush(self)))


@dataclass(frozen=True)
class Circle:
    x: float
    y: float
    radius: float
    fill: str
    stroke: str = "none"
    line: float = THIN
    dash: tuple[float, float] | None = None
    tip: str = ""

    def svg(self) -> str:
        place = f'cx="{_number(self.x)}" cy="{_number(self.y)}" r="{_number(self.radius)}"'
        return _element("circle", place + _look(self), self.tip)

    def paint(self, axes: Any) -> None:
        from matplotlib.patches import Circle as Plain

        axes.add_patch(Plain((self.x, self.y), self.radius, **_brush(self)))


@dataclass(frozen=True)
class Path:
    """A line through points, or with `closed` the shape that they bound."""

    points: tuple[Point, ...]
    stroke: str = INK
    fill: str = "none"
    line: float = LINE
    dash: tuple[float, float] | None = None
    closed: bool = False
    tip: str = ""

    def svg(self) -> str:
        # Steps between rounded points: short to write, and no error adds up.
        points = [(round(10 * x), round(10 * y)) for x, y in self.points]
        steps = [_step(to[0] - last[0], to[1] - last[1]) for last, to in pairwise(points)]
        start = f"M{_number(points[0][0] / 10)} {_number(points[0][1] / 10)}"
        return _element("path", f'd="{start}{"".join(steps)}{"z" if self.closed else ""}"{_look(self)}', self.tip)

    def paint(self, axes: Any) -> None:
        from matplotlib.patches import Polygon

        axes.add_patch(Polygon(self.points, closed=self.closed, capstyle="butt", joinstyle="round", **_brush(self)))


@dataclass(frozen=True)
class Text:
    """A line of text whose middle is at height y. anchor: "start", "middle" or "end" is at x. halo: a white edge."""

    x: float
    y: float
    text: str
    size: float = NORMAL
    anchor: str = "middle"
    fill: str = INK
    weight: str = "normal"
    family: str = "sans-serif"
    turn: float = 0.0
    halo: bool = False

    def svg(self) -> str:
        turned = f' transform="rotate({_number(self.turn)} {_number(self.x)} {_number(self.y)})"' if self.turn else ""
        weight = f' font-weight="{self.weight}"' if self.weight != "normal" else ""
        place = f'x="{_number(self.x)}" y="{_number(self.y + 0.35 * self.size)}" text-anchor="{self.anchor}"'
        font = f'font-family="{self.family}" font-size="{_number(self.size)}"{weight}{turned}'
        # The edge is a text of its own: `paint-order` may not survive.
        edge = f'<text {place} {font} fill="{WHITE}" stroke="{WHITE}" stroke-width="3.5">{escape(self.text)}</text>'
        return f'{edge if self.halo else ""}<text {place} {font} fill="{self.fill}">{escape(self.text)}</text>'

    def paint(self, axes: Any) -> None:
        from matplotlib.patheffects import withStroke

        side = {"start": "left", "middle": "center", "end": "right"}[self.anchor]
        shift = np.deg2rad(self.turn)
        drop = 0.35 * self.size
        axes.text(
            self.x - drop * np.sin(shift), self.y + drop * np.cos(shift), self.text.replace("$", r"\$"),
            fontsize=self.size * _POINTS, family=self.family, weight=self.weight, color=self.fill, ha=side,
            va="baseline", rotation=-self.turn, rotation_mode="anchor",
            path_effects=[withStroke(linewidth=2.5, foreground=WHITE)] if self.halo else None,
        )  # fmt: skip


Shape = Rectangle | Circle | Path | Text


def _element(name: str, attributes: str, tip: str) -> str:
    return f"<{name} {attributes}><title>{escape(tip)}</title></{name}>" if tip else f"<{name} {attributes}/>"


def _look(shape: Rectangle | Circle | Path) -> str:
    stroke = f' stroke="{shape.stroke}" stroke-width="{_number(shape.line)}"' if shape.stroke != "none" else ""
    dash = f' stroke-dasharray="{_number(shape.dash[0])} {_number(shape.dash[1])}"' if shape.dash else ""
    return f' fill="{shape.fill}"{stroke}{dash}'


def _brush(shape: Rectangle | Circle | Path) -> dict[str, Any]:
    # Dashes count in line widths there, in pixels here.
    style: Any = (0, tuple(part / shape.line for part in shape.dash)) if shape.dash else "-"
    none = shape.stroke == "none"
    return {
        "facecolor": shape.fill, "edgecolor": shape.stroke, "linestyle": style,
        "linewidth": 0 if none else shape.line * _POINTS,
    }  # fmt: skip


class Drawing:
    """A picture of `WIDTH` × `height` pixels from the top left corner. A notebook shows it as a cell's last value.

    alt: what is to be seen, for those who do not see it; it may be set once the picture is drawn.
    """

    def __init__(self, title: str, height: float, alt: str = "") -> None:
        self.title, self.height, self.alt = title, ceil(height), alt
        self.shapes: list[Shape] = []

    # ------------------------------------------------------------------------------------------------ primitives

    def text(self, x: float, y: float, text: str, size: float = NORMAL, **look: Any) -> None:
        self.shapes.append(Text(x, y, text, size, **look))

    def code(self, x: float, y: float, text: str, size: float = NORMAL, **look: Any) -> None:
        """A shape or a name as it stands in code."""
        self.shapes.append(Text(x, y, text, size, family="monospace", **look))

    def note(self, x: float, y: float, lines: str, size: float = SMALL, **look: Any) -> None:
        """Lines of text below one another, the first at y, in grey."""
        for number, line in enumerate(lines.split("\n")):
            self.shapes.append(
                Text(x, y + number * 1.35 * size, line, size, **{"anchor": "start", "fill": GREY} | look)
            )

    def box(self, x: float, y: float, width: float, height: float, text: str = "", **look: Any) -> None:
        """A thing: a rounded box with lines of text in its middle, the first of them bold where there are several."""
        frame: dict[str, Any] = {"fill": WHITE, "stroke": INK, "radius": CORNER, "line": LINE}
        self.shapes.append(Rectangle(x, y, width, height, **frame | look))
        lines = text.split("\n") if text else []
        for number, line in enumerate(lines):
            middle = y + height / 2 + (number - (len(lines) - 1) / 2) * 1.3 * NORMAL
            put = self.code if line.startswith("[") else self.text
            first = {"weight": "bold" if len(lines) > 1 else "normal"}
            put(x + width / 2, middle, line, SMALL if number else NORMAL, **({"fill": GREY} if number else first))

    def cell(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        text: str = "",
        fill: str = WHITE,
        ink: str = INK,
        **look: Any,
    ) -> None:
        """One place of a grid, with what stands in it; look: of the frame."""
        self.shapes.append(Rectangle(x, y, width, height, fill, **{"stroke": RULE} | look))
        if text:
            self.shapes.append(Text(x + width / 2, y + height / 2, fit(text, width - 4, SMALL), SMALL, fill=ink))

    def void(self, x: float, y: float, width: float, height: float, text: str = "") -> None:
        """A cell that is there and does not count: hatched."""
        self.shapes.append(Rectangle(x, y, width, height, WHITE))
        self.hatch(x, y, width, height)
        self.shapes.append(Rectangle(x, y, width, height, "none", stroke=RULE))
        if text:
            text = fit(text, width - 8, SMALL)
            wide = width_of(text, SMALL) + 6
            self.shapes.append(Rectangle(x + (width - wide) / 2, y + height / 2 - 8, wide, 16, WHITE, radius=3))
            self.shapes.append(Text(x + width / 2, y + height / 2, text, SMALL, fill=GREY))

    def hatch(self, x: float, y: float, width: float, height: float, colour: str = "#B8C0C8", step: float = 7) -> None:
        for offset in np.arange(step, width + height, step).tolist():
            start = (x + max(0.0, offset - height), y + min(offset, height))
            end = (x + min(offset, width), y + max(0.0, offset - width))
            self.shapes.append(Path((start, end), stroke=colour, line=THIN))

    def line(self, *points: Point, **look: Any) -> None:
        self.shapes.append(Path(points, **look))

    def arrow(self, *points: Point, head: float = 8, **look: Any) -> None:
        """A line with a head at its last point."""
        (x0, y0), (x1, y1) = points[-2], points[-1]
        along = np.array([x1 - x0, y1 - y0]) / max(float(np.hypot(x1 - x0, y1 - y0)), 1e-9)
        across = np.array([-along[1], along[0]])
        base = np.array([x1, y1]) - head * along
        colour = look.get("stroke", INK)
        self.shapes.append(Path((*points[:-1], tuple((base + along).tolist())), **look))
        corners = [(x1, y1), *(tuple((base + side * head * 0.42 * across).tolist()) for side in (1, -1))]
        self.shapes.append(Path(tuple(corners), stroke="none", fill=colour, closed=True))

    def dot(self, x: float, y: float, radius: float = 5, fill: str = BLUE, **look: Any) -> None:
        self.shapes.append(Circle(x, y, radius, fill, **{"stroke": WHITE} | look))

    def numbered(self, x: float, y: float, number: int, fill: str = BLUE) -> None:
        """A dot that the text beside the picture can name."""
        self.dot(x, y, 10, fill)
        self.text(x, y, str(number), SMALL, fill=WHITE, weight="bold")

    def bars(
        self, x: float, y: float, width: float, height: float, values: ArrayLike, colour: str = BLUE, most: float = 0
    ) -> None:
        """A vector: a bar for each component, up or down from a middle line. most: the magnitude that fills it."""
        values = np.asarray(values, dtype=float).ravel()
        reach = most or float(np.abs(values).max(initial=0)) or 1.0
        step, middle = width / len(values), y + height / 2
        outline: list[Point] = [(x, middle)]
        for number, value in enumerate(np.clip(values / reach, -1, 1).tolist()):
            top = middle - value * height / 2
            left = x + number * step
            outline += [(left, middle), (left, top), (left + 0.8 * step, top), (left + 0.8 * step, middle)]
        self.shapes.append(Path((*outline, (x + width, middle)), stroke="none", fill=colour, closed=True))
        self.line((x, middle), (x + width, middle), stroke=RULE, line=THIN)

    # ------------------------------------------------------------------------------------------------ the picture

    def svg(self) -> str:
        """Alone sufficient; the text alternative stands in it thrice, since readers differ in which they read."""
        if not self.alt.strip():
            raise ValueError("alt: say in words what the picture shows")
        size = f'width="{WIDTH}" height="{_number(self.height)}" viewBox="0 0 {WIDTH} {_number(self.height)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(self.alt)}>'
        ground = Rectangle(0, 0, WIDTH, self.height, WHITE).svg()
        words = [f"<title>{escape(self.title)}</title>", f"<desc>{escape(self.alt)}</desc>"]
        return "\n".join([head, *words, ground, *(shape.svg() for shape in self.shapes), "</svg>"])

    def png(self) -> bytes:
        """The same at twice the pixels, in few colours so that it stays small."""
        from matplotlib.figure import Figure
        from PIL import Image

        figure = Figure(figsize=(WIDTH / 100, self.height / 100), dpi=200, facecolor="white", layout=None)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(self.height, 0))
        axes.set_axis_off()
        for order, shape in enumerate(self.shapes):
            shape.paint(axes)
            (axes.texts if isinstance(shape, Text) else axes.patches)[-1].set_zorder(order)
        picture = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a script that the font lacks
            figure.savefig(picture, format="png", dpi=200)
        small = io.BytesIO()
        Image.open(picture).convert("RGB").quantize(64).save(small, "png", optimize=True)
        return small.getvalue()

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"

    def _repr_mimebundle_(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> Any:
        data = {
            "image/svg+xml": self.svg(),
            "image/png": base64.b64encode(self.png()).decode("ascii"),
            "text/plain": repr(self),
        }
        return data, {"image/svg+xml": {"alt": self.alt}, "image/png": {"alt": self.alt, "width": WIDTH}}
