"""Fill the tables of docs/claims.md from stlib/evidence/claims.toml, where the words of each claim stand.

python tools/render_claims.py [--check]      (--check: fail where the file is not up to date)
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from stlib.evidence.claims import Claim, Definition, definitions
from stlib.evidence.records import measurement

PAGE = Path(__file__).resolve().parent.parent / "docs" / "claims.md"


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


def registered() -> str:
    """What was written down before the data were looked at, and what came out."""
    lines = ["| id | expected | found | measured |", "|---|---|---|---|"]
    for entry in measurement("registered")["claims"]:
        claim = Claim.from_record({name: entry[name] for name in entry if name not in ("expected", "confirmed")})
        found = f"{claim.verdict}: {'confirmed' if entry['confirmed'] else 'not confirmed'}"
        lines.append(f"| `{claim.id}` | {entry['expected']} | {found} | {claim.measured} |")
    return "\n".join(lines)


def beside() -> str:
    """Four decisions on each model and set of data, in points."""
    models = measurement("beside")["models"]
    sets = list(next(iter(next(iter(models.values())).values())))
    lines = [f"| model | difference | {' | '.join(sets)} |", "|---" * (2 + len(sets)) + "|"]
    for model, decisions in models.items():
        for decision, by_set in decisions.items():
            cells = (f"{one['value']:.1f} [{one['low']:.1f}, {one['high']:.1f}]" for one in by_set.values())
            lines.append(f"| {model} | {decision} | {' | '.join(cells).replace('-', '−')} |")
    return "\n".join(lines)


def rendered(text: str) -> str:
    for name, table in (("claims", tables), ("registered", registered), ("beside", beside)):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{table()}\n{end}{rest.split(end, 1)[1]}"
    return text


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return int(rendered(text) != text)
    PAGE.write_text(rendered(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
