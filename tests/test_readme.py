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
    for target in [*re.findall(r"\]\(([^)#]+)\)", TEXT), *re.findall(r'src="([^"]+)"', TEXT)]:
        assert (ROOT / target).exists(), target
    for script in re.findall(r"python ((?:benchmarks|tools)/\w+\.py)", TEXT):
        assert (ROOT / script).exists(), script


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:`|^ {4})make (\w+)", TEXT, re.MULTILINE)):
        assert f"\n{target}:" in makefile, target


def test_its_first_screen_is_what_it_is_a_picture_two_commands_and_a_surprise_a_lesson() -> None:
    first = TEXT.split("\n## ")[0]
    introduction = first.split("\n\n")[1]
    assert len(re.findall(r"\.(?:\s|$)", introduction)) == 2
    assert first.count("<img") == 1 and re.search(r'alt="[^"]{20,}"', first)
    assert re.findall(r"^    (make \w+)", first, re.MULTILINE) == ["make review", "make test"]
    rows = re.findall(r"^\| \[(\d\d) [^|]*\| ([^|]+) \|$", first, re.MULTILINE)
    assert [number for number, _ in rows] == [f"{number:02d}" for number in range(10)]
    assert len(first.splitlines()) < 45
