"""Bulk encoding put to the test: many short rows in shards, a killed driver, a killed worker, two Ray nodes.

    python benchmarks/shards.py [--timed 3] [--rows 10000] [--out results/shards.json]

The texts are summaries of the documentation, numbered. `--timed` shards of `--rows` rows each are encoded, and what a
million rows would take is extrapolated. Speed is told beside that of `encode` on the same texts in the same process, in
turn, and with the load of the machine at the start. Ray nodes are `ray start` twice on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "token"  # two nodes and their driver need one, set before Ray is imported
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(24)

import psutil
import pyarrow as pa
import torch
from pyarrow import parquet

from stlib import SentenceEncoder
from stlib.bulk import encode_files
from stlib.bulk.local import encode_shard
from stlib.bulk.shards import find
from stlib.evidence.documentation import documentation
from stlib.files import write_json

ROOT = Path(__file__).resolve().parent.parent
ROWS = 1_000_000
START = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block", "--num-cpus=1"]


def write_shards(folder: Path, shards: int, rows: int) -> Path:
    """Parquet files of `rows` numbered summaries each."""
    folder.mkdir()
    summaries = cycle(documentation().queries)
    for number in range(shards):
        texts = [f"{text} {row}" for row, text in enumerate(islice(summaries, rows))]
        parquet.write_table(pa.table({"id": range(rows), "text": texts}), folder / f"part-{number:02}.parquet")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.parquet"))}


def peak_megabytes() -> int:
    """The highest memory of this process so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def million(place: Path, timed: int, rows: int) -> dict[str, Any]:
    """Some shards of the million rows, in turn with `encode` on the same texts."""
    shards = sorted(write_shards(place / "million", timed, rows).iterdir())
    encoder = SentenceEncoder(truncation="ignore")
    encoder.encode(parquet.read_table(shards[0])["text"].to_pylist()[:500])
    direct, bulk, peaks = [], [], []
    for shard in shards:
        start = time.perf_counter()
        encode_files([shard], "text", place / "vectors", encoder=encoder)
        bulk.append(rows / (time.perf_counter() - start))
        peaks.append(peak_megabytes())
        texts = parquet.read_table(shard)["text"].to_pylist()
        start = time.perf_counter()
        encoder.encode(texts)
        direct.append(rows / (time.perf_counter() - start))
        print(f"{bulk[-1]:.0f} rows a second, encode alone {direct[-1]:.0f}", flush=True)
    start = time.perf_counter()
    again = encode_files(shards, "text", place / "vectors", encoder=encoder)
    return {
        "timed_rows": rows * timed,
        "rows_a_second": round(median(bulk)),
        "of_encode_alone": [round(one / other, 3) for one, other in zip(bulk, direct, strict=True)],
        "extrapolated_minutes_for_a_million": round(ROWS / median(bulk) / 60, 1),
        "peak_megabytes_after_each_shard": peaks,
        "rerun": {"kept": again.kept, "seconds": round(time.perf_counter() - start, 2)},
    }


def command(source: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "stlib", "encode", str(source), "--column", "text", "--out", str(out), *options]
    # One thread, as Ray's workers have: with another number sums may differ in their last bits.
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(what: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > end:
            raise TimeoutError("it did not happen")
        time.sleep(0.01)
    return found


def finished(process: subprocess.Popen[str]) -> str:
    """The one line that the command printed, without the name of its output, once it has ended well."""
    output, errors = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(errors)
    (line,) = output.splitlines()
    return line.split(": ", 1)[1]


def killed_driver(folder: Path, place: Path, whole: dict[str, bytes], *options: str) -> dict[str, Any]:
    """SIGKILL for the command when two shards are there, then the same command again."""
    out = place / f"driver{len(options)}"
    process = command(folder, out, *options)
    wait_for(lambda: len(content(out)) >= 2)
    process.kill()
    process.communicate()
    left = len(content(out))
    return {"whole_after_the_kill": left, "again": finished(command(folder, out, *options)),
            "bytes_equal": content(out) == whole}  # fmt: skip


def killed_worker(folder: Path, place: Path, whole: dict[str, bytes]) -> dict[str, Any]:
    """SIGKILL for one of two Ray workers when a shard is there; the command itself goes on."""
    out = place / "worker"
    process = command(folder, out, "--engine", "ray", "--actors", "2")
    wait_for(lambda: content(out))
    below = psutil.Process(process.pid).children(recursive=True)
    workers = [each for each in below if each.name().startswith("ray::Worker")]
    workers[0].send_signal(signal.SIGKILL)
    return {"workers": len(workers), "command": finished(process), "bytes_equal": content(out) == whole}


@contextlib.contextmanager
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes with a processor each."""
    port = 20_000 + secrets.randbelow(10_000)
    nodes = []
    try:
        for options in (["--head", f"--port={port}", "--include-dashboard=false"], [f"--address=127.0.0.1:{port}"]):
            node = subprocess.Popen([*START, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            nodes.append(node)
            if not any("Ray runtime started" in line for line in node.stdout or ()):
                raise RuntimeError("ray start failed")
        yield f"127.0.0.1:{port}"
    finally:
        for node in reversed(nodes):
            node.terminate()
            node.wait(60)


def nodes_at_work(folder: Path, place: Path, whole: dict[str, bytes]) -> dict[str, Any]:
    """How many shards each of two nodes made."""
    from stlib.bulk.ray_engine import encode_over_ray

    encoder = SentenceEncoder(truncation="ignore")
    work = partial(encode_shard, encoder=encoder, column="text", prompt="", truncation="ignore", chunk_rows=4096,
                   settings={})  # fmt: skip
    with two_nodes() as address:
        outcomes = encode_over_ray(find([str(folder)], str(place / "nodes")), work, address, None)
        shares = Counter(outcome.node for outcome in outcomes)
        finished(command(folder, place / "cluster", "--engine", "ray", "--address", address))
    return {"shards_of_each_node": sorted(shares.values()), "bytes_equal": content(place / "cluster") == whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timed", type=int, default=3, help="shards of the million that are encoded")
    parser.add_argument("--rows", type=int, default=10_000, help="of each of them")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "shards.json")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        results: dict[str, Any] = {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "load_at_the_start": round(load, 1),
            "million_rows": million(place, options.timed, options.rows),
        }
        small = write_shards(place / "small", 20, 100)
        finished(command(small, place / "whole"))
        whole = content(place / "whole")
        results["small"] = {"shards": 20, "rows_each": 100}
        results["driver_killed"] = killed_driver(small, place, whole)
        results["driver_killed_over_ray"] = killed_driver(small, place, whole, "--engine", "ray", "--actors", "1")
        results["worker_killed"] = killed_worker(small, place, whole)
        results["two_nodes"] = nodes_at_work(small, place, whole)
    write_json(options.out, results)
    print(options.out.read_text())


if __name__ == "__main__":
    main()
