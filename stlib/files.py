"""JSON files, and errors in one line."""

from __future__ import annotations

import json
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
    """Two spaces a level, letters as they are."""
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def first_line(error: Exception) -> str:
    """What an error says, for a message of one line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
