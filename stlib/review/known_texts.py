"""Whether the texts of a comparison may be known from a model's training, as far as its card and their name tell.

A card names data sets, not texts, and many name none: no warning is no proof.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

KIN = {
    "stsb": {
        "stsb": "", "stsbenchmark": "", "glue": "which STS-B is part of",
        "flickr30kcaptions": "whose kind of captions STS-B is partly made of",
    },
    "documentation": {
        "codesearchnet": "which holds docstrings of public Python code",
        "stackexchange": "where such functions are discussed",
    },
}  # fmt: skip
"""Data by its name: training sets that are known to hold such texts, and why."""


def declared(folder: Path | None) -> list[str]:
    """The training sets that the model's card (README.md in its folder) names; none where it names none."""
    card = folder / "README.md" if folder else None
    if card is None or not card.is_file():
        return []
    head = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        told: Any = yaml.safe_load(head[1]) if head else None
    except yaml.YAMLError:
        return []
    sets = told.get("datasets") if isinstance(told, dict) else None
    return [str(one) for one in ([sets] if isinstance(sets, str) else sets if isinstance(sets, list) else [])]


def known(data: str, training: list[str]) -> list[str]:
    """Of the training sets those that hold such texts by their names, each with the reason where it is not the name."""
    name, found = _plain(Path(data).stem), []
    kin = next((sets for known, sets in KIN.items() if known in name), {})
    for one in training:
        plain = _plain(one.rpartition("/")[2])
        reason = next((why for part, why in kin.items() if part in plain), None)
        if reason is not None or (len(plain) > 2 and plain in name):
            found.append(f"{one}, {reason}" if reason else one)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
