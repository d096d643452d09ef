"""The review: what is refused before anything runs, what a run leaves, what becomes of failures and interrupts."""

from __future__ import annotations

import base64
import html
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest
import series

from stlib.__main__ import main
from stlib.evidence.claims import definition
from stlib.evidence.records import Record
from stlib.review import page
from stlib.review import series as review
from stlib.review.cells import path_hider

PASSAGES = "query,text\n" + "".join(f"query {n},passage {n}\n" for n in range(12))
PAIRS = "sentence1,sentence2,score\n" + "".join(f"one {n},two {n},{n % 6}\n" for n in range(12))

NAMES = ("02_pool_the_tokens", "02_pool_the_tokens.lab", "05_heatmaps")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name no page may show, with a series and a pairs file."""
    folder = tmp_path_factory.mktemp("secret place")
    series.write_series(folder / "notebooks")
    (folder / "my pairs.csv").write_text(PAIRS)
    (folder / "my passages.csv").write_text(PASSAGES)
    return folder


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    found = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    extra = {f"{path.stem}.lab": path for path in folder.glob("labs/*.ipynb")}
    monkeypatch.setattr(review, "_series", lambda labs=False: dict(sorted((found | (extra if labs else {})).items())))
    monkeypatch.setattr(review, "_encode_shared", lambda request: None)  # these lessons ask for no vectors


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
    """One run of the tiny series with its lab, on passages alone: its folder, what it returned, what it said."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(monkeypatch, places / "notebooks")
        monkeypatch.chdir(places)
        result = review.run_series("pages", passages="my passages.csv", seed=3, labs=True, progress=said.append)
    return places / "pages", result, "".join(said)


# --- A run that succeeds ----------------------------------------------------------------------------------------------


def test_run_writes_index_pages_notebooks_and_evidence(done: tuple[Path, page.Review, str]) -> None:
    out, result, _ = done
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    expected = {f"{name}{end}" for name in NAMES for end in (".html", ".ipynb")} | {"index.html"}
    assert files == expected | {f"evidence/{name}.json" for name in NAMES}
    assert result.whole and [one.name for one in result.results] == list(NAMES)


def test_progress_is_one_line_a_notebook_with_time_and_verdicts(done: tuple[Path, page.Review, str]) -> None:
    lines = sorted(done[2].splitlines(), key=lambda line: line.partition(":"))
    assert re.fullmatch(r"02_pool_the_tokens: \d+ s, 1 claim: 0 hold, 1 do not, 0 not decided", lines[0])
    assert re.fullmatch(r"02_pool_the_tokens.lab: \d+ s, 1 claim: 1 hold, 0 do not, 0 not decided", lines[1])
    assert re.fullmatch(r"05_heatmaps: \d+ s, 1 claim: 0 hold, 0 do not, 1 not decided", lines[2])
    assert len(lines) == 3


def test_index_shows_decision_evidence_figure_condition_and_provenance(done: tuple[Path, page.Review, str]) -> None:
    text = html.unescape((done[0] / "index.html").read_text())
    claim = definition("mean-beats-cls")
    for words in (claim.sentence, claim.fails, claim.flips_when, "−0.3 points [−1.2, 0.6]", "asked: at least 1 point"):
        assert words in text
    assert 'alt="A line that rises, falls & rises <again>."' in text
    assert "all-MiniLM-L6-v2" in text and "my passages.csv" in text and "seed 3" in text and "a" * 64 in text
    assert "Open: give sentences of your own. Until then: set no threshold" in text


def test_links_lead_to_the_cell_that_decided_the_claim(done: tuple[Path, page.Review, str]) -> None:
    text, notebook = ((done[0] / name).read_text() for name in ("index.html", "02_pool_the_tokens.html"))
    [anchor] = set(
        re.findall(rf'href="02_pool_the_tokens.html#(cell-\d+)">{definition("mean-beats-cls").sentence}', text)
    )
    cell = notebook.split(f'id="{anchor}"')[1].split('<div class="cell')[0]
    assert "mean-beats-cls" in cell and "does not hold" in cell


def test_pages_ask_for_nothing_and_links_lead_to_pages_that_are_there(done: tuple[Path, page.Review, str]) -> None:
    for path in done[0].glob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script|<iframe|url\(|@import|javascript:", text)
        assert set(re.findall(r'src="([^"]{11})', text)) <= {"data:image/"}
        for target in re.findall(r'href="([^"#]+)', text):
            assert target.startswith(("https://example.org/paper", "data:,")) or (done[0] / target).is_file(), target
    text = (done[0] / "02_pool_the_tokens.html").read_text()
    assert 'See <a href="05_heatmaps.html#Related?">heatmaps</a>, <a>a solution</a>' in text
    assert '<a href="02_pool_the_tokens.lab.html">the lab</a>' in text and "<a>code</a>" in text
    assert "[a picture]" in text
    assert 'Back to <a href="02_pool_the_tokens.html">the lesson' in (done[0] / f"{NAMES[1]}.html").read_text()


def test_drawing_is_an_image_with_its_words_in_which_nothing_runs(done: tuple[Path, page.Review, str]) -> None:
    text = (done[0] / "02_pool_the_tokens.html").read_text()
    [(drawn, alt)] = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]*)">', text)
    assert alt == "A box." and "<rect" in base64.b64decode(drawn).decode()


def test_no_page_names_an_absolute_path(done: tuple[Path, page.Review, str], places: Path) -> None:
    for path in done[0].glob("*.html"):
        text = re.sub(r"data:image/png[^\"]*", "", path.read_text())
        drawn = [base64.b64decode(each).decode() for each in re.findall(r"svg\+xml;base64,([^\"]+)", text)]
        for place in (str(places), "secret", "/home/someone", str(Path.home()), sys.prefix, sys.base_prefix + "/"):
            assert place not in text + "".join(drawn), f"{path.name} names {place}"
    shown = (done[0] / "02_pool_the_tokens.html").read_text()
    assert "read my passages.csv and __init__.py" in shown  # what the notebook printed with both paths whole


def test_same_seed_gives_the_same_claims_and_only_leaves_nothing_of_the_others(
    done: tuple[Path, page.Review, str], places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, places / "notebooks")
    out = places / "again"
    out.mkdir()
    (out / "index.html").write_text(page.GENERATOR)
    (out / "05_heatmaps.html").write_text("of an earlier review")
    (out / "mine.txt").write_text("kept")
    review.run_series(out, passages=places / "my passages.csv", seed=3, only=["2"])
    first, again = (Record.read(folder / "evidence" / "02_pool_the_tokens.json") for folder in (done[0], out))
    assert first.claims == again.claims
    assert not (out / "05_heatmaps.html").exists() and not (out / f"{NAMES[1]}.html").exists()
    assert (out / "mine.txt").exists()


def test_two_run_at_a_time_with_half_the_threads_and_timings_alone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    show = "import os, time; print(time.time(), os.environ.get('OMP_NUM_THREADS')); time.sleep(1.5); print(time.time())"
    for name in ("00_a", "01_b", "02_c", "07_d"):
        series.write_notebook(tmp_path / "nb" / f"{name}.ipynb", [show], "A")
    use(monkeypatch, tmp_path / "nb")
    results = review.run_series(tmp_path / "pages").results
    printed = ["".join(output.text for output in one.notebook.cells[-1].outputs).split() for one in results]
    begun, threads, ended = zip(*printed, strict=True)
    assert threads == ("2", "2", "2", "None")
    assert float(begun[1]) < float(ended[2]) and float(begun[2]) < float(ended[1])
    assert float(begun[0]) >= min(float(ended[1]), float(ended[2]))  # short ones fill the gap at the end
    assert float(begun[3]) >= max(map(float, ended[:3]))


@pytest.mark.parametrize(("lessons", "kept"), [(("02_a", "05_b"), True), (("02_a", "07_b"), False)])
def test_what_several_lessons_ask_for_is_encoded_before_they_run(
    lessons: tuple[str, str], kept: bool, models: Path, places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "cache"))
    show = f"import pathlib; print(len([*pathlib.Path({str(tmp_path)!r}, 'cache', 'vectors').glob('[0-9a-f]*.npz')]))"
    for name in lessons:
        series.write_notebook(tmp_path / "nb" / f"{name}.ipynb", [show], "A")
    encode = review._encode_shared
    use(monkeypatch, tmp_path / "nb")
    monkeypatch.setattr(review, "_encode_shared", encode)
    given = {"passages": places / "my passages.csv", "pairs": places / "my pairs.csv"}
    results = review.run_series(tmp_path / "pages", model=models / "a", **given).results
    seen = {int(one.notebook.cells[-1].outputs[0].text) for one in results}
    assert seen == ({6} if kept else {0})  # queries, passages and pairs: all modes, and the model's own vectors


def test_kernel_is_this_interpreter_whatever_is_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text('{"argv": ["/no/such/python"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    series.write_notebook(tmp_path / "02_a.ipynb", ["import sys; sys.executable"], "A")
    use(monkeypatch, tmp_path)
    assert review.run_series(tmp_path / "pages").whole
    ran = nbformat.read(tmp_path / "pages" / "02_a.ipynb", as_version=4).cells[-1].outputs[0].data["text/plain"]
    assert ran == repr(sys.executable)


# --- Differences from the reference -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high", "differs"), [(9.0, 11.4, True), (-1.0, 21.4, False)])
def test_verdict_differs_from_the_reference_only_where_the_measurements_do(
    low: float, high: float, differs: bool, done: tuple[Path, page.Review, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def recorded(run: str, name: str) -> Record:
        record = Record.read(done[0] / "evidence" / f"{name}.json")
        error = (high - low) / 4
        other = {"verdict": "holds", "value": 10.2, "interval": (low, high), "standard_error": error}
        return replace(record, claims=[replace(claim, **other) for claim in record.claims])

    monkeypatch.setattr(page, "recorded", recorded)
    results = [page.Result(one.name, one.seconds, "", one.notebook, one.record) for one in done[1].results]
    page.write(page.Review(done[1].parameters, done[1].date, results), tmp_path)
    top, rest = (tmp_path / "index.html").read_text().split('id="decisions"')
    assert "A ✓ beside a ? is no difference" in top
    if differs:
        assert "1 of 3 verdicts differ from the reference run" in top  # the one without data of its own is none
        assert "does not hold</strong> here, −0.3 points [−1.2, 0.6]; holds in the reference, 10.2 points" in top
    assert ("differs from the reference: holds there" in rest) == differs
    assert ("No verdict differs from the reference run" in top) != differs


# --- Failures ---------------------------------------------------------------------------------------------------------


def test_failing_notebook_leaves_its_output_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series.write_series(tmp_path / "notebooks")
    fails = ["print('so far')", 'raise ValueError(f"cannot read {evidence}/x.csv")', "print('never')"]
    series.write_notebook(tmp_path / "notebooks" / "02_pool_the_tokens.ipynb", fails, "Pool")
    use(monkeypatch, tmp_path / "notebooks")
    result = review.run_series(tmp_path / "pages")
    assert not result.whole
    assert [bool(each.error) for each in result.results] == [True, False]
    index, notebook = ((tmp_path / "pages" / name).read_text() for name in ("index.html", "02_pool_the_tokens.html"))
    assert "1 of 2 notebooks failed" in index and "ValueError: cannot read x.csv" in index
    assert "so far" in notebook and "Traceback" not in notebook and str(tmp_path) not in index + notebook
    assert "so far" in (tmp_path / "pages" / "02_pool_the_tokens.ipynb").read_text()
    assert (tmp_path / "pages" / "evidence" / "05_heatmaps.json").is_file()


def test_timeout_ends_notebook_and_kernel_and_keeps_what_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = ["import os; print(os.getpid())", "import time; time.sleep(600)"]
    series.write_notebook(tmp_path / "nb" / "02_pool_the_tokens.ipynb", cells, "Pool")
    use(monkeypatch, tmp_path / "nb")
    result = review.run_series(tmp_path / "pages", timeout=10)
    assert result.results[0].error == "stopped after 10 s"
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
        (["--out", "new", "--only", "02", "9"], "no notebook '9'; expected some of 02_pool_the_tokens, 05_heatmaps"),
        (["--out", "my pairs.csv"], "is a file"),
        (["--out", "my pairs.csv/below"], "cannot be written"),
        (["--out", "."], "holds the notebooks themselves"),
        (["--out", "new", "--model", "no/such/model/here"], "'no/such/model/here': no such folder"),
        (["--out", "new", "--model", "notebooks"], "model: .*notebooks holds no model"),
        (["--out", "new", "--pairs", "absent.csv"], "pairs: .*absent.csv"),
        (["--out", "new", "--pairs", "notebooks/02_pool_the_tokens.ipynb"], "pairs: .*cannot read '.ipynb'"),
        (["--out", "new", "--sentences", "my pairs.csv"], "sentences: my pairs.csv: no column 'text'"),
        (["--out", "new", "--passages", "my pairs.csv"], "passages: my pairs.csv: no column 'query'"),
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


@pytest.mark.parametrize("command", [["review"], ["compare", "no/such/model"]])
@pytest.mark.usefixtures("nothing_runs")
def test_folder_that_holds_files_and_no_page_of_ours_is_refused_and_left_alone(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work" / "evidence").mkdir(parents=True)
    (tmp_path / "work" / "06_clusters.ipynb").write_text("mine")
    assert main([*command, "--out", str(tmp_path / "work")]) == 2
    assert "holds '06_clusters.ipynb' and no" in capsys.readouterr().err
    assert (tmp_path / "work" / "06_clusters.ipynb").read_text() == "mine"
    (tmp_path / "work" / "06_clusters.ipynb").unlink()
    assert main([*command, "--out", str(tmp_path / "work")]) == 2  # a folder is something, too
    assert "holds 'evidence' and no" in capsys.readouterr().err


@pytest.mark.parametrize("left", [[], [".review-a1b2", ".git"]])
def test_empty_folder_is_taken_and_so_is_one_of_names_that_begin_with_a_dot(left: list[str], tmp_path: Path) -> None:
    for name in left:
        (tmp_path / name).mkdir()
    assert review.checked_out(tmp_path) == tmp_path


@pytest.mark.usefixtures("nothing_runs")
def test_notebook_without_one_of_the_parameters_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = series.PARAMETERS.replace("pairs =", "pears =")
    series.write_notebook(tmp_path / "02_pool_the_tokens.ipynb", [], "Pool", given)
    use(monkeypatch, tmp_path)
    assert "02_pool_the_tokens: its parameters cell has no pairs" in refused(capsys, "--out", str(tmp_path / "pages"))


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("given", [(), ("pairs",), ("passages",), ("pairs", "sentences", "passages")])
def test_what_is_not_given_beside_data_of_ones_own_is_none(given: tuple[str, ...], places: Path) -> None:
    (places / "my sentences.csv").write_text("text\none\ntwo\n")
    request = review.prepare("new", **{kind: f"my {kind}.csv" for kind in given})  # type: ignore[arg-type]
    for kind in ("pairs", "sentences", "passages"):
        own, otherwise = str(places / f"my {kind}.csv"), "none" if given else "built-in"
        assert request.parameters[kind] == (own if kind in given else otherwise)


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_interrupt_leaves_the_earlier_page_and_no_process(tmp_path: Path) -> None:
    mark = tmp_path / "kernel"
    cells = [f"import os; open({str(mark)!r}, 'w').write(str(os.getpid()))", "import time; time.sleep(600)"]
    series.write_notebook(tmp_path / "nb" / "02_a.ipynb", cells, "Pool")
    out = tmp_path / "pages"
    out.mkdir()
    (out / "index.html").write_text(f"{page.GENERATOR} the earlier page")
    script = (
        "import sys, pathlib; from stlib.review import series; from stlib.__main__ import main;"
        "path = pathlib.Path(sys.argv.pop(1)); series._series = lambda labs=False: {path.stem: path};"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        script,
        str(tmp_path / "nb" / "02_a.ipynb"),
        "review",
        "--out",
        str(out),
    ]
    root = str(Path(review.__file__).parents[2])
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
    assert process.returncode == 130 and errors == "\nreview: interrupted; nothing was written\n"
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
    monkeypatch.setattr(review, "__file__", str(tmp_path / "stlib" / "review" / "series.py"))
    assert list(review._series()) == [NAMES[0], NAMES[2]]
    assert list(review._series(labs=True)) == list(NAMES)


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
    assert path_hider(["/data/my texts/pairs one.csv", "built-in"], [])(text) == shown
