"""Shared fixtures: the real model, loaded once, and sentence-transformers beside it. The tests need no network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
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
    """For nbval, kernels that are forked from one server; see warm_kernels. Workers inherit the environment."""
    if not config.getoption("nbval", default=False) or hasattr(config, "workerinput") or sys.platform != "linux":
        return
    import warm_kernels

    folder = Path(tempfile.mkdtemp(prefix="kernels-"))
    file, address = warm_kernels.__file__, folder / "socket"
    spec = {"argv": [sys.executable, "-I", "-S", file, "{connection_file}"], "display_name": "", "language": "python"}
    kernel = folder / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(spec), encoding="utf-8")
    os.environ |= {"JUPYTER_PATH": str(folder), warm_kernels.ADDRESS: str(address)}
    quiet = os.environ | {"OMP_NUM_THREADS": "1"}  # in the server alone: kernels get the environment of who asks
    said = subprocess.DEVNULL  # each kernel would tell how to connect to it
    command = [sys.executable, file, "--serve", str(address)]
    server = subprocess.Popen(command, env=quiet, stdout=said, stderr=said)
    while not address.exists() and server.poll() is None:
        time.sleep(0.1)

    def stop() -> None:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)

    config.add_cleanup(stop)


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
