"""The search command: what is found and why, what is kept, and what is refused."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest

from stlib import SentenceEncoder
from stlib.__main__ import main
from stlib.evidence.search import CHUNK_WORDS, Index, chunks, kept_vectors


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pages"
    place.mkdir()
    (place / "account.md").write_text(
        "# Reset your password\n\nChoose a new one by e-mail.\n\n# Close it\n\nWe delete all.\n"
    )
    (place / "money.md").write_text("# Correct an invoice\n\nError E4711 means that you were charged twice.\n")
    (place / ".hidden.md").write_text("# Secret\n\nNot for you.\n")
    return place


def test_meaning_and_words_both_find(encoder: SentenceEncoder, folder: Path) -> None:
    index = Index(encoder, chunks(folder))
    assert index.search("I can't get in any more")[0].name == "account.md#Reset your password"
    (best, *_) = index.search("E4711")
    assert best.name == "money.md#Correct an invoice" and best.words == ["e4711"] and best.bm25 > 0
    assert [one.rank for one in index.search("anything", k=2)] == [1, 2]


def test_a_long_section_is_cut_into_chunks_that_overlap(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(300)]
    (tmp_path / "long.txt").write_text(" ".join(words))
    found = [text.split() for _, text in chunks(tmp_path)]
    assert set().union(*found) == set(words) and max(map(len, found)) == CHUNK_WORDS
    assert all(set(one) & set(other) for one, other in itertools.pairwise(found))


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_cannot_be_asked_for(encoder: SentenceEncoder, folder: Path, k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k} is not allowed: an integer of at least 1"):
        Index(encoder, chunks(folder)).search("anything", k)


def test_only_what_is_new_is_encoded(encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    plain = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts, **more: (asked.extend(texts), plain(texts, **more))[1])
    first = kept_vectors(encoder, ["one text", "another"])
    again = kept_vectors(encoder, ["another", "a third"])
    assert asked == ["one text", "another", "a third"]
    np.testing.assert_array_equal(again[0], first[1])


def test_a_damaged_cache_is_made_anew(encoder: SentenceEncoder, cache: Path) -> None:
    expected = kept_vectors(encoder, ["one text", "another"])
    (file,) = (cache / "search").glob("*.npz")
    file.write_bytes(file.read_bytes()[:50])
    np.testing.assert_allclose(kept_vectors(encoder, ["one text", "another"]), expected, atol=1e-6)


def test_an_interrupt_keeps_what_was_encoded(encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stlib.evidence.search.AT_ONCE", 2)
    plain, calls = encoder.encode, 0

    def interrupted(texts: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return plain(texts)

    monkeypatch.setattr(encoder, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kept_vectors(encoder, ["a", "b", "c", "d"])
    asked: list[str] = []
    monkeypatch.setattr(encoder, "encode", lambda texts: (asked.extend(texts), plain(texts))[1])
    kept_vectors(encoder, ["a", "b", "c", "d"])
    assert asked == ["c", "d"]


KILLED = """
import os, signal, sys
import numpy
from stlib import SentenceEncoder
from stlib.evidence import search
search.AT_ONCE, left, whole = 2, 3, numpy.savez

def savez(file, **arrays):
    global left
    left -= 1
    if left == 0:  # the third write stops in the middle
        file.write_bytes(b"PK half of a file")
        os.kill(os.getpid(), signal.SIGKILL)
    whole(file, **arrays)

numpy.savez = savez
search.kept_vectors(SentenceEncoder(sys.argv[1], pooling="mean", truncation="ignore", device="cpu"), TEXTS)
"""


def test_a_kill_while_the_index_is_written_leaves_the_last_whole_one(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    model = checkpoints.build("bert", tmp_path / "bert")
    texts = checkpoints.TEXTS[:8]
    script = KILLED.replace("TEXTS", repr(texts))
    process = subprocess.run([sys.executable, "-c", script, str(model)], capture_output=True, text=True, timeout=300)
    assert process.returncode == -signal.SIGKILL, process.stderr
    (file,) = (cache / "search").glob("[!.]*.npz")
    assert len(np.load(file)["keys"]) == 4, "two writes were whole"
    encoder, asked = SentenceEncoder(model, pooling="mean", truncation="ignore", device="cpu"), list[str]()
    plain = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda more: (asked.extend(more), plain(more))[1])
    found = kept_vectors(encoder, texts)
    assert asked == texts[4:]
    np.testing.assert_allclose(found, plain(texts), atol=1e-6)


def test_the_command_answers_in_lines_of_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(folder), "--query", "password", "--query", "invoice", "--json", "--top", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["found"][0]["name"] for line in lines] == [
        "account.md#Reset your password",
        "money.md#Correct an invoice",
    ]


def test_passages_that_the_model_does_not_read_to_their_end_are_told_of_once(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(folder), "--query", "password", "--query", "invoice"]) == 0
    assert "warning" not in capsys.readouterr().err
    (tmp_path / "long.csv").write_text(f"text\n{'garden ' * 400}oven\nAnother row about cars.\nA third.\n")
    assert main(["search", str(tmp_path / "long.csv"), "--query", "oven", "--query", "cars"]) == 0
    told = capsys.readouterr().err
    assert told.count("warning") == 1 and "1 of 3 passages are longer than the 256 tokens" in told


def test_queries_come_from_a_pipe_and_a_table_is_searched_by_its_column(tmp_path: Path) -> None:
    table = tmp_path / "pages.csv"
    table.write_text("body\nReset your password\nTrack a parcel\n")
    run = subprocess.run(
        [sys.executable, "-m", "stlib", "search", str(table), "--column", "body", "--top", "1"],
        input="where is my delivery\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "pages.csv#2" in run.stdout and "Track a parcel" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such file or folder"),
        (["empty"], "at least 2 passages"),
        (["one.csv", "--column", "body"], "body"),
        (["one.csv", "--top", "0"], "--top"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.csv").write_text("text\nonly one\n")
    assert main(["search", *arguments, "--query", "x"]) == 2
    assert message in capsys.readouterr().err


def test_a_byte_that_is_no_text_does_not_end_the_search(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(folder), "--query", "invoice \udce9", "--query", "invoice", "--top", "1"]) == 0
    assert capsys.readouterr().out.count("1. ") == 2
