"""Files and folders are there whole or as they were; warnings point at the reader's own line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
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


def test_a_link_stays_a_link_and_what_it_points_to_is_replaced_with_its_mode(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name in ("there.json", "to_come.json"):
        (tmp_path / name).symlink_to(f"far/{name}")
    (tmp_path / "far" / "there.json").write_text("{}")
    (tmp_path / "far" / "there.json").chmod(0o640)
    for name in ("there.json", "to_come.json"):
        files.write_json(tmp_path / name, {"a": 1})
        assert (tmp_path / name).is_symlink() and files.read_json(tmp_path / "far" / name) == {"a": 1}
    assert (tmp_path / "far" / "there.json").stat().st_mode & 0o777 == 0o640
    assert names(tmp_path / "far") == names(tmp_path)[1:]


def test_a_name_as_long_as_a_name_may_be_can_be_written(tmp_path: Path) -> None:
    files.write_json(tmp_path / ("é" * 125 + ".json"), {})
    assert len(names(tmp_path)) == 1
    folder = tmp_path / ("f" * 255)
    for _ in range(2):
        files.replace_folder(folder, lambda fresh: (fresh / "new").touch())
    assert names(folder) == ["new"] and len(names(tmp_path)) == 2


# --- A folder with things of others in it ---


def grow(folder: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            (folder / name).symlink_to(text[3:])
        else:
            (folder / name).write_text(text)


def grown(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


OLD = {"config.json": "old", "part/weights": "old", "spare/weights": "old", "spare/mine": "mine",
       "deep/er/mine": "mine", "away": "-> nowhere", "up": "-> ../notes"}  # fmt: skip
NEW = {"config.json": "new", "part/weights": "new", "other/weights": "new"}
STALE = ["config.json", "part", "part/weights", "spare", "spare/weights"]
KEPT = {name: text for name, text in OLD.items() if name not in STALE}


def replace(folder: Path) -> None:
    files.replace_folder(folder, lambda fresh: grow(fresh, NEW), stale=STALE, key="config.json")


@pytest.fixture(params=["beside", "within", "two renames"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is exchanged, one that is changed file by file, since we are in it, or one that is renamed."""
    grow(tmp_path / "model", OLD)
    if request.param == "within":
        monkeypatch.chdir(tmp_path / "model" / "deep")
    elif request.param == "two renames":
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    return tmp_path / "model"


def test_what_is_not_written_anew_is_kept_but_for_what_is_stale(folder: Path) -> None:
    mine, here = (folder / "deep/er/mine").stat().st_ino, (folder / "deep").stat().st_ino
    replace(folder)
    assert grown(folder) == NEW | KEPT
    assert (folder / "deep/er/mine").stat().st_ino == mine  # no copy: it may be large
    if Path.cwd() == folder / "deep":
        assert Path().stat().st_ino == here
    assert names(folder.parent) == ["model"]
    replace(folder)
    assert grown(folder) == NEW | KEPT


def counted(monkeypatch: pytest.MonkeyPatch, stop: Callable[[int], object]) -> None:
    """Call `stop` with its number before each renaming."""
    done = iter(range(1000))

    def before(real: Any) -> Any:
        def renamed(*arguments: Any) -> Any:
            stop(next(done))
            return real(*arguments)

        return renamed

    monkeypatch.setattr(Path, "rename", before(Path.rename))
    monkeypatch.setattr(files, "_exchanged", before(files._exchanged))


@pytest.mark.parametrize("at", range(7))
def test_an_error_at_any_renaming_leaves_everything_as_it_was(
    at: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = []

    def stop(number: int) -> None:
        if number == at:
            reached.append(number)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        counted(patch, stop)
        try:
            replace(folder)
        except KeyboardInterrupt:
            assert grown(folder) == OLD and not (folder / "other").exists()
    assert (grown(folder) == OLD) == bool(reached)
    assert names(folder.parent) == ["model"] and not list(folder.glob(".saving-*"))


@pytest.mark.parametrize("at", range(7))
def test_a_kill_at_any_renaming_loses_nothing_and_mixes_no_old_file_with_new_ones(
    at: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if child == 0:  # killed: nothing is undone, nothing cleared away
        counted(monkeypatch, lambda number: os._exit(1) if number == at else None)
        replace(folder)
        os._exit(0)
    os.waitpid(child, 0)
    left = {name: text for path in folder.parent.glob("**/.saving-*/*") for name, text in grown(path).items()}
    found = grown(folder) if folder.exists() else {}
    found = {name: text for name, text in found.items() if not name.startswith(".saving-")}
    if "config.json" in found:  # else it does not pass for a model
        assert found in (OLD, NEW | KEPT)
    assert OLD.items() - (found | left).items() <= OLD.items() - (NEW | KEPT).items()
    assert KEPT.items() <= (found if folder.exists() else left).items()


PARTS = st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a/c", "c/a"])
TREES = st.dictionaries(PARTS, st.sampled_from(["1", "2", "-> a", "-> nowhere", "-> ../b"]), max_size=4)


@settings(max_examples=40, deadline=None)
@given(old=TREES, new=TREES, stale=st.sets(PARTS), within=st.booleans())
def test_any_tree_is_replaced_exactly_or_left_alone(
    old: dict[str, str], new: dict[str, str], stale: set[str], within: bool
) -> None:
    new = dict.fromkeys(new, "new")
    for tree in (old, new):  # no name is a file and a folder at once
        for name in [name for name in tree if any(name.startswith(f"{other}/") for other in tree)]:
            del tree[name]
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as monkeypatch:
        folder = Path(place, "model")
        folder.mkdir()
        grow(folder, old)
        monkeypatch.chdir(folder if within else place)
        try:
            files.replace_folder(folder, lambda fresh: grow(fresh, new), stale=stale)
        except ValueError as error:
            assert "is in the way" in str(error) and grown(folder) == old
        else:
            assert grown(folder) == {name: text for name, text in old.items() if name not in stale} | new
        assert names(Path(place)) == ["model"]


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path / "model", OLD)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="may not be written to"):
        replace(tmp_path / "model")
    assert grown(tmp_path / "model") == OLD


def test_a_folder_in_one_that_may_not_be_written_to_is_changed_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(tmp_path / "model", OLD)
    same = (tmp_path / "model").stat().st_ino
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    monkeypatch.setattr(files, "_exchanged", lambda *_: pytest.fail("the folder above would have to be written to"))
    replace(tmp_path / "model")
    assert grown(tmp_path / "model") == NEW | KEPT and (tmp_path / "model").stat().st_ino == same


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
