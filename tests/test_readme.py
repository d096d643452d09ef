"""The README says what was measured, its example runs, and what it points to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_tables_are_those_of_the_recorded_results() -> None:
    assert subprocess.run([sys.executable, str(ROOT / "tools" / "update_readme.py"), "--check"]).returncode == 0


def test_its_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["vectors"].shape == (2, 384)  # type: ignore[attr-defined]
    assert names["cls"].shape == (1, 384)  # type: ignore[attr-defined]
    assert (tmp_path / "build" / "my-model" / "modules.json").exists()


def test_what_it_points_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for script in re.findall(r"python ((?:benchmarks|tools)/\w+\.py)", TEXT):
        assert (ROOT / script).exists(), script


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:`|^ {4})make (\w+)", TEXT, re.MULTILINE)):
        assert f"\n{target}:" in makefile, target
