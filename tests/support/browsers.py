"""A browser for the tests of pages, where one is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def launched() -> Iterator[Any]:
    """Chromium without a window; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: the pages are not looked at")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as session:
        try:
            browser = session.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            )
        except playwright.Error:
            pytest.skip("no browser (Chromium) was found: the pages are not looked at")
        yield browser
        browser.close()


def opened(browser: Any, path: Path, **context: Any) -> tuple[Any, list[str]]:
    """The page, and what it logged or asked for."""
    tab, noise = browser.new_context(**context).new_page(), []
    tab.on("console", lambda message: noise.append(message.text))
    tab.on("pageerror", lambda error: noise.append(str(error)))
    tab.on("request", lambda request: noise.extend({request.url} - {path.as_uri()}))
    tab.goto(path.as_uri())
    tab.wait_for_load_state("networkidle")
    return tab, noise
