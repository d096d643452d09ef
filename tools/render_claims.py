"""Fill the tables of docs/claims.md from stlib/evidence/claims.toml, where the words of each claim stand.

python tools/render_claims.py [--check]      (--check: fail where the file is not up to date)
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from stlib.evidence.claims import Definition, definitions

PAGE = Path(__file__).resolve().parent.parent / "docs" / "claims.md"
BEGIN, END = "<!-- claims -->\n", "<!-- end of claims -->\n"


def row(claim: Definition) -> str:
    unit = "point" if claim.unit == "points" and claim.bound == 1 else claim.unit
    marks = " **headline**" * claim.headline + " *lab*" * claim.lab
    cells = [
        f"`{claim.id}`{marks}", claim.design, claim.sentence, claim.measure, f"{claim.criterion_text} {unit}", claim.on,
        claim.default, claim.flips_when,
    ]  # fmt: skip
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def tables() -> str:
    """One table a lesson, its claims in the order of claims.toml."""
    lines = []
    for lesson, claims in groupby(definitions().values(), key=lambda claim: claim.lesson):
        lines += [
            f"### {lesson}", "",
            "| id | the design says | claim | measured | criterion | on | while undecided | flips when |",
            "|---|---|---|---|---|---|---|---|", *map(row, claims), "",
        ]  # fmt: skip
    return "\n".join(lines)


def rendered(text: str) -> str:
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END, 1)[1]}"


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return int(rendered(text) != text)
    PAGE.write_text(rendered(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
