"""The pages in a real browser: nothing is asked of the network, nothing logged, nothing runs over a phone's edge."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import series
from browsers import launched, opened
from checkpoints import build, wrap
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from stlib.evidence.claims import Claim, Verdict, definition
from stlib.evidence.corpora import load_pairs, load_passages
from stlib.evidence.records import Record
from stlib.review import comparison_page, page
from stlib.review.compare import Comparison, compare

PAGES = ("index.html", "02_pool_the_tokens.html", "05_heatmaps.html", "compared/index.html")
CLAIMS = {
    "02_pool_the_tokens": ("mean-beats-cls", "mean-generalises", "forgotten-mask-costs"),
    "05_heatmaps": ("similarity-finds-topics", "traps-fool-cosine", "threshold-errs"),
}
VERDICTS: tuple[Verdict, ...] = ("holds", "does not hold", "not decided")
WIDE = "<table><tr>" + "<td>a_long_word_in_a_cell</td>" * 30 + "</tr></table>"
HOSTILE = (
    '<script>fetch("https://example.org")</script><img src="https://example.org/x.png" alt="x">'
    '<link rel="stylesheet" href="https://example.org/x.css"><style>@import "https://example.org/y.css"</style>'
    '<b onmouseover="alert(1)" style="background: url(https://example.org/z.png)">b</b><svg onload="alert(1)"></svg>'
)


def result(name: str, error: str = "") -> page.Result:
    """A notebook with figures, a wide table, a long line, HTML that would fetch, and a claim of each verdict."""
    figure = new_output(
        "display_data",
        {"image/png": series.picture(), "text/plain": "Figure: x"},
        metadata={"image/png": {"alt": "A line."}},
    )
    drawn = new_output("display_data", {"image/svg+xml": series.DRAWN}, metadata={"image/svg+xml": {"alt": "A box."}})
    table = new_output("display_data", {"text/html": WIDE + HOSTILE})
    claims = [
        Claim(id, verdict, -0.2, (-0.9, 0.4), 0.3, 80, "query", 2.5, "the worst of two")
        for id, verdict in zip(CLAIMS[name], VERDICTS, strict=True)
    ]
    decided = [  # as a claim leaves it in a notebook
        new_code_cell(
            f'decide("{claim.id}", estimate)',
            outputs=[new_output("display_data", {"text/plain": repr(claim), "text/markdown": f"`{claim.id}`: so"})],
        )
        for claim in claims
    ]
    cells = [
        new_markdown_cell(f"# Do {name}: which\n\nText with `code` and $x^2$.\n\n{HOSTILE}"),
        new_code_cell("word = " + "'long'" * 60, outputs=[figure, drawn, table]),
        *decided,
    ]
    data = {"name": "a_rather_long_file_name_without_any_space_in_it.csv", "sha256": "a" * 64, "rows": 90, "used": 80}
    record = Record(
        lesson=name,
        model={"name": "a/b", "revision": "c" * 40, "sha256": "b" * 64},
        data={kind: {**data, "stand_in": False} for kind in ("passages", "sentences")},
        seed=0,
        claims=claims,
        versions={"python": "3.11"},
        machine={"processor": "x", "cores": 2, "system": "Linux"},
        date="2026-11-21T12:00:00Z",
    )
    return page.Result(name, 12.3, error, new_notebook(cells=cells), record)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pages")
    results = [result("02_pool_the_tokens"), result("05_heatmaps", error="ValueError: " + "no_space_in_this_text" * 9)]
    model = "some-organisation/a-model-with-a-rather-long-name"
    parameters = {"model": model, "pairs": "none", "sentences": "none", "passages": "x.csv", "seed": 0}
    page.write(page.Review(parameters, datetime(2026, 11, 21, tzinfo=UTC), results), place)
    comparison_page.write(compared(tmp_path_factory.mktemp("models")), place / "compared")
    return place


def compared(models: Path) -> Comparison:
    """Small models with long names, of which one cannot be loaded, on data with a long name that one has seen."""
    for number, name in enumerate(("a_model_with_a_rather_long_name", "another_with_a_name_as_long", "broken")):
        wrap(build("bert", models / f"plain{number}", seed=number), models / name)
    (models / "broken" / "model.safetensors").write_bytes(b"no weights")
    (models / "another_with_a_name_as_long" / "README.md").write_text("---\ndatasets: [rather_long]\n---\n")
    rows = [f"query {number} {'long' * (number % 9)}, text {number * 7 % 90} not {number}" for number in range(90)]
    data = models / "a_rather_long_file_name_without_any_space_in_it.csv"
    data.write_text("query,text\n" + "\n".join(row.replace(", ", ",") for row in rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = ["a_model_with_a_rather_long_name", "another_with_a_name_as_long:pooling=cls+max", "broken"]
        return compare([models / name for name in names], passages=load_passages(data), pairs=load_pairs(), rounds=1)


def test_a_verdict_is_said_once_where_it_is_checked(folder: Path) -> None:
    text, claim = (folder / "02_pool_the_tokens.html").read_text(), definition("mean-beats-cls")
    assert "<code>mean-beats-cls</code>" not in text and text.count(claim.sentence) == 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from launched()


@pytest.mark.parametrize("name", PAGES)
def test_page_asks_the_network_for_nothing_and_logs_nothing(browser: Any, folder: Path, name: str) -> None:
    tab, noise = opened(browser, folder / name)
    assert noise == []
    assert tab.evaluate("document.images.length") >= 1
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt.length > 3)")
    tab.context.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_runs_over_the_edge(browser: Any, folder: Path, name: str, width: int) -> None:
    tab, _ = opened(browser, folder / name, viewport={"width": width, "height": 800})
    wide = tab.evaluate(
        """[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
           && !e.closest('.output, pre, thead')).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert tab.evaluate("document.documentElement.scrollWidth") <= width and wide == []
    tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_stands_out_from_its_ground(browser: Any, folder: Path, name: str, scheme: str) -> None:
    tab, _ = opened(browser, folder / name, color_scheme=scheme)
    ratios = tab.evaluate(
        """() => {
          const linear = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
          const written = e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
          const parse = text => text.match(/[\\d.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map(c => linear(c / 255))
            .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
          const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
            if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
          return [...document.querySelectorAll('body *')].filter(written)
            .map(e => [light(parse(getComputedStyle(e).color)), light(ground(e)), e.outerHTML.slice(0, 90)])
            .map(([a, b, text]) => [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), text]); }"""
    )
    assert len(ratios) > 10
    assert [text for ratio, text in ratios if ratio < 4.5] == []
    tab.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_has_language_title_landmarks_and_headings_in_order(browser: Any, folder: Path, name: str) -> None:
    tab, _ = opened(browser, folder / name)
    assert tab.evaluate("document.documentElement.lang") == "en" and tab.title()
    assert tab.evaluate("document.querySelectorAll('main').length") == 1
    levels = tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.context.close()


def test_verdicts_are_words_and_signs_and_tables_stay_tables_on_a_phone(browser: Any, folder: Path) -> None:
    tab, _ = opened(browser, folder / "index.html", viewport={"width": 375, "height": 800})
    for sign, verdict in (("✓", "holds"), ("✗", "does not hold"), ("?", "not decided")):
        assert tab.locator(f".chip.{verdict.replace(' ', '-')}").first.inner_text() == f"{sign} {verdict}"
    assert tab.get_by_role("table").count() == 3
    assert tab.get_by_role("row").count() >= 2 + 6
    tab.context.close()


@pytest.mark.parametrize("name", ["index.html", "compared/index.html"])
def test_page_prints_in_black_without_navigation(browser: Any, folder: Path, name: str) -> None:
    tab, _ = opened(browser, folder / name, color_scheme="dark")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.querySelector('.chip')).color") == "rgb(0, 0, 0)"
    assert not tab.locator("nav").first.is_visible()
    assert tab.pdf(format="A4").startswith(b"%PDF")
    tab.context.close()


def test_comparison_opens_with_its_advice_and_says_what_is_missing_and_what_was_not_tried(folder: Path) -> None:
    text = (folder / "compared" / "index.html").read_text()
    assert re.search(r'<h1 class="advice">(Take|Keep) [^<]+\.</h1>', text)
    for words in ("1 candidate missing", "Before you decide", "trained on rather_long", "What was not tried", "Holm"):
        assert words in text
    assert text.index("1 candidate missing") < text.index("Side by side</h2>")
