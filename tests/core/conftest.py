"""Small checkpoints for the tests of the core, built once; a test that damages one takes a copy."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import checkpoints
import pytest
from checkpoints import HIDDEN, Dense
from reference import Small


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """`small(family)` is the plain checkpoint, `small(family, layout)` the same in sentence-transformers' files."""

    @functools.cache
    def get(family: str, layout: str = "plain") -> Path:
        root = tmp_path_factory.mktemp(f"{family}-{layout}")
        if layout == "plain":
            return checkpoints.build(family, root / "model")
        dense = [Dense(HIDDEN, 24, "tanh"), Dense(24, 16, bias=False)]
        prompts = {"query": "query: "}
        return checkpoints.wrap(get(family), root / "model", layout=layout, dense=dense, prompts=prompts)

    return get


@pytest.fixture(scope="session")
def stella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole folder of stella, with its heads and with code that nobody may run."""
    return checkpoints.build_stella(tmp_path_factory.mktemp("stella") / "model")


@pytest.fixture(scope="session")
def wrapped(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good folder: MiniLM's layout and a Dense of 12."""
    return checkpoints.wrap(small("minilm"), tmp_path_factory.mktemp("safety") / "model", dense=[Dense(HIDDEN, 12)])


@pytest.fixture
def folder(wrapped: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(wrapped, tmp_path / "model"))
