"""The site builds without a warning, links lead somewhere, and it asks no other host for anything."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import lessons
import pytest
import yaml

sys.path.insert(0, str(lessons.ROOT / "tools"))
import make_site

# Of Sphinx's extensions, about versions of Sphinx to come.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


class Page(HTMLParser):
    """The names of a page's places, where its links lead, what it loads, and its pictures without words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.wordless: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "src" in given or (tag == "link" and given.get("rel") == "stylesheet"):
            self.loads.append(given.get("src", given.get("href", "")))
        if tag == "img" and not given.get("alt"):
            self.wordless.append(given.get("src", "")[:60])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "site"
    assert make_site.build(out) == 0  # strict: a warning is an error
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path) for path in site.rglob("*.html")}


def test_each_link_leads_to_a_page_and_a_place_on_it(pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or "slides" in path.parts:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target in pages and (not parts.fragment or unquote(parts.fragment) in pages[target].places)
            if not there and (target in pages or not target.is_file()):
                broken.append(f"{path.name}: {link}")
    assert not broken
    assert sum(len(page.links) for page in pages.values()) > 500


def test_it_loads_nothing_from_elsewhere(pages: dict[Path, Page]) -> None:
    loads = {load for page in pages.values() for load in page.loads}
    assert not [load for load in loads if urlsplit(load).scheme not in ("", "data") or load.startswith("//")]


def test_each_notebook_and_each_guide_has_its_page(site: Path) -> None:
    notebooks = {path.relative_to(lessons.ROOT).with_suffix(".html") for path in lessons.NOTEBOOKS.rglob("*.ipynb")}
    notebooks = {path for path in notebooks if ".ipynb_checkpoints" not in path.parts}
    guides = {path.relative_to(lessons.ROOT).with_suffix(".html") for path in (lessons.ROOT / "docs").glob("*.md")}
    assert not [path for path in notebooks | guides if not (site / path).is_file()]
    assert len(list((site / "slides").glob("*.html"))) == len(lessons.SERIES) + 1


def test_pictures_have_words(pages: dict[Path, Page]) -> None:
    assert not {path.name: page.wordless for path, page in pages.items() if page.wordless}


def test_the_api_is_there_with_its_examples(site: Path) -> None:
    import stlib

    text = (site / "api.html").read_text(encoding="utf-8")
    for name in set(stlib.__all__) - {"POOLING_MODES"}:
        assert f'id="stlib.{name}"' in text, name
    assert text.count("&gt;&gt;&gt; ") >= 5


def test_a_link_to_nowhere_stops_the_build(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    page = source / "one.md"
    page.write_text("[there](../stlib/py.typed) [nowhere](nowhere.md) [home](../README.md)", encoding="utf-8")
    (tmp_path / "index.md").touch()
    make_site.mend_links(tmp_path)
    # what only the repository has leaves its words; what neither has stays, and Sphinx refuses it
    assert page.read_text(encoding="utf-8") == "there [nowhere](nowhere.md) [home](../index.md)"


def test_the_workflow_publishes_what_the_command_builds() -> None:
    workflow = yaml.safe_load((lessons.ROOT / ".github" / "workflows" / "site.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["build"]["steps"]
    assert {"run": "make site"} in steps
    assert steps[-1]["with"]["path"] == "build/site"
    assert "\nsite: $(STAMP)" in (lessons.ROOT / "Makefile").read_text(encoding="utf-8")
