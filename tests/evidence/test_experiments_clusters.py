"""The trials of lesson 06 on vectors whose truth is known: each comes out either way, or says that it was not tried."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stlib.evidence.claims import Claim
from stlib.evidence.experiments import clusters
from stlib.evidence.experiments.heatmaps import beyond
from stlib.evidence.passages import Passages
from stlib.evidence.scores import neighbour_accuracy

LABELS = [f"topic {number}" for number in range(4) for _ in range(30)]
TEXTS = [f"text {number:03}" for number in range(len(LABELS))]
SENTENCES = pd.DataFrame({"text": TEXTS, "label": LABELS})


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def noise(count: int, seed: int = 0, width: int = 16) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, width)))


def of_topics(strength: float, count: int = len(LABELS)) -> np.ndarray:
    """Unit vectors, the stronger the nearer to their topic's centre."""
    centres = noise(4, 5)
    return unit(strength * np.repeat(centres, count // 4, axis=0) + noise(count, 3))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The model's vectors; random weights and input embeddings are noise, and planes are what `draw` makes of both."""

    def give(
        vectors: np.ndarray, draw: Callable[[np.ndarray, int], np.ndarray] | None = None, texts: Any = TEXTS
    ) -> str:
        row = {text: number for number, text in enumerate(texts)}

        def encoded(encoder: str, texts: Any) -> np.ndarray:
            return vectors[[row[text] for text in texts]] if encoder == "model" else noise(len(texts), 1)

        def planes(encoder: str, texts: Any, seeds: Any = range(8), perplexity: float = 30, start: str = "") -> Any:
            assert draw is not None
            return [draw(encoded(encoder, texts), seed + 10 * int(perplexity == 10)) for seed in seeds]

        monkeypatch.setattr(clusters, "encoded", encoded)
        monkeypatch.setattr(clusters, "planes", planes)
        monkeypatch.setattr(clusters, "blank", lambda encoder, texts, seed: encoded("blank", texts))
        monkeypatch.setattr(clusters.controls, "input_embeddings", lambda encoder, texts: noise(len(texts), 2))
        return "model"

    return give


def islands(apart: bool) -> Callable[[np.ndarray, int], np.ndarray]:
    """A plane of four islands, one a topic, or of dots at random places."""

    def draw(vectors: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        corners = np.repeat([[0.0, 0], [0, 9], [9, 0], [9, 9]], len(vectors) // 4, axis=0)
        return rng.normal(size=(len(vectors), 2)) + (corners if apart else 0)

    return draw


def verdict(claim: str, estimate: Any) -> str:
    assert estimate is not None
    return Claim.decide(claim, estimate).verdict


# ----------------------------------------------------------------------------------------------------- all dimensions


@pytest.mark.parametrize(("strength", "words", "expected"), [(2.0, False, "holds"), (0.0, True, "does not hold")])
def test_clusters_are_found_beyond_the_controls_or_not(given: Any, strength: float, words: bool, expected: str) -> None:
    texts = [f"{label.replace(' ', '')} {text}" if words else text for label, text in zip(LABELS, TEXTS, strict=True)]
    model = given(of_topics(strength), texts=texts)
    found = clusters.clusters_beyond(model, SENTENCES.assign(text=texts))
    assert found is not None and len(found) == 3
    assert verdict("clusters-in-full-space", found) == expected


@pytest.mark.parametrize(("strength", "expected"), [(3.0, "holds"), (0.0, "does not hold")])
def test_k_means_finds_topics_that_are_there(given: Any, strength: float, expected: str) -> None:
    found = clusters.blind_clusters(given(of_topics(strength)), SENTENCES)
    assert verdict("blind-clusters-match-topics", beyond(found)) == expected


def test_k_means_is_not_tried_on_parts_that_are_too_small(given: Any) -> None:
    few = SENTENCES.groupby("label").head(6)
    assert clusters.blind_clusters(given(of_topics(2.0)), few) == {}


@pytest.mark.parametrize("sentences", [SENTENCES[["text"]], SENTENCES.assign(label=TEXTS), SENTENCES[25:35]])
def test_without_labels_enough_nothing_is_tried_and_the_picture_stands(given: Any, sentences: pd.DataFrame) -> None:
    model = given(of_topics(1.0), islands(True))
    tried = (
        clusters.clusters_beyond, clusters.plane_minus_space, clusters.tsne_minus_pca, clusters.gaps,
        clusters.perplexities,
    )  # fmt: skip
    assert [trial(model, sentences) for trial in tried] == [None] * len(tried)
    assert clusters.blind_clusters(model, sentences) == {}
    assert clusters.drawn(sentences)["label"].nunique() >= 2


def test_synthetic_sentences_are_called_so_also_where_they_stand_in() -> None:
    built_in = SENTENCES.copy()
    built_in.attrs["name"] = "built-in"
    assert clusters.drawn(built_in).attrs["kind"] == "synthetic sentences"
    assert clusters.drawn(SENTENCES[["text"]]).attrs["kind"] == "synthetic sentences"
    assert clusters.drawn(SENTENCES).attrs["kind"] == "sentences"


def test_many_sentences_are_drawn_down() -> None:
    many = pd.DataFrame({"text": [str(number) for number in range(900)], "label": ["a", "b", "c"] * 300})
    found = clusters.drawn(many)
    assert len(found) == clusters.MOST and found["label"].is_monotonic_increasing
    assert not found.equals(clusters.drawn(many, seed=1))


def test_queries_are_drawn_from_the_most_frequent_labels() -> None:
    labels = ["a"] * 60 + ["b"] * 10 + ["c"] * 2 + [""] * 28
    texts = [str(number) for number in range(100)]
    own = [{number} for number in range(100)]
    passages = Passages(texts, texts, own, [{}] * 100, labels, labels, texts)
    found = clusters.by_module(passages)
    assert found is not None and found["label"].value_counts().to_dict() == {"a": 42, "b": 10}
    assert clusters.by_module(Passages(texts, texts, own, [{}] * 100, [""] * 100, [""] * 100, texts)) is None


# ---------------------------------------------------------------------------------------------------------- the plane


@pytest.mark.parametrize(("apart", "kept", "beats"), [(True, "holds", "holds"), (False, *["does not hold"] * 2)])
def test_a_plane_keeps_neighbours_or_loses_them(given: Any, apart: bool, kept: str, beats: str) -> None:
    model = given(of_topics(0.8), islands(apart))
    estimate = clusters.plane_minus_space(model, SENTENCES)
    assert verdict("plane-keeps-neighbours", estimate) == kept
    assert estimate is not None and [part.kind for part in estimate.parts] == ["sentence", "seed"]
    assert verdict("tsne-beats-pca-plane", clusters.tsne_minus_pca(model, SENTENCES)) == beats


def test_a_perplexity_that_breaks_the_islands_is_noticed(given: Any) -> None:
    def draw(vectors: np.ndarray, seed: int) -> np.ndarray:
        return islands(seed < 10)(vectors, seed)

    found = clusters.perplexities(given(of_topics(1.0), draw), SENTENCES)
    assert found is not None and list(found) == ["perplexity 10", "perplexity 50"]
    assert abs(found["perplexity 50"].value) < 1
    assert verdict("perplexity-hardly-matters", found) == "does not hold"
    steady = clusters.perplexities(given(of_topics(1.0), islands(True)), SENTENCES)
    assert steady is not None and all(one.value == 0 and one.interval() != (0, 0) for one in steady.values())


@pytest.mark.parametrize(("turned", "expected"), [(True, "does not hold"), (False, "holds")])
def test_gaps_that_follow_the_distances_are_told_from_gaps_that_do_not(given: Any, turned: bool, expected: str) -> None:
    flat = np.repeat([[0.0, 1], [1, 5], [4, 9], [8, 3]], 30, axis=0) + noise(len(LABELS), 4, 2)

    def draw(vectors: np.ndarray, seed: int) -> np.ndarray:
        order = np.arange(4) if turned else np.random.default_rng(seed).permutation(4)
        moved = vectors.reshape(4, 30, 2)[order].reshape(-1, 2)
        return moved @ np.array([[0.0, 1], [-1, 0]])

    assert verdict("gaps-are-not-distances", clusters.gaps(given(flat, draw), SENTENCES)) == expected


def test_turned_maps_agree_in_their_gaps_and_shuffled_ones_do_not() -> None:
    points = np.repeat([[0.0, 1], [1, 5], [4, 9], [8, 3]], 30, axis=0)
    assert clusters.agreement([points, -points, points[:, ::-1]], LABELS) == pytest.approx(100)
    assert clusters.agreement([points, points.reshape(4, 30, 2)[[1, 3, 0, 2]].reshape(-1, 2)], LABELS) < 60


def test_t_sne_parts_topics_gives_another_picture_for_another_seed_and_bears_small_data() -> None:
    vectors = of_topics(2.0)
    one, other = (clusters.plane(vectors, seed) for seed in (0, 1))
    assert neighbour_accuracy(one, LABELS, metric="euclidean").value > 90
    assert not np.allclose(one, other)
    assert clusters.plane(vectors[:8]).shape == (8, 2)


def test_noise_has_groups_of_its_own_but_no_topics() -> None:
    points = clusters.plane(clusters.noise_like(of_topics(1.0)))
    found = clusters.groups(points, 4)
    assert neighbour_accuracy(points, found, metric="euclidean").value > 75
    assert neighbour_accuracy(points, LABELS, metric="euclidean").value < 40


def test_planes_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store: dict[str, Any] = {}
    calls: list[int] = []

    def kept(encoder: Any, texts: Any, what: Any, compute: Any) -> Any:
        if repr(what) not in store:
            store[repr(what)] = compute()
        return store[repr(what)]

    def plane(vectors: np.ndarray, seed: int, *more: Any) -> np.ndarray:
        calls.append(seed)
        return np.full((len(vectors), 2), seed)

    monkeypatch.setattr(clusters, "kept", kept)
    monkeypatch.setattr(clusters, "plane", plane)
    monkeypatch.setattr(clusters, "encoded", lambda encoder, texts: noise(len(texts)))
    for seeds in ((0, 1), (1, 2)):
        assert [one[0, 0] for one in clusters.planes("model", TEXTS, seeds)] == list(seeds)  # type: ignore[arg-type]
    clusters.planes("model", TEXTS, [2], perplexity=10)  # type: ignore[arg-type]
    assert calls == [0, 1, 2, 2]


def test_trust_is_whole_for_the_same_points_and_about_a_half_for_others() -> None:
    vectors = noise(120, 0, 2)
    assert clusters.trust(vectors, vectors) > 0.99
    assert clusters.trust(vectors, noise(120, 1, 2)) == pytest.approx(0.5, abs=0.1)


def test_silhouettes_and_widths_tell_tight_topics_from_loose_ones() -> None:
    found = clusters.silhouettes(of_topics(3.0), islands(False)(of_topics(3.0), 0), LABELS)
    assert (found["all dimensions"] > found["plane"]).all() and len(found) == 4
    assert clusters.width(10 * noise(50)) == pytest.approx(10 * clusters.width(noise(50)))


def test_the_reference_holds_plain_numbers(given: Any) -> None:
    model = given(of_topics(1.0), islands(True))
    own = [{number} for number in range(len(TEXTS))]
    passages = Passages(TEXTS, TEXTS, own, [{}] * len(TEXTS), LABELS, LABELS, TEXTS)
    study = SimpleNamespace(encoder=model, sentences=SENTENCES, passages=passages)
    found = clusters.reference(study)  # type: ignore[arg-type]
    numbers = [value for group in found.values() for value in (group.values() if isinstance(group, dict) else [group])]
    assert all(isinstance(value, float) for value in numbers)
