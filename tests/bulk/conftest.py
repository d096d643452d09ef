"""A small model with a prompt and a limit of 12 tokens, and shards to encode."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
import pandas as pd
import pytest

from stlib import SentenceEncoder

TEXTS = [f"{checkpoints.TEXTS[number % len(checkpoints.TEXTS)]} {number}" for number in range(60)]
TEXTS[7:9] = ["", 'two\nlines, "quoted"\tand tabbed']


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def folder(tmp_path_factory: Any) -> Path:
    place = tmp_path_factory.mktemp("model")
    prompts = {"query": "Tomatoes: "}
    return checkpoints.wrap(checkpoints.build("minilm", place / "plain"), place / "tiny", prompts=prompts, limit=12)


@pytest.fixture(scope="session")
def tiny(folder: Path) -> SentenceEncoder:
    return SentenceEncoder(folder, device="cpu", truncation="ignore")


def write_texts(file: Path, texts: Sequence[Any], column: str = "text") -> Path:
    frame = pd.DataFrame({"id": range(len(texts)), column: pd.Series(list(texts), dtype=object)})
    if file.suffix == ".parquet":
        frame.to_parquet(file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")), encoding="utf-8")
    else:
        frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    return file


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    return write_texts


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder of four shards of 20 texts each, in three formats and two levels."""
    place = tmp_path / "in"
    (place / "deep").mkdir(parents=True)
    for number, name in enumerate(["a.csv", "b.jsonl", "deep/c.parquet", "deep/d.jsonl"]):
        write_texts(place / name, [f"{text} {number}" for text in TEXTS[:20]])
    return place
