"""Run lessons and labs on two models, and record the evidence that the lessons quote.

    python benchmarks/record_evidence.py [--mpnet FOLDER] [--only 02 03] [--runs mpnet …]

Runs: `minilm` and `mpnet`, on the built-in data (documentation, sentences, pairs); what STS-B says beside them is
measured by benchmarks/beside.py. Two notebooks at a time, one thread each; what is timed (07) runs alone. A notebook
that fails leaves what was recorded before. For `minilm`, the numbers that the lessons quote besides verdicts go to
results/figures/.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mpnet import assemble

from stlib.evidence import experiments, load
from stlib.evidence.records import write_whole

ROOT = Path(__file__).resolve().parent.parent
RUNS = ("minilm", "mpnet")
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def execute(notebook: Path, out: Path, parameters: dict[str, str]) -> str:
    """Run one notebook with papermill and move its evidence into `out`."""
    started, name = time.perf_counter(), f"{out.name}/{notebook.parent.name}/{notebook.stem}"
    with tempfile.TemporaryDirectory() as folder:
        given = [part for name, value in {**parameters, "evidence": folder}.items() for part in ("-r", name, value)]
        command = [sys.executable, "-m", "papermill", str(notebook), f"{folder}/out.ipynb", "--no-progress-bar", *given]
        environment = os.environ if notebook.name.startswith("07") else os.environ | {"OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if run.returncode:
            return f"{name} FAILED: {(run.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        out.mkdir(parents=True, exist_ok=True)
        for evidence in Path(folder).glob("*.json"):
            shutil.copyfile(evidence, out / f".{evidence.name}")
            (out / f".{evidence.name}").replace(out / evidence.name)
    return f"{name} {time.perf_counter() - started:.0f} s"


def figures(only: tuple[str, ...]) -> None:
    """The numbers that lessons quote besides verdicts, from each experiments file that has `reference(study)`."""
    study = load(MINILM)
    for file in sorted(Path(inspect.getfile(experiments)).parent.glob("[a-z]*.py")):
        module = importlib.import_module(f"stlib.evidence.experiments.{file.stem}")
        if hasattr(module, "reference") and module.LESSON.startswith(only):
            write_whole(ROOT / "results" / "figures" / f"{module.LESSON}.json", module.reference(study))
            print(f"figures/{module.LESSON}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mpnet", type=Path, default=ROOT / "build" / "mpnet")
    parser.add_argument("--only", nargs="*", default=[""], help="by the start of their names, such as 07 or labs/07")
    parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=RUNS)
    options = parser.parse_args()
    only = tuple(options.only)
    series = [*sorted((ROOT / "notebooks").glob("0*.ipynb")), *sorted((ROOT / "notebooks" / "labs").glob("0*.ipynb"))]
    notebooks = [one for one in series if one.name.startswith(only) or f"{one.parent.name}/{one.name}".startswith(only)]
    lines = []
    for run in options.runs:
        model = MINILM if run == "minilm" else str(assemble(options.mpnet).resolve())
        out = ROOT / "results" / "evidence" / run
        for timed in (False, True):
            chosen = [notebook for notebook in notebooks if notebook.name.startswith("07") == timed]
            with ThreadPoolExecutor(1 if timed else 2) as pool:
                for line in pool.map(partial(execute, out=out, parameters={"model": model}), chosen):
                    lines.append(line)
                    print(line, flush=True)
    if "minilm" in options.runs:
        figures(only)
    return int(any("FAILED" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
