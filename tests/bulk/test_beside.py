"""What stands where an output goes: the unfinished output of another run, what a dead one has left, a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stlib import SentenceEncoder
from stlib.bulk import encode_files, shards


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_that_ends_leaves_what_another_is_at(
    tmp_path: Path, tiny: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins and ends while the first is in the middle of its shard."""
    one, other, out = write(tmp_path / "one.csv", ["a", "b"]), write(tmp_path / "other.csv", ["c"]), tmp_path / "out"
    plain, begun = SentenceEncoder.encode, list[bool]()

    def encode(self: SentenceEncoder, texts: Any, **options: Any) -> Any:
        if not begun:
            begun.append(True)
            assert encode_files(other, "text", out, encoder=tiny).rows == 1
        return plain(self, texts, **options)

    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    assert encode_files(one, "text", out, encoder=tiny).rows == 2
    assert names(out) == ["one.parquet", "other.parquet"]


def test_only_what_nobody_is_at_is_removed(
    tmp_path: Path, tiny: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    own, gone = shards.beside(str(out / "a.parquet")), dead()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: gone)
        left = shards.beside(str(out / "a.parquet"))
    with monkeypatch.context() as patch:
        patch.setattr(shards, "_here", lambda: "another-machine")
        far, old = (shards.beside(str(out / "a.parquet")) for _ in range(2))
    for path in (own, left, far, old, str(out / ".stlib-new-mine")):
        Path(path).write_text("half")
    os.utime(old, (0, 0))
    encode_files(write(tmp_path / "b.csv", ["x"]), "text", out, encoder=tiny)
    assert names(out) == sorted(["b.parquet", ".stlib-new-mine", Path(own).name, Path(far).name])


def test_a_folder_in_the_place_of_an_output_is_refused_before_any_is_made(
    tmp_path: Path, tiny: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [write(tmp_path / f"{name}.csv", ["x"]) for name in "ab"]
    (tmp_path / "out" / "b.parquet").mkdir(parents=True)
    monkeypatch.setattr(SentenceEncoder, "encode", lambda *_, **__: pytest.fail("encoded"))
    with pytest.raises(ValueError, match=r"out/b.parquet is a folder: choose another out, or remove it"):
        encode_files(inputs, "text", tmp_path / "out", encoder=tiny)
    assert names(tmp_path / "out") == ["b.parquet"] and not names(tmp_path / "out" / "b.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_shard_of_no_bytes_gives_one_of_no_rows(tmp_path: Path, tiny: Any, write: Any, suffix: str) -> None:
    """As Spark leaves for a part without rows, and the first one may be such."""
    for name in ("in", "empty"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"part-0{suffix}").touch()
    write(tmp_path / "in" / f"part-1{suffix}", ["x", "y"])
    out = tmp_path / "out"
    assert encode_files(tmp_path / "in", "text", out, encoder=tiny) == (2, 0, 2, 32)
    assert encode_files(tmp_path / "in", "text", out, encoder=tiny).kept == 2
    with pytest.raises(ValueError, match="no column 'txt'"):
        encode_files(tmp_path / "in", "txt", tmp_path / "other", encoder=tiny)
    with pytest.raises(ValueError, match=f"part-0{suffix}"):  # nowhere is there such a column
        encode_files(tmp_path / "empty", "text", tmp_path / "nothing.npy", encoder=tiny)
