"""Figures say in words what they show, close behind themselves, and survive a reader's own labels."""

from __future__ import annotations

import base64
import io
import warnings
from itertools import combinations

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from stlib.evidence import figures
from stlib.evidence.estimate import Estimate

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def clean_figures():
    with matplotlib.rc_context():
        figures.use_style()
        yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What `show` sends to the notebook: (data, metadata)."""
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw, metadata: sent.append((data, metadata)))
    return sent


def estimate(value, spread=2.0):
    """Known in its value and, with ten units, in its interval."""
    return Estimate.of(value + spread * np.array([-1.0, 1.0] * 5))


def a_figure():
    return figures.interval_plot({"mean": estimate(0), "cls": estimate(-2)}, "points")


def named(axes):
    return {text.get_text().strip(): text for text in axes.texts}


def overlapping(texts):
    boxes = [text.get_window_extent() for text in texts]
    return [(a, b) for a, b in combinations(boxes, 2) if a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1]


def test_show_sends_a_png_with_its_alternative_text_and_closes_the_figure(shown):
    figure = a_figure()
    figures.show(figure, alt="CLS is two points below mean.")
    [(data, metadata)] = shown
    assert base64.b64decode(data["image/png"]).startswith(PNG)
    assert metadata["image/png"]["alt"] == "CLS is two points below mean."
    assert data["text/plain"] == "Figure: CLS is two points below mean."
    assert not plt.fignum_exists(figure.number)


def test_show_takes_an_axes_as_well(shown):
    figures.show(a_figure().axes[0], alt="The same.")
    assert len(shown) == 1 and plt.get_fignums() == []


def test_a_figure_without_words_is_refused(shown):
    with pytest.raises(ValueError, match="alt"):
        figures.show(a_figure(), alt="  ")
    assert shown == []


def test_the_same_figure_gives_the_same_bytes(shown):
    figures.show(a_figure(), alt="One.")
    figures.show(a_figure(), alt="One.")
    assert shown[0] == shown[1]


def test_alternative_text_reaches_the_html_page(shown):
    figures.show(a_figure(), alt='CLS is "below" <mean>.')
    [(data, metadata)] = shown
    cell = nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("display_data", data, metadata=metadata)])
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    pictures = BeautifulSoup(page, "html.parser").select('img[src^="data:image/png"]')
    assert [picture["alt"] for picture in pictures] == ['CLS is "below" <mean>.']


def test_labels_with_dollars_and_foreign_scripts_are_drawn_without_a_warning(shown):
    labels = ["costs $3 to $4", "costs $x_{", "狗在跑", "a very long sentence " * 10]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.use_style()
        figures.show(figures.heatmap(np.eye(4), labels), alt="A diagonal.")
        figures.show(figures.interval_plot({text: estimate(1) for text in labels}, "points"), alt="Four bars.")
        figures.show(figures.scatter_by_label(np.eye(4)[:, :2], labels), alt="Four points.")
        figures.show(figures.distributions({label: [0, 1] for label in labels}, "cosine"), alt="Four histograms.")
        figures.show(figures.curve([1, 2], {text: [1, 2] for text in labels}, "size", "points"), alt="Four lines.")
        candidates = {text: (1 + number, estimate(number)) for number, text in enumerate(labels)}
        figures.show(figures.quality_against_cost(candidates, "cost", "points"), alt="Four points.")
    assert len(shown) == 6


def test_a_heatmap_keeps_the_scale_it_was_given():
    figure = figures.heatmap([[0.4, 0.5], [0.5, 0.6]], ["a", "b"], limits=(-1, 1))
    assert figure.axes[0].collections[0].get_clim() == (-1, 1)


def test_the_diagonal_never_sets_the_scale():
    matrix = np.full((4, 4), 0.12)
    matrix[0, 1] = 0.38
    np.fill_diagonal(matrix, 1)
    assert figures.heatmap(matrix).axes[0].collections[0].get_clim() == pytest.approx((0.1, 0.4))


def test_the_diagonal_can_be_left_out():
    cells = figures.heatmap(np.eye(3), diagonal=False).axes[0].collections[0].get_array()
    assert np.array_equal(np.ma.getmaskarray(cells).reshape(3, 3), np.eye(3, dtype=bool))


def test_numbers_in_cells_stand_out_from_their_shade():
    matrix = np.linspace(0, 1, 64).reshape(8, 8)
    axes = figures.heatmap(matrix, limits=(0, 1)).axes[0]
    for value, text in zip(matrix.ravel(), axes.texts, strict=True):
        ground, ink = figures.SHADES(value)[:3], matplotlib.colors.to_rgb(text.get_color())
        assert abs(np.dot(ground, (0.3, 0.59, 0.11)) - np.dot(ink, (0.3, 0.59, 0.11))) > 0.3


def test_a_heatmap_in_points_has_whole_numbers():
    texts = figures.heatmap([[27.3, 50.0], [5.8, 31.1]], limits=(0, 50)).axes[0].texts
    assert [text.get_text() for text in texts] == ["27", "50", "6", "31"]


def test_a_heatmap_of_a_few_sentences_has_numbers_and_one_of_many_has_none():
    assert len(figures.heatmap(np.eye(3), list("abc")).axes[0].texts) == 9
    assert len(figures.heatmap(np.eye(30)).axes[0].texts) == 0


def test_sentences_too_long_for_a_column_are_numbered_in_the_rows_and_columns_of_a_square():
    axes = figures.heatmap(np.eye(2), ["The cat is asleep on the sofa.", "A kitten naps."]).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2"]
    rows = [tick.get_text() for tick in axes.get_yticklabels()]
    assert rows == ["1. The cat is asleep on the sofa.", "2. A kitten naps."]


def test_panels_of_one_unit_can_be_given_the_same_decimals():
    small = {"mean": estimate(-0.25), "cls": estimate(1.5)}
    assert list(named(figures.interval_plot(small, "points").axes[0])) == ["−0.25", "1.50"]
    assert list(named(figures.interval_plot(small, "points", decimals=1).axes[0])) == ["−0.2", "1.5"]


def test_intervals_stand_in_the_order_given_with_the_first_on_top_and_their_value_beside():
    axes = a_figure().axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["mean", "cls"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert list(named(axes)) == ["0.0", "−2.0"]


def test_intervals_are_those_of_the_estimates_at_the_level_asked_for():
    one = estimate(5)
    [line] = figures.interval_plot({"mean": one}, "points", level=0.8).axes[0].collections
    [segment] = line.get_segments()
    assert segment[:, 0] == pytest.approx(one.interval(0.8))


def test_no_two_labels_share_both_marker_and_colour_and_the_rare_ones_become_other():
    labels = [f"topic {number}" for number in range(20) for _ in range(20 - number)]
    axes = figures.scatter_by_label(np.random.default_rng(0).normal(size=(len(labels), 2)), labels).axes[0]
    looks = {
        (points.get_facecolor().tobytes(), points.get_paths()[0].vertices.tobytes()) for points in axes.collections
    }
    assert len(looks) == len(named(axes)) == figures.MOST_LABELS
    assert "other" in named(axes) and sum(len(points.get_offsets()) for points in axes.collections) == len(labels)


def test_a_cluster_carries_its_name_in_its_middle():
    points = np.repeat([[0.0, 0.0], [10.0, 5.0]], 20, axis=0)
    texts = named(figures.scatter_by_label(points, ["low"] * 20 + ["high"] * 20).axes[0])
    assert texts["low"].get_position() == pytest.approx((0, 0)) and texts["high"].get_position() == pytest.approx(
        (10, 5)
    )
    assert not figures.scatter_by_label(points, ["low"] * 40, names=False).axes[0].texts


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.scatter_by_label(np.zeros((30, 2)), [f"topic {n % 5}" for n in range(30)]),
        lambda: figures.curve([1, 2], {f"line {n}": [n, 5 + n / 100] for n in range(5)}, "size", "points"),
        lambda: figures.distributions({f"group {n}": [0.5] * 9 + [0.9] for n in range(3)}, "cosine"),
        lambda: figures.quality_against_cost({f"model {n}": (1, estimate(80)) for n in range(4)}, "cost", "points"),
    ],
)
def test_names_that_would_lie_upon_one_another_are_moved_apart(draw):
    figure = draw()
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    assert len(texts) >= 3 and not overlapping(texts)


def test_a_curve_has_a_band_where_its_points_are_estimates_and_none_where_they_are_numbers():
    axes = figures.curve([16, 32], {"PCA": [estimate(50), estimate(60)], "count": [1, 2]}, "size", "points").axes[0]
    [band] = axes.collections
    _, high = estimate(60).interval()
    assert band.get_datalim(axes.transData).y1 == pytest.approx(high)
    assert [list(line.get_ydata()) for line in axes.lines] == [[50, 60], [1, 2]]


def test_names_of_a_curve_that_had_to_move_are_led_to_the_ends_of_their_lines():
    far = figures.curve([1, 2], {"low": [0, 0], "high": [0, 9]}, "size", "points").axes[0]
    near = figures.curve([1, 2], {"low": [0, 5.0], "high": [9, 5.1]}, "size", "points", reference=("all", 5)).axes[0]
    assert len(far.lines) == 2
    curves, leads = near.lines[:2], near.lines[2:]
    assert np.array([line.get_xydata()[0] for line in leads]) == pytest.approx(np.array([(2, 5.0), (2, 5.1), (2, 5)]))
    assert [line.get_marker() for line in leads] == [*(line.get_marker() for line in curves), ""]
    for line, text in zip(leads, near.texts, strict=True):
        assert line.get_ydata()[1] == pytest.approx(text.get_position()[1])


def test_the_sizes_of_a_curve_are_its_ticks_and_doubling_may_be_a_step():
    axes = figures.curve([16, 32, 384], {"PCA": [1, 2, 3]}, "size", "points", log=True, reference=("TF-IDF", 2)).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["16", "32", "384"]
    assert axes.get_xscale() == "log" and "TF-IDF" in named(axes)


def test_the_front_holds_what_no_cheaper_candidate_reaches():
    candidates = {
        "dear": (9.0, 80.0),
        "cheap": (1.0, 70.0),
        "beaten": (2.0, 60.0),
        "same cost": (1.0, 65.0),
        "tie": (3.0, 70.0),
    }
    assert figures.pareto(candidates) == ["cheap", "dear"]


def test_candidates_on_the_front_are_filled_and_the_others_hollow():
    candidates = {"cheap": (1, estimate(70)), "beaten": (2, estimate(60))}
    points = figures.quality_against_cost(candidates, "ms a text", "points").axes[0].lines
    assert [line.get_markerfacecolor() for line in points if line.get_marker() == "o"] == [figures.BLUE, "white"]


def test_colours_of_neighbouring_groups_differ_in_grey_too():
    grey = [float(np.dot(matplotlib.colors.to_rgb(colour), (0.299, 0.587, 0.114))) for colour in figures.PALETTE]
    assert abs(grey[0] - grey[1]) > 0.08  # the pair that most figures use; dashes and markers tell the others apart


def test_histograms_are_shares_of_their_own_group_over_the_same_bins():
    axes = figures.distributions({"few": [0.0, 1.0], "many": np.repeat([0.0, 1.0], 500)}, "cosine", bins=2).axes[0]
    edges = [patch.get_data() for patch in axes.patches]
    assert all(np.allclose(data.values, [50, 50]) and np.allclose(data.edges, [0, 0.5, 1]) for data in edges)


def test_no_name_lies_upon_a_histogram_and_each_stands_where_its_group_leads():
    low, high = np.random.default_rng(0).normal([[0.0], [0.3]], 0.1, (2, 900))
    axes = figures.distributions({"low": low, "high": high}, "cosine", limits=(-0.5, 1)).axes[0]
    tallest = np.max([patch.get_data().values for patch in axes.patches], axis=0)
    edges = axes.patches[0].get_data().edges
    for text in axes.texts:
        box = text.get_window_extent().transformed(axes.transData.inverted())
        assert box.y0 > tallest[(edges[:-1] < box.x1) & (edges[1:] > box.x0)].max(initial=0)
    texts = named(axes)
    assert texts["low"].get_position()[0] < 0.1 < 0.2 < texts["high"].get_position()[0]


def test_a_mark_names_its_value():
    axes = figures.distributions({"related": [0.2, 0.8]}, "cosine", mark=("threshold", 0.5)).axes[0]
    assert "threshold 0.50" in named(axes)


def test_a_picture_is_sharp_small_and_shown_at_half_its_pixels(shown):
    figures.show(figures.heatmap(np.random.default_rng(0).random((30, 30))), alt="Thirty by thirty.")
    [(data, metadata)] = shown
    picture = base64.b64decode(data["image/png"])
    width = plt.imread(io.BytesIO(picture)).shape[1]
    assert abs(width - 2 * metadata["image/png"]["width"]) <= 1 and width > 700
    assert len(picture) < 120_000


def test_the_ground_is_white(shown):
    figures.show(a_figure(), alt="Two bars.")
    picture = plt.imread(io.BytesIO(base64.b64decode(shown[0][0]["image/png"])))
    assert np.allclose(picture[0, 0, :3], 1)
