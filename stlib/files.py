"""Files that are whole or not there, errors and warnings of one line: what every part of the package may use."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import secrets
import shutil
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any


def read_json(file: Path, kind: type = dict) -> Any:
    """What the file holds: an object, or a list where `kind` says so.

    Raises:
        ValueError: the file is missing, cannot be read as JSON, or holds something else.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{file} is missing") from None
    except (ValueError, OSError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error})") from None
    if not isinstance(value, kind):
        raise ValueError(f"{file} must hold {'a list' if kind is list else 'an object'}, got {type(value).__name__}")
    return value


def write_json(file: Path, value: Any) -> None:
    """Two spaces a level, letters as they are; whole or not at all."""
    with in_place_of(file) as fresh:
        fresh.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def in_place_of(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to. Renamed to `file` at the end of the block, so that nobody sees half a file.

    It has the suffix of `file`, since some writers go by that or add it. A link stays a link: what it points to is
    replaced, with its mode. An error in the block leaves `file` as it was and nothing beside it.
    """
    file = Path(os.path.realpath(file))
    fresh = file.with_name(f".{secrets.token_hex(4)}.{file.name[-40:]}")  # no longer than a name may be
    try:
        yield fresh
        if file.exists():
            fresh.chmod(stat.S_IMODE(file.stat().st_mode))
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def replace_folder(
    folder: Path,
    fill: Callable[[Path], None],
    *,
    stale: Collection[str] = (),
    check: Callable[[Path], None] = lambda fresh: None,
    key: str = "",
) -> None:
    """Let `fill` fill a new folder and put it in place of `folder`, which need not be there.

    What stands in `folder` and is not written anew is kept as it is, links and modes included, but for `stale`. A file
    written anew has the mode of the one that it replaces. It is all done by one renaming; only a folder that cannot be
    renamed (the one that we are in, the root of a disk, one in a folder that may not be written to) is changed file by
    file. An error leaves `folder` as it was and nothing beside it.

    Args:
        folder: no link.
        stale: what goes, as names below `folder`, with `/` between their parts.
        check: is called before anything is changed, with the new folder, which by then holds what is kept as well.
        key: a file without which the others are nothing: it leaves first and comes last.

    Raises:
        ValueError: something in `folder` is of another kind than what is written in its place.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "the folder may not be written to", str(folder))
    within = _cannot_be_renamed(folder)
    with _workshop(folder if within else folder.parent) as workshop:
        fresh, old = workshop / "fresh", workshop / "old"
        fresh.mkdir()
        fill(fresh)
        written = [path.relative_to(fresh).as_posix() for path in sorted(fresh.rglob("*"))]
        for name in written:  # not every writer asks the umask
            if not (fresh / name).is_dir():
                (fresh / name).chmod(fresh.stat().st_mode & 0o666)
        if folder.exists():
            _keep(folder, fresh, {*stale}, workshop)
        check(fresh)
        if within:
            _move_files(fresh, folder, old, written, sorted(stale), key)
        elif not (folder.exists() and _exchanged(fresh, folder)):
            _rename_both(fresh, folder, old)


@contextlib.contextmanager
def _workshop(parent: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=parent) as name:
        try:
            yield Path(name)
        finally:  # else its removal sets modes, those of files that are kept as well
            for folder, _, _ in os.walk(name):
                Path(folder).chmod(0o700)


def _cannot_be_renamed(folder: Path) -> bool:
    """Whether there is a folder that has to stay the one that it is."""
    if not folder.exists():
        return False
    here = Path(os.path.realpath("."))
    return (
        folder in (here, *here.parents)
        or folder.stat().st_dev != folder.parent.stat().st_dev
        or not os.access(folder.parent, os.W_OK)
    )


def _keep(folder: Path, fresh: Path, stale: set[str], workshop: Path) -> None:
    """Put into `fresh` what `folder` holds and it lacks. Files are linked: they are the same, and none is copied."""
    shutil.copymode(folder, fresh)
    for item in sorted(folder.iterdir()):
        _keep_item(item, fresh / item.name, item.name, stale, workshop)


def _keep_item(item: Path, target: Path, name: str, stale: set[str], workshop: Path) -> None:
    if item == workshop:
        return
    if item.is_dir() and not item.is_symlink():
        _keep_folder(item, target, name, stale, workshop)
    elif target.is_dir() or (target.exists() and item.is_dir()):
        raise ValueError(f"{item} is in the way: it is of another kind than what is written there")
    elif target.exists():
        if not item.is_symlink():
            shutil.copymode(item, target)
    elif name not in stale and item.is_symlink():
        target.symlink_to(item.readlink())
    elif name not in stale:
        try:
            os.link(item, target)
        except OSError:  # a disk without links
            shutil.copy2(item, target)


def _keep_folder(item: Path, target: Path, name: str, stale: set[str], workshop: Path) -> None:
    if target.exists() and not target.is_dir():
        raise ValueError(f"{item} is in the way: it is of another kind than what is written there")
    made = not target.exists()
    target.mkdir(exist_ok=True)
    for part in sorted(item.iterdir()):
        _keep_item(part, target / part.name, f"{name}/{part.name}", stale, workshop)
    if made and name in stale and not any(target.iterdir()):
        target.rmdir()
    else:
        shutil.copystat(item, target)


def _move_files(fresh: Path, folder: Path, old: Path, written: Sequence[str], stale: Sequence[str], key: str) -> None:
    """Replace the files of `folder` one by one; an error or an interrupt brings back what was there."""
    there = [name for name in dict.fromkeys([*written, *stale]) if os.path.lexists(folder / name)]
    leaving = [name for name in there if (folder / name).is_symlink() or not (folder / name).is_dir()]
    with contextlib.ExitStack() as undo:
        for name in sorted(leaving, key=lambda name: name != key):
            (old / name).parent.mkdir(parents=True, exist_ok=True)
            _move(folder / name, old / name, undo)
        for name in sorted(written, key=lambda name: name == key):
            if not (fresh / name).is_dir():
                _move(fresh / name, folder / name, undo)
            elif not (folder / name).exists():
                undo.callback(_remove_empty, folder / name)
                (folder / name).mkdir()
        undo.pop_all()
    for name in reversed(stale):
        _remove_empty(folder / name)


def _move(source: Path, target: Path, undo: contextlib.ExitStack) -> None:
    def back() -> None:
        if os.path.lexists(target) and not os.path.lexists(source):
            target.rename(source)

    undo.callback(back)  # before it is done, so that no interrupt falls between
    source.rename(target)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def _rename_both(fresh: Path, folder: Path, old: Path) -> None:
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two folders in one step; false where the system has no such call.

    Python has none either, hence the detour. With two renames instead there is a moment without a folder, in which a
    process may be killed (`test_there_is_no_moment_without_a_folder`).
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


@contextlib.contextmanager
def as_value_error(message: str) -> Iterator[None]:
    """Turn whatever a damaged file or a strange value raises into one `ValueError` that begins so."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{message} ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """What an error says, for a message of one line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def warn(message: str) -> None:
    """Warn, and point at the line outside this package that led here: the reader's own, not one of ours.

    A number for `stacklevel` would be wrong for every other way in (`encode`, `similarity`, a pipeline), and
    `skip_file_prefixes` exists from Python 3.12 on.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("stlib."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
