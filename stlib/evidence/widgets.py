"""Pictures that answer: sliders, and points that say what they are.

Each lies upon a static picture, which is all there is where nobody can answer: with papermill and nbval, and on GitHub.
"""

from __future__ import annotations

import html
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stlib.evidence.drawings.canvas import NORMAL, RULE, WHITE, WIDTH, Drawing, width_of
from stlib.evidence.figures import apart, bundle, grouped, looks

WIDGET = "application/vnd.jupyter.widget-view+json"
# Corners of the markers on a circle of radius 1, for each of `figures.MARKERS` but the first, which is the circle.
_CORNERS: dict[str, Sequence[tuple[float, float]]] = {
    "s": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "^": [(0, -1.1), (1, 0.8), (-1, 0.8)],
    "D": [(0, -1.1), (1.1, 0), (0, 1.1), (-1.1, 0)],
    "v": [(0, 1.1), (1, -0.8), (-1, -0.8)],
    "P": [(x / 3, y / 3) for x, y in ((-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1), (1, 3), (-1, 3), (-1, 1),
                                      (-3, 1), (-3, -1), (-1, -1))],
    "X": [(0, -0.5), (0.6, -1.1), (1.1, -0.6), (0.5, 0), (1.1, 0.6), (0.6, 1.1), (0, 0.5), (-0.6, 1.1), (-1.1, 0.6),
          (-0.5, 0), (-1.1, -0.6), (-0.6, -1.1)],
    "*": [((1.25 if corner % 2 == 0 else 0.5) * np.sin(corner * np.pi / 5),
           -(1.25 if corner % 2 == 0 else 0.5) * np.cos(corner * np.pi / 5)) for corner in range(10)],
}  # fmt: skip


def live() -> bool:
    """Whether a person sits before this notebook: Jupyter's server names the session of the kernels that it starts."""
    return "JPY_SESSION_NAME" in os.environ


def explore(draw: Callable[..., Any], alt: str | Callable[..., str] = "", **choices: Iterable[Any]) -> None:
    """Shows what `draw` draws, with a slider for each of its arguments that has `choices`.

    Args:
        draw: makes a figure or a `Drawing`; its own defaults are what is shown first, and all that is shown where
            nobody is there to move a slider.
        alt: what is to be seen, or a function of the same arguments that says it; a `Drawing` knows by itself.
        choices: for each argument the values that its slider offers, the default among them.

    Raises:
        ValueError: an argument that `draw` does not have or has without a default, or a default that is no choice.
    """
    offered = {name: list(values) for name, values in choices.items()}
    chosen = {name: _start(draw, name, values) for name, values in offered.items()}
    data, metadata = _drawn(draw, alt, chosen)
    if live():
        data |= _sliders(lambda values: _image(*_drawn(draw, alt, values)), offered, chosen, _image(data, metadata))
    from IPython.display import display

    display(data, raw=True, metadata=metadata)  # type: ignore[no-untyped-call]


def _start(draw: Callable[..., Any], name: str, values: Sequence[Any]) -> Any:
    parameter = inspect.signature(draw).parameters.get(name)
    if parameter is None or parameter.default is parameter.empty:
        raise ValueError(f"{name}: expected an argument of draw that has a default, got choices for none")
    for value in values:
        if value == parameter.default or (isinstance(value, float) and np.isclose(value, parameter.default)):
            return value
    raise ValueError(f"{name}: its default {parameter.default!r} is not among the choices {values}")


def _drawn(draw: Callable[..., Any], alt: str | Callable[..., str], chosen: dict[str, Any]) -> Any:
    """The picture for the values chosen, as a notebook takes it: data and metadata."""
    picture = draw(**chosen)
    if isinstance(picture, Drawing):
        return picture._repr_mimebundle_()
    return bundle(picture, alt if isinstance(alt, str) else alt(**chosen))


def _image(data: dict[str, str], metadata: dict[str, Any]) -> str:
    """As HTML: a drawing as it is, so that its points answer; a figure as an image with its words."""
    if "image/svg+xml" in data:
        return data["image/svg+xml"]
    alt, width = html.escape(metadata["image/png"]["alt"]), metadata["image/png"]["width"]
    return f'<img alt="{alt}" width="{width}" src="data:image/png;base64,{data["image/png"]}">'


def _sliders(redraw: Callable[[dict[str, Any]], str], offered: Any, chosen: Any, first: str) -> dict[str, Any]:
    """The widget's view. A picture drawn once is kept."""
    from ipywidgets import HTML, SelectionSlider, VBox  # type: ignore[import-untyped]

    picture = HTML(first)
    kept = {tuple(chosen.values()): first}
    sliders = {
        name: SelectionSlider(
            options=[(f"{value:g}" if isinstance(value, int | float) else str(value), value) for value in values],
            value=chosen[name],
            description=name,
            continuous_update=False,
        )
        for name, values in offered.items()
    }

    def moved(_: Any) -> None:
        values = {name: slider.value for name, slider in sliders.items()}
        key = tuple(values.values())
        if key not in kept:
            kept[key] = redraw(values)
        picture.value = kept[key]

    for slider in sliders.values():
        slider.observe(moved, names="value")
    return {WIDGET: VBox([*sliders.values(), picture])._repr_mimebundle_()[WIDGET]}


class Hover(Drawing):
    """A drawing whose parts carry tips. JupyterLab shows these in HTML only, so it gets that as well, while live."""

    def _repr_mimebundle_(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> Any:
        data, metadata = super()._repr_mimebundle_()
        return (data | {"text/html": self.svg()} if live() else data), metadata


def hover_scatter(
    points: ArrayLike, labels: Sequence[object], texts: Sequence[str], alt: str, *, title: str = "", height: float = 460
) -> Hover:
    """Points of the plane by label; the pointer upon one shows its text.

    Args:
        points: [n, 2]; their scale means nothing, as with t-SNE, so there are no axes.
        labels: [n], a marker, a colour and a name amid its points for each.
        texts: [n], the tips.
        alt: what is to be seen.
        title: above the picture.
        height: in pixels, of the whole.
    """
    points, names = np.asarray(points, dtype=float), grouped(labels)
    drawing = Hover(title or "Points", height, alt)
    top = 30 if title else 6
    drawing.text(10, 14, title, anchor="start", weight="bold")
    drawing.cell(6, top, WIDTH - 12, height - top - 6, stroke=RULE)
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    share = (points - low) / np.where(span == 0, 1, span)
    room = np.array([WIDTH - 48, height - top - 42])
    places = np.array([24, top + 18]) + np.stack([share[:, 0], 1 - share[:, 1]], axis=1) * room
    middles: dict[str, tuple[float, float]] = {}
    for name, (chosen, marker, colour) in looks(names).items():
        for at in np.flatnonzero(chosen).tolist():
            _marker(drawing, places[at], marker, colour, f"{texts[at]} ({labels[at]})")
        middles[name] = tuple(np.median(places[chosen], axis=0).tolist())
    wide = np.array([width_of(name, NORMAL, "bold") for name in middles])
    centres = np.array(list(middles.values()))
    spans = np.stack([centres[:, 0] - wide / 2, centres[:, 0] + wide / 2], axis=1)
    for name, x, y in zip(middles, centres[:, 0], apart(spans, centres[:, 1], np.full(len(wide), NORMAL)), strict=True):
        drawing.text(float(x), float(y), name, weight="bold", halo=True)
    return drawing


def _marker(drawing: Drawing, place: np.ndarray, marker: str, colour: str, tip: str) -> None:
    x, y = place.tolist()
    if marker not in _CORNERS:
        drawing.dot(x, y, 4.5, colour, line=0.6, tip=tip)
        return
    corners = [(x + 4.5 * across, y + 4.5 * down) for across, down in _CORNERS[marker]]
    drawing.line(*corners, fill=colour, stroke=WHITE, line=0.6, closed=True, tip=tip)
