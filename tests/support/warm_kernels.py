"""Kernels for nbval that have torch imported already: forked from one server instead of started from nothing.

Importing torch, transformers and scikit-learn costs each kernel five seconds, and the suite starts some forty. What a
notebook may use it must still import: its namespace is empty, only the modules lie ready. Used where there is `fork`.

    started()           starts the server, and makes its kernels those that Jupyter finds
    serve(address)      the server: imports, then forks a kernel for each connection
    this file, run      what Jupyter starts as the kernel: it asks the server for one, hands on interrupts, and ends
                        when the kernel does
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ADDRESS = "STLIB_WARM_KERNELS"
# No figures among them: how the inline backend is chosen depends on the shell that is running when it is imported.
MODULES = (
    "numpy", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.linear_model", "sklearn.manifold", "sklearn.cluster",
    "torch", "transformers.models.bert.modeling_bert", "sentence_transformers", "ipykernel.kernelapp",
)  # fmt: skip


def started() -> Callable[[], None]:
    """Starts the server and changes the environment; returns what stops it."""
    folder = Path(tempfile.mkdtemp(prefix="kernels-"))
    address, kernel = folder / "socket", folder / "kernels" / "python3" / "kernel.json"
    command = [sys.executable, "-I", "-S", __file__, "{connection_file}"]
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": command, "display_name": "", "language": "python"}), encoding="utf-8")
    os.environ |= {"JUPYTER_PATH": str(folder), ADDRESS: str(address)}
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # in the server alone: kernels get the environment of who asks
    said = subprocess.DEVNULL  # each kernel would tell how to connect to it
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(address)], env=one_thread, stdout=said, stderr=said
    )
    while not address.exists() and server.poll() is None:
        time.sleep(0.1)

    def stop() -> None:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)

    return stop


def serve(address: str) -> None:
    for module in MODULES:
        __import__(module)
    sys.modules["pandas"].set_option("display.max_columns", 20)  # as it chooses where a kernel imports it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the kernels
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _become_kernel(client)
            client.close()


def _become_kernel(client: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    asked = json.loads(client.makefile("r").readline())
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    client.sendall(f"{os.getpid()}\n".encode())

    def end_with_the_client() -> None:
        client.recv(1)  # nothing ever comes but the end
        os._exit(0)

    threading.Thread(target=end_with_the_client, daemon=True).start()
    from ipykernel import kernelapp

    sys.argv = ["ipykernel_launcher", "-f", asked["connection"]]
    try:
        kernelapp.launch_new_instance()
    finally:
        os._exit(0)


def main(connection: str) -> None:
    """What Jupyter takes for the kernel."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ[ADDRESS])
        asked = {"connection": connection, "folder": str(Path.cwd()), "environment": dict(os.environ)}
        server.sendall(json.dumps(asked).encode() + b"\n")
        answers = server.makefile("r")
        kernel = int(answers.readline())

        def interrupt(*_: Any) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(kernel, signal.SIGINT)

        signal.signal(signal.SIGINT, interrupt)
        answers.read()  # until the kernel ends


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        main(sys.argv[1])
