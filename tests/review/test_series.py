"""The review: what is refused before anything runs, what a run leaves, what becomes of failures and interrupts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
import series

from stlib.review import page
from stlib.review import series as review
from stlib.__main__ import main

PAIRS = "sentence1,sentence2,score\n" + "".join(f"one {n},two {n},{n % 6}\n" for n in range(12))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name no page may show, with a series and a pairs file."""
    folder = tmp_path_factory.mktemp("secret place")
    series.write_series(folder / "notebooks")
    (folder / "my pairs.csv").write_text(PAIRS)
    return folder


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    found = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    monkeypatch.setattr(review, "_series", lambda: found)


def ended(process: int) -> bool:
    """Whether the process is gone within seconds; what nobody has collected yet runs no more either."""
    for _ in range(50):
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def done(places: Path) -> tuple[Path, page.Review, str]:
    """One run of the tiny series on pairs alone: its folder, what it returned, what it said."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(monkeypatch, places / "notebooks")
        monkeypatch.chdir(places)
        result = review.run_series(pairs="my pairs.csv", out="pages", seed=3, progress=said.append)
    return places / "pages", result, "".join(said)


# --- A run that succeeds ----------------------------------------------------------------------------------------------


def test_run_writes_index_pages_notebooks_and_evidence(done: tuple[Path, page.Review, str]) -> None:
    out, result, _ = done
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    names = ("02_pooling", "05_similarity")
    expected = {f"{name}{end}" for name in names for end in (".html", ".ipynb")} | {"index.html"}
    assert files == expected | {f"evidence/{name}.json" for name in names}
    assert result.whole


def test_progress_is_one_line_a_notebook_with_time_and_verdicts(done: tuple[Path, page.Review, str]) -> None:
    lines = done[2].splitlines()
    assert re.fullmatch(r"02_pooling … \d+ s, 2 claims: 1 hold, 1 do not, 0 not decided", lines[0])
    assert re.fullmatch(r"05_similarity … \d+ s, 1 claim: 0 hold, 0 do not, 1 not decided", lines[1])
    assert len(lines) == 2


def test_index_shows_decision_evidence_figure_condition_and_provenance(done: tuple[Path, page.Review, str]) -> None:
    text = (done[0] / "index.html").read_text()
    assert "CLS is as good as mean on your data" in text
    assert "−0.3 points" in text and "−1.2 to 0.6" in text and "at least 1 point" in text
    assert 'alt="A line that rises, falls &amp; rises &lt;again&gt;."' in text
    assert "the model changes" in text
    assert "all-MiniLM-L6-v2" in text and "my pairs.csv" in text and "seed 3" in text and "a" * 64 in text
    assert "Open: give sentences of your own" in text


def test_links_lead_to_the_cell_that_checked_the_claim(done: tuple[Path, page.Review, str]) -> None:
    text, notebook = (done[0] / name for name in ("index.html", "02_pooling.html"))
    [anchor] = set(re.findall(r'href="02_pooling.html#(cell-\d+)">Mean pooling', text.read_text()))
    cell = notebook.read_text().split(f'id="{anchor}"')[1].split('<div class="cell')[0]
    assert "mean-beats-cls" in cell and "does not hold" in cell


def test_pages_ask_for_nothing_and_links_lead_to_pages_that_are_there(done: tuple[Path, page.Review, str]) -> None:
    for path in done[0].glob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script|<iframe|url\(|@import", text)
        assert set(re.findall(r'src="([^"]{5})', text)) <= {"data:"}
        for target in re.findall(r'href="([^"#]+)', text):
            assert target.startswith(("https://example.org/paper", "data:,")) or (done[0] / target).is_file(), target
    text = (done[0] / "02_pooling.html").read_text()
    assert 'See <a href="05_similarity.html">similarity</a>, a solution, <a href="https' in text
    assert "[a picture]" in text


def test_no_page_names_an_absolute_path(done: tuple[Path, page.Review, str], places: Path) -> None:
    for path in done[0].glob("*.html"):
        text = re.sub(r"data:image[^\"]*", "", path.read_text())
        for place in (str(places), "secret", str(Path.home()), sys.prefix, sys.base_prefix + "/"):
            assert place not in text, f"{path.name} names {place}"
    shown = (done[0] / "02_pooling.html").read_text()
    assert "read my pairs.csv and __init__.py" in shown  # what the notebook printed with both paths whole


def test_same_seed_gives_the_same_claims_and_only_leaves_nothing_of_the_others(
    done: tuple[Path, page.Review, str], places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, places / "notebooks")
    out = places / "again"
    out.mkdir()
    (out / "index.html").write_text(page.GENERATOR)
    (out / "05_similarity.html").write_text("of an earlier review")
    (out / "mine.txt").write_text("kept")
    review.run_series(pairs=places / "my pairs.csv", out=out, seed=3, only=["2"])
    first, again = (json.loads((folder / "evidence" / "02_pooling.json").read_text()) for folder in (done[0], out))
    assert first["claims"] == again["claims"]
    assert not (out / "05_similarity.html").exists()
    assert (out / "mine.txt").exists()


def test_kernel_is_this_interpreter_whatever_is_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text('{"argv": ["/no/such/python"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    series.write_notebook(tmp_path / "02_pooling.ipynb", ["import sys; sys.executable"], "A")
    use(monkeypatch, tmp_path)
    assert review.run_series(out=tmp_path / "pages").whole
    ran = nbformat.read(tmp_path / "pages" / "02_pooling.ipynb", as_version=4).cells[-1].outputs[0].data["text/plain"]
    assert ran == repr(sys.executable)


# --- Differences from the reference -----------------------------------------------------------------------------------


def test_verdicts_that_differ_from_the_reference_are_said_in_words_at_the_top(
    done: tuple[Path, page.Review, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorded(run: str, name: str) -> dict[str, Any]:
        record = json.loads((done[0] / "evidence" / f"{name}.json").read_text())
        for claim in record["claims"]:
            claim |= {"verdict": "holds", "value": 10.2, "interval": [8.0, 12.4]}
        return record

    monkeypatch.setattr(page, "recorded", recorded)
    results = [
        page.Result(result.name, result.seconds, "", result.notebook, result.evidence) for result in done[1].results
    ]
    page.write(page.Review(done[1].parameters, done[1].date, results), tmp_path)
    text = (tmp_path / "index.html").read_text()
    top = text.split('id="decisions"')[0]
    assert "1 of 3 verdicts differ from the reference run" in top  # the one without data of its own is no difference
    assert "does not hold</strong> here, −0.3 points (−1.2 to 0.6); holds in the reference, 10.2 points" in top
    assert "differs from the reference: holds there" in text.split('id="decisions"')[1]


# --- Failures ---------------------------------------------------------------------------------------------------------


def test_failing_notebook_leaves_its_output_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series.write_series(tmp_path / "notebooks")
    fails = ["print('so far')", 'raise ValueError(f"cannot read {evidence}/x.csv")', "print('never')"]
    series.write_notebook(tmp_path / "notebooks" / "02_pooling.ipynb", fails, "Pool")
    use(monkeypatch, tmp_path / "notebooks")
    result = review.run_series(out=tmp_path / "pages")
    assert not result.whole
    assert [bool(each.error) for each in result.results] == [True, False]
    index, notebook = ((tmp_path / "pages" / name).read_text() for name in ("index.html", "02_pooling.html"))
    assert "1 of 2 notebooks failed" in index and "ValueError: cannot read x.csv" in index
    assert "so far" in notebook and "Traceback" not in notebook and str(tmp_path) not in index + notebook
    assert "so far" in (tmp_path / "pages" / "02_pooling.ipynb").read_text()
    assert (tmp_path / "pages" / "evidence" / "05_similarity.json").is_file()


def test_timeout_ends_notebook_and_kernel_and_keeps_what_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = ["import os; print(os.getpid())", "import time; time.sleep(600)"]
    series.write_notebook(tmp_path / "nb" / "02_pooling.ipynb", cells, "Pool")
    use(monkeypatch, tmp_path / "nb")
    result = review.run_series(out=tmp_path / "pages", timeout=20)
    assert result.results[0].error == "stopped after 20 s"
    kernel = int(result.results[0].notebook.cells[-2].outputs[0].text)
    assert ended(kernel)


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_runs(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, places / "notebooks")
    monkeypatch.setattr(review, "run", lambda *arguments: pytest.fail("something ran"))
    monkeypatch.chdir(places)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a request that is refused."""
    try:
        code = main(["review", *arguments])
    except SystemExit as exit:
        code = int(exit.code or 0)
    output = capsys.readouterr()
    assert code == 2 and output.out == "" and output.err.count("\n") == 1
    return output.err


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "new", "--flavour", "x"], "unrecognized arguments: --flavour"),
        (["--seed", "0"], "--out"),
        (["--out", "new", "--seed", "-1"], "seed: expected 0"),
        (["--out", "new", "--timeout", "0"], "timeout: expected seconds above 0"),
        (["--out", "new", "--only", "02", "9"], "no notebook '9'; expected some of 02_pooling, 05_similarity"),
        (["--out", "my pairs.csv"], "is a file"),
        (["--out", "my pairs.csv/below"], "cannot be written"),
        (["--out", "."], "holds the notebooks themselves"),
        (["--out", "new", "--model", "no/such/model/here"], "'no/such/model/here': no such folder"),
        (["--out", "new", "--model", "notebooks"], "model: .*notebooks holds no model"),
        (["--out", "new", "--pairs", "absent.csv"], "pairs: no such file: absent.csv"),
        (["--out", "new", "--pairs", "notebooks/02_pooling.ipynb"], "pairs: .*cannot read '.ipynb'"),
        (["--out", "new", "--sentences", "my pairs.csv"], "sentences: my pairs.csv: no column 'text'"),
    ],
)
def test_request_is_refused_in_one_line_before_anything_runs(
    arguments: list[str], message: str, places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(message, refused(capsys, *arguments))
    assert not (places / "new").exists()


@pytest.mark.usefixtures("nothing_runs")
def test_file_that_is_no_table_is_refused(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "broken.parquet").write_bytes(b"PAR1 but not for long")
    assert "broken.parquet" in refused(capsys, "--out", "new", "--pairs", "broken.parquet")


@pytest.mark.usefixtures("nothing_runs")
def test_index_of_something_else_is_not_replaced(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "site").mkdir()
    (places / "site" / "index.html").write_text("<h1>My site</h1>")
    assert "an index.html that is not a review" in refused(capsys, "--out", "site")


@pytest.mark.usefixtures("nothing_runs")
def test_notebook_without_one_of_the_parameters_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = series.PARAMETERS.replace("pairs =", "pears =")
    series.write_notebook(tmp_path / "02_pooling.ipynb", [], "Pool", given)
    use(monkeypatch, tmp_path)
    assert "02_pooling: its parameters cell has no pairs" in refused(capsys, "--out", str(tmp_path / "pages"))


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("given", "pairs", "sentences"),
    [
        ({}, "built-in", "built-in"),
        ({"pairs": "my pairs.csv"}, "my pairs.csv", "none"),
        ({"sentences": "texts.csv"}, "none", "texts.csv"),
        ({"pairs": "my pairs.csv", "sentences": "texts.csv"}, "my pairs.csv", "texts.csv"),
    ],
)
def test_what_is_not_given_beside_data_of_ones_own_is_none(
    given: dict[str, str], pairs: str, sentences: str, places: Path
) -> None:
    (places / "texts.csv").write_text("text\none\ntwo\n")
    request = review.prepare(out="new", **given)  # type: ignore[arg-type]
    for kind, expected in (("pairs", pairs), ("sentences", sentences)):
        own = expected.endswith(".csv")
        assert request.parameters[kind] == (str(places / expected) if own else expected)


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_interrupt_leaves_the_earlier_page_and_no_process(tmp_path: Path) -> None:
    mark = tmp_path / "kernel"
    cells = [f"import os; open({str(mark)!r}, 'w').write(str(os.getpid()))", "import time; time.sleep(600)"]
    series.write_notebook(tmp_path / "nb" / "02_pooling.ipynb", cells, "Pool")
    out = tmp_path / "pages"
    out.mkdir()
    (out / "index.html").write_text(f"{page.GENERATOR} the earlier page")
    script = (
        "import sys, pathlib; from stlib import review; from stlib.__main__ import main;"
        "path = pathlib.Path(sys.argv.pop(1)); review._series = lambda: {path.stem: path}; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "nb" / "02_pooling.ipynb"), "review", "--out", str(out)]
    root = str(Path(review.__file__).parent.parent)
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 120
        while not (mark.is_file() and mark.read_text()) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and errors == "\nreview: interrupted; no page was written\n"
    assert [path.name for path in out.iterdir()] == ["index.html"]
    assert (out / "index.html").read_text().endswith("the earlier page")
    assert ended(int(mark.read_text()))


# --- Where the notebooks are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["stlib/notebooks", "notebooks"])
def test_notebooks_are_found_in_an_installed_wheel_and_in_a_checkout(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stlib").mkdir()
    series.write_series(tmp_path / inside)
    monkeypatch.setattr(review, "__file__", str(tmp_path / "stlib" / "review.py"))
    assert list(review._series()) == ["02_pooling", "05_similarity"]


def test_series_of_this_checkout_has_decisions_in_words_for_each_notebook() -> None:
    for name in review._series():
        assert set(page._words(name)) == {"notebook", "question", "holds", "does not hold", "not decided"}


# --- Paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("read /data/my texts/pairs one.csv twice", "read pairs one.csv twice"),
        ('File "/home/someone/x/y.py", line 3', 'File "y.py", line 3'),
        ("in /data/my texts/other.csv", "in other.csv"),
        ("<td>1</td></tr> and/or 3/4 https://host/usr/share/x", "<td>1</td></tr> and/or 3/4 https://host/usr/share/x"),
        ('<img src="data:image/png;base64,AAAA+/tmp/BBBB">', '<img src="data:image/png;base64,AAAA+/tmp/BBBB">'),
    ],
)
def test_of_absolute_paths_only_the_last_part_is_shown(text: str, shown: str) -> None:
    assert page.path_hider(["/data/my texts/pairs one.csv", "built-in"], [])(text) == shown
