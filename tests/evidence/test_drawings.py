"""The drawn pictures: readable by all, on any page, and true to the values that they were given."""

from __future__ import annotations

import base64
import io
from itertools import combinations
from xml.etree import ElementTree

import matplotlib
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from PIL import Image

from stlib.evidence import drawings
from stlib.evidence.drawings import canvas
from stlib.evidence.drawings.canvas import Circle, Path, Rectangle, Text

matplotlib.use("agg")
SVG = "{http://www.w3.org/2000/svg}"
TOKENS = [["[CLS]", "a", "dog", "[SEP]", "[PAD]", "[PAD]"], ["[CLS]", "the", "cat", "sleeps", ".", "[SEP]"]]
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
LENGTHS = [5, 12, 9, 30, 7, 9, 22, 5, 14, 9, 7, 12]
SENTENCES = [f"Sentence {number}, which is long enough to be cut off somewhere before its end." for number in range(9)]


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def a_pipeline():
    states = values(2, 6, 384)
    pooled = (states * MASK[..., None]).sum(1) / MASK.sum(1, keepdims=True)
    return drawings.pipeline(["A dog.", "The cat sleeps."], TOKENS, MASK, states, pooled, unit(pooled))


def a_search(right=()):
    cosine, bm25 = np.linspace(0.6, -0.1, 9), np.linspace(0, 8, 9)
    return drawings.search_pipeline("Which sentence?", SENTENCES, cosine, bm25, cosine + bm25 / 20, right)


def a_circle():
    angles, lengths = np.linspace(0.2, 5.9, 8), np.linspace(0.6, 2.0, 8)
    return drawings.unit_circle(np.stack([np.cos(angles), np.sin(angles)], 1) * lengths[:, None], SENTENCES)


PICTURES = {
    "pipeline": a_pipeline,
    "attention": lambda: drawings.attention(["The", "river", "bank", "was", "muddy", "."], cosine=0.5),
    "mask_grid": lambda: drawings.mask_grid([TOKENS[0][:4], TOKENS[1]], [0.8, 1.0]),
    "slices": drawings.slices,
    "unit_circle": a_circle,
    "token_by_token": lambda: drawings.token_by_token(TOKENS[0][:4], TOKENS[1], values(4, 6) / 4),
    "two_spaces": lambda: drawings.two_spaces(
        unit(values(9, 384)), [[n % 3, n // 3] for n in range(9)], SENTENCES, [0, 4, 8]
    ),
    "padding_and_buckets": lambda: drawings.padding_and_buckets(LENGTHS),
    "two_heads": drawings.two_heads,
    "search_pipeline": a_search,
}


@pytest.fixture(scope="module", params=PICTURES)
def picture(request):
    return PICTURES[request.param]()


@pytest.fixture(scope="module")
def bundle(picture):
    """What the notebook gets: (data, metadata)."""
    return picture._repr_mimebundle_()


def pixels(bundle):
    return Image.open(io.BytesIO(base64.b64decode(bundle[0]["image/png"])))


def texts(picture):
    return [shape for shape in picture.shapes if isinstance(shape, Text)]


def words(picture):
    return " ".join(text.text for text in texts(picture))


def extent(text):
    """Left, top, right and bottom of a text, turned or not."""
    width = canvas.width_of(text.text, text.size, text.weight, text.family)
    left = text.x - {"start": 0, "middle": width / 2, "end": width}[text.anchor]
    corners = np.array([(x - text.x, y) for x in (left, left + width) for y in (-text.size / 2, text.size / 2)])
    angle = np.deg2rad(text.turn)
    turned = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned += text.x, text.y
    return (*turned.min(0), *turned.max(0))


def test_there_is_a_picture_for_each_lesson_and_each_is_tried_here():
    assert set(PICTURES) | {"Drawing"} == set(drawings.__all__)


def test_a_picture_says_in_words_what_it_shows(picture):
    root = ElementTree.fromstring(picture.svg())
    assert root.get("role") == "img" and root.get("aria-label") == picture.alt == root.find(f"{SVG}desc").text
    assert root.find(f"{SVG}title").text and len(picture.alt.split()) > 15


def test_its_looks_survive_a_page_that_takes_style_and_ids_away(picture):
    """As GitHub does: presentation attributes only, and nothing that refers to anything."""
    plain = {"svg", "title", "desc", "rect", "circle", "path", "text"}
    for element in ElementTree.fromstring(picture.svg()).iter():
        assert element.tag.removeprefix(SVG) in plain
        assert not {"style", "class", "id", "href"} & set(element.attrib)
        assert not any("url(" in value for value in element.attrib.values())


def test_the_ground_is_white_whatever_the_theme(picture, bundle):
    ground = next(ElementTree.fromstring(picture.svg()).iter(f"{SVG}rect"))
    assert (ground.get("fill"), ground.get("width")) == ("#FFFFFF", str(canvas.WIDTH))
    assert pixels(bundle).convert("RGB").getpixel((1, 1)) == (255, 255, 255)


def test_no_text_is_small_and_none_leaves_the_picture(picture):
    for text in texts(picture):
        left, top, right, bottom = extent(text)
        assert text.size >= 12, text.text
        assert left >= 0 and top >= 0 and right <= canvas.WIDTH and bottom <= picture.height, text.text


def test_no_two_texts_overlap(picture):
    level = [(text, extent(text)) for text in texts(picture) if not text.turn]
    for (one, a), (other, b) in combinations(level, 2):
        apart = a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 1 or b[3] <= a[1] + 1
        assert apart, (one.text, other.text)


def test_text_in_a_box_stays_in_it(picture):
    boxes = [shape for shape in picture.shapes if isinstance(shape, Rectangle) and shape.radius == canvas.CORNER]
    for text in texts(picture):
        for box in boxes:
            if box.x < text.x < box.x + box.width and box.y < text.y < box.y + box.height:
                left, _, right, _ = extent(text)
                assert left > box.x and right < box.x + box.width, text.text


def test_the_same_values_give_the_same_picture(picture, request):
    again = PICTURES[request.node.callspec.params["picture"]]()
    assert (again.svg(), again.alt) == (picture.svg(), picture.alt)


def test_the_same_picture_gives_the_same_png():
    assert drawings.two_heads().png() == drawings.two_heads().png()


def test_a_notebook_gets_svg_with_a_small_sharp_png_behind_and_the_words(picture, bundle):
    data, metadata = bundle
    assert set(data) == {"image/svg+xml", "image/png", "text/plain"}
    assert data["text/plain"] == f"Figure: {picture.alt}"
    assert metadata["image/svg+xml"]["alt"] == metadata["image/png"]["alt"] == picture.alt
    assert pixels(bundle).size == (2 * canvas.WIDTH, 2 * picture.height)
    assert len(data["image/png"]) < 80_000 and len(data["image/svg+xml"]) < 60_000


def test_a_notebooks_html_page_shows_it(bundle):
    output = nbformat.v4.new_output("execute_result", bundle[0], metadata=bundle[1], execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert BeautifulSoup(page, "html.parser").select('img[src^="data:image/svg+xml;base64,"]')


def test_a_picture_without_words_is_refused():
    with pytest.raises(ValueError, match="alt"):
        drawings.Drawing("Empty", 20).svg()


def test_a_readers_text_is_text_in_any_script():
    sentences = ['<script>alert("a & b")</script>', "狗在跑 costs $x_{"]
    states = values(2, 6, 8)
    picture = drawings.pipeline(sentences, TOKENS, MASK, states, states.mean(1), unit(states.mean(1)))
    root = ElementTree.fromstring(picture.svg())
    assert {text.text for text in root.iter(f"{SVG}text")} >= set(sentences)
    assert picture.png()


def test_colours_that_tell_apart_differ_in_grey():
    dark, light, between = (
        float(np.dot(matplotlib.colors.to_rgb(colour), (0.299, 0.587, 0.114)))
        for colour in (canvas.BLUE, canvas.ORANGE, canvas.RED)
    )
    assert light - between > 0.12 and between - dark > 0.12


def test_shades_get_darker_and_the_text_on_them_stays_legible():
    greys = [
        np.dot(matplotlib.colors.to_rgb(canvas.shade(share)), (0.299, 0.587, 0.114)) for share in np.linspace(0, 1)
    ]
    assert np.all(np.diff(greys) < 0)
    for share, ground in zip(np.linspace(0, 1), greys, strict=True):
        ink = np.dot(matplotlib.colors.to_rgb(canvas.on(share)), (0.299, 0.587, 0.114))
        assert abs(ink - ground) > 0.3


# --- True to what they were given -------------------------------------------------------------------------------------


def test_the_pipeline_names_every_shape_and_the_similarity():
    picture = a_pipeline()
    assert {"[2]", "[2, 6]", "[2, 6, 384]", "[2, 384]", "[2, 2]"} <= {text.text for text in texts(picture)}
    assert words(picture).count("length 1.00") == 2


def test_causal_attention_leaves_the_upper_triangle_empty():
    picture = drawings.attention(list("abcde"))
    filled = [shape.fill for shape in picture.shapes if isinstance(shape, Rectangle)]
    assert filled.count(canvas.BLUE) == 25 and filled.count(canvas.ORANGE) == 15
    assert "cosine" not in words(picture)


def test_the_mask_counts_padding():
    picture = drawings.mask_grid([["a"] * 2, ["a"] * 5, ["a"] * 5])
    assert "3 of 15 places are padding" in words(picture) and "2 + 3 padding" in words(picture)
    assert "13 of 20 places are padding" in words(drawings.mask_grid([["a"] * 2, ["a"] * 5], length=10))
    with pytest.raises(ValueError, match="length: expected at least 5"):
        drawings.mask_grid([["a"] * 5], length=4)


@pytest.mark.parametrize("length", [None, 19])
def test_the_mask_writes_each_token_out_however_much_padding_there_is(length):
    batch = [
        ["[CLS]", "a", "ref", "##und", "?", "[SEP]"],
        ["[CLS]", "can", "you", "send", "the", "bill", "to", "my", "office", "?", "[SEP]"],
    ]
    written = [shape.text for shape in texts(drawings.mask_grid(batch, length=length))]
    assert {token for row in batch for token in row} <= set(written)


def test_of_any_cloud_pca_keeps_the_most():
    shares = [
        int(text.text.split()[0]) for text in texts(drawings.slices(values(30, 2, seed=5))) if "spread" in text.text
    ]
    assert len(shares) == 3 and max(shares) == shares[1] >= 50


@pytest.mark.parametrize("factor", [0.1, 1.0, 40.0])
def test_vectors_of_any_length_land_on_the_circle_and_keep_their_direction(factor):
    vectors = values(6, 2) * factor
    circles = [shape for shape in drawings.unit_circle(vectors, "abcdef").shapes if isinstance(shape, Circle)]
    [ring] = [shape for shape in circles if shape.fill == "none"]
    landed = np.array([(s.x - ring.x, ring.y - s.y) for s in circles if s.fill == canvas.ORANGE][:6])
    assert np.allclose(landed / ring.radius, unit(vectors), atol=1e-6) and ring.radius > 80


def test_the_longest_vector_may_win_by_dot_product_and_lose_by_cosine():
    picture = drawings.unit_circle([[1, 0], [2.8, 2.8], [0.5, 0.05]], "abc")
    assert "number 2 by dot product, number 3 by cosine" in picture.alt


def test_the_best_token_of_each_row_is_framed():
    matrix = np.eye(3)[[1, 2, 0]]
    picture = drawings.token_by_token("abc", "xyz", matrix)
    frames = [shape for shape in picture.shapes if isinstance(shape, Rectangle) and shape.stroke == canvas.INK][:3]
    ones = [text for text in texts(picture) if text.text == "1.00"]
    assert len(ones) == 3
    for frame, number in zip(frames, ones, strict=True):
        assert frame.x < number.x < frame.x + frame.width and frame.y < number.y < frame.y + frame.height


def test_tokens_that_do_not_fit_the_matrix_are_refused():
    with pytest.raises(ValueError, match=r"matrix: expected \[3, 2\]"):
        drawings.token_by_token("abc", "xy", np.eye(3))


def test_neighbours_that_the_plane_tears_apart_are_counted_among_all_sentences():
    angles, names, shown = np.linspace(0, np.pi / 2, 12), "abcdefghijkl", [0, 4, 8]
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert "3 of 3" in drawings.two_spaces(vectors, vectors, names, shown).alt
    torn = drawings.two_spaces(vectors, vectors[[0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]], names, shown)
    dashed = [shape for shape in torn.shapes if isinstance(shape, Path) and shape.dash]
    ranks = [int(text.text) for text in texts(torn) if text.x == drawings.spaces.THERE and text.text.isdigit()]
    kept = int(torn.alt.split(": ")[-1].split()[0])
    assert kept == sum(rank <= 5 for rank in ranks) < 3 == len(ranks)
    assert len(dashed) == 3 - kept + 1  # one more in the legend


def test_the_share_of_padding_is_that_of_the_lengths():
    picture = drawings.padding_and_buckets([2, 4, 4, 4], batch_size=2)
    assert "16 places computed, 12 % of them padding" in words(picture)
    assert "14 places computed, 0 % of them padding" in words(picture)


def test_the_heads_carry_the_sizes_and_the_weight():
    picture = drawings.two_heads(width=768, classes=3, weight=0.25)
    assert {"cosines", "Linear(768, 3)", "[B, 768]", "[B, 3]", "× 0.25"} <= {text.text for text in texts(picture)}


def test_search_shows_the_best_of_the_merged_order_and_which_is_right():
    picture = a_search(right={2})
    shown = [int(text.text.split()[1].rstrip(",")) for text in texts(picture) if text.text.startswith("Sentence ")]
    bold = [text.text for text in texts(picture) if text.text.startswith("Sentence ") and text.weight == "bold"]
    assert shown == [0, 1, 2, 3, 4] and len(bold) == 1 and bold[0].split()[1].rstrip(",") == "2"
    assert "in bold, is on place 3." in picture.alt and "bold" not in a_search().alt
