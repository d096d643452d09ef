"""How the package is put together: who imports whom, how long files are, what an import loads, where things stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"


def test_imports_go_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    broken = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert not broken, capsys.readouterr().out


def test_core_files_and_classes_keep_to_their_sizes() -> None:
    run = subprocess.run([sys.executable, ROOT / "tools" / "lines.py"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_import_loads_no_heavy_company() -> None:
    heavy = ["sklearn", "pandas", "matplotlib", "scipy", "seaborn", "sentence_transformers", "ray", "papermill"]
    code = f"import sys, stlib; print([name for name in {[*heavy, 'IPython']!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_path_that_the_page_names_is_there() -> None:
    folders = "stlib|tests|docs|tools|benchmarks|notebooks|results"
    names = re.findall(
        rf"`((?:{folders})/[\w/.-]*|[\w.-]+\.(?:toml|lock|yml)|Makefile)`", PAGE.read_text(encoding="utf-8")
    )
    assert len(names) > 20
    assert not [name for name in names if not (ROOT / name).exists()]


def test_the_page_names_every_file_that_others_stand_on() -> None:
    files = {f"stlib/{path.name}" for path in (ROOT / "stlib").glob("[!_]*.py")}
    assert not [name for name in files if f"`{name}`" not in PAGE.read_text(encoding="utf-8")]
