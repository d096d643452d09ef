"""Processes that are forked from a warm one: like `python -m`, and nothing of them outlives who asked for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stlib.review import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a fork that torch survives")

TELLS = """
import json, os, sys
known = "torch" in sys.modules
import torch
told = {"argv": sys.argv[1:], "name": __name__, "known": known, "folder": os.getcwd(), "path": sys.path,
        "threads": torch.get_num_threads(), "given": os.environ.get("GIVEN"), "input": sys.stdin.read()}
print(json.dumps(told))
print("said aside", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""
WAITS = """
import subprocess, sys, time, os
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
try:
    print(os.getpid(), child.pid, flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    child.kill()
    print("interrupted", flush=True)
"""


def start(folder: Path, code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    (folder / "own_module.py").write_text(code)
    return subprocess.Popen(
        [*warm.command("own_module"), *arguments], cwd=folder, env=os.environ | environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def gone(*processes: int) -> bool:
    for _ in range(50):
        alive = [one for one in processes if psutil.pid_exists(one)]
        if all(psutil.Process(one).status() == psutil.STATUS_ZOMBIE for one in alive):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("code", [0, 3])
def test_it_is_what_python_m_would_be_but_for_modules_that_lie_ready(code: int, tmp_path: Path) -> None:
    process = start(tmp_path, TELLS, str(code), "two words", OMP_NUM_THREADS="2", GIVEN="so")
    out, errors = process.communicate("from the pipe", timeout=120)
    told = json.loads(out)
    assert process.returncode == code and errors == "said aside\n"
    assert told["argv"] == [str(code), "two words"] and told["name"] == "__main__" and told["input"] == "from the pipe"
    assert told["known"] and told["threads"] == 2 and told["given"] == "so"
    assert Path(told["folder"]) == Path(told["path"][0]) == tmp_path
    assert str(Path(warm.__file__).parent) not in told["path"]


def test_an_error_ends_it_with_its_traceback(tmp_path: Path) -> None:
    _, errors = (process := start(tmp_path, "raise ValueError('so it is')")).communicate(timeout=120)
    assert process.returncode == 1 and errors.rstrip().endswith("ValueError: so it is")


def test_killed_it_takes_along_what_it_started(tmp_path: Path) -> None:
    process = start(tmp_path, WAITS)
    started = [int(word) for word in process.stdout.readline().split()]
    process.kill()
    process.communicate()
    assert len(started) == 2 and gone(*started)


def test_an_interrupt_reaches_it(tmp_path: Path) -> None:
    process = start(tmp_path, WAITS)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted\n" and process.returncode == 0


def test_the_server_ends_with_who_started_it() -> None:
    code = (
        "import os, time; from stlib.review import warm\nwith warm.server({}):\n    print(flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    owner.stdout.readline()
    children = [child.pid for child in psutil.Process(owner.pid).children()]
    owner.kill()
    owner.communicate()
    assert len(children) == 1
    assert gone(*children) or gone(*children)  # it looks between two imports, of which one can take seconds


def test_where_there_is_no_server_it_fails_and_does_not_wait(tmp_path: Path) -> None:
    process = start(tmp_path, TELLS, "0", STLIB_WARM=str(tmp_path / "nobody"))
    process.communicate(timeout=60)
    assert process.returncode != 0


def test_a_long_name_of_the_temporary_folder_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    long = tmp_path / ("l" * 100)
    long.mkdir()
    code = (
        "import os; from stlib.review import warm\nwith warm.server(os.environ):\n    print(os.environ[warm.ADDRESS])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"TMPDIR": str(long)}
    )
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout).parent.exists() and not list(long.iterdir())
