"""The page to hand out: nine decisions from claims.toml, on one page of A4."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import browsers
import lessons
import pytest

sys.path.insert(0, str(lessons.ROOT / "tools"))
import make_checklist

from stlib.evidence.claims import definitions


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from browsers.launched()


def test_it_prints_on_one_page_of_a4(tmp_path: Path, browser: Any) -> None:
    path = tmp_path / "checklist.html"
    path.write_text(make_checklist.page(), encoding="utf-8")
    tab, noise = browsers.opened(browser, path)
    printed = tab.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    assert noise in ([], ["data:,"])
    tab.add_style_tag(content="body { font-size: 20pt !important }")
    assert len(re.findall(rb"/Type\s*/Page\b", tab.pdf(prefer_css_page_size=True))) > 1  # pages are counted
    tab.close()


def test_it_has_the_nine_decisions_with_the_headlines_first() -> None:
    rows = make_checklist.rows()
    assert [row.number for row in rows] == [name[:2] for name in lessons.SERIES[1:]]
    for row in rows:
        (headline,) = [one for one in definitions().values() if one.lesson.startswith(row.number) and one.headline]
        assert row.defaults[0] == headline.default and row.flips[0] == headline.flips_when


def test_each_default_of_a_lesson_is_on_it() -> None:
    shown = unescape(make_checklist.page())
    for number in {claim.lesson for claim in definitions().values()}:
        for default in {claim.default for claim in definitions().values() if claim.lesson == number and not claim.lab}:
            row = shown.split(f'"number">{number[:2]}<')[1].split("</tr>")[0]
            assert default.rstrip(".") in row, default
