"""Lesson 01: what a larger model was recorded to find, and graded pairs. Search is tried by `stlib.review.compare`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from stlib.encoder import SentenceEncoder
from stlib.evidence import controls
from stlib.evidence.estimate import Estimate, Floats, best_of, key_of
from stlib.evidence.experiments.heatmaps import SEEDS, blank, pair_cosines
from stlib.evidence.records import measurement
from stlib.evidence.scores import cosine, pair_score, ranking_of

if TYPE_CHECKING:
    from stlib.evidence.passages import Passages
    from stlib.evidence.study import Study

LESSON = "01_choose_a_model"


def mpnet(passages: Passages, model: str) -> Estimate | None:
    """Recall@10 of all-mpnet-base-v2 from the record; `None` where it was not recorded on these very texts, and for
    the same model, which would be compared with itself."""
    try:
        found = measurement("mpnet_documentation")
    except FileNotFoundError:
        return None
    same = found["passages"]["sha256"] == passages.attrs["sha256"] and len(found["values"]) == len(passages.queries)
    if not same or Path(found["model"]).name in model:
        return None
    return Estimate.of(found["values"], "query", key_of(sorted(one) for one in passages.relevant))


def pairs(encoder: SentenceEncoder, table: pd.DataFrame, seed: int = 0) -> dict[str, Estimate]:
    """The pair score of the model and of three controls; of random weights, over `SEEDS` draws."""
    texts, count = [*table["sentence1"], *table["sentence2"]], len(table)
    inputs = controls.input_embeddings(encoder, texts)
    scores: dict[str, Floats] = {
        "the model": pair_cosines(encoder, table),
        "TF-IDF": controls.tfidf_similarity(table["sentence1"], table["sentence2"]),
        "input embeddings": cosine(inputs[:count], inputs[count:]),
    }
    blanks = [pair_score(pair_cosines(encoder, table, partial(blank, seed=seed + n)), table) for n in range(SEEDS)]
    found = {name: pair_score(similarity, table) for name, similarity in scores.items()}
    return {**found, "random weights": Estimate.over(blanks)}


def beyond_controls(scores: dict[str, Estimate]) -> Estimate:
    """The model − the best of the others."""
    return scores["the model"] - best_of({name: one for name, one in scores.items() if name != "the model"})[1]


def reference(study: Study) -> dict[str, Any]:
    """Numbers quoted beside the claims; most of the lesson's stand in results/compare_documentation.json."""
    found = pairs(study.encoder, study.pairs, study.seed)
    queries, texts, relevant = study.passages.queries, study.passages.texts, study.passages.relevant
    words = {name: controls.bm25(queries, texts, stemmed=name == "stems") for name in ("stems", "spelled")}
    return {
        "pairs": {name.replace(" ", "_"): one.value for name, one in found.items()},
        "bm25": {name: ranking_of(scores, relevant).value for name, scores in words.items()},
    }
