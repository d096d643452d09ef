"""Arguments are checked before any work is done: an error names the argument, what came, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def positive_integer(name: str, value: object, highest: int | None = None) -> int:
    """`value` as an int, or a `ValueError`: it is none, is below 1, or above `highest`."""
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or not 1 <= (number := value.__index__()) <= (highest or number):  # type: ignore[attr-defined]
        allowed = f"integers from 1 to {highest}" if highest else "an integer of at least 1"
        raise ValueError(f"{name}={value!r} is not allowed: {allowed}")
    return int(number)


def choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse, as a `ValueError`, what is not among `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: use one of {allowed}")


def sentences(given: Any) -> list[str]:
    """The texts as a list: of one for a `str`.

    Raises:
        TypeError: neither a `str` nor a flat collection of them; the message names the index and the type.
        ValueError: a text that is not valid Unicode.
    """
    if isinstance(given, str):
        given = [given]
    dimensions = getattr(given, "ndim", 1)
    if isinstance(given, (bytes, bytearray, Mapping)) or not isinstance(given, Iterable) or dimensions != 1:
        shape = f" with {dimensions} dimensions" if dimensions != 1 else ""
        raise TypeError(f"sentences must be a str or a sequence of str, got {type(given).__name__}{shape}")
    return [text(f"sentences[{index}]", item) for index, item in enumerate(given)]


def text(name: str, value: Any) -> str:
    """Refuse what is not a `str`, and half a surrogate pair in one, which no tokenizer can read."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {type(value).__name__}: {value!r:.80}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name} holds a lone surrogate at character {error.start}: not valid text") from None
    return value
