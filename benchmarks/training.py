"""What training gains and costs, whole: results/training.json, which lesson 08 quotes.

    STLIB_DATA_DIR=… OMP_NUM_THREADS=1 nice python benchmarks/training.py [--out FILE]

About an hour on one core, in 3 GB. The protocol, on the documentation and all-MiniLM-L6-v2:

* Passages that "See Also" links stay on one side. 500 queries are held out and ranked over their own passages.
* Curve: 30, 100, 300, 1,000 pairs, contrastive loss, all layers, each pair seen twice (never fewer than 10 steps),
  three seeds, which choose the pairs too. Texts are cut at 64 tokens throughout.
* Elsewhere: neighbours of the built-in sentences, and Spearman on STS-B dev where it is at hand, before and after each
  size.
* Two tasks: 160 pairs for search, and 320 passages with their modules for classification (modules of 15 passages or
  more), 10 steps each: search alone, classification alone, and both, the labels weighted 0.3, 1 and 3 times as much.
  The head starts from the probe (logistic regression on the frozen vectors), which stands beside them. Judged:
  recall@10, and accuracy on held-out passages.

Nothing is chosen on the held-out side. What is there is written after each run.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from stlib import SentenceEncoder, SentenceTransformer
from stlib.evidence import Estimate
from stlib.evidence.corpora import documentation, load_pairs, load_sentences
from stlib.evidence.experiments import training as trial
from stlib.evidence.records import machine, now, versions, write_whole
from stlib.evidence.scores import cosine, neighbour_accuracy, pair_score
from stlib.evidence.training import Classify

ROOT = Path(__file__).resolve().parent.parent
SIZES, SEEDS, WEIGHTS, TWO_TASK_PAIRS = (30, 100, 300, 1000), (0, 1, 2), (0.3, 1.0, 3.0), 160


def told(estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.interval()
    return {"value": estimate.value, "low": low, "high": high}


def over(runs: list[Estimate], pseudo: bool = False) -> dict[str, Any] | None:
    """Over units and seeds; with the pseudo-values, where asked for, the estimate can be had again."""
    if len(runs) < 2:
        return None
    (units, *_) = runs[0].parts
    whole = told(Estimate.over(runs)) | {"seeds": [one.value for one in runs], "unit": units.kind, "key": units.key}
    return whole | ({"pseudo": [one.parts[0].pseudo.round(2).tolist() for one in runs]} if pseudo else {})


def elsewhere(model: SentenceTransformer) -> dict[str, Estimate]:
    """Neighbours of the sentences, and STS-B dev where it is at hand."""
    encoder, sentences = SentenceEncoder(model, truncation="ignore"), load_sentences()
    found = {"sentences": neighbour_accuracy(encoder.encode(sentences["text"]), sentences["label"])}
    file = Path(os.environ.get("STLIB_DATA_DIR", "")) / "stsb" / "dev.csv"
    if file.is_file():
        pairs = load_pairs(file)
        sides = (encoder.encode(pairs[side]) for side in ("sentence1", "sentence2"))
        found["stsb-dev"] = pair_score(cosine(*sides), pairs)
    return found


def accuracy(model: SentenceTransformer, head: Classify, texts: list[str], labels: list[str]) -> Estimate:
    """Of the head on the model as it is now."""
    encoder = SentenceEncoder(model, max_length=trial.LONGEST, truncation="ignore")
    return trial.accuracy(head.predict(encoder.encode(texts)), labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "training.json")
    parser.add_argument("--quick", action="store_true", help="two seeds, two sizes, few steps: does it run?")
    options = parser.parse_args()
    started, passages = time.perf_counter(), documentation()
    sizes, seeds, weights = (SIZES[:2], SEEDS[:2], WEIGHTS[:1]) if options.quick else (SIZES, SEEDS, WEIGHTS)
    two_pairs, two_steps = (60, 3) if options.quick else (TWO_TASK_PAIRS, trial.steps_for(TWO_TASK_PAIRS))
    model = SentenceTransformer.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")
    sides = trial.split(passages)
    held = sides.held_out
    before, before_elsewhere = trial.recall(model, held), elsewhere(model)
    runs: dict[str, list[Estimate]] = {}
    absolute: dict[str, list[Estimate]] = {}

    def keep(name: str, after: Estimate, base: Estimate | None) -> None:
        absolute.setdefault(name, []).append(after)
        if base is not None:
            runs.setdefault(name, []).append(after - base)
        write_whole(options.out, {
            "protocol": __doc__, "passages": {k: passages.attrs[k] for k in ("name", "sha256", "versions", "used")},
            "held_out": len(held.queries), "pool": len(held.texts), "sizes": sizes, "seeds": seeds, "weights": weights,
            "steps": {str(size): trial.steps_for(size) for size in sizes}, "rate": trial.RATE, "batch": trial.BATCH,
            "before": {"recall": told(before)} | {name: told(one) for name, one in before_elsewhere.items()},
            "after": {name: over(found) for name, found in absolute.items()},
            "gains": {name: over(found, pseudo="." not in name) for name, found in runs.items()},
            "versions": versions(), "machine": machine(), "date": now(), "seconds": time.perf_counter() - started,
        })  # fmt: skip
        print(f"{time.perf_counter() - started:5.0f} s  {name}: {after.value:.2f}", flush=True)

    for seed in seeds:
        for size in sizes:
            drawn = np.random.default_rng(seed).permutation(sides.learn)[:size].tolist()
            task = trial.search_task(passages, drawn)
            trained = trial.trained_copy(model, task, trial.steps_for(size), seed)
            keep(f"pairs_{size}", trial.recall(trained, held), before)
            for name, one in elsewhere(trained).items():
                keep(f"pairs_{size}.{name}", one, before_elsewhere[name])

    frozen = SentenceEncoder(model, max_length=trial.LONGEST, truncation="ignore")
    for seed in seeds:
        learn = np.random.default_rng(seed).permutation(sides.learn).tolist()
        texts, labels = trial.common_labels(passages, learn)  # the same labels for each seed: the same units
        texts, labels = texts[: 2 * two_pairs], labels[: 2 * two_pairs]
        vectors = frozen.encode(texts)
        judged = [row for row, label in enumerate(held.labels) if label in set(labels)]
        held_texts, held_labels = [held.texts[row] for row in judged], [held.labels[row] for row in judged]
        search = trial.search_task(passages, learn[:two_pairs])
        classify = trial.classify_task(texts, labels, vectors, seed)

        probed = accuracy(model, classify, held_texts, held_labels)
        alone = trial.trained_copy(model, search, two_steps, seed)
        searched = trial.recall(alone, held)
        keep("search_alone.recall", searched, before)
        head = copy.deepcopy(classify)
        classified = accuracy(trial.trained_copy(model, head, two_steps, seed), head, held_texts, held_labels)
        keep("classify_alone.accuracy", classified, None)
        keep("probe.accuracy", probed, classified)
        for weight in weights:
            head = copy.deepcopy(classify)
            joint = trial.trained_copy(model, {"search": (search, 1.0), "labels": (head, weight)}, two_steps, seed)
            keep(f"joint_{weight:g}.recall", trial.recall(joint, held), searched)
            keep(f"joint_{weight:g}.accuracy", accuracy(joint, head, held_texts, held_labels), classified)


if __name__ == "__main__":
    main()
