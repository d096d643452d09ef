"""The fair trial of mean against CLS pooling, whole: results/fair_trial.json.

    OMP_NUM_THREADS=1 nice -n 19 python benchmarks/fair_trial.py [--model M] [--pairs F] [--out FILE]

About a quarter of an hour on one free core. The protocol:

* Two folds with no anchor in common. Each mode is trained on one and scored on the other, both ways round.
* Within the training fold, each mode tries the same learning rates for the same steps on half of the anchors and takes
  the one that scores best on the other half, with one seed. The scored fold has no part in it.
* With its rate, each mode is trained anew on the whole training fold, three seeds, all layers, the same batches.
* Scores are taken at fixed steps, the untrained point included. Intervals resample anchors and seeds together.

It measures how much a checkpoint recovers under another pooling than it was trained with, in so many steps: not which
pooling is better from scratch.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stlib import SentenceTransformer
from stlib.evidence.claims import Claims
from stlib.evidence.corpora import load_pairs
from stlib.evidence.evaluation import detectable, group_weights, interval, over_seeds, pair_score, pair_score_name, split_groups
from stlib.evidence.training import BATCH_PAIRS, RATES, WARM_UP, inner_scores, part, train

MODES = ("mean", "cls")
STEPS = (0, 5, 10, 20, 30)
SEEDS = (0, 1, 2)
SPLIT_SEED = 0
RESAMPLES = 2000
OUT = Path(__file__).resolve().parent.parent / "results" / "fair_trial.json"


def run(
    model: SentenceTransformer, pairs: pd.DataFrame
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], np.ndarray]:
    """The rates chosen, the score of every run at every step, and the cosines [mode, seed, step, pair]."""
    fold = split_groups(pairs["anchor"], SPLIT_SEED)
    cosines = np.full((len(MODES), len(SEEDS), len(STEPS), len(pairs)), np.nan)
    chosen, curves = [], []
    for number, trained_on in enumerate((fold, ~fold)):
        training, held_out = part(pairs, trained_on), part(pairs, ~trained_on)
        for m, mode in enumerate(MODES):
            inner = inner_scores(model, mode, training, steps=STEPS[-1], seed=SPLIT_SEED)
            rate = max(inner, key=lambda rate: inner[rate])
            chosen.append({"fold": number, "mode": mode, "rate": rate, "inner": list(inner.items())})
            print(f"fold {number} {mode} inner: {inner}", flush=True)
            for s, seed in enumerate(SEEDS):
                curve = train(model, mode, training, held_out, rate=rate, look_at=STEPS, seed=seed)
                cosines[m, s][:, ~trained_on] = np.stack([curve[step] for step in STEPS])
                scores = [pair_score(curve[step], held_out) for step in STEPS]
                curves.append({"fold": number, "mode": mode, "seed": seed, "rate": rate, "scores": scores})
                print(f"fold {number} {mode} seed {seed}: {np.round(scores, 2)}", flush=True)
    return chosen, curves, cosines


def summarise(pairs: pd.DataFrame, cosines: np.ndarray) -> list[dict[str, Any]]:
    """By step: each mode's score and mean - CLS, averaged over seeds, with 95 % intervals over anchors and seeds."""
    weights = group_weights(pairs["anchor"], RESAMPLES, SPLIT_SEED)
    rows = []
    for at, step in enumerate(STEPS):
        score = np.array([[pair_score(cosines[m, s, at], pairs) for s in range(len(SEEDS))] for m in range(len(MODES))])
        draws = np.array(
            [[pair_score(cosines[m, s, at], pairs, weights) for s in range(len(SEEDS))] for m in range(len(MODES))]
        )  # [mode, seed, resample]
        row: dict[str, Any] = {"step": step}
        for m, mode in enumerate(MODES):
            row[mode] = {"score": score[m].mean(), "interval": interval(over_seeds(draws[m]))}
        difference = over_seeds(draws[0] - draws[1])
        value = (score[0] - score[1]).mean()
        row["difference"] = {"value": value, "interval": interval(difference), "detectable": detectable(difference)}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--pairs", default="built-in")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    started = time.perf_counter()
    pairs, model = load_pairs(arguments.pairs), SentenceTransformer.from_pretrained(arguments.model)
    about = Claims("fair_trial", model=model, data=pairs, seed=SPLIT_SEED).record()
    chosen, curves, cosines = run(model, pairs)
    record = {
        "protocol": {
            "text": __doc__, "modes": MODES, "steps": STEPS, "seeds": SEEDS, "rates": RATES, "batch_pairs": BATCH_PAIRS,
            "warm_up": WARM_UP, "split_seed": SPLIT_SEED, "resamples": RESAMPLES, "loss": "CoSENT, scale 20",
            "optimizer": "AdamW", "level": 0.95, "score": pair_score_name(pairs),
        },
        **{key: about[key] for key in ("model", "data", "versions", "machine")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started),
        "chosen": chosen,
        "curves": curves,
        "summary": summarise(pairs, cosines),
    }  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    beside = arguments.out.with_suffix(".json.new")
    beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    beside.replace(arguments.out)
    print(f"{arguments.out.name}: {record['seconds']} s")


if __name__ == "__main__":
    main()
