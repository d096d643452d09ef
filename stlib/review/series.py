"""Run the lessons on one model and one set of data, and build the page for a design review.

Everything that can be checked is checked before the first notebook starts. What most lessons ask for is encoded once,
on all cores; then two run at a time where the processor allows, and timings last and alone. Notebooks cannot stop one
another, and the page replaces an earlier one only when it is whole.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from stlib import checkpoint, hub
from stlib.evidence import corpora
from stlib.evidence.records import Record
from stlib.evidence.study import LIMITS, Study
from stlib.review import page
from stlib.review.candidates import check_files
from stlib.review.cells import path_hider
from stlib.review.execution import Runner
from stlib.review.page import Result, Review

DATA = ("pairs", "sentences", "passages")
TIMED = "07"
"""The lesson whose timings nothing else may disturb."""
SHORT = ("00", "04")
"""Lessons of few seconds, which come last of those that run beside others: so both end at about the same time."""
Source = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Request:
    """What was asked for, checked: `parameters` are what each notebook is given, but for `evidence`."""

    notebooks: dict[str, Path]
    parameters: dict[str, Any]
    out: Path
    timeout: float


def run_series(out: str | os.PathLike[str], *, progress: Callable[[str], None] | None = None, **asked: Any) -> Review:
    """Runs the lessons and writes `out/index.html`, a page and the executed file of each notebook, and the evidence.

    asked: as in `prepare`. progress: called with a line of text whenever a notebook ends.

    Raises:
        ValueError, OSError: the request cannot be carried out; nothing has run. The message is one line.
    """
    return run(prepare(out, **asked), progress)


# --- Before anything runs ---------------------------------------------------------------------------------------------


def prepare(
    out: str | os.PathLike[str],
    *,
    model: Source = None,
    pairs: Source = None,
    sentences: Source = None,
    passages: Source = None,
    seed: int = 0,
    labs: bool = False,
    only: Iterable[str] = (),
    timeout: float = 1800.0,
) -> Request:
    """The request with all its parts checked and its paths made absolute; the cheap checks come first.

    Args:
        model: a name or a folder.
        pairs, sentences, passages: as in the notebooks' parameters. None given: all are built in. Some given: nothing
            about the others is decided.
        labs: run the labs as well. only: numbers or names of lessons. timeout: seconds a notebook.
    """
    if not timeout > 0:
        raise ValueError(f"timeout: expected seconds above 0, got {timeout:g}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected 0 to {2**32 - 1}, got {seed}")
    notebooks = _chosen(_series(labs), list(only))
    given = dict(zip(DATA, map(str, (pairs or "", sentences or "", passages or "")), strict=True))
    otherwise = "none" if any(given.values()) else "built-in"
    parameters: dict[str, Any] = {
        "model": _absolute(str(model or hub.DEFAULT_MODEL)),
        **{kind: _absolute(source or otherwise) for kind, source in given.items()},
        "seed": seed,
    }
    for name, path in notebooks.items():
        unknown = [parameter for parameter in (*parameters, "evidence") if parameter not in _parameters(path)]
        if unknown:
            raise ValueError(f"{name}: its parameters cell has no {', '.join(unknown)}")
    folder = Path(out).expanduser().resolve()
    if any(path.is_relative_to(folder) for path in notebooks.values()):
        raise ValueError(f"out: {folder} holds the notebooks themselves; give another folder")
    checked_out(folder)
    _check_data(parameters)
    _check_model(parameters["model"])
    return Request(notebooks, parameters, folder, timeout)


def _series(labs: bool = False) -> dict[str, Path]:
    """The notebooks by name, a lab `NN_name.lab` after its lesson: inside the installed package, or beside it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        found = {path.stem: path for path in folder.glob("[0-9][0-9]_*.ipynb")}
        if found:
            extra = folder.glob("labs/[0-9][0-9]_*.ipynb") if labs else ()
            return dict(sorted((found | {f"{path.stem}.lab": path for path in extra}).items()))
    raise FileNotFoundError("the notebooks are neither in the installed package nor beside it")


def _chosen(series: Mapping[str, Path], only: list[str]) -> dict[str, Path]:
    chosen = set()
    for wanted in only:
        name = wanted.removesuffix(".ipynb")
        matches = [stem for stem in series if stem.removesuffix(".lab") == name or stem[:2] == name.zfill(2)]
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


def checked_out(out: str | os.PathLike[str], generator: str = page.GENERATOR) -> Path:
    """The folder for a page, absolute.

    Raises:
        ValueError: it cannot be written, or holds something and no page of this kind. Names that begin with a dot
            count as nothing, since none of ours does.
    """
    folder = Path(out).expanduser().resolve()
    kind = "review" if generator == page.GENERATOR else "comparison"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out: {folder} is a file; expected a folder, or a name that is free")
    if folder.exists() and not page.is_ours(folder / "index.html", generator):
        if (folder / "index.html").exists():
            raise ValueError(f"out: {folder} holds an index.html that is not a {kind}; give another folder")
        if found := [item.name for item in sorted(folder.iterdir()) if not item.name.startswith(".")]:
            raise ValueError(f"out: {folder} holds {found[0]!r} and no {kind}; give another folder, or an empty one")
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"out: {folder} cannot be written")
    return folder


def _check_data(given: Mapping[str, Any]) -> None:
    """ValueError in one line: one of the reader's own sources cannot be read, as the notebooks would read it."""
    for kind in DATA:
        if given[kind] not in ("built-in", "none"):
            try:
                getattr(corpora, f"load_{kind}")(given[kind], limit=LIMITS[kind], seed=given["seed"])
            except Exception as error:  # readers and the hub's client raise a dozen kinds; each means: unreadable
                raise ValueError(f"{kind}: {one_line(error)}") from error


def _check_model(model: str) -> None:
    """ValueError in one line: there is no model of that name or in that folder."""
    try:
        check_files(checkpoint.read_layout(hub.resolve(model)).transformer)
    except (ValueError, OSError) as error:
        line = one_line(error)
        raise ValueError(line if line.startswith("model") else f"model: {line}") from error


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- The run ----------------------------------------------------------------------------------------------------------


def run(request: Request, progress: Callable[[str], None] | None = None) -> Review:
    """Runs what `prepare` has checked. Whatever ends it early leaves an earlier page as it was."""
    say = progress or (lambda text: None)
    request.out.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    several = min(2, cores)
    found: dict[str, Result] = {}
    # Beside the page, so that files can be renamed into their place.
    with tempfile.TemporaryDirectory(prefix=".review-", dir=request.out, ignore_cleanup_errors=True) as folder:
        fresh, scratch = Path(folder) / "fresh", Path(folder) / "scratch"
        fresh.mkdir()
        started = time.perf_counter()
        timed = [name for name in request.notebooks if name.startswith(TIMED)]
        others = [name for name in request.notebooks if name not in timed]
        others.sort(key=lambda name: name.startswith(SHORT))
        # The runner is left first: it ends what the pool would otherwise wait for.
        with ThreadPoolExecutor(1) as alone, ThreadPoolExecutor(several) as beside, Runner(scratch) as runner:
            _encode_shared(request)  # while the runner gets ready
            for names, pool in ((others, beside), (timed, alone)):
                threads = 0 if pool is alone else max(1, cores // several)
                runs = [pool.submit(_run_notebook, request, name, fresh, runner, threads) for name in names]
                for done in as_completed(runs):
                    found[done.result().name] = done.result()
                    say(f"{_summary(done.result())}\n")
        review = Review(
            request.parameters, datetime.now(UTC), [found[name] for name in request.notebooks],
            time.perf_counter() - started,
        )  # fmt: skip
        page.write(review, fresh)
        _publish(fresh, request.out)
    return review


def _encode_shared(request: Request) -> None:
    """What most lessons ask for goes to the cache: side by side, each would encode it for itself."""
    if sum(not name.startswith(("00", TIMED)) for name in request.notebooks) < 2:
        return
    from stlib.evidence.vectors import distinct, pooled

    given = request.parameters
    with contextlib.suppress(Exception), warnings.catch_warnings():  # whatever is wrong, the lessons will say it
        warnings.simplefilter("ignore")
        study = Study(given["model"], {kind: given[kind] for kind in DATA}, given["seed"], evidence="")
        for texts in (study.passages.queries, study.passages.texts, distinct(study.pairs)[0]):
            pooled(study.encoder, texts)


def _run_notebook(request: Request, name: str, fresh: Path, runner: Runner, threads: int) -> Result:
    started = time.perf_counter()
    path = request.notebooks[name]
    parameters = {**request.parameters, "evidence": str(fresh / "evidence")}
    notebook, error = runner.run(path, fresh / f"{name}.ipynb", parameters, request.timeout, threads)
    evidence = fresh / "evidence" / f"{name}.json"
    record = Record.read(evidence) if evidence.is_file() else None
    hide = path_hider([str(parameters[key]) for key in ("model", *DATA)], [str(fresh), str(path.parent)])
    return Result(name, time.perf_counter() - started, hide(error), notebook, record, hide)


def _summary(result: Result) -> str:
    verdicts: Counter[str] = Counter(claim.verdict for claim in result.claims)
    words = [("holds", "hold"), ("does not hold", "do not"), ("not decided", "not decided")]
    counts = ", ".join(f"{verdicts[verdict]} {word}" for verdict, word in words)
    parts = [f"{result.name}: {result.seconds:.0f} s"]
    if result.claims:
        parts.append(f"{len(result.claims)} claim{'s' * (len(result.claims) != 1)}: {counts}")
    if result.error:
        parts.append(f"failed: {result.error}")
    return ", ".join(parts)


def _publish(fresh: Path, out: Path) -> None:
    """Moves whole files into their place, the index last; removes what an earlier review left of other notebooks."""
    (out / "evidence").mkdir(exist_ok=True)
    files = [path.relative_to(fresh) for path in sorted(fresh.rglob("*")) if path.is_file()]
    if page.is_ours(out / "index.html"):
        for name in _series(labs=True):
            for old in (Path(f"{name}.html"), Path(f"{name}.ipynb"), Path("evidence") / f"{name}.json"):
                if old not in files:
                    (out / old).unlink(missing_ok=True)
    for file in sorted(files, key=lambda file: file.name == "index.html"):
        shutil.move(fresh / file, out / file)


# --- The command ------------------------------------------------------------------------------------------------------


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    data = "CSV, TSV, JSONL or Parquet file, or hf:// address"
    parser.add_argument("--pairs", metavar="F", help=f"{data}: sentence1, sentence2, score; anchor, kind if you have")
    parser.add_argument("--sentences", metavar="F", help=f"{data}: text; label if you have")
    parser.add_argument("--passages", metavar="F", help=f"{data}: query, text; or a folder of .md, .txt, .rst files")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of whatever is drawn (0)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the page")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `python -m stlib review`."""
    parser.add_argument("--model", metavar="M", help="a hub name or a folder (default: all-MiniLM-L6-v2)")
    add_data_arguments(parser)
    parser.add_argument("--labs", action="store_true", help="run the labs as well")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="lessons to run, such as 02 05")
    parser.add_argument("--timeout", type=float, default=1800.0, metavar="SECONDS", help="for each notebook (1800)")


def main(args: argparse.Namespace) -> int:
    """Exit codes: 0 done, 1 a notebook failed, 2 the request cannot be carried out."""
    names = ("model", *DATA, "seed", "labs", "only", "timeout")
    try:
        request = prepare(args.out, **{name: getattr(args, name) for name in names})
    except (ValueError, OSError) as error:
        print(f"review: {one_line(error)}", file=sys.stderr)
        return 2
    done = run(request, lambda text: print(text, end="", flush=True))
    print(f"{args.out.rstrip('/')}/index.html")
    return 0 if done.whole else 1
