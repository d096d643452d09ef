"""One style and a handful of figures.

Each figure is legible in grey: what colour tells apart, a marker, a dash or a label tells apart as well.
The functions draw on `ax` where one is given, and return the figure; `show` puts it in the notebook with its text.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# Okabe and Ito's colours (2008), told apart with any colour vision; grey for their yellow, which is faint on white.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#888888"]
MARKERS = {"o": 30, "s": 28, "^": 36, "D": 26, "v": 36, "P": 44, "X": 44, "*": 64}
"""Markers with the sizes at which they look alike."""
DASHES = ["-", "--", ":", "-."]
MOST_LABELS = 12
"""More than this many labels cannot be told apart: the rarer ones share one, and cells carry no numbers."""


def use_style() -> None:
    """One look for all figures: white ground, pale grid, colours for all eyes, letters that can be read."""
    warnings.filterwarnings("ignore", message="Glyph .* missing")  # a script that the font lacks shows as boxes
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette=PALETTE,
        rc={
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.figsize": (7.0, 4.0),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.size": 11,
            "axes.labelsize": 11,
            "axes.titlesize": 12,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 10,
            "axes.edgecolor": "0.3",
            "grid.color": "0.9",
            "axes.spines.top": False,
            "axes.spines.right": False,
        },
    )


def show(figure: Any, alt: str) -> None:
    """Displays a figure (or an axes, or a seaborn grid) as PNG with `alt`, what is to be seen in it, and closes it."""
    from IPython.display import display

    if not alt.strip():
        raise ValueError("alt: say in words what the figure shows")
    figure = figure if isinstance(figure, Figure) else figure.figure
    picture = io.BytesIO()
    # No version inside: the same figure is the same file.
    figure.savefig(picture, format="png", bbox_inches="tight", facecolor="white", metadata={"Software": None})
    plt.close(figure)
    content = {"image/png": base64.b64encode(picture.getvalue()).decode("ascii"), "text/plain": f"Figure: {alt}"}
    display(content, raw=True, metadata={"image/png": {"alt": alt}})  # type: ignore[no-untyped-call]


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None, "the axes were removed from their figure"
    return figure


def label(text: object, width: int = 42) -> str:
    """A text short enough for an axis; `$` would be read as mathematics."""
    line = " ".join(str(text).split())
    return (line if len(line) <= width else line[: width - 1].rstrip() + "…").replace("$", r"\$")


def heatmap(
    matrix: ArrayLike,
    labels: Sequence[object] | None = None,
    *,
    columns: Sequence[object] | None = None,
    vmin: float = 0.0,
    vmax: float = 1.0,
    title: str = "",
    bar: str = "cosine similarity",
    annotate: bool | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A matrix `[n, m]` on a scale that is stated, never fitted to it.

    labels: of the rows, columns: of the columns (`labels` where the matrix is square). Few cells carry their numbers.
    """
    matrix = np.asarray(matrix, dtype=float)
    rows, across = matrix.shape
    if columns is None and rows == across:
        columns = labels
    annotate = max(rows, across) <= MOST_LABELS if annotate is None else annotate
    row_names = [] if labels is None else [label(text) for text in labels]
    column_names = [] if columns is None else [label(text, 24) for text in columns]
    if ax is None:
        beside, below = (max(map(len, names), default=0) for names in (row_names, column_names))
        cell = 0.44 if annotate else min(0.3, 4.2 / max(rows, across))
        _, ax = plt.subplots(figsize=(1.6 + 0.075 * beside + cell * across, 0.7 + 0.055 * below + cell * rows))
    sns.heatmap(
        matrix,
        ax=ax,
        vmin=vmin,
        vmax=vmax,
        cmap="cividis",  # rises evenly in lightness, in grey and for colour-blind readers too
        square=True,
        annot=matrix.round(2) + 0.0 if annotate else False,  # + 0.0: no minus zero
        fmt=".2f",
        annot_kws={"size": 9},
        linewidths=0.5 if max(rows, across) <= 40 else 0,
        cbar_kws={"label": bar, "shrink": 0.8},
        xticklabels=column_names or False,
        yticklabels=row_names or False,
    )
    ax.tick_params(axis="x", rotation=45)
    plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    ax.tick_params(axis="y", rotation=0)
    ax.set_title(title, loc="left")
    return _figure(ax)


def interval_plot(
    names: Sequence[object],
    values: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
    xlabel: str,
    *,
    reference: float | None = 0.0,
    margin: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Values with their intervals, one a row, first on top. A line marks `reference`, a band `reference` ± `margin`."""
    values, lows, highs = (np.asarray(column, dtype=float) for column in (values, lows, highs))
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 1.1 + 0.38 * len(names)))
    if reference is not None:
        ax.axvline(reference, color="0.35", linestyle="--", linewidth=1.2, zorder=1)
        if margin is not None:
            ax.axvspan(reference - margin, reference + margin, color="0.9", zorder=0)
    rows = np.arange(len(names))
    ax.hlines(rows, lows, highs, color=PALETTE[0], linewidth=2.4)
    ax.plot(values, rows, "o", color=PALETTE[0], markersize=6.5, markeredgecolor="white")
    ax.set_yticks(rows, [label(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlabel(xlabel)
    ax.set_title(title, loc="left")
    ax.grid(axis="y", visible=False)
    return _figure(ax)


def scatter_by_label(
    points: ArrayLike,
    labels: Sequence[object],
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    legend: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Points `[n, 2]`, a marker and a colour for each label.

    Without `xlabel` and `ylabel` the axes carry no numbers, as those of t-SNE mean nothing.
    """
    points, names = np.asarray(points, dtype=float), pd.Series([str(text) for text in labels])
    counts = names.value_counts(sort=False)
    if len(counts) > MOST_LABELS:
        common = set(counts.sort_values(ascending=False, kind="stable").index[: MOST_LABELS - 1])
        names = names.where(names.isin(common), "other")
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 4.6))
    for number, name in enumerate(names.unique()):
        chosen = (names == name).to_numpy()
        marker, size = list(MARKERS.items())[number % len(MARKERS)]
        ax.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=size,
            marker=marker,
            # One colour further in each round of markers, so that no two labels have both alike.
            color=PALETTE[(number + number // len(MARKERS)) % len(PALETTE)],
            edgecolors="white",
            linewidths=0.4,
            label=label(name, 24),
        )
    if not (xlabel or ylabel):
        ax.set_xticks([])
        ax.set_yticks([])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title, loc="left")
    if legend:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return _figure(ax)


def distributions(
    groups: Mapping[str, ArrayLike],
    xlabel: str,
    *,
    bins: int = 30,
    limits: tuple[float, float] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Histograms over the same bins, as shares of each group so that groups of any size compare; one dash each."""
    arrays = {name: np.asarray(values, dtype=float) for name, values in groups.items()}
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 3.4))
    everything = np.concatenate(list(arrays.values()))
    low, high = limits or (float(everything.min()), float(everything.max()))
    edges = np.linspace(low, high, bins + 1)
    for number, (name, values) in enumerate(arrays.items()):
        colour = PALETTE[number % len(PALETTE)]
        share = 100 * np.histogram(values, edges)[0] / len(values)
        ax.stairs(share, edges, fill=True, color=colour, alpha=0.12)
        ax.stairs(share, edges, color=colour, linestyle=DASHES[number % len(DASHES)], linewidth=1.8, label=label(name))
    ax.set_xlabel(xlabel)
    ax.set_ylabel("share (%)")
    ax.set_ylim(bottom=0)
    ax.set_title(title, loc="left")
    ax.legend(frameon=False)
    return _figure(ax)
