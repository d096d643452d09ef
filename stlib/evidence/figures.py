"""One style and a handful of figures.

Each figure is legible in grey: what colour tells apart, a marker, a dash or a label tells apart as well. Lines, points
and histograms carry their names themselves, so that no legend eats the width. The functions draw on `ax` where one is
given, and return the figure; `show` puts it in the notebook with its text.

Longer than 400 lines: all figures share one style and the placing of their names.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import BLUE, ORANGE, RED, RULE, on, shade

# Okabe and Ito's colours (2008), told apart with any colour vision; grey for their yellow, which is faint on white.
PALETTE = [BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", RED, "#000000", "#888888"]
MARKERS = {"o": 30, "s": 28, "^": 36, "D": 26, "v": 36, "P": 44, "X": 44, "*": 64}
"""Markers with the sizes at which they look alike."""
DASHES = ["-", "--", ":", "-."]
SHADES = LinearSegmentedColormap.from_list("shades", [shade(0), shade(1)], N=64)
"""White to dark blue, as in the drawings: even in lightness, so grey keeps it."""
MOST_LABELS = 12
"""More than this many labels cannot be told apart: the rarer ones share one, and cells carry no numbers."""
COLUMN = 24
"""So many letters of a column's name are shown."""
_DPI = 200


class Measured(Protocol):
    """What `Estimate` is: a value that knows how far to trust it."""

    @property
    def value(self) -> float: ...
    def interval(self, level: float = 0.95) -> tuple[float, float]: ...


def use_style() -> None:
    """One look for all figures, white ground, pale grid, colours for all eyes; and tables that show what texts say."""
    pd.set_option("display.max_colwidth", 110)
    warnings.filterwarnings("ignore", message="Glyph .* missing")  # a script that the font lacks shows as boxes
    plain = {"figure.facecolor": "white", "savefig.facecolor": "white", "axes.edgecolor": "0.3", "grid.color": "0.9"}
    sizes = {"font.size": 11, "axes.labelsize": 11, "axes.titlesize": 12, "xtick.labelsize": 10, "ytick.labelsize": 10}
    frame = {"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True}
    pixels = {"figure.dpi": 100, "savefig.dpi": _DPI, "figure.figsize": (7.0, 4.0)}
    sns.set_theme(context="notebook", style="whitegrid", palette=PALETTE, rc=plain | sizes | frame | pixels)


def show(figure: Any, alt: str) -> None:
    """Displays a figure (or an axes, or a seaborn grid) as PNG with `alt`, what is to be seen in it, and closes it."""
    from IPython.display import display

    data, metadata = bundle(figure, alt)
    display(data, raw=True, metadata=metadata)  # type: ignore[no-untyped-call]


def bundle(figure: Any, alt: str) -> tuple[dict[str, str], dict[str, Any]]:
    """What `show` sends: a PNG at 200 pixels an inch with its words, and at what width it is to be shown."""
    from PIL import Image

    if not alt.strip():
        raise ValueError("alt: say in words what the figure shows")
    figure = figure if isinstance(figure, Figure) else figure.figure
    drawn, picture = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    # In 256 colours, as many as a figure has, and with no version inside: small, and the same each time.
    image = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(picture, "png", optimize=True)
    png = base64.b64encode(picture.getvalue()).decode("ascii")
    width = round(image.width * 100 / _DPI)
    return {"image/png": png, "text/plain": f"Figure: {alt}"}, {"image/png": {"alt": alt, "width": width}}


def label(text: object, width: int = 42) -> str:
    """A text short enough for an axis; `$` would be read as mathematics."""
    line = " ".join(str(text).split())
    return (line if len(line) <= width else line[: width - 1].rstrip() + "…").replace("$", r"\$")


def heatmap(
    matrix: ArrayLike,
    labels: Sequence[object] | None = None,
    *,
    columns: Sequence[object] | None = None,
    limits: tuple[float, float] | None = None,
    diagonal: bool = True,
    title: str = "",
    bar: str = "cosine similarity",
    annotate: bool | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A matrix `[n, m]`, dark where it is high. Few cells carry their numbers.

    labels: of the rows; columns: of the columns (where the matrix is square, `labels`, or their numbers if one would
    be cut). limits: of the scale; without them it spans the values off the diagonal, rounded outwards to a tenth.
    diagonal: False leaves it out.
    """
    matrix = np.asarray(matrix, dtype=float)
    rows, across = matrix.shape
    itself = np.eye(rows, across, dtype=bool) if rows == across else np.zeros((rows, across), dtype=bool)
    if limits is None:
        others = matrix[~itself] if rows > 1 else matrix
        limits = np.floor(10 * others.min() + 1e-9) / 10, np.ceil(10 * others.max() - 1e-9) / 10
    if columns is None and rows == across:
        columns = labels
        if max((len(str(text)) for text in labels or ()), default=0) > COLUMN:
            labels = [f"{number}. {text}" for number, text in enumerate(labels or (), start=1)]
            columns = range(1, across + 1)
    annotate = max(rows, across) <= MOST_LABELS if annotate is None else annotate
    row_names, column_names = [label(text) for text in labels or ()], [label(text, COLUMN) for text in columns or ()]
    if ax is None:
        beside, below = (max(map(len, names), default=0) for names in (row_names, column_names))
        cell = 0.44 if annotate else min(0.3, 4.2 / max(rows, across))
        height = max(2.0, 0.7 + 0.055 * below + cell * rows)  # lower, the name of the scale finds no room
        _, ax = plt.subplots(figsize=(1.6 + 0.075 * beside + cell * across, height))
    sns.heatmap(
        matrix,
        ax=ax,
        vmin=limits[0],
        vmax=limits[1],
        mask=None if diagonal else itself,
        cmap=SHADES,
        square=True,
        annot=matrix.round(2) + 0.0 if annotate else False,  # + 0.0: no minus zero
        fmt=".2f" if abs(limits[1]) < 10 else ".0f",
        annot_kws={"size": 9},
        linewidths=0.5 if max(rows, across) <= 40 else 0,
        linecolor="0.92",
        cbar_kws={"label": bar, "shrink": 0.8},
        xticklabels=column_names or False,
        yticklabels=row_names or False,
    )
    for text in ax.texts:
        text.set_color(on((float(text.get_text()) - limits[0]) / max(limits[1] - limits[0], 1e-9)))
    ax.grid(visible=False)  # it would show through where the diagonal is left out
    upright = max(map(len, column_names), default=0) < 3
    ax.tick_params(axis="x", rotation=0 if upright else 45)
    plt.setp(ax.get_xticklabels(), ha="center" if upright else "right", rotation_mode="anchor")
    ax.tick_params(axis="y", rotation=0)
    return _finished(ax, title)


def interval_plot(
    estimates: Mapping[str, Measured],
    xlabel: str,
    *,
    level: float = 0.95,
    reference: float | None = None,
    margin: float | None = None,
    decimals: int | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Estimates with their intervals, one a row, first on top; a line at `reference`, a band of ± `margin` about it.

    decimals: of the values; by default one, and two where all are below 2. Panels of one unit are given the same.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 0.9 + 0.38 * len(estimates)))
    if reference is not None:
        ax.axvline(reference, color="0.35", linestyle="--", linewidth=1.2, zorder=1)
        if margin is not None:
            ax.axvspan(reference - margin, reference + margin, color="0.9", zorder=0)
    rows = np.arange(len(estimates))
    values = np.array([one.value for one in estimates.values()])
    lows, highs = np.array([one.interval(level) for one in estimates.values()]).T
    ax.hlines(rows, lows, highs, color=BLUE, linewidth=2.4)
    ax.plot(values, rows, "o", color=BLUE, markersize=6.5, markeredgecolor="white")
    if decimals is None:
        decimals = 2 if np.abs(values).max() < 2 else 1
    beside: Any = ("axes fraction", "data")
    for row, value in enumerate(values):
        shown = f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")  # as on the axis
        ax.annotate(shown, (1.01, row), xycoords=beside, va="center", fontsize=10)
    ax.set_yticks(rows, [label(name) for name in estimates])
    ax.set_ylim(len(estimates) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    return _finished(ax, title, xlabel)


def scatter_by_label(
    points: ArrayLike,
    labels: Sequence[object],
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    names: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Points `[n, 2]`, a marker and a colour for each label, whose name stands in the middle of its points.

    names: False where another panel names them already, or a legend does, for which each carries its label. Without
    `xlabel` and `ylabel` the axes carry no numbers, as those of t-SNE mean nothing.
    """
    points, groups = np.asarray(points, dtype=float), grouped(labels)
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 4.6))
    texts = []
    for name, (chosen, marker, colour) in looks(groups).items():
        look: Any = {"color": colour, "edgecolors": "white", "linewidths": 0.4, "label": label(name, 24)}
        ax.scatter(points[chosen, 0], points[chosen, 1], s=MARKERS[marker], marker=marker, **look)
        x, y = np.median(points[chosen], axis=0)
        texts += [_named(ax, x, y, label(name, 24), "black", ha="center", va="center")] if names else []
    if not (xlabel or ylabel):
        ax.set_xticks([])
        ax.set_yticks([])
    return _finished(ax, title, xlabel, ylabel, texts)


def grouped(labels: Sequence[object]) -> pd.Series:
    """The labels as text; where they are too many to be told apart, the rare ones as "other"."""
    names = pd.Series([str(text) for text in labels])
    counts = names.value_counts(sort=False)
    if len(counts) > MOST_LABELS:
        common = set(counts.sort_values(ascending=False, kind="stable").index[: MOST_LABELS - 1])
        names = names.where(names.isin(common), "other")
    return names


def looks(names: pd.Series) -> dict[str, tuple[np.ndarray, str, str]]:
    """For each name: which of the points are its own, their marker and their colour. No two have both alike."""
    count = len(MARKERS)
    return {
        name: (
            (names == name).to_numpy(),
            list(MARKERS)[number % count],
            PALETTE[(number + number // count) % len(PALETTE)],
        )
        for number, name in enumerate(names.unique())
    }


def distributions(
    groups: Mapping[str, ArrayLike],
    xlabel: str,
    *,
    bins: int = 30,
    limits: tuple[float, float] | None = None,
    mark: tuple[str, float] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Histograms over the same bins, as shares of each group so that groups of any size compare; one dash each.

    A name stands where its group rises most above the others, those at the ends turned outwards.
    mark: a name and a value that a line marks, such as ("threshold", 0.5).
    """
    arrays = {name: np.asarray(values, dtype=float) for name, values in groups.items()}
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 3.4))
    everything = np.concatenate(list(arrays.values()))
    low, high = limits or (float(everything.min()), float(everything.max()))
    edges = np.linspace(low, high, bins + 1)
    shares = np.array([100 * np.histogram(values, edges)[0] / len(values) for values in arrays.values()])
    lead = [share - np.delete(shares, row, axis=0).max(axis=0, initial=0) for row, share in enumerate(shares)]
    tops = [int(one.argmax()) for one in lead]
    sides = {min(tops): "right", max(tops): "left"} if len(set(tops)) > 1 else {}
    texts = []
    for number, (name, share, top) in enumerate(zip(arrays, shares, tops, strict=True)):
        colour = PALETTE[number % len(PALETTE)]
        ax.stairs(share, edges, fill=True, color=colour, alpha=0.12)
        ax.stairs(share, edges, color=colour, linestyle=DASHES[number % len(DASHES)], linewidth=1.8)
        place = (edges[top] + edges[top + 1]) / 2, share[top]
        texts.append(_named(ax, *place, label(name), colour, ha=sides.get(top, "center"), va="bottom"))
    _clear(ax, texts, edges, shares.max(axis=0))
    if mark is not None:
        ax.axvline(mark[1], color="0.2", linestyle="--", linewidth=1.2)
        above: Any = ("data", "axes fraction")
        ax.annotate(f" {mark[0]} {mark[1]:.2f}", (mark[1], 1.0), xycoords=above, va="top", fontsize=10)
    ax.set_ylim(bottom=0, top=ax.get_ylim()[1] * (1.1 if mark is None else 1.2))
    return _finished(ax, title, xlabel, "share (%)", texts, lift=True)


def curve(
    sizes: Sequence[float],
    lines: Mapping[str, Sequence[Measured | float]],
    xlabel: str,
    ylabel: str,
    *,
    level: float = 0.95,
    log: bool = False,
    reference: tuple[str, float] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """A score against a size, a line for each name, which stands at its end; estimates get a band, their interval.

    Names that would lie upon one another move apart, and then a thin line with the marker leads from each to its end.
    log: sizes that double lie equally far apart. reference: a name and a value to compare with, such as ("TF-IDF", 71).
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 3.8))
    texts, ends, places = [], [], np.asarray(sizes, dtype=float)
    for number, (name, line) in enumerate(lines.items()):
        colour, marker = PALETTE[number % len(PALETTE)], list(MARKERS)[number % len(MARKERS)]
        values = [float(getattr(one, "value", one)) for one in line]  # type: ignore[arg-type]
        dash = DASHES[number % len(DASHES)]
        ax.plot(places, values, linestyle=dash, marker=marker, color=colour, linewidth=1.8, markeredgecolor="white")
        if all(hasattr(one, "interval") for one in line):
            lows, highs = np.array([one.interval(level) for one in line]).T  # type: ignore[union-attr]
            ax.fill_between(places, lows, highs, color=colour, alpha=0.13, linewidth=0)
        texts.append(_named(ax, places[-1], values[-1], f"  {label(name, 24)}", colour, va="center", clip_on=False))
        ends.append((values[-1], colour, marker))
    if reference is not None:
        ax.hlines(reference[1], places[0], places[-1], color="0.35", linestyle="--", linewidth=1.2, zorder=1)
        texts.append(_named(ax, places[-1], reference[1], f"  {label(reference[0], 24)}", "0.35", va="center"))
        ends.append((reference[1], "0.35", ""))
    if log:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(places, [f"{size:g}" for size in places])
    figure = _finished(ax, title, xlabel, ylabel, texts)
    _lead(ax, texts, ends)
    return figure


def quality_against_cost(
    candidates: Mapping[str, tuple[float, Measured]],
    xlabel: str,
    ylabel: str,
    *,
    level: float = 0.95,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Candidates by cost, on a log scale, and quality with its interval.

    A line joins those on the Pareto front, which are filled and named on their left: whatever costs no more is worse.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 4.0))
    front = pareto({name: (cost, one.value) for name, (cost, one) in candidates.items()})
    ends = [(candidates[name][0], candidates[name][1].value) for name in front]
    ax.step(*np.array(ends).T, where="post", color=RULE, linewidth=1.4, linestyle="--", zorder=1)
    texts = []
    for name, (cost, one) in candidates.items():
        colour = BLUE if name in front else "0.45"
        low, high = one.interval(level)
        ax.vlines(cost, low, high, color=colour, linewidth=2)
        ax.plot(cost, one.value, "o", color=colour if name in front else "white", markeredgecolor=colour, markersize=8)
        if name in front:
            texts.append(_named(ax, cost, high, label(name, 28), "black", ha="right", va="bottom"))
        else:
            texts.append(_named(ax, cost, one.value, f"   {label(name, 28)}", "black", va="center"))
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.margins(x=0.22, y=0.12)
    return _finished(ax, title, xlabel, ylabel, texts)


def pareto(candidates: Mapping[str, tuple[float, float]]) -> list[str]:
    """Of candidates with (cost, quality) those that none beats: by cost, each better than all before it."""
    front: list[str] = []
    for name in sorted(candidates, key=lambda one: (candidates[one][0], -candidates[one][1])):
        if not front or candidates[name][1] > candidates[front[-1]][1]:
            front.append(name)
    return front


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None, "the axes were removed from their figure"
    return figure


def _finished(
    ax: Axes, title: str, xlabel: str = "", ylabel: str = "", texts: Sequence[Text] = (), lift: bool = False
) -> Figure:
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_title(title, loc="left")
    _separate(ax, texts, lift)
    return _figure(ax)


def _named(ax: Axes, x: float, y: float, text: str, colour: str, **place: Any) -> Text:
    """A text with a white edge, legible upon points and lines; its colour darkened, as letters are thin."""
    halo, ink = [withStroke(linewidth=3, foreground="white")], tuple(0.7 * part for part in to_rgb(colour))
    return ax.text(x, y, text, color=ink, fontsize=10, fontweight="bold", path_effects=halo, zorder=5, **place)


def _separate(ax: Axes, texts: Sequence[Text], lift: bool) -> None:
    _figure(ax).draw_without_rendering()  # only then is it known where things lie
    boxes = [text.get_window_extent() for text in texts]
    lows = np.array([box.y0 for box in boxes])
    moved = apart([(box.x0, box.x1) for box in boxes], lows, [box.height for box in boxes], lift) - lows
    for text, up in zip(texts, moved, strict=True):
        x, y = ax.transData.transform(text.get_position())
        text.set_position(tuple(ax.transData.inverted().transform((x, y + up))))


def _lead(ax: Axes, texts: Sequence[Text], ends: Sequence[tuple[float, str, str]]) -> None:
    """Where names were moved, lines from the ends of the curves, (value, colour, marker), to their names."""
    names = ax.transData.transform([text.get_position() for text in texts])
    starts = ax.transData.transform([(text.get_position()[0], end[0]) for text, end in zip(texts, ends, strict=True)])
    if np.abs(names - starts).max() < 4:  # pixels
        return
    for text, start, name, (_, colour, marker) in zip(texts, starts, names, ends, strict=True):
        text.set_text("     " + text.get_text())
        x, y = ax.transData.inverted().transform([start, (name[0] + 24, name[1])]).T
        look: Any = {"linewidth": 0.9, "marker": marker, "markevery": [1], "markeredgecolor": "white"}
        ax.add_artist(Line2D(x, y, color=colour, clip_on=False, **look))


def _clear(ax: Axes, texts: Sequence[Text], edges: np.ndarray, tallest: np.ndarray) -> None:
    """Names of histograms within the axes, and above each bar that they would lie upon."""
    _figure(ax).draw_without_rendering()
    frame = ax.get_window_extent()
    for text in texts:
        box = text.get_window_extent()
        if box.x0 < frame.x0 or box.x1 > frame.x1:
            text.set_horizontalalignment("left" if box.x0 < frame.x0 else "right")
        box = text.get_window_extent().transformed(ax.transData.inverted())
        under = tallest[(edges[:-1] < box.x1) & (edges[1:] > box.x0)]
        text.set_y(1.02 * under.max(initial=0))


def apart(spans: ArrayLike, lows: ArrayLike, heights: ArrayLike, lift: bool = False) -> np.ndarray:
    """Where texts have to stand so that none overlap, moved as little as that takes.

    spans: [n, 2], from left to right; lows, heights: [n]. One moves up and one down, or with `lift` only the upper up.
    """
    spans, lows, heights = np.asarray(spans, float), np.array(lows, float), np.asarray(heights, float)
    for _ in range(50):
        for one, other in combinations(range(len(lows)), 2):
            below, above = sorted((one, other), key=lambda text: (lows[text], text))
            overlap = lows[below] + heights[below] + 3 - lows[above]
            if spans[one][0] < spans[other][1] and spans[other][0] < spans[one][1] and overlap > 0:
                lows[above] += overlap if lift else overlap / 2
                lows[below] -= 0 if lift else overlap / 2
    return lows
