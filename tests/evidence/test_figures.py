"""Figures say in words what they show, close behind themselves, and survive a reader's own labels."""

from __future__ import annotations

import base64
import io
import warnings

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from stlib.evidence import figures as plots

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def clean_figures():
    with matplotlib.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What `show` sends to the notebook: (data, metadata)."""
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw, metadata: sent.append((data, metadata)))
    return sent


def a_figure():
    return plots.interval_plot(["mean", "cls"], [0.0, -2.0], [-0.5, -3.0], [0.5, -1.0], "points")


def test_show_sends_a_png_with_its_alternative_text_and_closes_the_figure(shown):
    figure = a_figure()
    plots.show(figure, alt="CLS is two points below mean.")
    [(data, metadata)] = shown
    assert base64.b64decode(data["image/png"]).startswith(PNG)
    assert metadata == {"image/png": {"alt": "CLS is two points below mean."}}
    assert data["text/plain"] == "Figure: CLS is two points below mean."
    assert not plt.fignum_exists(figure.number)


def test_show_takes_an_axes_as_well(shown):
    plots.show(a_figure().axes[0], alt="The same.")
    assert len(shown) == 1 and plt.get_fignums() == []


def test_a_figure_without_words_is_refused(shown):
    with pytest.raises(ValueError, match="alt"):
        plots.show(a_figure(), alt="  ")
    assert shown == []


def test_the_same_figure_gives_the_same_bytes(shown):
    plots.show(a_figure(), alt="One.")
    plots.show(a_figure(), alt="One.")
    assert shown[0] == shown[1]


def test_alternative_text_reaches_the_html_page(shown):
    plots.show(a_figure(), alt='CLS is "below" <mean>.')
    [(data, metadata)] = shown
    cell = nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("display_data", data, metadata=metadata)])
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    pictures = BeautifulSoup(page, "html.parser").select('img[src^="data:image/png"]')
    assert [picture["alt"] for picture in pictures] == ['CLS is "below" <mean>.']


def test_labels_with_dollars_and_foreign_scripts_are_drawn_without_a_warning(shown):
    labels = ["costs $3 to $4", "costs $x_{", "狗在跑", "a very long sentence " * 10]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.use_style()
        plots.show(plots.heatmap(np.eye(4), labels), alt="A diagonal.")
        plots.show(plots.interval_plot(labels, [1] * 4, [0] * 4, [2] * 4, "points"), alt="Four bars.")
        plots.show(plots.scatter_by_label(np.eye(4)[:, :2], labels), alt="Four points.")
        plots.show(plots.distributions({label: [0, 1] for label in labels}, "cosine"), alt="Four histograms.")
    assert len(shown) == 4


def test_a_heatmap_keeps_the_scale_it_was_given():
    figure = plots.heatmap([[0.4, 0.5], [0.5, 0.6]], ["a", "b"], vmin=-1, vmax=1)
    assert figure.axes[0].collections[0].get_clim() == (-1, 1)


def test_a_heatmap_of_a_few_sentences_has_numbers_and_one_of_many_has_none():
    assert len(plots.heatmap(np.eye(3), list("abc")).axes[0].texts) == 9
    assert len(plots.heatmap(np.eye(30)).axes[0].texts) == 0


def test_intervals_stand_in_the_order_given_with_the_first_on_top():
    axes = a_figure().axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["mean", "cls"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_no_two_labels_share_both_marker_and_colour_and_the_rare_ones_become_other():
    labels = [f"topic {number}" for number in range(20) for _ in range(20 - number)]
    axes = plots.scatter_by_label(np.random.default_rng(0).normal(size=(len(labels), 2)), labels).axes[0]
    looks = {
        (points.get_facecolor().tobytes(), points.get_paths()[0].vertices.tobytes()) for points in axes.collections
    }
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(looks) == len(names) == plots.MOST_LABELS
    assert names[-1] == "other" and sum(len(points.get_offsets()) for points in axes.collections) == len(labels)


def test_colours_of_neighbouring_groups_differ_in_grey_too():
    grey = [float(np.dot(matplotlib.colors.to_rgb(colour), (0.299, 0.587, 0.114))) for colour in plots.PALETTE]
    assert abs(grey[0] - grey[1]) > 0.08  # the pair that most figures use; dashes and markers tell the others apart


def test_histograms_are_shares_of_their_own_group_over_the_same_bins():
    axes = plots.distributions({"few": [0.0, 1.0], "many": np.repeat([0.0, 1.0], 500)}, "cosine", bins=2).axes[0]
    edges = [patch.get_data() for patch in axes.patches]
    assert all(np.allclose(data.values, [50, 50]) and np.allclose(data.edges, [0, 0.5, 1]) for data in edges)


def test_the_ground_is_white(shown):
    plots.show(a_figure(), alt="Two bars.")
    picture = plt.imread(io.BytesIO(base64.b64decode(shown[0][0]["image/png"])))
    assert np.allclose(picture[0, 0, :3], 1)
