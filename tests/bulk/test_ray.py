"""Shards over Ray: two nodes on this machine, a worker and a driver that are killed, shards that fail."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from stlib.bulk import FailedShards, encode_files
from stlib.bulk.local import encode_shard
from stlib.bulk.shards import Shard, find

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra: pip install -e '.[ray]'")
START = "from ray.scripts.scripts import main; main()"
KILLED = """
import os, signal, sys
from stlib.bulk import encode

class Bar(encode.tqdm):
    def update(self, rows):  # called by the driver when a shard is done
        os.kill(os.getpid(), signal.SIGKILL)

encode.tqdm = Bar
encode.encode_files(sys.argv[1], "text", sys.argv[2], encoder=sys.argv[3], engine="ray", actors=1, truncation="ignore")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of two nodes with a processor each. Only these are ended, whatever else of Ray runs here."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as free:
        settings = {"USAGE_STATS_ENABLED": "0", "AUTH_MODE": "token", "AUTH_TOKEN": secrets.token_hex(24)}
        for name, value in settings.items():  # before Ray is imported here, which is when it reads them
            patch.setenv(f"RAY_{name}", value)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        nodes = []
        try:
            nodes.append(start("--head", f"--port={port}", "--include-dashboard=false"))
            nodes.append(start(f"--address=127.0.0.1:{port}"))
            yield f"127.0.0.1:{port}"
        finally:
            for node in reversed(nodes):
                node.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    node.wait(30)
                node.kill()


def start(*options: str) -> subprocess.Popen[str]:
    """`ray start`, until it says that it is up."""
    line = [sys.executable, "-c", START, "start", *options, "--num-cpus=1", "--object-store-memory=80000000", "--block"]
    node = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert node.stdout is not None
    said = ""
    while "Ray runtime started" not in said:
        text = node.stdout.readline()
        said += text
        if not text:
            pytest.skip(f"Ray cannot start here: {said[-300:]}")
    return node


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.parquet")}


def test_two_nodes_share_the_work_and_a_killed_worker_costs_only_time(
    cluster: str, tmp_path: Path, tiny: Any, shards: Path
) -> None:
    import ray

    from stlib.bulk.ray_engine import encode_over_ray

    place = str(tmp_path)

    def unlucky(shard: Shard, **options: Any) -> Any:
        """Each worker waits for the other in its first shard; the one that gets the last is killed in it, once."""
        nodes, killed = Path(place) / "nodes", Path(place) / "killed"
        (nodes / ray.get_runtime_context().get_node_id()).mkdir(parents=True, exist_ok=True)
        while len(list(nodes.iterdir())) < 2:
            time.sleep(0.05)
        if shard.source.endswith("d.jsonl") and not killed.exists():
            killed.mkdir()
            options["report"] = lambda rows: os.kill(os.getpid(), signal.SIGKILL)
        return encode_shard(shard, **options)

    settings = {"column": "text", "prompt": "", "truncation": "ignore", "chunk_rows": 6, "settings": {}}
    todo = find([str(shards)], str(tmp_path / "ray"))
    outcomes = list(encode_over_ray(todo, partial(unlucky, encoder=tiny, **settings), cluster, None))
    assert not ray.is_initialized(), "what it started it stops"
    assert (tmp_path / "killed").exists() and [outcome.error for outcome in outcomes] == [None] * 4
    assert {outcome.shard for outcome in outcomes} == set(todo)
    assert len({outcome.node for outcome in outcomes}) == 2
    for shard in find([str(shards)], str(tmp_path / "local")):
        encode_shard(shard, encoder=tiny, **settings)
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_after_the_driver_is_killed_the_rest_is_made_and_what_fails_is_named(
    cluster: str, tmp_path: Path, folder: Path, tiny: Any, shards: Path, write: Any
) -> None:
    for number in range(4, 12):
        write(shards / f"{number}.jsonl", [f"shard {number}"] * 20)
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, shards, out, folder], capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 1 <= len(list(out.rglob("*.parquet"))) < 12

    write(shards / "zero.jsonl", ["fine", None])
    with pytest.raises(FailedShards, match=r"zero.jsonl: row 2, column 'text': no text\n1 of 13 shards failed"):
        encode_files(shards, "text", out, encoder=tiny, engine="ray", address=cluster)
    (shards / "zero.jsonl").unlink()
    encode_files(shards, "text", tmp_path / "local", encoder=tiny)
    assert content(out) == content(tmp_path / "local")
