"""How long the two commands take on this machine, part by part: results/series.json, which the README quotes.

    STLIB_DATA_DIR=… python benchmarks/series.py [--only review alone given tests] [--model FOLDER]

* `review`: the lessons on the built-in example, first with an empty cache, then with what that left: seconds of each
  lesson and of the whole.
* `alone`: each lesson and lab by plain papermill, from another folder, one after another, with what a first round left
  in the cache: seconds of the command, and of the notebook within it.
* `given`: the same notebooks, two at a time, with another model (--model, else the first three layers of the built-in
  one, max pooling and a fresh projection), with pairs only (STS-B dev where it is at hand, else the built-in ones as a
  file), sentences only, and nothing (--cases): how many verdicts each gave, or its error.
* `tests`: `make test` with empty caches, and how long its two workers were busy with each part.

Installation is not counted. Nothing else should run meanwhile; the load of the machine at the start is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from stlib import Projection, SentenceTransformer
from stlib.evidence.records import machine, now, versions, write_whole
from stlib.hub import DEFAULT_MODEL
from stlib.review.series import run_series

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "results" / "series.json"


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


def papermill(notebook: Path, place: Path, given: dict[str, str], threads: int) -> dict[str, Any]:
    """Seconds of the command, of the notebook as papermill tells them, verdicts, and the error if there was one."""
    kind = "" if notebook.parent.name == "notebooks" else f"{notebook.parent.name}/"
    name, folder = f"{kind}{notebook.stem}", Path(tempfile.mkdtemp(dir=place))
    command = [sys.executable, "-m", "papermill", str(notebook), "out.ipynb", "--no-progress-bar", "-k", "python3"]
    for parameter, value in (given | {"evidence": str(folder / "evidence")}).items():
        command += ["-r", parameter, value]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    found: dict[str, Any] = {"name": name, "seconds": round(time.perf_counter() - started, 1)}
    if (made := folder / "out.ipynb").is_file():  # the command begins with the imports of papermill itself
        told = json.loads(made.read_text(encoding="utf-8"))["metadata"]["papermill"]
        found["notebook_seconds"] = round(told["duration"] or 0.0, 1)
    kept = [json.loads(file.read_text(encoding="utf-8")) for file in (folder / "evidence").glob("*.json")]
    found["verdicts"] = dict(Counter(claim["verdict"] for record in kept for claim in record["claims"]))
    if run.returncode:
        found["error"] = run.stderr.strip().splitlines()[-1]
    print(found, flush=True)
    return found


def notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("0*.ipynb")) + sorted((ROOT / "notebooks" / "labs").glob("*.ipynb"))


def alone() -> dict[str, Any]:
    """Seconds of each notebook by itself, when the cache has what an earlier run needed."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STLIB_CACHE"] = str(Path(folder) / "cache")
        rounds = [[papermill(path, Path(folder), {}, cores) for path in notebooks()] for _ in range(2)]
        del os.environ["STLIB_CACHE"]
    return {"empty cache": rounds[0], "warm cache": rounds[1]}


def another(folder: Path) -> str:
    """A model of another depth, pooling and width than the built-in one."""
    built_in = SentenceTransformer.from_pretrained(DEFAULT_MODEL)
    encoder = built_in.backbone.encoder
    encoder.encoder.layer = encoder.encoder.layer[:3]
    encoder.config.num_hidden_layers = 3
    head: dict[str, Any] = {"pooling": "max", "projection": [Projection(384, 128, bias=False)], "max_length": 128}
    other = SentenceTransformer(built_in.backbone, built_in.tokenizer, **head)
    other.save_pretrained(folder)
    return str(folder)


def given(model: str | None, wanted: list[str]) -> dict[str, Any]:
    """What each notebook makes of another model, of one kind of data, and of none."""
    own = Path(str(files("stlib.evidence"))) / "data"
    stsb = Path(os.environ.get("STLIB_DATA_DIR", "")) / "stsb" / "dev.csv"
    none = {"pairs": "none", "sentences": "none", "passages": "none"}
    found = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as two:
        other = str(Path(model).resolve()) if model else another(Path(folder) / "another-model")
        cases = {
            "another model": {"model": other},
            "pairs only": none | {"pairs": str(stsb.resolve() if stsb.is_file() else own / "pairs.csv")},
            "sentences only": none | {"sentences": str(own / "sentences.csv")},
            "nothing": none,
        }
        for case in wanted or cases:
            print(case, flush=True)
            runs = list(two.map(lambda path, p=cases[case]: papermill(path, Path(folder), p, 1), notebooks()))
            found[case] = {
                "given": {name: Path(value).name for name, value in cases[case].items()},
                "notebooks": {run.pop("name"): run for run in runs},
            }
    return found


def tests() -> dict[str, Any]:
    """Seconds of `make test` with empty caches, and how long its two workers were busy with each part."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        caches = {"STLIB_CACHE": f"{folder}/vectors", "MYPY_CACHE_DIR": f"{folder}/mypy"}
        started = time.perf_counter()
        run = subprocess.run(["make", "test", f"ARGS=--junitxml={report}"], cwd=ROOT, env=os.environ | caches)
        seconds = round(time.perf_counter() - started, 1)
        busy: Counter[str] = Counter()
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.attrib["classname"].removesuffix(".ipynb").rpartition(".")[0]  # the folder, dotted
            busy[name] += float(case.attrib["time"])
    parts = {name: round(spent, 1) for name, spent in busy.most_common()}
    return {"seconds": seconds, "passed": run.returncode == 0, "busy_seconds": parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["review", "alone", "given", "tests"]
    parser.add_argument("--only", nargs="*", default=parts, choices=parts)
    parser.add_argument("--model", help="of `given`: a folder")
    parser.add_argument("--cases", nargs="*", default=[], help="of `given`: only these, beside what was recorded")
    options = parser.parse_args()
    results = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "review": review,
        "alone": alone,
        "given": lambda: (results.get("given", {}) if options.cases else {}) | given(options.model, options.cases),
        "tests": tests,
    }
    for name, measure in measures.items():
        if name in options.only:
            load = os.getloadavg()[0]
            results[name] = measure() | {
                "date": now(), "load_before": load, "machine": machine(), "versions": versions()
            }  # fmt: skip
            write_whole(OUT, results)


if __name__ == "__main__":
    main()
