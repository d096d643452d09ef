"""Sliders and tips lie upon a static picture, which stands alone where nobody can move a slider."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import matplotlib

matplotlib.use("agg")

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest

from stlib.evidence import drawings, widgets

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def shown(monkeypatch):
    """What goes to the notebook: (data, metadata). By itself nobody sits before it."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw, metadata: sent.append((data, metadata)))
    yield sent
    plt.close("all")


@pytest.fixture
def reader(shown, monkeypatch):
    """Somebody sits before it."""
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/05.ipynb")


@pytest.fixture
def calls():
    return []


@pytest.fixture
def draw(calls):
    def draw(threshold=0.5, seed=0):
        calls.append((threshold, seed))
        figure, axes = plt.subplots()
        axes.axvline(threshold)
        return figure

    return draw


def says(threshold, seed):
    return f"A line at {threshold:.1f}, seed {seed}."


def box(data):
    return ipywidgets.widgets.widget._instances[data[widgets.WIDGET]["model_id"]]


def test_where_nobody_answers_the_default_is_a_plain_figure(shown, draw, calls):
    widgets.explore(draw, says, threshold=np.linspace(0, 1, 11), seed=[0, 1])
    [(data, metadata)] = shown
    assert set(data) == {"image/png", "text/plain"} and calls == [(pytest.approx(0.5), 0)]
    assert data["text/plain"] == "Figure: A line at 0.5, seed 0."
    assert metadata["image/png"]["alt"] == "A line at 0.5, seed 0."


def test_a_reader_gets_sliders_with_the_same_figure_behind_them(shown, reader, draw):
    widgets.explore(draw, says, threshold=np.linspace(0, 1, 11), seed=[0, 1])
    [(data, _)] = shown
    *sliders, picture = box(data).children
    assert [(slider.description, slider.value) for slider in sliders] == [
        ("threshold", pytest.approx(0.5)),
        ("seed", 0),
    ]
    assert data["image/png"] in picture.value and 'alt="A line at 0.5, seed 0."' in picture.value
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_moving_a_slider_draws_again_and_going_back_does_not(shown, reader, draw, calls):
    widgets.explore(draw, says, threshold=[0.2, 0.5], seed=[0, 1])
    threshold, seed, picture = box(shown[0][0]).children
    first = picture.value
    threshold.value = 0.2
    assert "A line at 0.2, seed 0." in picture.value and calls == [(0.5, 0), (0.2, 0)]
    threshold.value = 0.5
    assert picture.value == first and len(calls) == 2
    seed.value = 1
    assert "seed 1" in picture.value and calls[2:] == [(0.5, 1)]


def test_a_drawing_can_be_explored_and_knows_its_words(shown, reader):
    widgets.explore(lambda classes=3: drawings.two_heads(classes=classes), classes=[3, 5])
    [(data, _)] = shown
    slider, picture = box(data).children
    assert "3 classes" in data["text/plain"] and "<svg" in picture.value
    slider.value = 5
    assert "5 classes" in picture.value


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"perplexity": [5, 30]}, "perplexity: expected an argument of draw"),
        ({"threshold": [0.1, 0.2]}, "threshold: its default 0.5 is not among"),
    ],
)
def test_choices_that_draw_cannot_take_are_refused_before_it_draws(shown, draw, calls, choices, message):
    with pytest.raises(ValueError, match=message):
        widgets.explore(draw, "A line.", **choices)
    assert calls == [] and shown == []


def test_each_point_says_its_text_in_any_script():
    texts = ["<b>bold</b>", "狗在跑", "plain", 'quoted "words"']
    picture = widgets.hover_scatter(np.eye(4)[:, :2], ["a", "a", "b", "b"], texts, "Four points.")
    parts = ElementTree.fromstring(picture.svg())
    tips = [part.find(f"{SVG}title").text for part in parts if part.find(f"{SVG}title") is not None]
    assert tips == ["<b>bold</b> (a)", "狗在跑 (a)", "plain (b)", 'quoted "words" (b)']


def test_points_lie_as_given_up_is_up_and_none_leaves_the_frame():
    points = np.random.default_rng(0).normal(size=(50, 2)) * [1, 40]
    picture = widgets.hover_scatter(points, ["a"] * 50, ["t"] * 50, "Fifty points.")
    dots = np.array([(s.x, s.y) for s in picture.shapes if isinstance(s, drawings.canvas.Circle)])
    assert np.corrcoef(dots[:, 0], points[:, 0])[0, 1] > 0.9999
    assert np.corrcoef(dots[:, 1], points[:, 1])[0, 1] < -0.9999  # y runs downwards in SVG
    assert dots.min() > 0 and dots[:, 0].max() < drawings.canvas.WIDTH and dots[:, 1].max() < picture.height


@pytest.mark.parametrize("count", [1, 3, 12, 20])
def test_every_label_up_to_a_dozen_has_a_look_and_a_name(count):
    labels = [f"topic {number % count}" for number in range(60)]
    points = np.random.default_rng(0).normal(size=(60, 2))
    picture = widgets.hover_scatter(points, labels, labels, "Sixty points.", title="t-SNE")
    names = {shape.text for shape in picture.shapes if getattr(shape, "halo", False)}
    assert names == (set(labels) if count <= 12 else names | {"other"}) and len(names) == min(count, 12)
    assert picture.svg().count("</title></") == 60


def test_points_that_all_lie_in_one_place_are_drawn():
    assert widgets.hover_scatter(np.zeros((3, 2)), list("abc"), list("abc"), "One place.").png()


def test_tips_are_html_for_a_reader_and_svg_and_png_for_all(shown, monkeypatch):
    picture = widgets.hover_scatter(np.eye(2), ["a", "b"], ["one", "two"], "Two points.")
    data, _ = picture._repr_mimebundle_()
    assert set(data) == {"image/svg+xml", "image/png", "text/plain"}
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/06.ipynb")
    data, metadata = picture._repr_mimebundle_()
    assert "one (a)" in data["text/html"] and metadata["image/png"]["alt"] == "Two points."
