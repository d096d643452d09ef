"""Shards to vectors on this machine: what comes out, what is refused, what a kill leaves and what a rerun makes."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import checkpoints
import fsspec
import numpy as np
import pandas as pd
import pytest

from stlib import SentenceEncoder
from stlib.bulk import FailedShards, encode, encode_files

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["a", "b", "deep/c", "deep/d"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of `SentenceEncoder.encode` was given."""
    calls: list[int] = []
    encode = SentenceEncoder.encode

    def counting(self: SentenceEncoder, texts: Any, **options: Any) -> Any:
        calls.append(len(texts))
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceEncoder, "encode", counting)
    return calls


def only(folder: Path) -> list[str]:
    """Every file below the folder."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def embeddings(file: Path) -> np.ndarray:
    return np.stack(pd.read_parquet(file)["embedding"])


# ------------------------------------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_every_format_gives_the_vectors_of_encode(
    tmp_path: Path, tiny: Any, texts: list[str], write: Any, suffix: str, chunk_rows: int
) -> None:
    source = write(tmp_path / f"in{suffix}", texts)
    done = encode_files(source, "text", tmp_path / "out.npy", encoder=tiny, chunk_rows=chunk_rows)
    vectors = np.load(tmp_path / "out.npy")
    assert done == (1, 0, 60, 32) and vectors.dtype == np.float32 and vectors.flags.c_contiguous
    np.testing.assert_allclose(vectors, tiny.encode(texts), atol=1e-6)
    assert sorted(file.name for file in tmp_path.iterdir()) == [source.name, "out.npy"]


def test_each_shard_of_a_folder_becomes_one_of_the_same_name(tmp_path: Path, tiny: Any, shards: Path) -> None:
    for name in ("_SUCCESS", "README.md", ".b.jsonl.crc", "_old/x.jsonl"):  # what is not data
        (shards / name).parent.mkdir(exist_ok=True)
        (shards / name).write_text("{")
    out = tmp_path / "out"
    assert encode_files(shards, "text", out, encoder=tiny, chunk_rows=6) == (4, 0, 80, 32)
    assert only(out) == [f"{name}.parquet" for name in NAMES]
    frame = pd.read_parquet(out / "deep" / "c.parquet")
    texts = pd.read_parquet(shards / "deep" / "c.parquet")["text"].tolist()
    assert list(frame.columns) == ["row", "embedding"] and frame["row"].tolist() == list(range(20))
    assert frame["embedding"][0].dtype == np.float32
    np.testing.assert_allclose(np.stack(frame["embedding"]), tiny.encode(texts), atol=1e-6)


def test_files_and_folders_may_be_mixed_and_nothing_is_encoded_twice(tmp_path: Path, tiny: Any, shards: Path) -> None:
    inputs = [shards / "a.csv", shards / "deep", f"{shards}/deep/../deep/d.jsonl"]
    assert encode_files(inputs, "text", tmp_path / "out", encoder=tiny).shards == 3
    assert only(tmp_path / "out") == ["a.parquet", "c.parquet", "d.parquet"]


def test_an_address_that_fsspec_knows_is_read_and_written(tiny: Any, counted: list[int]) -> None:
    with fsspec.open("memory://bucket/in/deep/x.jsonl", "w") as file:
        file.write('{"text": "Tomatoes"}\n{"text": "Bread rises"}\n')
    addresses = ("memory://bucket/in", "text", "memory://bucket/out")
    try:
        assert encode_files(*addresses, encoder=tiny) == (1, 0, 2, 32)
        assert encode_files(*addresses, encoder=tiny) == (1, 1, 2, 32) and counted == [2]
        with fsspec.open("memory://bucket/out/deep/x.parquet") as file:
            vectors = np.stack(pd.read_parquet(file)["embedding"])
        np.testing.assert_allclose(vectors, tiny.encode(["Tomatoes", "Bread rises"]), atol=1e-6)
        assert len(fsspec.filesystem("memory").find("bucket")) == 2
    finally:
        fsspec.filesystem("memory").rm("bucket", recursive=True)


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_a_file_without_rows_gives_an_output_without_rows(tmp_path: Path, tiny: Any, suffix: str) -> None:
    (tmp_path / "in.csv").write_text("id,text\n")
    out = tmp_path / f"out{suffix}"
    assert encode_files(tmp_path / "in.csv", "text", out, encoder=tiny).rows == 0
    assert np.load(out).shape == (0, 32) if suffix == ".npy" else len(pd.read_parquet(out)) == 0


def test_a_named_prompt_goes_before_each_text(tmp_path: Path, tiny: Any, texts: list[str], write: Any) -> None:
    source, out = write(tmp_path / "in.jsonl", texts[:5]), tmp_path / "out.npy"
    encode_files(source, "text", out, encoder=tiny, prompt_name="query")
    np.testing.assert_allclose(np.load(out), tiny.encode(texts[:5], prompt_name="query"), atol=1e-6)


def test_without_normalisation_the_vectors_keep_their_lengths(
    tmp_path: Path, folder: Path, texts: list[str], write: Any
) -> None:
    encoder = SentenceEncoder(folder, normalize=False, truncation="ignore", device="cpu")
    encode_files(write(tmp_path / "in.csv", texts), "text", tmp_path / "out.npy", encoder=encoder)
    lengths = np.linalg.norm(np.load(tmp_path / "out.npy"), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(encoder.encode(texts), axis=1), rtol=1e-5)
    assert abs(lengths - 1).max() > 0.1


def test_truncation_is_one_warning_for_all_shards_and_is_remembered(tmp_path: Path, folder: Path, write: Any) -> None:
    inputs = [write(tmp_path / name, ["short", "long " * 40] * 5) for name in ("a.csv", "b.csv")]
    settings = ("text", tmp_path / "out")
    for kept in (0, 2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert encode_files(inputs, *settings, encoder=str(folder), device="cpu", chunk_rows=3).kept == kept
        assert [str(warning.message) for warning in caught] == ["10 of 20 texts were truncated to 12 tokens"]
    with pytest.raises(FailedShards, match=r"row 2, column 'text': \d+ tokens, more than max_length=12"):
        encode_files(inputs, *settings, encoder=str(folder), truncation="error")


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("bad", ["null", "long"])
def test_a_bad_row_is_named_by_shard_row_and_column_and_stops_no_other_shard(
    tmp_path: Path, folder: Path, shards: Path, write: Any, bad: str
) -> None:
    write(shards / "b.jsonl", ["fine"] * 9 + [None if bad == "null" else "long " * 40] + ["fine"])
    for name in ("a.csv", "deep/c.parquet", "deep/d.jsonl"):
        write(shards / name, ["short"] * 3)
    encoder = SentenceEncoder(folder, truncation="error", device="cpu")
    with pytest.raises(FailedShards) as raised:
        encode_files(shards, "text", tmp_path / "out", encoder=encoder, chunk_rows=4)
    reason = "no text" if bad == "null" else "more than max_length=12"
    first, last = str(raised.value).splitlines()
    assert first.startswith(f"{shards}/b.jsonl: ") and "row 10, column 'text'" in first and reason in first
    assert last == "1 of 4 shards failed" and list(raised.value.failed) == [f"{shards}/b.jsonl"]
    assert only(tmp_path / "out") == ["a.parquet", "deep/c.parquet", "deep/d.parquet"]

    write(shards / "b.jsonl", ["fine"])
    assert encode_files(shards, "text", tmp_path / "out", encoder=encoder) == (4, 3, 10, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": "none.csv"}, "input='.*none.csv': no such file"),
        ({"inputs": "empty"}, "nor a folder with files that end in one of .*jsonl"),
        ({"inputs": "in/notes.txt"}, r"input='.*notes.txt' is not allowed: its name must end in one of \('.csv'"),
        ({"inputs": ["in/a.csv", "twin/a.jsonl"]}, "a.parquet would be made twice"),
        ({"out": "out.csv"}, "out='.*out.csv' is not allowed"),
        ({"out": "out.npy"}, "out='.*out.npy' is not allowed for 4 shards: use a folder"),
        ({"inputs": "in/a.csv", "out": "in/notes"}, "is not allowed"),
        ({"out": "in/new"}, "lies in the input '.*', where the next run would read it"),
        ({"inputs": "in/deep/c.parquet", "out": "in/deep/c.parquet"}, "c.parquet would be an input, too"),
        ({"inputs": "in/deep/c.parquet", "out": "in/deep"}, "c.parquet would be an input, too"),
        ({"inputs": "in/a.csv", "out": "empty/x.npy"}, "is not allowed"),
        ({"inputs": "in/a.csv", "out": "memory://x.npy"}, r"on this machine, \.npy"),
        ({"column": "txt"}, r"no column 'txt'; it has \['id', 'text'\]"),
        ({"engine": "spark"}, r"engine='spark' is not allowed: use one of \('local', 'ray'\)"),
        ({"actors": 2}, "address and actors go with engine='ray'"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"truncation": "maybe"}, "truncation='maybe' is not allowed"),
        ({"encoder": "tiny", "dtype": "bfloat16"}, "dtype: already decided"),
        ({"encoder": "tiny", "prompt_name": "none"}, "prompt_name='none'"),
    ],
)
def test_bad_arguments_are_refused_before_a_model_is_loaded(
    tmp_path: Path, tiny: Any, shards: Path, monkeypatch: Any, change: dict[str, Any], message: str
) -> None:
    for name in ("empty/x.npy", "twin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "twin" / "a.jsonl").write_text("{}")
    for name in ("notes.txt", "notes"):
        (shards / name).write_text("text")
    monkeypatch.setattr("stlib.model.SentenceTransformer.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    before = only(tmp_path)
    arguments: dict[str, Any] = {"inputs": "in", "column": "text", "out": "out", "encoder": "some/model"} | change
    arguments["encoder"] = tiny if arguments["encoder"] == "tiny" else arguments["encoder"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        encode_files(**arguments)
    assert only(tmp_path) == before


def test_without_ray_the_error_says_how_to_get_it(tmp_path: Path, tiny: Any, shards: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(encode, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"engine='ray' needs Ray: pip install -e '.\[ray\]'"):
        encode_files(shards, "text", tmp_path / "out", encoder=tiny, engine="ray")


# ------------------------------------------------------------------------------------------------ what a rerun makes


def test_a_rerun_makes_only_what_is_missing_or_of_a_changed_input(
    tmp_path: Path, tiny: Any, shards: Path, write: Any, counted: list[int]
) -> None:
    out = tmp_path / "out"
    encode_files(shards, "text", out, encoder=tiny)
    before = {name: (out / name).read_bytes() for name in only(out)}
    (out / "deep" / "c.parquet").unlink()
    write(shards / "a.csv", ["only one"])
    counted.clear()
    assert encode_files(shards, "text", out, encoder=tiny) == (4, 2, 61, 32)
    assert counted == [1, 20]
    after = {name: (out / name).read_bytes() for name in only(out)}
    assert [name for name in before if before[name] != after[name]] == ["a.parquet"], "what was made again is the same"
    counted.clear()
    assert encode_files(shards, "text", out, encoder=tiny).kept == 4 and counted == []


@pytest.mark.parametrize("what", ["model", "model in 8 bits", "column", "prompt", "model and column and prompt"])
def test_shards_of_other_settings_are_not_mixed_or_replaced(
    tmp_path: Path, tiny: Any, shards: Path, counted: list[int], what: str
) -> None:
    out = tmp_path / "out"
    settings: dict[str, Any] = {"column": "text", "encoder": tiny, "prompt_name": None}
    encode_files(shards / "b.jsonl", out=out, **settings)
    if what == "model":
        settings["encoder"] = SentenceEncoder(tiny.model.folder, pooling="max", device="cpu", truncation="ignore")
    elif what == "model in 8 bits":
        settings["encoder"] = SentenceEncoder(tiny.model.folder, dtype="int8", device="cpu", truncation="ignore")
    elif what == "column":
        settings["column"] = "id"
        frame = pd.read_json(shards / "b.jsonl", lines=True, dtype=str)
        frame["id"] = frame["id"].astype(str)
        frame.to_json(shards / "b.jsonl", lines=True, orient="records")
    elif what == "prompt":
        settings["prompt_name"] = "query"
    else:
        pd.DataFrame({"x": [1]}).to_parquet(out / "b.parquet")  # of another program
    before = (out / "b.parquet").read_bytes()
    counted.clear()
    with pytest.raises(
        ValueError,
        match=f"b.parquet is there, of another {what.removesuffix(' in 8 bits')}: choose another out, or remove it",
    ):
        encode_files(shards / "b.jsonl", out=out, **settings)
    assert counted == [] and (out / "b.parquet").read_bytes() == before


def test_a_file_named_as_output_is_replaced(tmp_path: Path, tiny: Any, texts: list[str], write: Any) -> None:
    source = write(tmp_path / "in.csv", texts)
    for name in ("out.npy", "out.parquet"):
        (tmp_path / name).write_text("older")
        assert encode_files(source, "text", tmp_path / name, encoder=tiny).kept == 0
        assert encode_files(source, "text", tmp_path / name, encoder=tiny, prompt_name="query").kept == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), embeddings(tmp_path / "out.parquet"))


@pytest.mark.parametrize("name", ["there.npy", "to_come.parquet"])
def test_an_output_that_is_a_link_stays_one_and_keeps_its_mode(
    tmp_path: Path, tiny: Any, texts: list[str], write: Any, name: str
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "there.npy").write_text("old")
    (tmp_path / "far" / "there.npy").chmod(0o640)
    (tmp_path / name).symlink_to(f"far/{name}")
    encode_files(write(tmp_path / "in.csv", texts), "text", tmp_path / name, encoder=tiny)
    assert (tmp_path / name).is_symlink() and (tmp_path / "far" / name).stat().st_size > 1000
    assert (tmp_path / "far" / "there.npy").stat().st_mode & 0o777 == 0o640
    assert {file.name for file in (tmp_path / "far").iterdir()} == {"there.npy", name}


def test_a_file_that_changes_while_it_is_read_gives_no_output(
    tmp_path: Path, tiny: Any, texts: list[str], write: Any, monkeypatch: Any
) -> None:
    source, out = write(tmp_path / "in.csv", texts), tmp_path / "out.npy"
    encode = SentenceEncoder.encode

    def appending(self: SentenceEncoder, texts: Any, **options: Any) -> Any:
        with source.open("a") as file:
            file.write("60,one more\n")
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceEncoder, "encode", appending)
    with pytest.raises(FailedShards, match="changed while it was read"):
        encode_files(source, "text", out, encoder=tiny)
    assert only(tmp_path) == ["in.csv"]


# ------------------------------------------------------------------------------------------------ the command

RUN = """
import os, signal, sys
from stlib import SentenceEncoder
from stlib.__main__ import main
left, encode = int(sys.argv.pop(1)), SentenceEncoder.encode

def killing(self, *texts, **options):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, *texts, **options)

SentenceEncoder.encode = killing
sys.exit(main(sys.argv[1:]))
"""
PEAKS = """
import sys
from stlib import SentenceEncoder
from stlib.bulk import encode_files
folder = sys.argv[1]
encoder = SentenceEncoder(f"{folder}/wide", truncation="ignore", device="cpu")
for name in ("short.jsonl", "short.jsonl", "long.jsonl", "many"):  # the first warms up
    encode_files(f"{folder}/{name}", "text", f"{folder}/vectors/{name[:5]}", encoder=encoder, chunk_rows=250)
    print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def process(script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    line = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)


def test_after_a_kill_the_same_command_makes_the_rest_and_the_bytes_are_the_same(
    tmp_path: Path, folder: Path, tiny: Any, shards: Path
) -> None:
    out = tmp_path / "out"
    command = ("encode", shards, "--column", "text", "--out", out, "--model", folder, "--chunk-rows", 6)
    killed = process(RUN, 10, *command)  # in the middle of the third shard
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(only(out)) == 3 and only(out)[:2] == ["a.parquet", "b.parquet"], "two whole, and one without its name"
    again = process(RUN, 0, *command)
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"{out}: 80 vectors of 32 numbers in 4 shards, 2 of them from an earlier run\n"
    assert "encoding: 40 texts" in again.stderr and "texts were truncated to 12 tokens" in again.stderr
    assert "Traceback" not in again.stderr and ".py:" not in again.stderr
    encode_files(shards, "text", tmp_path / "whole", encoder=tiny, chunk_rows=6)
    assert only(out) == only(tmp_path / "whole")
    for name in only(out):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def run(*arguments: Any) -> int:
    parser = argparse.ArgumentParser()
    encode.add_arguments(parser)
    return encode.main(parser.parse_args([str(argument) for argument in arguments]))


def test_an_error_of_the_command_is_one_line(tmp_path: Path, shards: Path, folder: Path, capsys: Any) -> None:
    settings = ("--out", tmp_path / "out.npy", "--model", folder)
    assert run(shards / "a.csv", "--column", "txt", *settings) == 2
    assert capsys.readouterr().err == "error: a.csv: no column 'txt'; it has ['id', 'text']\n"


def test_failed_shards_are_named_at_the_end_with_exit_code_1(
    tmp_path: Path, shards: Path, folder: Path, write: Any, capsys: Any
) -> None:
    write(shards / "a.csv", ["fine"])
    for name in ("b.jsonl", "deep/d.jsonl"):
        write(shards / name, [None])
    assert run(shards, "--column", "text", "--out", tmp_path / "out", "--model", folder) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors[:2]] == [f"{shards}/b.jsonl", f"{shards}/deep/d.jsonl"]
    assert errors[2:] == ["error: 2 of 4 shards failed"]


def test_an_interrupt_leaves_the_last_good_output(
    tmp_path: Path, shards: Path, folder: Path, monkeypatch: Any, capsys: Any
) -> None:
    out = tmp_path / "out.npy"
    out.write_text("older")
    monkeypatch.setattr(SentenceEncoder, "encode", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(shards / "a.csv", "--column", "text", "--out", out, "--model", folder) == 130
    assert out.read_text() == "older" and only(tmp_path / "in") and "stopped" in capsys.readouterr().err
    assert not [name for name in only(tmp_path) if "new" in name]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_rows_or_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2000 rows more: 20 MB more of text and 20 MB more of vectors. Either held whole would show.

    The texts are of characters of four bytes, since tokenizers count characters. What is given up goes back to the
    system at once: else the allocator's own growth, some 10 MB, would be most of what is measured.
    """
    for name, value in {"MMAP_THRESHOLD": 16384, "TRIM_THRESHOLD": 0, "TOP_PAD": 0}.items():
        monkeypatch.setenv(f"MALLOC_{name}_", str(value))  # of glibc; others know no such names
    dense = [checkpoints.Dense(checkpoints.HIDDEN, 2500)]
    checkpoints.wrap(checkpoints.build("minilm", tmp_path / "plain"), tmp_path / "wide", dense=dense)
    (tmp_path / "many").mkdir()
    for name, rows in [("short", 500), ("long", 2500), *((f"many/{number}", 500) for number in range(5))]:
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"text": "{"🙂" * 2500} {row}"}}\n' for row in range(rows)))
    done = process(PEAKS, tmp_path)
    assert done.returncode == 0, done.stderr
    _, short, long, many = (int(line) / 1024 for line in done.stdout.split())
    assert long - short < 12 and many - short < 12, f"MB: {short}, {long} and {many}"
