"""Shards over Ray: two nodes on this machine, a worker and a driver that are killed, shards that fail."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stlib.bulk import FailedShards, encode_files
from stlib.bulk.local import encode_shard
from stlib.bulk.shards import Outcome, Shard, find

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install -e '.[ray]'", exc_type=ImportError)
START = "from ray.scripts.scripts import main; main()"
KILLED = """
import os, signal, sys
from stlib.bulk import encode

class Bar(encode.tqdm):
    def update(self, rows):  # called by the driver when a shard is done
        os.kill(os.getpid(), signal.SIGKILL)

encode.tqdm = Bar
encode.encode_files(sys.argv[1], "text", sys.argv[2], encoder=sys.argv[3], engine="ray", actors=1, chunk_rows=6)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: Any) -> Iterator[str]:
    """The address of two nodes with a processor each. Only these processes are ended, whatever else Ray runs here."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    small = ["--num-cpus=1", "--object-store-memory=80000000", "--block"]
    head = ["--head", f"--port={address.split(':')[1]}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    nodes = []
    for options in (head, [f"--address={address}", "--node-ip-address=127.0.0.1"]):
        line = [sys.executable, "-c", START, "start", *options, *small]
        nodes.append(subprocess.Popen(line, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        yield address
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(30)
            node.kill()


def test_x(cluster):
    import ray

    for _ in range(60):
        try:
            ray.init(address=cluster, log_to_driver=False, logging_level="ERROR")
            break
        except Exception as e:
            print(type(e), e)
            time.sleep(1)
    print(ray.nodes())
    ray.shutdown()
