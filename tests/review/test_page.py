"""The pages in a real browser: nothing is asked of the network, nothing logged, nothing runs over a phone's edge."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import series
from browsers import launched, opened
from checkpoints import build, wrap
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from stlib.evidence.claims import Claim, Verdict, definition
from stlib.evidence.corpora import load_pairs, load_passages
from stlib.evidence.plain import plain
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
def folder(tmp_path_factory: pytest.TempPathFactory, comparison: Comparison) -> Path:
    place = tmp_path_factory.mktemp("pages")
    results = [result("02_pool_the_tokens"), result("05_heatmaps", error="ValueError: " + "no_space_in_this_text" * 9)]
    model = "some-organisation/a-model-with-a-rather-long-name"
    parameters = {"model": model, "pairs": "none", "sentences": "none", "passages": "x.csv", "seed": 0}
    page.write(page.Review(parameters, datetime(2026, 11, 21, tzinfo=UTC), results), place)
    comparison_page.write(comparison, place / "compared")
    return place


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compared(tmp_path_factory.mktemp("models"))


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


def test_nothing_of_what_two_candidates_disagree_on_is_cut_off_on_paper(browser: Any, folder: Path) -> None:
    tab, _ = opened(browser, folder / "compared" / "index.html", viewport={"width": 680, "height": 900})
    tab.emulate_media(media="print")
    wide = tab.evaluate("document.querySelector('.disagreements').scrollWidth")
    assert 0 < wide <= tab.evaluate("document.querySelector('.disagreements').parentElement.clientWidth")
    tab.context.close()


def test_comparison_opens_with_its_advice_and_says_what_is_missing_and_what_was_not_tried(folder: Path) -> None:
    text = (folder / "compared" / "index.html").read_text()
    assert re.search(r'<h1 class="advice">(Take|Keep) [^<]+\.</h1>', text)
    for words in ("1 candidate missing", "Before you decide", "trained on rather_long", "What was not tried", "Holm"):
        assert words in text
    assert text.index("1 candidate missing") < text.index("Side by side</h2>")


# --- Labels, sentences and names that are not what they seem ----------------------------------------------------------

AWAY = "https://example.org"
LABELS = {
    "script": f'<script>fetch("{AWAY}/1")</script>',
    "script, unclosed": f'<script>fetch("{AWAY}/2")',
    "svg": f'<svg onload="fetch(`{AWAY}/3`)"><rect width="9999" height="9999"/></svg>',
    "image": f'<img src="{AWAY}/4.png" onerror="fetch(`{AWAY}/5`)" width="9999" height="9999">',
    "image within": '<img src="data:image/png;base64,AAAA" alt="✓ holds" onerror="document.title=`run`">',
    "look": "<style>main, h1 { display: none }</style>",
    "look, imported": f'<style>@import "{AWAY}/6.css";</style><link rel="stylesheet" href="{AWAY}/7.css">',
    "place": '<div style="position: fixed; inset: 0; background: red; width: 9999px; margin: 999px">over it all</div>',
    "picture as ground": f'<b style="background: url({AWAY}/8.png); font-size: 99px">b</b>',
    "form": f'<form action="{AWAY}/9"><input autofocus onfocus="fetch(`{AWAY}/10`)"><button>go</button></form>',
    "frame": f'<iframe src="{AWAY}/11"></iframe><object data="{AWAY}/12"></object><embed src="{AWAY}/13">',
    "link": '<a href="javascript:document.title=`run`">x</a> [x](javascript:document.title=`run`)',
    "link, hidden": '<a href="jav&#x09;ascript:document.title=`run`">x</a><a href="data:text/html,run">x</a>',
    "base": f'<base href="{AWAY}/14/"><meta http-equiv="refresh" content="0; url={AWAY}/15">',
    "verdict": '<b class="chip holds">✓ holds</b><p class="box failed skip" id="main">forged</p><h1 id="cell-0">f</h1>',
    "ends": "</td></tr></tbody></table></div></main></body><h1>after</h1>",
    "begins": "<textarea>swallowed <!-- swallowed <plaintext> swallowed",
    "mathematics": "$<math><mtext></form><form><mglyph><style></math><img src onerror=document.title=`run`>$",
    "Markdown": "`code` **bold** | cell | \n\n# heading\n\n![x](https://example.org/16.png) <https://example.org>",
}


def shown_in_a_notebook() -> list[Any]:
    """The labels in every kind of output: in Markdown, escaped and raw, in a table, in a picture, as words."""
    outputs = []
    for label in LABELS.values():
        drawn = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><text>{label}</text></svg>'
        for data in (
            {"text/markdown": f"**{plain(label)}**: so"},
            {"text/markdown": f"**{label}**: so"},
            {"text/html": f"<table><tr><td>before</td><td>{label}</td><td>after</td></tr></table>"},
            {"text/html": pd.DataFrame({label: [label]})._repr_html_()},  # type: ignore[operator]
            {"text/plain": label},
            {"image/svg+xml": drawn, "text/plain": label},
        ):
            outputs.append(new_output("display_data", data))
        outputs.append(new_output("stream", text=label))
        outputs.append(new_output("error", ename="ValueError", evalue=label, traceback=[]))
    return outputs


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A review and a comparison of which every name, label and note is hostile."""
    place = tmp_path_factory.mktemp("hostile")
    name, everything = "02_pool_the_tokens", " ".join(LABELS.values())
    good = result(name)
    assert good.record is not None
    claims = [replace(claim, note=everything) for claim in good.record.claims]
    data = {kind: {**about, "name": everything} for kind, about in good.record.data.items()}
    good.record = replace(good.record, claims=claims, data=data)
    good.notebook.cells += [
        new_code_cell(f"labels = {list(LABELS.values())}", outputs=shown_in_a_notebook()),
        *(new_markdown_cell(f"{label}\n\nText.") for label in LABELS.values()),
        new_markdown_cell("## The end"),
    ]
    good.error = everything
    parameters = {"model": everything, "pairs": "none", "sentences": everything, "passages": "none", "seed": 0}
    page.write(page.Review(parameters, datetime(2026, 11, 21, tzinfo=UTC), [good]), place)
    return place


def held(browser: Any, path: Path) -> Any:
    """The page opened and clicked: nothing was asked for, nothing ran, nothing is where it should not be."""
    tab, noise = opened(browser, path, viewport={"width": 1280, "height": 800})
    title, address = tab.title(), tab.url
    tab.evaluate("document.querySelectorAll('main a, button').forEach(e => /^(http|file)/.test(e.href) || e.click())")
    tab.wait_for_timeout(100)
    assert noise == [] and tab.title() == title and tab.url.partition("#")[0] == address
    found = tab.evaluate(
        """() => { const all = [...document.querySelectorAll('*')];
          return {
            tags: [...new Set(all.map(e => e.localName))].filter(
              name => /^(script|form|input|button|textarea|iframe|object|embed|base|math|template|select)$/.test(name)),
            attributes: [...new Set(all.flatMap(e => e.getAttributeNames()))].filter(name => name.startsWith('on')),
            styles: [...new Set(all.flatMap(e => [...e.style ?? []]))],
            links: [...document.links].map(e => e.protocol).filter(p => !/^(file|https|http):$/.test(p)),
            moved: all.filter(e => document.body.contains(e) && !e.matches('.skip, .hidden')
              && !/^(static|relative)$/.test(getComputedStyle(e).position)).map(e => e.outerHTML.slice(0, 90)),
            sheets: document.querySelectorAll('style, link[rel=stylesheet]').length,
            outside: [...document.body.children].map(e => e.localName).filter(n => !/^(a|header|nav|main)$/.test(n)),
          }; }"""
    )
    assert found == {
        "tags": [], "attributes": [], "styles": found["styles"], "links": [], "moved": [], "sheets": 1, "outside": []
    }  # fmt: skip
    assert set(found["styles"]) <= {"text-align"}
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    return tab


@pytest.mark.parametrize("name", ["index.html", "02_pool_the_tokens.html"])
def test_hostile_labels_ask_for_nothing_run_nothing_and_move_nothing(browser: Any, hostile: Path, name: str) -> None:
    tab = held(browser, hostile / name)
    assert tab.evaluate("document.querySelectorAll('main').length") == 1
    if name != "index.html":
        end = tab.get_by_role("heading", name="The end")
        assert end.is_visible() and end.evaluate("e => e.closest('main.notebook > .cell') !== null")
        forged = tab.evaluate(
            "[...document.querySelectorAll('.output')].filter(e => e.querySelector('.chip, h1, .box')).length"
        )
        assert forged == 0
    tab.context.close()


@pytest.mark.parametrize("name", ["index.html", "compared/index.html"])
def test_the_policy_alone_stops_what_the_cleaning_might_miss(
    browser: Any, folder: Path, tmp_path: Path, name: str
) -> None:
    """But for style attributes, which tables need, and for leaving the page, which no policy in a page can forbid."""
    raw = "".join(
        label for kind, label in LABELS.items() if kind not in ("base", "place", "script, unclosed", "begins")
    )
    text = (folder / name).read_text().replace('<main id="main"', f'{raw}<base href="{AWAY}/"><main id="main"')
    (tmp_path / "page.html").write_text(text)
    tab, reached, logged = browser.new_context().new_page(), [], []
    tab.route(f"{AWAY}/**", lambda route: [reached.append(route.request.url), route.abort()])
    tab.on("console", lambda message: logged.append(message.text))
    tab.goto((tmp_path / "page.html").as_uri())
    title = tab.title()
    tab.evaluate("[...document.links].filter(e => e.protocol == 'javascript:').forEach(e => e.click())")
    tab.wait_for_timeout(50)
    assert tab.title() == title != "run" and tab.evaluate("document.baseURI") == (tmp_path / "page.html").as_uri()
    assert tab.locator("h1").first.is_visible()
    tab.evaluate("document.querySelector('button').click()")
    tab.wait_for_timeout(50)
    assert any("form-action" in line for line in logged) and reached == []
    tab.context.close()


def test_hostile_names_in_a_comparison_are_words(browser: Any, comparison: Comparison, tmp_path: Path) -> None:
    record = comparison_page.Record.of(comparison)
    verdicts = {score.verdict for one in record.candidates for score in one.scores.values()}
    ours = {*record.measures, *record.units.values(), *verdicts, "no number of them", *record.machine, "sha256"}
    ours |= {key for about in record.data.values() for key in about}

    def hostile(value: Any) -> Any:
        if isinstance(value, str):
            return value if value in ours else " ".join([value, *LABELS.values()])
        if isinstance(value, dict):
            return {hostile(key): hostile(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(hostile, value))
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{field.name: hostile(getattr(value, field.name)) for field in fields(value)})
        return value

    text = comparison_page.rendered(hostile(record), comparison_page._figure(comparison))
    assert text.count("&lt;script&gt;") > 20
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    held(browser, tmp_path / "index.html").context.close()
