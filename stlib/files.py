"""Files that are whole or not there, errors and warnings of one line: what every part of the package may use."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
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
    except (ValueError, OSError) as error:
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

    It has the suffix of `file`, since some writers go by that or add it. An error in the block leaves `file` as it was
    and nothing beside it.
    """
    fresh = file.with_name(f".{secrets.token_hex(4)}.{file.name}")
    try:
        yield fresh
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` fill a new folder and put it in place of `folder`, which need not be there, by renaming.

    An error in `fill` leaves `folder` as it was and nothing beside it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as workshop:
        fresh, old = Path(workshop) / "fresh", Path(workshop) / "old"
        fresh.mkdir()
        fill(fresh)
        if folder.exists() and _exchanged(fresh, folder):
            return
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
