"""The trials of lesson 05 on vectors whose truth is known: each comes out either way, or says that it was not tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import checkpoints
import numpy as np
import pandas as pd
import pytest

from stlib import SentenceEncoder
from stlib.evidence.claims import Claim
from stlib.evidence.experiments import heatmaps
from stlib.evidence.passages import Passages

LABELS = [f"topic {number}" for number in range(4) for _ in range(12)]
TEXTS = [f"text {number}" for number in range(len(LABELS))]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def noise(count: int, seed: int = 0, width: int = 16) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, width)))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The model's vectors, by text; random weights and input embeddings are noise."""

    def give(vectors: dict[str, np.ndarray]) -> str:
        def encoded(encoder: str, texts: Any) -> np.ndarray:
            return np.stack([vectors[text] for text in texts]) if encoder == "model" else noise(len(texts), 1)

        monkeypatch.setattr(heatmaps, "encoded", encoded)
        monkeypatch.setattr(heatmaps, "blank", lambda encoder, texts, seed: encoded("blank", texts))
        monkeypatch.setattr(heatmaps.controls, "input_embeddings", lambda encoder, texts: noise(len(texts), 2))
        return "model"

    return give


def of_topics(strength: float) -> dict[str, np.ndarray]:
    centres = dict(zip(sorted(set(LABELS)), noise(4, 5), strict=True))
    points = unit(strength * np.stack([centres[label] for label in LABELS]) + noise(len(LABELS), 3))
    return dict(zip(TEXTS, points, strict=True))


@pytest.mark.parametrize(("words", "verdict"), [(False, "holds"), (True, "does not hold")])
def test_topics_are_found_beyond_words_unless_words_find_them_too(given: Any, words: bool, verdict: str) -> None:
    vectors = of_topics(0.5 if words else 2.0)
    texts = [f"{label.replace(' ', '')} {text}" if words else text for label, text in zip(LABELS, TEXTS, strict=True)]
    model = given(dict(zip(texts, vectors.values(), strict=True)))
    found = heatmaps.topics_beyond(model, pd.DataFrame({"text": texts, "label": LABELS}))
    assert found is not None and len(found) == 3
    assert Claim.decide("similarity-finds-topics", found).verdict == verdict


def test_without_labels_nothing_is_decided_and_the_built_in_sentences_are_shown(given: Any) -> None:
    model = given(of_topics(1.0))
    for sentences in (pd.DataFrame({"text": TEXTS}), pd.DataFrame({"text": TEXTS, "label": TEXTS})):
        assert heatmaps.topics_beyond(model, sentences) is None
        assert heatmaps.scored_topics(model, sentences) is None
        assert heatmaps.with_labels(sentences)["label"].nunique() == 8


def test_rare_labels_are_left_out() -> None:
    texts, labels = heatmaps.labelled(list("abcdefghi"), [*"xxxyyyzz", ""])
    assert (texts, labels) == (list("abcdef"), list("xxxyyy"))


# -------------------------------------------------------------------------------------------------------------- pairs


def graded(cosines: dict[tuple[float, str], float], anchors: int = 12, wobble: float = 0.02) -> tuple[Any, Any]:
    """Pairs and vectors: each anchor with one pair for each (score, kind), at about the given cosine."""
    rng, rows, vectors = np.random.default_rng(0), [], {}
    for anchor in range(anchors):
        vectors[f"anchor {anchor}"] = np.array([1.0, 0.0])
        for (score, kind), cosine in cosines.items():
            text = f"{anchor} {score} {kind}"
            angle = np.arccos(np.clip(cosine + wobble * rng.normal(), -1, 1))
            vectors[text] = np.array([np.cos(angle), np.sin(angle)])
            rows.append((f"anchor {anchor}", text, score, f"a{anchor}", kind))
    return pd.DataFrame(rows, columns=["sentence1", "sentence2", "score", "anchor", "kind"]), vectors


@pytest.mark.parametrize(("trap", "verdict"), [(0.95, "holds"), (0.6, "does not hold"), (0.795, "not decided")])
def test_traps_win_where_they_are_closer(given: Any, trap: float, verdict: str) -> None:
    pairs, vectors = graded({(5, "paraphrase"): 0.8, (2, "negation"): trap, (0, "topic"): 0.0}, anchors=8)
    estimate = heatmaps.traps_win(given(vectors), pairs)
    assert Claim.decide("traps-fool-cosine", estimate).verdict == verdict


def test_a_harmless_negation_is_no_trap_and_without_kinds_there_are_none(given: Any) -> None:
    pairs, vectors = graded({(5, "paraphrase"): 0.8, (4, "negation"): 0.95, (0, "topic"): 0.0})
    assert heatmaps.traps_win(given(vectors), pairs) is None
    assert heatmaps.traps_win(given(vectors), pairs.assign(kind="")) is None


def test_similar_are_the_upper_grades_or_the_upper_third() -> None:
    assert heatmaps.similar(pd.DataFrame({"score": [0.0, 3, 4, 5]})).tolist() == [False, False, True, True]
    assert heatmaps.similar(pd.DataFrame({"score": [0.1, 0.2, 0.3, 0.9, 0.8, 0.4]})).sum() == 2
    assert heatmaps.similar(pd.DataFrame({"score": [0.0, 0, 0, 0, 1]})).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize(("upper", "verdict"), [(0.9, "holds"), (-0.3, "does not hold")])
def test_meaning_beats_words_where_the_grades_are_followed(given: Any, upper: float, verdict: str) -> None:
    pairs, vectors = graded({(5, "paraphrase"): upper, (3, "number"): 0.5, (0, "topic"): 0.2}, anchors=30, wobble=0.1)
    found = heatmaps.beyond(heatmaps.meaning(given(vectors), pairs))
    assert found is not None
    assert Claim.decide("meaning-beats-shared-words", found).verdict == verdict


def test_the_table_of_kinds_leaves_out_what_is_too_rare(given: Any) -> None:
    pairs, vectors = graded({(5, "paraphrase"): 0.8, (0, "topic"): 0.1}, anchors=4)
    pairs.loc[0, "kind"] = "voice"
    table = heatmaps.by_kind(given(vectors), pairs)
    assert table.index[0] == "topic" and np.isnan(table.loc["voice", 5])
    assert table.loc["paraphrase", 5] == pytest.approx(0.8, abs=0.05)


# --------------------------------------------------------------------------------------------------------- thresholds


@pytest.mark.parametrize(("upper", "verdict"), [(0.4, "does not hold"), (0.12, "holds")])
def test_a_threshold_errs_where_the_groups_overlap(given: Any, upper: float, verdict: str) -> None:
    pairs, vectors = graded({(5, "paraphrase"): upper, (0, "topic"): 0.1}, anchors=60, wobble=0.05)
    estimate = heatmaps.threshold_errs(given(vectors), pairs)
    assert Claim.decide("threshold-errs", estimate).verdict == verdict


def queries(own: float, count: int = 40) -> tuple[Passages, dict[str, np.ndarray]]:
    """Each query at the cosine `own` to its passage, and at a right angle to all others."""
    axes, vectors = np.eye(2 * count), {}
    for number in range(count):
        vectors[f"query {number}"] = axes[number]
        vectors[f"passage {number}"] = own * axes[number] + np.sqrt(1 - own**2) * axes[count + number]
    texts = [[f"{side} {number}" for number in range(count)] for side in ("query", "passage")]
    own_passages = [{number} for number in range(count)]
    return Passages(*texts, own_passages, [], [""] * count, [""] * count, texts[1]), vectors


@pytest.mark.parametrize(("own", "error", "verdict"), [(0.4, 50.0, "holds"), (0.9, 0.0, "does not hold")])
def test_a_threshold_travels_only_to_like_scores(given: Any, own: float, error: float, verdict: str) -> None:
    pairs, vectors = graded({(5, "paraphrase"): 0.8, (0, "topic"): 0.5})
    passages, of_queries = queries(own, count=200)
    estimate = heatmaps.threshold_travels(given(vectors | of_queries), pairs, passages)
    assert estimate.value == pytest.approx(error, abs=0.5) and estimate.units == 200
    assert Claim.decide("threshold-does-not-travel", estimate).verdict == verdict


def test_thresholds_are_carried_between_all_sets_that_there_are(given: Any) -> None:
    pairs, vectors = graded({(5, "paraphrase"): 0.8, (0, "topic"): 0.5}, wobble=0.0)
    passages, of_queries = queries(0.4)
    study = SimpleNamespace(
        encoder=given(vectors | of_queries | of_topics(2.0)), pairs=pairs, passages=passages, seed=0,
        sentences=pd.DataFrame({"text": TEXTS, "label": LABELS}),
    )  # fmt: skip
    table = heatmaps.errors_elsewhere(study)
    assert table.shape == (3, 3) and list(table.columns) == ["graded pairs", "query and passage", "same topic"]
    assert table.iloc[0, 0] == table.iloc[1, 1] == 0 and table.iloc[0, 1] == 50
    study.sentences = study.sentences[["text"]]
    assert heatmaps.errors_elsewhere(study).shape == (2, 2)


# ------------------------------------------------------------------------------------------------- clusters and length


def test_a_clustered_heatmap_brings_together_what_is_alike() -> None:
    labels, mixed = np.array(LABELS), np.random.default_rng(0).permutation(len(LABELS))
    vectors = np.stack(list(of_topics(3.0).values()))[mixed]
    order = heatmaps.leaves(vectors @ vectors.T)
    assert heatmaps.beside_own(labels[mixed][order]) > 90 > 50 > heatmaps.beside_own(labels[mixed])


@pytest.mark.parametrize(("knows", "found"), [(True, 100.0), (False, 0.0)])
def test_halves_are_found_where_the_vectors_know_the_text(
    monkeypatch: pytest.MonkeyPatch, knows: bool, found: float
) -> None:
    texts = [" ".join(f"w{number}x{at}" for at in range(16)) for number in range(30)]

    def encoded(encoder: str, parts: list[str]) -> np.ndarray:
        shift = 0 if knows or parts[0].startswith("w0x0 ") else 1
        return np.roll(np.eye(30), shift, axis=0)[[int(part[1 : part.index("x")]) for part in parts]]

    monkeypatch.setattr(heatmaps, "encoded", encoded)
    monkeypatch.setattr(heatmaps.np.random, "default_rng", lambda seed: SimpleNamespace(permutation=np.arange))
    result = heatmaps.halves_found("model", texts, words=(8, 16))
    assert [one.value for one in result["the model"]] == [found, found]
    assert [one.value for one in result["TF-IDF"]] == pytest.approx([100 / 30] * 2)  # no word in common: chance
    assert heatmaps.halves_found("model", texts, words=(8, 17)) == {}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    folder: Path = checkpoints.build("minilm", tmp_path_factory.mktemp("tiny") / "model")
    return SentenceEncoder(folder, truncation="ignore", max_length=16)


def test_a_part_beyond_the_limit_does_not_count(tiny: SentenceEncoder) -> None:
    texts = [f"{number} the river bank changes under old bridges" for number in range(200)]
    curve = heatmaps.growing(tiny, texts)
    assert curve["its first part"].iloc[0] == pytest.approx(1) and curve["tokens"].is_monotonic_increasing
    assert curve["its first part"].iloc[-1] == pytest.approx(curve["its first part"].iloc[-2])  # read no further


def test_random_weights_forget_what_the_model_knows(tiny: SentenceEncoder) -> None:
    blank = heatmaps.untrained(tiny)
    assert blank.dimension == tiny.dimension
    assert not np.allclose(blank.encode("the river bank"), tiny.encode("the river bank"), atol=1e-3)


def test_vectors_of_random_weights_are_found_again_without_drawing_them(
    tiny: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    texts = ["the river bank", "under old bridges"]
    drawn = {seed: heatmaps.untrained(tiny, seed).encode(texts) for seed in (0, 1)}
    for _ in range(2):
        for seed in (0, 1):
            np.testing.assert_array_equal(heatmaps.blank(tiny, texts, seed), drawn[seed])
        monkeypatch.setattr(heatmaps, "untrained", None)
