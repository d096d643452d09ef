"""Run the series on other models and data and record the evidence that the notebooks show beside their own.

    STLIB_DATA_DIR=… python benchmarks/record_evidence.py [--mpnet FOLDER] [--only 02 03] [--runs mpnet_builtin …]

Four runs of the whole series: MiniLM and MPNet, each on the built-in data and on the pairs of STS-B dev (which has no
topics: claims about sentences are shown there on the built-in ones and left undecided). Two notebooks at a time, one
thread each. A notebook that fails leaves what was recorded before. Timing claims of these runs say little: two of them
share the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mpnet import assemble

ROOT = Path(__file__).resolve().parent.parent
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def execute(notebook: Path, out: Path, parameters: dict[str, str]) -> str:
    """Run one notebook with papermill and move its evidence into `out`."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        given = [part for name, value in {**parameters, "evidence": folder}.items() for part in ("-r", name, value)]
        command = [sys.executable, "-m", "papermill", str(notebook), f"{folder}/out.ipynb", "--no-progress-bar", *given]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        evidence = Path(folder) / f"{notebook.stem}.json"
        if run.returncode or not evidence.exists():
            reason = run.stderr.strip().splitlines()[-1] if run.stderr.strip() else "no evidence was written"
            return f"{out.name}/{notebook.stem} FAILED: {reason}"
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(evidence, out / f".{evidence.name}")
        (out / f".{evidence.name}").replace(out / evidence.name)
    return f"{out.name}/{notebook.stem} {time.perf_counter() - started:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mpnet", type=Path, default=ROOT / "build" / "mpnet")
    parser.add_argument("--only", nargs="*", default=[""], help="notebooks, by the start of their names")
    parser.add_argument(
        "--runs", nargs="*", default=["minilm_builtin", "mpnet_builtin", "minilm_stsb-dev", "mpnet_stsb-dev"]
    )
    options = parser.parse_args()
    notebooks = [
        path for path in sorted((ROOT / "notebooks").glob("0*.ipynb")) if path.name.startswith(tuple(options.only))
    ]
    mpnet = str(assemble(options.mpnet).resolve()) if any("mpnet" in run for run in options.runs) else ""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        pairs = Path(folder) / "stsb-dev.csv"  # the name under which the evidence knows it
        if any("stsb" in run for run in options.runs):
            shutil.copyfile(Path(os.environ["STLIB_DATA_DIR"]) / "stsb" / "dev.csv", pairs)
        jobs = []
        for run in options.runs:
            parameters = {"model": mpnet if "mpnet" in run else MINILM}
            if "stsb" in run:
                parameters |= {"pairs": str(pairs), "sentences": "none"}
            for notebook in notebooks:
                jobs.append(pool.submit(execute, notebook, ROOT / "results" / "evidence" / run, parameters))
        lines = []
        for job in jobs:
            lines.append(job.result())
            print(lines[-1], flush=True)
    return int(any("FAILED" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
