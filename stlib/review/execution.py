"""Notebooks executed by papermill, each in a process of its own, with the interpreter that runs this."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat

from stlib.review import warm


def write_kernel(folder: Path, command: list[str]) -> None:
    """The kernel python3, which `command` starts, for a JUPYTER_PATH of `folder`."""
    kernel = folder / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": [*command, "-f", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


class Runner:
    """Runs notebooks, from several threads if need be. On leaving the block all that still runs is ended.

    The kernel is this interpreter, whatever is registered, and sees no settings of the user's that change what is
    computed. Files of the runs lie in `scratch`.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._closed = threading.Lock(), False
        self._warm, self._server = sys.platform == "linux", contextlib.ExitStack()
        write_kernel(scratch / "jupyter", self._python("ipykernel_launcher"))
        self._environment = {
            **os.environ,
            "JUPYTER_PATH": str(scratch / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
            "IPYTHONDIR": str(scratch / "ipython"),
            "PYTHONHASHSEED": "0",
        }
        root = Path(__file__).resolve().parents[2]
        if (root / "pyproject.toml").is_file():  # a checkout, which need not be installed
            self._environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))

    def __enter__(self) -> Runner:
        if self._warm:
            self._server.enter_context(warm.server(self._environment))
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            _end(process)
        self._server.close()

    def _python(self, module: str) -> list[str]:
        return warm.command(module) if self._warm else [sys.executable, "-Xfrozen_modules=off", "-m", module]

    def run(
        self, path: Path, out: Path, parameters: dict[str, Any], timeout: float, threads: int
    ) -> tuple[nbformat.NotebookNode, str]:
        """Executes `path` and writes it to `out`, whole or as far as it came: the notebook, and "" or what went wrong.

        threads: for the products of matrices, 0 leaves them as they are.
        """
        scratch = self.scratch / out.stem
        scratch.mkdir()
        values, log = scratch / "parameters.json", scratch / "log.txt"
        # JSON is YAML; with its escapes it would not be, where a character lies beyond 16 bits.
        values.write_text(json.dumps(parameters, ensure_ascii=False), encoding="utf-8")
        command = [*self._python("papermill"), str(path), str(out), "--parameters_file", str(values)]
        command += ["--kernel", "python3", "--cwd", str(scratch), "--no-progress-bar", "--no-log-output"]
        environment = self._environment | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
        with log.open("wb") as stream:
            code = self._execute(command, timeout, stream, scratch, environment)
        notebook = _read(out) or _read(path, outputs=False)
        assert notebook is not None
        error = "" if code == 0 else f"stopped after {timeout:g} s" if code is None else _error(notebook, log)
        return notebook, error

    def _execute(
        self, command: list[str], timeout: float, log: Any, folder: Path, environment: dict[str, str]
    ) -> int | None:
        """The exit code, or None when the time was up. Nothing that was started lives on, the kernel included."""
        with self._lock:
            if self._closed:
                return -1
            # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
            self._running.add(process)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)
            with self._lock:
                self._running.discard(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all its children; kernels have sessions of their own, so one by one."""
    import psutil  # ipykernel needs it as well

    if process.poll() is not None:
        return
    try:
        family = psutil.Process(process.pid)
        members = [family, *family.children(recursive=True)]
    except psutil.NoSuchProcess:
        members = []
    for member in members:
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
