"""Lesson 01: what a model finds beyond shared words, and what a larger one would add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from stlib.encoder import SentenceEncoder
from stlib.evidence import controls
from stlib.evidence.estimate import Estimate, Floats, best_of, key_of
from stlib.evidence.experiments.heatmaps import SEEDS, pair_cosines, untrained
from stlib.evidence.records import measurement
from stlib.evidence.scores import cosine, pair_score, ranking, ranking_of
from stlib.evidence.vectors import encoded

if TYPE_CHECKING:
    from stlib.evidence.passages import Passages
    from stlib.evidence.study import Study

LESSON = "01_choose_a_model"

# ----------------------------------------------------------------------------------------------------------- passages


def recall(encoder: SentenceEncoder, passages: Passages) -> Estimate:
    """Recall@10 of the encoder's vectors."""
    return ranking(encoded(encoder, passages.queries), encoded(encoder, passages.texts), passages.relevant)


def by_words(passages: Passages) -> Estimate:
    """Recall@10 of BM25."""
    return ranking_of(controls.bm25(passages.queries, passages.texts), passages.relevant)


def by_inputs(encoder: SentenceEncoder, passages: Passages, *, centre: bool = True) -> Estimate:
    """Recall@10 of the averaged input embeddings, the mean over queries and texts taken away or not."""
    vectors = controls.input_embeddings(encoder, [*passages.queries, *passages.texts], centre=centre)
    count = len(passages.queries)
    return ranking(vectors[:count], vectors[count:], passages.relevant)


def candidates(encoder: SentenceEncoder, passages: Passages) -> dict[str, Estimate]:
    """Recall@10 of the model and of counting words, on the same queries."""
    return {
        "the model": recall(encoder, passages),
        "BM25": by_words(passages),
        "input embeddings, centred": by_inputs(encoder, passages),
        "input embeddings, plain": by_inputs(encoder, passages, centre=False),
    }


def without_training(encoder: SentenceEncoder, passages: Passages, seed: int = 0) -> Estimate:
    """Recall@10 of the same architecture with random weights."""
    return recall(untrained(encoder, seed), passages)


def beyond_words(encoder: SentenceEncoder, passages: Passages) -> Estimate:
    """Recall@10, the model − the better of BM25 and its own centred input embeddings."""
    rivals = {"BM25": by_words(passages), "input embeddings": by_inputs(encoder, passages)}
    return recall(encoder, passages) - best_of(rivals)[1]


def mpnet(passages: Passages) -> Estimate | None:
    """Recall@10 of all-mpnet-base-v2 from the record; `None` where it was not recorded on these very texts."""
    try:
        found = measurement("mpnet_documentation")
    except FileNotFoundError:
        return None
    same = found["passages"]["sha256"] == passages.attrs["sha256"] and len(found["values"]) == len(passages.queries)
    if not same:
        return None
    return Estimate.of(found["values"], "query", key_of(sorted(one) for one in passages.relevant))


def against_mpnet(study: Study) -> Estimate | None:
    """Recall@10, the model − all-mpnet-base-v2; `None` where that was not recorded."""
    larger = mpnet(study.passages)
    return None if larger is None else recall(study.encoder, study.passages) - larger


# -------------------------------------------------------------------------------------------------------------- pairs


def pairs(encoder: SentenceEncoder, table: pd.DataFrame, seed: int = 0) -> dict[str, Estimate]:
    """The pair score of the model and of three controls; of random weights, over `SEEDS` draws."""
    texts, count = [*table["sentence1"], *table["sentence2"]], len(table)
    inputs = controls.input_embeddings(encoder, texts)
    scores: dict[str, Floats] = {
        "the model": pair_cosines(encoder, table),
        "TF-IDF": controls.tfidf_similarity(table["sentence1"], table["sentence2"]),
        "input embeddings": cosine(inputs[:count], inputs[count:]),
    }
    blank = [pair_score(pair_cosines(untrained(encoder, seed + n), table), table) for n in range(SEEDS)]
    found = {name: pair_score(similarity, table) for name, similarity in scores.items()}
    return {**found, "random weights": Estimate.over(blank)}


def beyond_controls(scores: dict[str, Estimate]) -> Estimate:
    """The model − the best of the others."""
    return scores["the model"] - best_of({name: one for name, one in scores.items() if name != "the model"})[1]


# ------------------------------------------------------------------------------------------------------ what is quoted


def reference(study: Study) -> dict[str, Any]:
    """Numbers that the lesson and its lab quote beside the claims."""
    found = candidates(study.encoder, study.passages)
    found["random weights"] = without_training(study.encoder, study.passages, study.seed)
    ordered = pairs(study.encoder, study.pairs, study.seed)
    return {"recall": _values(found), "pairs": _values(ordered)}


def _values(estimates: dict[str, Estimate]) -> dict[str, float]:
    return {name.replace(", ", "_").replace(" ", "_"): one.value for name, one in estimates.items()}
