"""Fill docs/claims.md from stlib/evidence/claims.toml, the only place where the words of the claims stand.

python tools/render_claims.py [--check]      (--check: fail where the file is not up to date)
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from stlib.evidence.claims import definitions

FILE = Path(__file__).resolve().parent.parent / "docs" / "claims.md"
BEGIN, END = "<!-- claims -->", "<!-- end of claims -->"


def tables() -> str:
    """One table a lesson."""
    lines: list[str] = []
    for lesson, claims in groupby(definitions().values(), key=lambda claim: claim.lesson):
        lines += [f"## {lesson}", "", "| id | claim | measured | criterion | on | while undecided | flips when |"]
        lines.append("|---|---|---|---|---|---|---|")
        for claim in claims:
            criterion = f"{claim.criterion_text} {claim.unit}"
            place = "**headline:** " if claim.headline else "lab: " if claim.lab else ""
            cells = [
                f"`{claim.id}`", f"{claim.sentence} (the design: {claim.design.strip('()')})", claim.measure,
                f"{place}{criterion}", claim.on, claim.default, claim.flips_when,
            ]  # fmt: skip
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    text = FILE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    fresh = before + BEGIN + "\n" + tables() + END + rest.split(END, 1)[1]
    if "--check" in sys.argv[1:]:
        return int(fresh != text)
    FILE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
