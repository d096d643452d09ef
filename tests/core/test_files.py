"""Files and folders are there whole or as they were; warnings point at the reader's own line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import TEXTS
from reference import Small

from stlib import SentenceEncoder, files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_at_the_end_of_the_block_and_not_before(tmp_path: Path) -> None:
    file = tmp_path / "vectors.npz"
    file.write_text("old")
    with files.in_place_of(file) as fresh:
        assert fresh.suffix == ".npz" and fresh.parent == tmp_path
        fresh.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new" and names(tmp_path) == ["vectors.npz"]


def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    files.write_json(file, {"é": 1})
    with pytest.raises(TypeError):
        files.write_json(file, {"not": {"JSON"}})
    with pytest.raises(KeyboardInterrupt), files.in_place_of(file) as fresh:
        fresh.write_text("half a f")
        raise KeyboardInterrupt
    assert json.loads(file.read_text(encoding="utf-8")) == {"é": 1} and names(tmp_path) == ["record.json"]


def test_a_folder_is_exchanged_in_one_step_where_the_system_can(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        place.mkdir()
        (place / place.name).touch()
    if not files._exchanged(one, other):
        pytest.skip("this system or file system cannot exchange two folders")
    assert (one / "other").exists() and (other / "one").exists()


def test_there_is_no_moment_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed leaves what there is at that moment."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    if not files._exchanged(one, other):
        pytest.skip("this system or file system cannot exchange two folders")
    rename, there = Path.rename, []

    def watched(self: Path, target: Path) -> Path:
        renamed = rename(self, target)
        there.append(one.is_dir())
        return renamed

    monkeypatch.setattr(Path, "rename", watched)
    files.replace_folder(one, lambda fresh: (fresh / "new").touch())
    assert all(there) and (one / "new").exists()


def test_an_interrupt_between_two_renames_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "fresh":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.replace_folder(folder, lambda fresh: (fresh / "new").touch())
    assert names(folder) == ["old"] and names(tmp_path) == ["model"]


@pytest.mark.parametrize("call", ["encode", "transform", "token_embeddings", "similarity"])
def test_a_warning_points_at_the_line_that_called_whatever_the_way_in(call: str, small: Small) -> None:
    encoder = SentenceEncoder(small("minilm"), max_length=4)
    with pytest.warns(UserWarning, match="truncated to 4 tokens") as caught:
        getattr(encoder, call)(TEXTS)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_warning_about_a_folder_points_at_the_line_that_loaded_it(small: Small) -> None:
    with pytest.warns(UserWarning, match="does not use were left out") as caught:
        SentenceEncoder(small("bert"))
    assert [warning.filename for warning in caught] == [__file__]
