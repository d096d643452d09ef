"""Files to vectors: what is refused, what comes out, what a kill leaves, and the same over Ray."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pandas as pd
import pytest

from stlib import SentenceEncoder
from stlib.bulk import encode as bulk

TEXTS = [f"{checkpoints.TEXTS[number % len(checkpoints.TEXTS)]} {number}" for number in range(60)]
TEXTS[7:9] = ["", 'two\nlines, "quoted"\tand tabbed']
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    place = tmp_path_factory.mktemp("model")
    prompts = {"query": "Tomatoes: "}
    return checkpoints.wrap(checkpoints.build("minilm", place / "plain"), place / "tiny", prompts=prompts, limit=12)


@pytest.fixture(scope="module")
def tiny(folder: Path) -> SentenceEncoder:
    return SentenceEncoder(folder, device="cpu", truncation="ignore")


@pytest.fixture
def counted(tiny: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of `encode` was given."""
    calls: list[int] = []
    encode = SentenceEncoder.encode

    def counting(self: SentenceEncoder, texts: Any, **options: Any) -> Any:
        calls.append(len(texts))
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceEncoder, "encode", counting)
    return calls


def write(file: Path, texts: Sequence[Any], column: str = "text") -> Path:
    frame = pd.DataFrame({"id": range(len(texts)), column: pd.Series(list(texts), dtype=object)})
    if file.suffix == ".parquet":
        frame.to_parquet(file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")), encoding="utf-8")
    else:
        frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    return file


def only(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# ------------------------------------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_every_format_gives_the_vectors_of_encode(tmp_path: Path, tiny: Any, suffix: str, chunk_rows: int) -> None:
    source = write(tmp_path / f"in{suffix}", TEXTS)
    done = bulk.encode_file(source, "text", tmp_path / "out.npy", encoder=tiny, chunk_rows=chunk_rows)
    vectors = np.load(tmp_path / "out.npy")
    assert done == (60, 0, 32) and vectors.dtype == np.float32 and vectors.flags.c_contiguous
    np.testing.assert_allclose(vectors, tiny.encode(TEXTS), atol=1e-6)
    assert only(tmp_path) == [source.name, "out.npy"]


def test_parquet_holds_row_numbers_and_fixed_size_lists(tmp_path: Path, tiny: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 25)  # several row groups
    bulk.encode_file(write(tmp_path / "in.csv", TEXTS), "text", tmp_path / "new" / "out.parquet", encoder=tiny)
    frame = pd.read_parquet(tmp_path / "new" / "out.parquet")
    assert list(frame.columns) == ["row", "embedding"] and frame["row"].tolist() == list(range(60))
    assert frame["embedding"][0].dtype == np.float32
    np.testing.assert_allclose(np.stack(frame["embedding"]), tiny.encode(TEXTS), atol=1e-6)
    assert only(tmp_path / "new") == ["out.parquet"]


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_a_file_without_rows_gives_an_output_without_rows(tmp_path: Path, tiny: Any, suffix: str) -> None:
    (tmp_path / "in.csv").write_text("id,text\n")
    out = tmp_path / f"out{suffix}"
    assert bulk.encode_file(tmp_path / "in.csv", "text", out, encoder=tiny).rows == 0
    assert np.load(out).shape == (0, 32) if suffix == ".npy" else len(pd.read_parquet(out)) == 0


def test_a_named_prompt_goes_before_each_text(tmp_path: Path, tiny: Any) -> None:
    source = write(tmp_path / "in.jsonl", TEXTS[:5])
    bulk.encode_file(source, "text", tmp_path / "out.npy", encoder=tiny, prompt_name="query")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), tiny.encode(TEXTS[:5], prompt_name="query"), atol=1e-6)


def test_truncation_is_one_warning_for_the_whole_file(tmp_path: Path, folder: Path) -> None:
    source = write(tmp_path / "in.csv", ["short", "long " * 40] * 10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bulk.encode_file(source, "text", tmp_path / "out.npy", encoder=str(folder), device="cpu", chunk_rows=3)
    assert [str(warning.message) for warning in caught] == ["10 of 20 texts were truncated to 12 tokens"]


# ------------------------------------------------------------------------------------------------ what is refused


def test_truncation_as_an_error_names_the_row_before_any_work(tmp_path: Path, folder: Path, counted: Any) -> None:
    source = write(tmp_path / "in.csv", ["short"] * 9 + ["long " * 40])
    with pytest.raises(ValueError, match=r"row 10, column 'text': \d+ tokens, more than max_length=12"):
        bulk.encode_file(source, "text", tmp_path / "o.npy", encoder=str(folder), truncation="error", chunk_rows=4)
    assert counted == [] and only(tmp_path) == ["in.csv"]


BAD = {
    "null.jsonl": (b'{"text": "a"}\n\n{"text": null}\n', r"row 2, column 'text': no text"),
    "absent.jsonl": (b'{"text": "a"}\n{"other": "b"}\n', r"row 2, column 'text': no text"),
    "number.jsonl": (b'{"text": "a"}\n{"text": 5}\n', r"row 2, column 'text': expected text, got int"),
    "surrogate.jsonl": (b'{"text": "a"}\n{"text": "\\ud800"}\n', r"row 2, column 'text': a lone surrogate"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": "b"\n', r"row 2, column 'text': Expecting"),
    "list.jsonl": (b'{"text": "a"}\n[1]\n', r"row 2, column 'text': expected an object, got list"),
    "latin.csv": ("text\nCafé\n".encode("latin-1"), r"row 1, column 'text': here or below: not UTF-8"),
    "comma.csv": (b"id,text\n1,a\n2,b, c\n", r"row 2, column 'text': 3 fields where the header has 2"),
    "quote.csv": (b'id,text\n1,a\n2,"b\n', r"row 2, column 'text': unexpected end of data"),
    "column.csv": (b"id,sentence\n1,a\n", r"no column 'text'; it has \['id', 'sentence'\]"),
    "column.jsonl": (b'{"id": 1, "sentence": "a"}\n', r"no column 'text'; it has \['id', 'sentence'\]"),
    "empty.csv": (b"", "no column 'text'; it has none"),
    "damaged.parquet": (b"PAR1", "row 1"),
    "in.txt": (b"text\na\n", r"input='in.txt' is not allowed: .*\.csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_by_its_row_before_any_work(tmp_path: Path, tiny: Any, counted: Any, name: str) -> None:
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        bulk.encode_file(tmp_path / name, "text", tmp_path / "out.npy", encoder=tiny, chunk_rows=1)
    assert counted == [] and only(tmp_path) == [name]


def test_a_null_in_parquet_is_named_by_its_row(tmp_path: Path, tiny: Any, counted: Any) -> None:
    source = write(tmp_path / "in.parquet", ["a", "b", None])
    with pytest.raises(ValueError, match="row 3, column 'text': no text"):
        bulk.encode_file(source, "text", tmp_path / "out.npy", encoder=tiny)
    with pytest.raises(ValueError, match=r"no column 'txt'; it has \['id', 'text'\]"):
        bulk.encode_file(source, "txt", tmp_path / "out.npy", encoder=tiny)
    assert counted == [] and only(tmp_path) == ["in.parquet"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "out.csv"}, r"out='out.csv' is not allowed"),
        ({"source": "none.csv"}, "no such file"),
        ({"engine": "spark"}, r"engine='spark' is not allowed: use one of \('local', 'ray'\)"),
        ({"actors": 2}, "address and actors go with engine='ray'"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"prompt_name": "none"}, "prompt_name='none'"),
        ({"dtype": "bfloat16"}, "dtype: already decided"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, tiny: Any, change: dict[str, Any], message: str) -> None:
    write(tmp_path / "in.csv", TEXTS)
    arguments: dict[str, Any] = {"source": "in.csv", "column": "text", "out": "out.npy", "encoder": tiny} | change
    arguments |= {name: tmp_path / arguments[name] for name in ("source", "out")}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        bulk.encode_file(**arguments)
    assert only(tmp_path) == ["in.csv"]


def test_the_output_may_not_be_the_input_or_a_folder(tmp_path: Path, tiny: Any) -> None:
    source = write(tmp_path / "in.parquet", TEXTS)
    with pytest.raises(ValueError, match="the input itself"):
        bulk.encode_file(source, "text", source, encoder=tiny)
    (tmp_path / "out.npy").mkdir()
    with pytest.raises(ValueError, match="a folder"):
        bulk.encode_file(source, "text", tmp_path / "out.npy", encoder=tiny)


# ------------------------------------------------------------------------------------------------ what a kill leaves


class Interrupted(Exception):
    """Stands in for a kill between two chunks."""


def interrupted(source: Path, out: Path, tiny: SentenceEncoder, monkeypatch: Any, chunks: int, **options: Any) -> None:
    """Run until `chunks` chunks are recorded."""
    encode, calls = SentenceEncoder.encode, iter(range(chunks))

    def failing(self: SentenceEncoder, texts: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            raise Interrupted
        return encode(self, texts, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(SentenceEncoder, "encode", failing)
        bulk.encode_file(source, "text", out, encoder=tiny, **{"chunk_rows": 8} | options)


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_finished_chunks_are_kept_and_not_computed_again(
    tmp_path: Path, tiny: Any, counted: Any, monkeypatch: Any, suffix: str
) -> None:
    source, out = write(tmp_path / "in.csv", TEXTS), tmp_path / f"out{suffix}"
    out.write_text("older")
    interrupted(source, out, tiny, monkeypatch, chunks=3)
    assert out.read_text() == "older", "the old output stands until the new one is whole"
    with (tmp_path / f"out{suffix}.partial" / "vectors.npy").open("ab") as file:
        file.write(b"half a chunk")  # what a kill in the middle of a write leaves
    counted.clear()
    assert bulk.encode_file(source, "text", out, encoder=tiny, chunk_rows=20) == (60, 24, 32)
    assert counted == [20, 16], "only the rows that were missing, whatever the chunk now is"
    vectors = np.load(out) if suffix == ".npy" else np.stack(pd.read_parquet(out)["embedding"])
    np.testing.assert_allclose(vectors, tiny.encode(TEXTS), atol=1e-6)
    assert only(tmp_path) == ["in.csv", out.name]


@pytest.mark.parametrize("what", ["input", "model", "column", "prompt"])
def test_chunks_of_other_settings_are_not_used(tmp_path: Path, tiny: Any, monkeypatch: Any, what: str) -> None:
    source, out = write(tmp_path / "in.csv", TEXTS), tmp_path / "out.npy"
    interrupted(source, out, tiny, monkeypatch, chunks=2)
    texts, column, encoder, prompt = TEXTS, "text", tiny, None
    if what == "input":
        texts = [*TEXTS[:-1], "changed"]
        write(source, texts)
    elif what == "model":
        encoder = SentenceEncoder(tiny.model.folder, pooling="max", device="cpu", truncation="ignore")
    elif what == "column":
        column, texts = "id", [str(number) for number in range(60)]
    else:
        prompt = "query"
    with pytest.warns(UserWarning, match=f"out.npy.partial is of another {what}: starting afresh"):
        done = bulk.encode_file(source, column, out, encoder=encoder, prompt_name=prompt)
    assert done.kept == 0
    np.testing.assert_allclose(np.load(out), encoder.encode(texts, prompt_name=prompt), atol=1e-6)


def test_a_manifest_that_cannot_be_read_means_a_fresh_start(tmp_path: Path, tiny: Any, monkeypatch: Any) -> None:
    source, out = write(tmp_path / "in.csv", TEXTS), tmp_path / "out.npy"
    interrupted(source, out, tiny, monkeypatch, chunks=2)
    (tmp_path / "out.npy.partial" / "manifest.json").write_text("{")
    assert bulk.encode_file(source, "text", out, encoder=tiny).kept == 0
    np.testing.assert_allclose(np.load(out), tiny.encode(TEXTS), atol=1e-6)


def test_a_file_that_changes_while_it_is_read_gives_no_output(tmp_path: Path, tiny: Any, monkeypatch: Any) -> None:
    source, out = write(tmp_path / "in.csv", TEXTS), tmp_path / "out.npy"
    encode = SentenceEncoder.encode

    def appending(self: SentenceEncoder, texts: Any, **options: Any) -> Any:
        with source.open("a") as file:
            file.write("60,one more\n")
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceEncoder, "encode", appending)
    with pytest.raises(ValueError, match="changed while it was read"):
        bulk.encode_file(source, "text", out, encoder=tiny)
    assert not out.exists()


def test_truncation_as_an_error_holds_for_what_an_earlier_run_began(
    tmp_path: Path, folder: Path, monkeypatch: Any
) -> None:
    source, out = write(tmp_path / "in.csv", [*TEXTS, "word " * 400]), tmp_path / "out.npy"
    interrupted(source, out, SentenceEncoder(folder, truncation="ignore"), monkeypatch, chunks=2)
    with pytest.raises(ValueError, match=r"\d+ of 61 texts were truncated"):
        bulk.encode_file(source, "text", out, encoder=SentenceEncoder(folder, truncation="error"), chunk_rows=8)
    with pytest.warns(UserWarning, match=r"\d+ of 61 texts were truncated"):
        done = bulk.encode_file(source, "text", out, encoder=SentenceEncoder(folder), chunk_rows=8)
    assert done.kept == 16


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_a_kill_after_the_rename_leaves_only_clearing_away(
    tmp_path: Path, tiny: Any, counted: Any, monkeypatch: Any, suffix: str
) -> None:
    source, out = write(tmp_path / "in.csv", TEXTS), tmp_path / f"out{suffix}"
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(bulk.shutil, "rmtree", lambda *_: (_ for _ in ()).throw(Interrupted()))
        bulk.encode_file(source, "text", out, encoder=tiny)
    before = out.read_bytes()
    counted.clear()
    assert bulk.encode_file(source, "text", out, encoder=tiny) == (60, 60, 32)
    assert counted == [] and out.read_bytes() == before and only(tmp_path) == ["in.csv", out.name]


def test_two_runs_at_one_output_do_not_mix(tmp_path: Path, tiny: Any) -> None:
    pytest.importorskip("fcntl")
    source = write(tmp_path / "in.csv", TEXTS)
    with bulk._claim(tmp_path / "out.npy.partial"), pytest.raises(ValueError, match="still at work"):
        bulk.encode_file(source, "text", tmp_path / "out.npy", encoder=tiny)
    assert bulk.encode_file(source, "text", tmp_path / "out.npy", encoder=tiny).rows == 60


RUN = """
import argparse, sys
from stlib.bulk import encode as bulk
parser = argparse.ArgumentParser()
bulk.add_arguments(parser)
sys.exit(bulk.main(parser.parse_args()))
"""
PEAKS = """
import sys
from stlib import SentenceEncoder
from stlib.bulk import encode as bulk
bulk.CHUNK_ROWS = 250
folder = sys.argv[1]
encoder = SentenceEncoder(f"{folder}/wide", truncation="ignore", device="cpu")
for name in ("short", "short", "long"):  # the first warms up
    bulk.encode_file(f"{folder}/{name}.csv", "text", f"{folder}/{name}.parquet", encoder=encoder, chunk_rows=250)
    print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def command(*arguments: Any, script: str = RUN) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    line = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_loses_nothing_and_repeats_nothing(
    tmp_path: Path, folder: Path, tiny: Any, counted: Any, kill: signal.Signals
) -> None:
    texts = [f"{text} {number}" for number in range(400) for text in TEXTS[:10]]
    source, out = write(tmp_path / "in.csv", texts), tmp_path / "out.npy"
    settings = ("--column", "text", "--out", out, "--model", folder, "--truncation", "ignore")
    process = command(source, *settings, "--chunk-rows", 2)
    manifest, done = tmp_path / "out.npy.partial" / "manifest.json", 0
    while done < 6 and process.poll() is None:
        time.sleep(0.01)
        done = json.loads(manifest.read_text())["done"] if manifest.exists() else 0
    process.send_signal(kill)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (130 if kill == signal.SIGINT else -signal.SIGKILL), errors
    assert not out.exists() and json.loads(manifest.read_text())["done"] >= done >= 6

    done = json.loads(manifest.read_text())["done"]
    assert done < len(texts), "killed before the end"
    before = np.fromfile(manifest.with_name("vectors.npy"), np.uint8)[: done * 128]
    assert bulk.encode_file(source, "text", out, encoder=tiny) == (len(texts), done, 32)
    assert sum(counted) == len(texts) - done, "finished chunks are not computed again"
    np.testing.assert_array_equal(np.fromfile(out, np.uint8)[: len(before)], before)
    np.testing.assert_allclose(np.load(out), tiny.encode(texts), atol=1e-6)


def test_the_command_prints_a_bar_and_one_line(tmp_path: Path, folder: Path, tiny: Any) -> None:
    source, out = write(tmp_path / "in.csv", TEXTS), tmp_path / "out.npy"
    process = command(source, "--column", "text", "--out", out, "--model", folder)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output == f"{out}: 60 vectors of 32 numbers\n"
    assert "encoding: 100%" in errors and "60/60" in errors and "texts were truncated to 12 tokens" in errors
    assert "Traceback" not in errors and ".py:" not in errors


def test_an_error_of_the_command_is_one_line(tmp_path: Path, capsys: Any) -> None:
    parser = argparse.ArgumentParser()
    bulk.add_arguments(parser)
    source = write(tmp_path / "in.csv", TEXTS)
    arguments = [str(source), "--column", "txt", "--out", str(tmp_path / "out.npy")]
    assert bulk.main(parser.parse_args(arguments)) == 2
    assert capsys.readouterr().err == "error: in.csv: no column 'txt'; it has ['id', 'text']\n"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """4000 rows more: 40 MB more of text and 40 MB more of vectors. Either held whole would show."""
    dense = [checkpoints.Dense(checkpoints.HIDDEN, 2500)]
    checkpoints.wrap(checkpoints.build("minilm", tmp_path / "plain"), tmp_path / "wide", dense=dense)
    for name, rows in (("short", 1000), ("long", 5000)):
        (tmp_path / f"{name}.csv").write_text("text\n" + "".join(f"{'x' * 10_000} {row}\n" for row in range(rows)))
    output, errors = command(tmp_path, script=PEAKS).communicate(timeout=300)
    _, short, long = (int(line) / 1024 for line in output.split())
    assert long - short < 15, f"MB: {short} and {long}; {errors}"


# ------------------------------------------------------------------------------------------------ over Ray


def ray_or_skip() -> None:
    pytest.importorskip("ray.data", reason="Ray is an extra: pip install -e '.[ray]'", exc_type=ImportError)


def skip_if_too_busy(error: str) -> None:
    """Ray gives its own processes 15 seconds to start, which a loaded machine may not."""
    if "timed out during startup" in error:
        pytest.skip(f"too busy for Ray to start: {error.splitlines()[-1]}")


def test_ray_gives_the_same_vectors_in_the_same_order(tiny: Any, capfd: Any) -> None:
    ray_or_skip()
    import ray

    try:
        vectors = bulk.encode_with_ray(TEXTS, tiny, actors=2, chunk_rows=7)
    except OSError as error:
        skip_if_too_busy(str(error))
        raise
    np.testing.assert_allclose(vectors, tiny.encode(TEXTS), atol=1e-6)
    assert bulk.encode_with_ray([], tiny).shape == (0, 32)
    for wrong in ("one text", ["fine", None]):
        with pytest.raises(TypeError, match="sentences"):
            bulk.encode_with_ray(wrong, tiny)
    for name in ("actors", "chunk_rows"):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
            bulk.encode_with_ray(TEXTS, tiny, **{name: 0})
    assert not ray.is_initialized(), "what it started it stops"
    assert capfd.readouterr() == ("", ""), "quiet"


def test_the_command_goes_on_over_ray_after_a_kill(tmp_path: Path, tiny: Any, folder: Path, monkeypatch: Any) -> None:
    ray_or_skip()
    source, out = write(tmp_path / "in.csv", TEXTS), tmp_path / "out.npy"
    interrupted(source, out, tiny, monkeypatch, chunks=2)
    settings = ("--model", folder, "--truncation", "ignore", "--chunk-rows", 5, "--engine", "ray", "--actors", 1)
    process = command(source, "--column", "text", "--out", out, *settings)
    output, errors = process.communicate(timeout=300)
    skip_if_too_busy(errors)
    assert process.returncode == 0, errors
    assert output == f"{out}: 60 vectors of 32 numbers, 16 of them from an earlier run\n"
    assert all("encoding:" in line for line in errors.replace("\r", "\n").split("\n") if line), "only the bar"
    np.testing.assert_allclose(np.load(out), tiny.encode(TEXTS), atol=1e-6)


def test_without_ray_the_error_says_how_to_get_it(tmp_path: Path, tiny: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"engine='ray' needs Ray Data: pip install -e '.\[ray\]'"):
        bulk.encode_file(write(tmp_path / "in.csv", TEXTS), "text", tmp_path / "o.npy", encoder=tiny, engine="ray")
    assert only(tmp_path) == ["in.csv"]
