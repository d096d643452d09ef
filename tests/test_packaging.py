"""What is declared, what is locked and what is written down agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]
EXTRAS = [text for name, extra in OPTIONAL.items() if name != "bench" for text in extra]
DECLARED = [Requirement(text) for text in [*PROJECT["dependencies"], *EXTRAS]]
LOCK = dict(
    line.split("==") for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if "==" in line
)
LOCKED = {canonicalize_name(name): version for name, version in LOCK.items()}


@pytest.mark.parametrize("requirement", DECLARED, ids=lambda requirement: requirement.name)
def test_each_dependency_is_locked_to_a_version_that_its_declaration_allows(requirement: Requirement) -> None:
    assert Version(LOCKED[canonicalize_name(requirement.name)]) in requirement.specifier


def test_peers_of_the_benchmarks_are_pinned_where_they_are_declared() -> None:
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", peer) for peer in OPTIONAL["bench"])


def test_the_lock_is_exact_and_has_no_local_builds() -> None:
    assert all(re.fullmatch(r"[\w.]+", version) for version in LOCKED.values())
    assert LOCKED["torch"] == "2.13.0"


def test_environment_yml_leaves_the_declarations_to_pyproject_and_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python = next(item for item in environment["dependencies"] if isinstance(item, str) and item.startswith("python"))
    pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert Version(python.split("=")[1]) in Requirement(f"python{PROJECT['requires-python']}").specifier
    assert pip == ["-r requirements.lock", "-e ."]
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    assert [re.split(r"[=<>]", item)[0] for item in conda] == ["python", "pip"]


def test_the_makefile_installs_from_the_lock() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--requirement requirements.lock" in makefile and "--editable ." in makefile


def test_the_packages_of_the_design_card_are_declared() -> None:
    names = {canonicalize_name(requirement.name) for requirement in DECLARED}
    card = {"jupyterlab", "torch", "transformers", "matplotlib", "seaborn", "scikit-learn", "nbval", "papermill"}
    assert card <= names


def _committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_machine_path_stands_in_a_committed_file() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w")
    allowed = {Path(__file__)}
    found = []
    for path in _committed():
        if path in allowed or path.suffix in (".png", ".parquet"):
            continue
        text = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in pattern.finditer(text)]
    assert not [line for line in found if not line.startswith(("tools/store_notebooks", "tests/"))]


def test_no_file_is_too_large_to_clone() -> None:
    assert not [path.name for path in _committed() if path.stat().st_size > 1_500_000]


def test_make_test_runs_the_notebooks():
    """Without its folder among the paths, nbval finds none and nothing is said."""
    other = [f"--ignore={folder}" for folder in sorted((ROOT / "tests").iterdir()) if folder.is_dir()]
    command = [sys.executable, "-m", "pytest", "--nbval", "--collect-only", "-q", "-k", "07_speed", *other]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert "notebooks/07_speed.ipynb" in found and "notebooks/solutions/07_speed.ipynb" in found
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "-m pytest" in line]
    assert "--nbval " in line
