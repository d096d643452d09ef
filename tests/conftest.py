"""Shared fixtures: the real model, loaded once, and sentence-transformers beside it. The tests need no network."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # In the background of a script interrupts are ignored, and would be by every program that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """For nbval, kernels that are forked from one server. Workers inherit its address by the environment."""
    if config.getoption("nbval", default=False) and not hasattr(config, "workerinput") and sys.platform == "linux":
        import warm_kernels

        config.add_cleanup(warm_kernels.started())


@pytest.fixture(scope="session")
def encoder() -> Any:
    from stlib import SentenceEncoder

    return SentenceEncoder(truncation="ignore", device="cpu")


@pytest.fixture(scope="session")
def peer(encoder: Any) -> Any:
    """sentence-transformers on the same folder."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(encoder.model.folder), device="cpu")


@pytest.fixture(scope="session")
def stsb() -> Path:
    """The folder of the STS benchmark, which is not part of the repository."""
    folder = Path(os.environ.get("STLIB_DATA_DIR", "")) / "stsb"
    if "STLIB_DATA_DIR" not in os.environ or not (folder / "dev.csv").exists():
        pytest.skip("STLIB_DATA_DIR names no folder with stsb/dev.csv")
    return folder
