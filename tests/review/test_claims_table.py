"""docs/claims.md says what claims.toml says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from stlib.evidence.claims import definitions

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")


def test_tables_of_the_claims_are_those_of_claims_toml() -> None:
    command = [sys.executable, str(ROOT / "tools" / "render_claims.py"), "--check"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0, "run python tools/render_claims.py"


def test_each_claim_has_a_row_and_each_claim_named_in_the_text_exists() -> None:
    rows, text = re.findall(r"^\| `([\w-]+)`", PAGE, re.MULTILINE), re.sub(r"^\| `.*$", "", PAGE, flags=re.MULTILINE)
    assert rows == list(definitions())
    assert set(re.findall(r"`([a-z]+(?:-[a-z0-9]+)+)`", text)) <= set(definitions())
