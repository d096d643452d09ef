"""A tiny model to train, for the tests of training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checkpoints import build

from stlib import SentenceTransformer


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So small a model loses time to threads that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(build("bert", tmp_path_factory.mktemp("training") / "bert"))


@pytest.fixture
def model(folder: Path, recwarn: pytest.WarningsRecorder) -> SentenceTransformer:
    return SentenceTransformer.from_pretrained(folder, pooling="mean")
