"""The series as people use it: `make lab`, a lesson run in a real JupyterLab, its table of contents, a container."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browsers
import lessons
import nbformat
import pytest
from lessons import NOTEBOOKS, ROOT, SERIES, code, outputs, prose, read

FIRST, LESSON = f"{SERIES[0]}.ipynb", "02_pool_the_tokens.ipynb"
ALL = sorted(path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
_STARTS, _RUNS = 60, 300  # seconds to wait at most, on a machine that has much else to do


def _command() -> list[str]:
    """What `make lab` starts, as words."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^lab:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    return shlex.split(recipe.replace("\\\n", " "))


# ---------------------------------------------------------------------------------------------------------- make lab


def test_make_lab_opens_on_the_first_lesson_in_the_folder_of_the_series() -> None:
    words = _command()
    assert words[:2] == ["$(BIN)/jupyter", "lab"]
    assert f"--ServerApp.root_dir={NOTEBOOKS.name}" in words
    assert f"--LabApp.default_url=/lab/tree/{FIRST}" in words


def test_a_reader_who_lists_the_folder_sees_the_series_and_three_folders() -> None:
    """Nothing else is committed there: no checkpoint, no output of a run."""
    listed = subprocess.run(["git", "ls-files", NOTEBOOKS.name], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = {Path(line).relative_to(NOTEBOOKS.name).parts[0] for line in listed.stdout.splitlines()}
    assert names == {*(f"{name}.ipynb" for name in SERIES), "hunts", "labs", "solutions"}


# ------------------------------------------------------------------------------------------------- table of contents


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(NOTEBOOKS).with_suffix("")))
def test_the_table_of_contents_has_one_title_and_one_level_below(path: Path) -> None:
    """JupyterLab makes it of the headings: one `#`, then `##`, each once and short enough for the side bar."""
    text = re.sub(r"^```.*?^```", "", "\n\n".join(prose(read(path))), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^(#+) +(.+)$", text, re.MULTILINE)
    assert [level for level, _ in headings] == ["#", *["##"] * (len(headings) - 1)]
    names = [name for _, name in headings]
    assert len(names) == len(set(names)) and max(map(len, names)) <= 80, names


# ------------------------------------------------------------------------------------------------ a real JupyterLab


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from browsers.launched()


@pytest.fixture(scope="module")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`make lab` with its own options, over a copy of the lesson without outputs: its address and the copy."""
    folder = tmp_path_factory.mktemp("lab")
    places = {name: folder / name for name in ("config", "data", "runtime", "settings", "workspaces", "notebooks")}
    for place in places.values():
        place.mkdir()
    notebook = read(NOTEBOOKS / LESSON)
    for cell in code(notebook):
        cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, places["notebooks"] / LESSON)
    shutil.copy(NOTEBOOKS / FIRST, places["notebooks"])
    every_cell = places["settings"] / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    every_cell.parent.mkdir(parents=True)
    every_cell.write_text(json.dumps({"windowingMode": "none"}))  # cells out of sight are on the page as well
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = [word for word in _command()[2:] if not word.startswith("--ServerApp.root_dir")]
    ours = [f"--ServerApp.root_dir={places['notebooks']}", f"--port={port}", "--no-browser", "--allow-root",
            "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    variables = {f"JUPYTER_{name.upper()}_DIR": str(places[name]) for name in ("config", "data", "runtime")}
    variables["JUPYTER_PATH"] = ""  # kernels as a reader has them, not those of stlib.review.warm
    variables |= {f"JUPYTERLAB_{name.upper()}_DIR": str(places[name]) for name in ("settings", "workspaces")}
    log = folder / "log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *kept, *ours], env=os.environ | variables, stderr=stream, stdout=stream
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/api/status", server, log)
        yield address, places["notebooks"] / LESSON
    finally:
        server.terminate()  # which ends its kernels as well
        server.wait(timeout=30)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTS
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)


_STATE = """() => {
    const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(one => one.textContent)
    const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]')
    return {
        ready: kernel?.connectionStatus === 'connected' && kernel.status === 'idle',
        ran: failed ? Infinity : prompts.filter(text => /[0-9]/.test(text)).length,
        seen: [kernel?.connectionStatus, kernel?.status, ...prompts].join(' ')
    }
}"""


def _until(page: Any, seconds: float, script: str, *arguments: Any) -> None:
    """Waits until a script says true. It asks from here, since a busy page may not get round to asking itself."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(script, *arguments):
        assert time.monotonic() < deadline, f"{seconds} s passed before {script}: {page.evaluate(_STATE)['seen']}"
        page.wait_for_timeout(250)


def _started(page: Any) -> bool:
    """ "Restart Kernel and Run All Cells", and whether its first cell has run within a minute."""
    # A kernel restarted before it is connected may lose what it is asked next.
    _until(page, _STARTS, f"() => ({_STATE})().ready")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:restart-run-all') }")
    page.locator(".jp-Dialog .jp-mod-accept").click(timeout=1000 * _STARTS)
    try:
        _until(page, _STARTS, f"() => ({_STATE})().ran > 0")
    except AssertionError:
        return False
    return True


@pytest.fixture(scope="module")
def run_all(browser: Any, lab: tuple[str, Path]) -> Iterator[Any]:
    """The page of the lesson after "Restart Kernel and Run All Cells"."""
    address, notebook = lab
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.goto(f"{address}/lab/workspaces/lesson/tree/{notebook.name}")  # its own: no other notebook is open in it
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=1000 * _STARTS)
    assert _started(page) or _started(page), page.evaluate(_STATE)["seen"]  # once more, as a reader would
    cells = len(code(read(NOTEBOOKS / LESSON)))
    _until(page, _RUNS, f"cells => ({_STATE})().ran >= cells", cells)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    yield page
    page.context.close()


def test_make_lab_shows_the_first_lesson_beside_the_series(browser: Any, lab: tuple[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(lab[0])
    page.wait_for_selector(".jp-Notebook .jp-MarkdownCell h1", timeout=1000 * _STARTS)
    assert page.url.endswith(f"/lab/tree/{FIRST}")
    assert page.locator(".jp-NotebookPanel h1").first.inner_text().startswith(prose(read(NOTEBOOKS / FIRST))[0][2:20])
    listed = page.locator(".jp-DirListing-itemText")
    listed.first.wait_for(timeout=1000 * _STARTS)
    assert [name.strip() for name in listed.all_inner_texts()] == [FIRST, LESSON]
    assert not page.locator(".jp-Dialog").count()
    page.context.close()


def test_restart_and_run_all_leaves_nothing_stray(run_all: Any, lab: tuple[str, Path]) -> None:
    """The same kinds of outputs as are stored, but for the widget, which lives only here."""
    ran, stored = read(lab[1]), read(NOTEBOOKS / LESSON)
    assert [cell.execution_count for cell in code(ran)] == list(range(1, len(code(ran)) + 1))
    for output in outputs(ran):
        assert output.output_type != "error" and output.get("name") != "stderr", output
        assert not re.search(r"\d+%\||Warning", output.get("text", ""))
    widget = "application/vnd.jupyter.widget-view+json"
    kinds = [[[*sorted(set(output.get("data", {})) - {widget})] for output in outputs(one)] for one in (ran, stored)]
    assert kinds[0] == kinds[1]


def test_a_slider_moves_and_its_figure_changes(run_all: Any) -> None:
    picture = run_all.locator(".jp-OutputArea .widget-html svg").first
    picture.wait_for(timeout=1000 * _STARTS)
    before = picture.inner_html()
    handle = run_all.locator(".widget-slider .noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    changed = "before => document.querySelector('.jp-OutputArea .widget-html svg').innerHTML !== before"
    _until(run_all, _STARTS, changed, before)
    cells = [len(re.findall("<rect", one)) for one in (before, picture.inner_html())]
    assert cells[1] > cells[0]  # a longer batch: one more column of cells


def test_the_table_of_contents_names_the_sections_of_the_lesson(run_all: Any) -> None:
    run_all.evaluate("() => window.jupyterapp.shell.activateById('table-of-contents')")
    run_all.wait_for_selector(".jp-TableOfContents-tree .jp-tocItem", timeout=1000 * _STARTS)
    shown = [name.strip() for name in run_all.locator(".jp-tocItem-content").all_inner_texts()]
    headings = re.findall(r"^#+ +(.+)$", "\n\n".join(prose(lessons.read(NOTEBOOKS / LESSON))), re.MULTILINE)
    assert shown == headings


# ------------------------------------------------------------------------------------------------------- a container


def test_the_container_has_the_python_of_the_lock_and_is_made_as_make_makes_it() -> None:
    """So that there is one way to install: the recipe that `make lab` waits for, which installs from the lock."""
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    lock, makefile = ((ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "Makefile"))
    python = re.search(r"^# .*\(Python (\d\.\d+),", lock, re.MULTILINE)
    assert python and re.search(rf"/python:{re.escape(python[1])}\b", container["image"])
    variables = dict(re.findall(r"^(\w+) := (.*)$", makefile, re.MULTILINE))
    stamp = variables["STAMP"].replace("$(VENV)", variables["VENV"])
    assert container["postCreateCommand"] == f"make {stamp}"
    rule = re.search(r"^\$\(STAMP\):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert rule and "--requirement requirements.lock" in rule[1]
    settings = container["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"] == f"{variables['VENV']}/bin/python"
