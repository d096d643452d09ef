"""How long the two commands take on this machine, part by part: results/series.json, which the README quotes.

    python benchmarks/series.py [--only review tests]

`review`: the lessons on the built-in example, first with an empty cache, then with what that left: seconds of each
lesson and of the whole. `tests`: the parts of `make test`, one after another. Installation is not counted. Nothing else
should run meanwhile; the load of the machine at the start is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stlib.evidence.records import machine, now, versions, write_whole
from stlib.review.series import run_series

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "results" / "series.json"
NBVAL = ("--nbval", "--nbval-sanitize-with", "tests/notebooks/nbval.cfg")


def review() -> dict[str, Any]:
    """Seconds of the whole and of each lesson, without and with a cache."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STLIB_CACHE"] = str(Path(folder) / "cache")
        for cache in ("empty cache", "warm cache"):
            done = run_series(Path(folder) / "review", progress=lambda line: print(line, end="", flush=True))
            lessons = {result.name: round(result.seconds, 1) for result in done.results}
            failed = [result.name for result in done.results if result.error]
            found[cache] = {"seconds": round(done.seconds, 1), "lessons": lessons, "failed": failed}
        del os.environ["STLIB_CACHE"]
    return found


def tests() -> dict[str, Any]:
    """Seconds of each part of `make test`, with an empty cache as on a fresh machine."""
    parts: dict[str, list[str]] = {"ruff": ["ruff", "check", "."], "mypy": ["mypy"]}
    folders = [path for path in sorted((ROOT / "tests").iterdir()) if (path / "__init__.py").exists() or path.is_dir()]
    parts |= {
        path.name: ["pytest", "-n", "2", "--dist", "loadscope", str(path)]
        for path in folders
        if list(path.glob("test_*.py"))
    }
    parts["rest"] = ["pytest", "-n", "2", *map(str, sorted((ROOT / "tests").glob("test_*.py")))]
    parts["nbval"] = ["pytest", "-n", "2", "--dist", "loadscope", *NBVAL, "notebooks"]
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"STLIB_CACHE": cache}
        for name, command in parts.items():
            started = time.perf_counter()
            run = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True)
            found[name] = {"seconds": round(time.perf_counter() - started, 1), "passed": run.returncode == 0}
            print(name, found[name], flush=True)
    return {"seconds": round(sum(part["seconds"] for part in found.values()), 1), "parts": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["review", "tests"], choices=["review", "tests"])
    options = parser.parse_args()
    results = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name, measure in (("review", review), ("tests", tests)):
        if name in options.only:
            load = os.getloadavg()[0]
            results[name] = measure() | {
                "date": now(), "load_before": load, "machine": machine(), "versions": versions()
            }  # fmt: skip
            write_whole(OUT, results)


if __name__ == "__main__":
    main()
