"""`python -m MODULE` in a process that has imported already what notebooks import: forked, not started from nothing.

torch, transformers and scikit-learn take each kernel some six seconds, papermill two; a review starts ten of both.
What a notebook uses it must still import: only the modules lie ready. For Linux; elsewhere torch survives no fork.

    server(environment)   starts the server, and ends it
    serve(listening)      the server: imports, then forks a process for each who asks
    main(command)         stands for the forked process: has its output, hands on interrupts, ends with it and as it did
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

ADDRESS = "STLIB_WARM"
MODULES = (
    "numpy", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.linear_model", "sklearn.manifold", "sklearn.cluster",
    "torch", "transformers.models.bert.modeling_bert", "sentence_transformers", "stlib", "papermill.execute",
    "ipykernel.kernelapp",
)  # fmt: skip
"""No figures among them: pyplot looks at the shell that runs when it is imported."""
_LONGEST = 107  # bytes in a socket's address (unix(7))


def command(module: str) -> list[str]:
    """What stands in for `python -m module`."""
    return [sys.executable, "-I", "-S", __file__, module]


@contextlib.contextmanager
def server(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Within this a server runs, which ends with this process at the latest; `environment` leads to it."""
    usual = tempfile.gettempdir()
    place = usual if len(os.fsencode(usual)) < _LONGEST - 30 else "/tmp"
    with tempfile.TemporaryDirectory(prefix="stlib-", dir=place) as folder, socket.socket(socket.AF_UNIX) as listening:
        environment[ADDRESS] = str(Path(folder) / "socket")  # in a folder that is open to its owner alone
        listening.bind(environment[ADDRESS])
        listening.listen()  # who comes early waits for the imports
        # One thread, for others would not survive the fork. Who asks says how many it wants.
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(listening.fileno())],
            env={**os.environ, **environment, "OMP_NUM_THREADS": "1"}, pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        listening.close()
        try:
            yield
        finally:
            del environment[ADDRESS]
            process.kill()
            process.communicate()


# --- The server -------------------------------------------------------------------------------------------------------


def serve(listening: socket.socket) -> None:
    del sys.path[0]  # the folder of this file, whose modules have names of their own
    for module in MODULES:
        if _ready(sys.stdin, seconds=0):  # nothing ever comes but the end of who started this
            return
        __import__(module)
    sys.modules["pandas"].set_option("display.max_columns", 20)  # as it chooses where a kernel imports it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    while True:
        if sys.stdin in _ready(listening, sys.stdin):
            return
        client, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _become(client)
        client.close()


def _ready(*streams: Any, seconds: float | None = None) -> list[Any]:
    return select.select(streams, [], [], seconds)[0]


def _become(client: socket.socket) -> None:
    """Runs the module that the client names, as if it had been started by it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(client, 1, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    asked = json.loads(client.makefile("r").readline())
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    client.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=_end_with, args=[client], daemon=True).start()
    _use_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    module, *arguments = asked["command"]
    sys.argv, code = [module, *arguments], 1
    sys.path.insert(0, asked["folder"])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            client.sendall(f"{code}\n".encode())
        os._exit(code)


def _end_with(client: socket.socket) -> None:
    """Ends this process, and what it started, as soon as the client is gone."""
    client.recv(1)  # it says no more
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(1)


def _use_threads(count: int) -> None:
    import threadpoolctl
    import torch

    threadpoolctl.threadpool_limits(count)
    torch.set_num_threads(count)


# --- The client -------------------------------------------------------------------------------------------------------


def main(module_and_arguments: list[str]) -> int:
    process, interrupted = 0, False

    def interrupt(*_: Any) -> None:
        nonlocal interrupted
        interrupted = True
        if process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGINT)

    signal.signal(signal.SIGINT, interrupt)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ[ADDRESS])
        socket.send_fds(server, [b" "], [0, 1, 2])
        asked = {"command": module_and_arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
        server.sendall(json.dumps(asked).encode() + b"\n")
        answers = server.makefile("r")
        process = int(answers.readline() or 0)
        if interrupted:  # before there was one
            interrupt()
        return int(answers.readline() or 1)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        sys.exit(main(sys.argv[1:]))
