"""docs/claims.md names each claim, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from stlib.evidence.claims import definitions

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")


def test_each_claim_has_a_row_and_each_claim_named_in_the_text_exists() -> None:
    tables, text = PAGE.split("<!-- claims -->")[1], re.sub(r"^\| `.*$", "", PAGE, flags=re.MULTILINE)
    rows = re.findall(r"^\| `([\w-]+)`", tables, re.MULTILINE)
    assert rows == list(definitions())
    assert set(re.findall(r"`([a-z]+(?:-[a-z0-9]+)+)`", text)) <= set(definitions())
