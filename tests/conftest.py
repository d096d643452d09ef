"""Shared fixtures: the real model, loaded once, and sentence-transformers beside it. The tests need no network."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
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
    """One server of warm processes for all workers, who inherit its address, and for the kernels of nbval."""
    if sys.platform != "linux" or hasattr(config, "workerinput") or config.option.collectonly:
        return
    from stlib.review import execution, warm

    within = contextlib.ExitStack()
    config.add_cleanup(within.close)
    if config.getoption("nbval", default=False):
        folder = within.enter_context(tempfile.TemporaryDirectory(prefix="kernels-"))
        execution.write_kernel(Path(folder), warm.command("ipykernel_launcher"))
        os.environ["JUPYTER_PATH"] = folder
    within.enter_context(warm.server(os.environ))


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
