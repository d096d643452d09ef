"""Agreement of the built-in grades with a second reading: 20 whole anchors, shuffled, read without the grades.

    python benchmarks/second_reading.py

`second_reading.csv` holds the second grades by anchor and first grade. The second reader, a machine like the first,
saw the sentences and the rubric, which tells that each anchor has one pair of each grade. Writes results/reread.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from stlib.datasets import load_pairs
from stlib.evaluation import group_weights, interval

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    pairs = load_pairs()
    read = pd.read_csv(ROOT / "benchmarks" / "second_reading.csv", dtype={"anchor": str})
    table = read.merge(pairs.astype({"anchor": str, "score": int}), on=["anchor", "score"], validate="one_to_one")
    weights = group_weights(table["anchor"], 2000, seed=0)
    draws = [
        cohen_kappa_score(table["score"], table["second"], weights="quadratic", sample_weight=weight)
        for weight in weights
    ]
    gap = (table["score"] - table["second"]).abs()
    low, high = interval(np.array(draws))
    result = {
        "pairs_sha256": pairs.attrs["sha256"],
        "anchors": int(table["anchor"].nunique()),
        "pairs": len(table),
        "weighted_kappa": round(float(cohen_kappa_score(table["score"], table["second"], weights="quadratic")), 4),
        "interval": [round(low, 4), round(high, 4)],
        "same_grade": round(float((gap == 0).mean()), 4),
        "within_one_grade": round(float((gap <= 1).mean()), 4),
        "disagreements": table.loc[gap > 0, ["anchor", "kind", "score", "second"]].to_dict("records"),
    }
    (ROOT / "results" / "reread.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
