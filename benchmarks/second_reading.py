"""Agreement of the built-in grades with later readings: whole anchors, shuffled, read without the grades.

    python benchmarks/second_reading.py

`second_reading.csv` holds the second grades by anchor and first grade, in three rounds. Round 1 read 20 anchors; the
reader, a machine like the writer, saw the rubric whole, which tells that each anchor has one pair of each grade. What
disagreed was rewritten. Round 2 read those six anchors again and 14 new ones, without being told the balance; what
disagreed was rewritten once more, and round 3 read the four anchors that had changed since. Writes results/reread.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from stlib.evidence.corpora import load_pairs
from stlib.evidence.estimate import Estimate

ROOT = Path(__file__).resolve().parent.parent


def agreement(table: pd.DataFrame) -> dict[str, Any]:
    """Kappa with quadratic weights, its interval over anchors, and what disagrees."""

    def kappa(rows: pd.DataFrame) -> float:
        return float(cohen_kappa_score(rows["score"], rows["second"], weights="quadratic"))

    without = [kappa(table[table["anchor"] != anchor]) for anchor in table["anchor"].unique()]
    low, high = Estimate.jackknife(kappa(table), without, "anchor").interval()
    gap = (table["score"] - table["second"]).abs()
    return {
        "anchors": int(table["anchor"].nunique()),
        "pairs": len(table),
        "weighted_kappa": round(kappa(table), 4),
        "interval": [round(low, 4), round(high, 4)],
        "same_grade": round(float((gap == 0).mean()), 4),
        "within_one_grade": round(float((gap <= 1).mean()), 4),
        "disagreements": table.loc[gap > 0, ["anchor", "score", "second"]].to_dict("records"),
    }


def main() -> None:
    read = pd.read_csv(ROOT / "benchmarks" / "second_reading.csv", dtype={"anchor": str})
    result = {
        "pairs_sha256": load_pairs().attrs["sha256"],
        "rounds": [{"round": number} | agreement(table) for number, table in read.groupby("round")],
    }
    (ROOT / "results" / "reread.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
