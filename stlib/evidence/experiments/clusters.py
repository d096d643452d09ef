"""Lesson 06: clusters and the pictures that show them. What stays true in all dimensions, and what does noise show?"""

# mypy: disable-error-code="no-any-return"
# numpy and pandas type what their reductions return as Any.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from stlib.encoder import SentenceEncoder
from stlib.evidence import controls
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.experiments.heatmaps import beyond, blank, labelled, with_labels, word_vectors
from stlib.evidence.scores import neighbour_accuracy, v_measure
from stlib.evidence.vectors import encoded, kept

if TYPE_CHECKING:
    from stlib.evidence.passages import Passages
    from stlib.evidence.study import Study

LESSON = "06_clusters"
SEEDS = (0, 1, 2, 3, 4)
PERPLEXITY = 30
MOST = 400
"""So many sentences are drawn in a plane: t-SNE takes a second for each few hundred."""
PARTS = 6
"""k-means is tried in so many parts of the sentences."""

# ------------------------------------------------------------------------------------------------------------- planes


def plane(vectors: Floats, seed: int = 0, perplexity: float = PERPLEXITY, start: str = "random") -> Floats:
    """t-SNE of unit vectors by cosine: [n, D] -> [n, 2] (van der Maaten and Hinton 2008); start: "random" or "pca"."""
    from sklearn.manifold import TSNE

    most = (len(vectors) - 1) / 3  # a perplexity beyond a third of the points has no neighbourhood to describe
    tsne = TSNE(perplexity=min(perplexity, most), metric="cosine", init=start, random_state=seed)
    return np.asarray(tsne.fit_transform(vectors))


def planes(
    encoder: SentenceEncoder,
    texts: Sequence[str],
    seeds: Sequence[int] = SEEDS,
    perplexity: float = PERPLEXITY,
    start: str = "random",
) -> list[Floats]:
    """A plane for each seed, from the cache where it was drawn before."""

    def draw(seed: int) -> dict[str, Floats]:
        return {"plane": plane(encoded(encoder, texts), seed, perplexity, start)}

    texts = list(texts)
    return [
        kept(encoder, texts, ["t-SNE", seed, perplexity, start], lambda seed=seed: draw(seed))["plane"]  # type: ignore[misc]
        for seed in seeds
    ]  # fmt: skip


def pca_plane(vectors: Floats) -> tuple[Floats, float]:
    """The first two principal components [n, 2], and their share of the variance in points."""
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="full")
    return pca.fit_transform(vectors), float(100 * pca.explained_variance_ratio_.sum())


def noise_like(vectors: Floats, seed: int = 0) -> Floats:
    """Random unit vectors of the same shape: whatever a picture of these shows is the picture's own."""
    noise = np.random.default_rng(seed).standard_normal(vectors.shape)
    return noise / np.linalg.norm(noise, axis=1, keepdims=True)


def groups(vectors: Floats, count: int, seed: int = 0) -> NDArray[np.intp]:
    """Which of `count` groups each row [n, D] is in, by k-means: [n]."""
    from sklearn.cluster import KMeans

    return KMeans(count, n_init=3, random_state=seed).fit_predict(vectors)


# ------------------------------------------------------------------------------------------------------ the sentences


def drawn(sentences: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """At most `MOST` sentences with a label that stands with three, sorted; the built-in ones where there are none.

    `attrs["kind"]` says what they are, for the title of a figure.
    """
    chosen = sentences if len(sentences) <= MOST else sentences.sample(MOST, random_state=seed)
    found = with_labels(chosen)
    own = set(found["text"]) <= set(sentences["text"]) and sentences.attrs.get("name") != "built-in"
    found.attrs["kind"] = "sentences" if own else "synthetic sentences"
    return found


def by_module(passages: Passages, seed: int = 0, most: int = 8, each: int = 42) -> pd.DataFrame | None:
    """Queries of the most frequent labels, drawn, as text and label: documentation by module, as many as sentences."""
    known = pd.DataFrame({"text": passages.queries, "label": passages.query_labels})
    known = known[known["label"] != ""]
    common = known["label"].value_counts().loc[lambda counts: counts >= 3].index[:most]
    if len(common) < 2:
        return None
    mixed = known[known["label"].isin(common)].sample(frac=1, random_state=seed)
    return mixed.groupby("label").head(each).sort_values("label", kind="stable", ignore_index=True)


def _own(sentences: pd.DataFrame, seed: int = 0) -> tuple[list[str], list[str]] | None:
    """Texts and labels of what `drawn` draws; `None` where the reader's have no labels, or too few."""
    if not labelled(sentences["text"], sentences.get("label", [""] * len(sentences)))[0]:
        return None
    chosen = drawn(sentences, seed)
    return (chosen["text"].tolist(), chosen["label"].tolist()) if len(chosen) >= 12 else None


# ---------------------------------------------------------------------------------------------------- all dimensions


def accuracies(
    encoder: SentenceEncoder, texts: Sequence[str], labels: Sequence[str], seed: int = 0
) -> dict[str, Estimate]:
    """Neighbour accuracy in all dimensions, of the model and of each control."""
    texts = list(texts)
    return {
        "the model": neighbour_accuracy(encoded(encoder, texts), labels),
        "TF-IDF": neighbour_accuracy(word_vectors(texts), labels),
        "input embeddings": neighbour_accuracy(controls.input_embeddings(encoder, texts), labels),
        "random weights": neighbour_accuracy(blank(encoder, texts, seed), labels),
    }


def clusters_beyond(encoder: SentenceEncoder, sentences: pd.DataFrame, seed: int = 0) -> dict[str, Estimate] | None:
    """Neighbour accuracy, the model − each control; `None` where the sentences have no labels."""
    found = _own(sentences, seed)
    return beyond(accuracies(encoder, *found, seed)) if found else None


def blind_clusters(encoder: SentenceEncoder, sentences: pd.DataFrame, seed: int = 0) -> dict[str, Estimate]:
    """V-measure of k-means with as many groups as labels, of the model and of each control.

    Empty where there are no labels, or too few sentences for each part of the data to hold twice as many as groups.
    """
    found = _own(sentences, seed)
    if found is None or len(found[0]) < 2 * PARTS * len(set(found[1])):
        return {}
    texts, labels = found
    vectors = {
        "the model": encoded(encoder, texts),
        "TF-IDF": word_vectors(texts),
        "input embeddings": controls.input_embeddings(encoder, texts),
        "random weights": blank(encoder, texts, seed),
    }
    return {name: v_measure(one, labels, PARTS, seed) for name, one in vectors.items()}


# --------------------------------------------------------------------------------------------------------- the plane


def in_the_plane(points: Sequence[Floats], labels: ArrayLike) -> Estimate:
    """Neighbour accuracy in the plane, over sentences and seeds."""
    return Estimate.over([neighbour_accuracy(one, labels, metric="euclidean") for one in points])


def plane_minus_space(encoder: SentenceEncoder, sentences: pd.DataFrame, seed: int = 0) -> Estimate | None:
    """Neighbour accuracy, t-SNE plane − all dimensions."""
    if (found := _own(sentences, seed)) is None:
        return None
    texts, labels = found
    return in_the_plane(planes(encoder, texts), labels) - neighbour_accuracy(encoded(encoder, texts), labels)


def tsne_minus_pca(encoder: SentenceEncoder, sentences: pd.DataFrame, seed: int = 0) -> Estimate | None:
    """Neighbour accuracy, t-SNE plane − plane of the first two principal components."""
    if (found := _own(sentences, seed)) is None:
        return None
    texts, labels = found
    two = pca_plane(encoded(encoder, texts))[0]
    return in_the_plane(planes(encoder, texts), labels) - neighbour_accuracy(two, labels, metric="euclidean")


def perplexities(
    encoder: SentenceEncoder, sentences: pd.DataFrame, seed: int = 0, others: Sequence[int] = (10, 50)
) -> dict[str, Estimate] | None:
    """Neighbour accuracy in the plane at other perplexities − at 30."""
    if (found := _own(sentences, seed)) is None:
        return None
    texts, labels = found
    usual = in_the_plane(planes(encoder, texts), labels)
    return {
        f"perplexity {other}": in_the_plane(planes(encoder, texts, perplexity=other), labels) - usual
        for other in others
    }


def between(points: Floats, labels: ArrayLike) -> Floats:
    """Distances between the centres of all topics [n, D] -> [pairs of topics], in the order of their names."""
    return pdist(pd.DataFrame(points).groupby(np.asarray(labels)).mean().to_numpy())


def gaps(encoder: SentenceEncoder, sentences: pd.DataFrame, seed: int = 0, start: str = "random") -> Estimate | None:
    """Spearman of the distances between topics' centres, plane against all dimensions in points: a value a seed."""
    found = _own(sentences, seed)
    if found is None or len(set(found[1])) < 4:
        return None
    texts, labels = found
    full = between(encoded(encoder, texts), labels)
    drawn_ = planes(encoder, texts, start=start)
    return Estimate.of([100 * spearmanr(between(one, labels), full)[0] for one in drawn_], "seed")


def agreement(points: Sequence[Floats], labels: ArrayLike) -> float:
    """Mean Spearman of the gaps of every two planes, in points: do pictures of other seeds have the same gaps?"""
    pairs = combinations([between(one, labels) for one in points], 2)
    return float(100 * np.mean([spearmanr(one, other)[0] for one, other in pairs]))


def trust(vectors: Floats, points: Floats, k: int = 10) -> float:
    """Trustworthiness, 0 to 1: are neighbours in the picture neighbours in all dimensions? (Venna and Kaski 2001)"""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(vectors, points, n_neighbors=min(k, (len(vectors) - 1) // 2), metric="cosine"))


def silhouettes(vectors: Floats, points: Floats, labels: Sequence[str]) -> pd.DataFrame:
    """Mean silhouette of each topic, in all dimensions and in the plane (Rousseeuw 1987): a row a topic."""
    from sklearn.metrics import silhouette_samples

    sides = {"all dimensions": (vectors, "cosine"), "plane": (points, "euclidean")}
    found = {name: silhouette_samples(one, labels, metric=metric) for name, (one, metric) in sides.items()}
    return pd.DataFrame(found).groupby(np.asarray(labels)).mean().sort_values("plane", ascending=False)


def width(points: Floats) -> float:
    """Mean distance of points [n, D] to their centre."""
    return float(np.linalg.norm(points - points.mean(axis=0), axis=1).mean())


# --------------------------------------------------------------------------------------------------------- reference


def reference(study: Study) -> dict[str, Any]:
    """The numbers that the lesson quotes."""
    encoder, topics = study.encoder, drawn(study.sentences)
    texts, labels = topics["text"].tolist(), topics["label"].tolist()
    vectors, points = encoded(encoder, texts), planes(encoder, texts)
    noise = noise_like(vectors)
    of_noise = plane(noise)
    found = groups(of_noise, len(set(labels)))
    modules = by_module(study.passages)
    assert modules is not None
    two, variance = pca_plane(vectors)
    sides = {"random": points, "pca": planes(encoder, texts, start="pca")}
    return {
        "accuracy": _values(accuracies(encoder, texts, labels)),
        "modules": _values(accuracies(encoder, modules["text"].tolist(), modules["label"].tolist())),
        "plane": in_the_plane(points, labels).value,
        "pca": {"accuracy": neighbour_accuracy(two, labels, metric="euclidean").value, "variance": variance},
        "noise": {
            "own_groups": neighbour_accuracy(of_noise, found, metric="euclidean").value,
            "topics": neighbour_accuracy(of_noise, labels, metric="euclidean").value,
        },
        "gaps": {name: agreement(drawn_, labels) for name, drawn_ in sides.items()},
        "trust": {"sentences": trust(vectors, points[0]), "noise": trust(noise, of_noise)},
    }


def _values(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    return {name.replace(" ", "_"): one.value for name, one in estimates.items()}
