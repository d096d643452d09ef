"""Run the series of notebooks on one model and one set of data, and build the page for a design review.

Everything that can be checked is checked before the first notebook starts. Each notebook runs in a process of its own,
with the interpreter that runs this, and cannot stop the others. The page replaces an earlier one only when it is whole.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from stlib import checkpoint
from stlib.review import page
from stlib.evidence.corpora import load_pairs, load_sentences
from stlib.review.page import Result, Review

PAIRS_LIMIT, SENTENCES_LIMIT = 2000, 1000
"""What the notebooks draw of larger data: the same draw is tried before they run."""


@dataclass(frozen=True)
class Request:
    """What was asked for, checked: `parameters` are what each notebook is given, but for `evidence`."""

    notebooks: dict[str, Path]
    parameters: dict[str, Any]
    out: Path
    timeout: float


def run_series(
    model: str | os.PathLike[str] | None = None,
    *,
    pairs: str | os.PathLike[str] | None = None,
    sentences: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str],
    seed: int = 0,
    only: Iterable[str] = (),
    timeout: float = 1800.0,
    progress: Callable[[str], None] | None = None,
) -> Review:
    """Runs the notebooks and writes `out/index.html`, a page and the executed file of each notebook, and the evidence.

    model, pairs, sentences: as in the notebooks' parameters; None is the built-in. With pairs alone, nothing about
    sentences is decided, and the other way round. only: numbers or names of notebooks. timeout: seconds a notebook.
    progress: called with pieces of text as the run goes on.

    Raises:
        ValueError, OSError: the request cannot be carried out; nothing has run. The message is one line.
    """
    request = prepare(model, pairs=pairs, sentences=sentences, out=out, seed=seed, only=only, timeout=timeout)
    return run(request, progress)


# --- Before anything runs ---------------------------------------------------------------------------------------------


def prepare(
    model: str | os.PathLike[str] | None = None,
    *,
    pairs: str | os.PathLike[str] | None = None,
    sentences: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str],
    seed: int = 0,
    only: Iterable[str] = (),
    timeout: float = 1800.0,
) -> Request:
    """The request with all its parts checked and its paths made absolute; the cheap checks come first."""
    if not timeout > 0:
        raise ValueError(f"timeout: expected seconds above 0, got {timeout:g}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected 0 to {2**32 - 1}, got {seed}")
    notebooks = _chosen(_series(), list(only))
    pairs, sentences = str(pairs or ""), str(sentences or "")
    given: dict[str, Any] = {
        "model": _absolute(str(model or checkpoint.DEFAULT_MODEL)),
        "pairs": _absolute(pairs or ("none" if sentences else "built-in")),
        "sentences": _absolute(sentences or ("none" if pairs else "built-in")),
        "seed": seed,
    }
    for name, path in notebooks.items():
        unknown = [parameter for parameter in (*given, "evidence") if parameter not in _parameters(path)]
        if unknown:
            raise ValueError(f"{name}: its parameters cell has no {', '.join(unknown)}")
    folder = _checked_out(Path(out).expanduser().resolve(), notebooks)
    _check_data(given)
    _check_model(given["model"])
    return Request(notebooks, given, folder, timeout)


def _series() -> dict[str, Path]:
    """The notebooks by name: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
        if found:
            return {path.stem: path for path in found}
    raise FileNotFoundError("the notebooks are neither in the installed package nor beside it")


def _chosen(series: Mapping[str, Path], only: list[str]) -> dict[str, Path]:
    chosen = set()
    for wanted in only:
        name = wanted.removesuffix(".ipynb")
        matches = [stem for stem in series if stem == name or stem.partition("_")[0] == name.zfill(2)]
        if not matches:
            raise ValueError(f"only: no notebook {wanted!r}; expected some of {', '.join(series)}")
        chosen.update(matches)
    return {name: path for name, path in series.items() if not only or name in chosen}


def _absolute(source: str) -> str:
    """Kernels run in another folder, so a local path must not depend on this one. Other names stay as they are."""
    if source in ("built-in", "none") or "://" in source:
        return source
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def _parameters(path: Path) -> set[str]:
    """Names that the notebook's parameters cell assigns."""
    notebook = nbformat.read(path, as_version=4)
    source = next((cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), "")
    targets = [node.targets[0] for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _checked_out(out: Path, notebooks: Mapping[str, Path]) -> Path:
    if out.exists() and not out.is_dir():
        raise ValueError(f"out: {out} is a file; expected a folder, or a name that is free")
    if any(path.is_relative_to(out) for path in notebooks.values()):
        raise ValueError(f"out: {out} holds the notebooks themselves; give another folder")
    if (out / "index.html").exists() and not page.is_ours(out / "index.html"):
        raise ValueError(f"out: {out} holds an index.html that is not a review; give another folder")
    existing = next(folder for folder in (out, *out.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"out: {out} cannot be written")
    return out


def _check_data(given: Mapping[str, Any]) -> None:
    for kind, load, limit in (("pairs", load_pairs, PAIRS_LIMIT), ("sentences", load_sentences, SENTENCES_LIMIT)):
        try:
            load(given[kind], limit=limit, seed=given["seed"])
        except Exception as error:  # readers and the hub's client raise a dozen kinds; each means that it is unreadable
            raise ValueError(f"{kind}: {_line(error)}") from error


def _check_model(model: str) -> None:
    try:
        place = checkpoint.read_layout(checkpoint.resolve(model)).transformer
        if not (place / "config.json").is_file() or not [*place.glob("*.safetensors"), *place.glob("*.bin")]:
            raise ValueError(f"{place} holds no model: it needs config.json and weights")
    except (ValueError, OSError) as error:
        line = _line(error)
        raise ValueError(line if line.startswith("model") else f"model: {line}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- The run ----------------------------------------------------------------------------------------------------------


def run(request: Request, progress: Callable[[str], None] | None = None) -> Review:
    """Runs what `prepare` has checked. Whatever ends it early leaves an earlier page as it was."""
    say = progress or (lambda text: None)
    request.out.mkdir(parents=True, exist_ok=True)
    review = Review(request.parameters, datetime.now(UTC), [])
    # Beside the page, so that files can be renamed into their place.
    with tempfile.TemporaryDirectory(prefix=".review-", dir=request.out, ignore_cleanup_errors=True) as folder:
        fresh, scratch = Path(folder) / "fresh", Path(folder) / "scratch"
        fresh.mkdir()
        environment = _environment(scratch)
        for name, path in request.notebooks.items():
            say(f"{name} … ")
            parameters = {**request.parameters, "evidence": str(fresh / "evidence")}
            result = _run_notebook(path, fresh, parameters, request.timeout, scratch, environment)
            review.results.append(result)
            say(f"{_summary(result)}\n")
        page.write(review, fresh)
        _publish(fresh, request.out)
    return review


def _summary(result: Result) -> str:
    verdicts: Counter[str] = Counter(claim.verdict for claim in result.claims)
    words = [("holds", "hold"), ("does not hold", "do not"), ("not decided", "not decided")]
    counts = ", ".join(f"{verdicts[verdict]} {word}" for verdict, word in words)
    parts = [f"{result.seconds:.0f} s"]
    if result.claims:
        parts.append(f"{len(result.claims)} claim{'s' * (len(result.claims) != 1)}: {counts}")
    if result.error:
        parts.append(f"failed: {result.error}")
    return ", ".join(parts)


def _environment(scratch: Path) -> dict[str, str]:
    """What the notebooks' processes see: this interpreter as the kernel, whatever is registered, and no settings of
    the user's that change what is computed."""
    kernel = scratch / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    environment = {
        **os.environ,
        "JUPYTER_PATH": str(scratch / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "PYTHONHASHSEED": "0",
    }
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").is_file():  # a checkout, which need not be installed
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return environment


def _run_notebook(
    path: Path,
    fresh: Path,
    parameters: dict[str, Any],
    timeout: float,
    scratch: Path,
    environment: dict[str, str],
) -> Result:
    """Executes one notebook; its output, whole or partial, lies in `fresh`."""
    name, executed = path.stem, fresh / path.name
    values, log = scratch / "parameters.json", scratch / "log.txt"
    # JSON is YAML; with its escapes it would not be, where a character lies beyond 16 bits.
    values.write_text(json.dumps(parameters, ensure_ascii=False), encoding="utf-8")
    command = [sys.executable, "-m", "papermill", str(path), str(executed), "--parameters_file", str(values)]
    command += ["--kernel", "python3", "--cwd", str(scratch), "--no-progress-bar", "--no-log-output"]
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as stream:
        code = _execute(command, timeout, stream, scratch, environment)
    seconds = time.perf_counter() - started
    notebook = _read(executed) or _read(path, outputs=False)
    error = "" if code == 0 else f"stopped after {timeout:g} s" if code is None else _error(notebook, log)
    evidence = fresh / "evidence" / f"{name}.json"
    record = json.loads(evidence.read_text(encoding="utf-8")) if evidence.is_file() else None
    given = [str(parameters[key]) for key in ("model", "pairs", "sentences")]
    hide = page.path_hider(given, [str(fresh), str(path.parent)])
    return Result(name, seconds, hide(error), notebook, record, hide)


def _execute(command: list[str], timeout: float, log: Any, folder: Path, environment: dict[str, str]) -> int | None:
    """The exit code, or None when the time was up. Nothing that was started lives on, the kernel included."""
    # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        with _ended(process):
            return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends the process and all its children on the way out; kernels have sessions of their own, so one by one."""
    import psutil  # ipykernel needs it as well

    try:
        yield
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid)
            for member in [family, *family.children(recursive=True)]:
                try:
                    member.kill()
                except psutil.NoSuchProcess:
                    continue
            process.wait()


def _read(path: Path, outputs: bool = True) -> nbformat.NotebookNode | None:
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError):  # not begun, or cut off while it was being written
        return None
    for cell in notebook.cells:
        if not outputs and cell.cell_type == "code":
            cell.outputs = []
    return notebook


def _error(notebook: nbformat.NotebookNode, log: Path) -> str:
    """The error in one line: the notebook's own, else the last line of what ran it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return _short(f"{output.ename}: {output.evalue}" if output.evalue else output.ename)
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return _short(lines[-1]) if lines else "ended without a word"


def _short(text: str, most: int = 300) -> str:
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _publish(fresh: Path, out: Path) -> None:
    """Moves whole files into their place, the index last; removes what an earlier review left of other notebooks."""
    (out / "evidence").mkdir(exist_ok=True)
    files = [path.relative_to(fresh) for path in sorted(fresh.rglob("*")) if path.is_file()]
    if page.is_ours(out / "index.html"):
        for name in _series():
            for old in (Path(f"{name}.html"), Path(f"{name}.ipynb"), Path("evidence") / f"{name}.json"):
                if old not in files:
                    (out / old).unlink(missing_ok=True)
    for file in sorted(files, key=lambda file: file.name == "index.html"):
        shutil.move(fresh / file, out / file)
