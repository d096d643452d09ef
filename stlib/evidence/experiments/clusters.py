"""Trials of clusters and of the pictures that show them: what stays true in all dimensions, and what noise shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stlib.encoder import SentenceEncoder
from stlib.evidence import controls
from stlib.evidence.estimate import Estimate, Floats, best_of
from stlib.evidence.scores import neighbour_accuracy, v_measure
from stlib.evidence.study import Study
from stlib.evidence.vectors import encoded, kept

LESSON = "06_clusters"
SEEDS = (0, 1, 2, 3, 4)
PERPLEXITY = 30


def plane(vectors: Floats, seed: int = 0, perplexity: float = PERPLEXITY) -> Floats:
    """t-SNE of unit vectors by cosine, from a random start: [n, D] -> [n, 2] (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE

    most = (len(vectors) - 1) / 3  # a perplexity beyond a third of the points has no neighbourhood to describe
    drawn = TSNE(perplexity=min(perplexity, most), metric="cosine", init="random", random_state=seed)
    return np.asarray(drawn.fit_transform(vectors))


def planes(
    encoder: SentenceEncoder, texts: Sequence[str], seeds: Sequence[int] = SEEDS, perplexity: float = PERPLEXITY
) -> dict[int, Floats]:
    """A plane for each seed, from the cache where it was drawn before."""
    found = kept(
        encoder, texts, ["t-SNE", list(seeds), perplexity],
        lambda: {str(seed): plane(encoded(encoder, texts), seed, perplexity) for seed in seeds},
    )  # fmt: skip
    return {int(seed): points for seed, points in found.items()}


def noise_like(vectors: Floats, seed: int = 0) -> Floats:
    """Random unit vectors of the same shape: whatever a picture of these shows is the picture's own."""
    noise = np.random.default_rng(seed).standard_normal(vectors.shape)
    return noise / np.linalg.norm(noise, axis=1, keepdims=True)


def rivals(encoder: SentenceEncoder, texts: Sequence[str]) -> dict[str, Floats]:
    """Vectors of the controls: words counted, the model's input embeddings, and its layers with random weights."""
    blank = SentenceEncoder(controls.random_weights(encoder.model), truncation="ignore")
    return {
        "TF-IDF": controls.tfidf_vectors(texts),
        "input embeddings": controls.input_embeddings(encoder, texts),
        "random weights": encoded(blank, texts),
    }


def accuracy_of(encoder: SentenceEncoder, sentences: pd.DataFrame) -> dict[str, Estimate] | None:
    """Neighbour accuracy of the model and of each control; `None` where the sentences have no labels."""
    if "label" not in sentences:
        return None
    texts = sentences["text"].tolist()
    vectors = {"model": encoded(encoder, texts), **rivals(encoder, texts)}
    return {name: neighbour_accuracy(one, sentences["label"]) for name, one in vectors.items()}


def beyond_controls(scores: Mapping[str, Estimate] | None) -> Estimate | None:
    """The model − the best of the controls."""
    if scores is None:
        return None
    return scores["model"] - best_of({name: one for name, one in scores.items() if name != "model"})[1]


def in_the_plane(points: Mapping[int, Floats], labels: pd.Series) -> Estimate:
    """Neighbour accuracy in the plane, over sentences and seeds."""
    return Estimate.over([neighbour_accuracy(one, labels, metric="euclidean") for one in points.values()])


def plane_minus_space(encoder: SentenceEncoder, sentences: pd.DataFrame) -> Estimate | None:
    """Neighbour accuracy, t-SNE plane − all dimensions."""
    if "label" not in sentences:
        return None
    texts, labels = sentences["text"].tolist(), sentences["label"]
    return in_the_plane(planes(encoder, texts), labels) - neighbour_accuracy(encoded(encoder, texts), labels)


def tsne_minus_pca(encoder: SentenceEncoder, sentences: pd.DataFrame) -> Estimate | None:
    """Neighbour accuracy, t-SNE plane − plane of the first two principal components."""
    from sklearn.decomposition import PCA

    if "label" not in sentences:
        return None
    texts, labels = sentences["text"].tolist(), sentences["label"]
    two = PCA(2, svd_solver="full").fit_transform(encoded(encoder, texts))
    return in_the_plane(planes(encoder, texts), labels) - neighbour_accuracy(two, labels, metric="euclidean")


def gaps(encoder: SentenceEncoder, sentences: pd.DataFrame) -> Estimate | None:
    """Spearman of the distances between topics' centres, plane against all dimensions: a value a seed."""
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    if "label" not in sentences or sentences["label"].nunique() < 4:
        return None
    texts, labels = sentences["text"].tolist(), sentences["label"].to_numpy()

    def between(points: Floats) -> Floats:
        return np.asarray(pdist(pd.DataFrame(points).groupby(labels).mean().to_numpy()))

    full = between(encoded(encoder, texts))
    return Estimate.of([100 * spearmanr(between(one), full)[0] for one in planes(encoder, texts).values()], "seed")


def perplexities(encoder: SentenceEncoder, sentences: pd.DataFrame) -> dict[str, Estimate] | None:
    """Neighbour accuracy in the plane at other perplexities − at 30."""
    if "label" not in sentences:
        return None
    texts, labels = sentences["text"].tolist(), sentences["label"]
    usual = in_the_plane(planes(encoder, texts), labels)
    others = {str(p): in_the_plane(planes(encoder, texts, perplexity=p), labels) for p in (10, 50)}
    return {name: one - usual for name, one in others.items()}


def blind_clusters(encoder: SentenceEncoder, sentences: pd.DataFrame) -> Estimate | None:
    """V-measure of k-means, the model − the best control."""
    if "label" not in sentences:
        return None
    texts = sentences["text"].tolist()
    vectors = {"model": encoded(encoder, texts), **rivals(encoder, texts)}
    return beyond_controls({name: v_measure(one, sentences["label"]) for name, one in vectors.items()})


def trust(vectors: Floats, points: Floats, k: int = 10) -> float:
    """Trustworthiness, 0 to 1: are neighbours in the picture neighbours in all dimensions? (Venna and Kaski 2001)"""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(vectors, points, n_neighbors=k, metric="cosine"))


def reference(study: Study) -> dict[str, Any]:
    """The numbers that the lesson quotes."""
    texts, labels = study.sentences["text"].tolist(), study.sentences["label"]
    vectors = encoded(study.encoder, texts)
    noise = noise_like(vectors)
    drawn, of_noise = planes(study.encoder, texts), plane(noise)
    scores = accuracy_of(study.encoder, study.sentences)
    assert scores is not None
    return {
        "accuracy": {name.replace(" ", "_"): one.value for name, one in scores.items()},
        "plane": in_the_plane(drawn, labels).value,
        "chance": neighbour_accuracy(noise, labels).value,
        "trust": {"sentences": trust(vectors, drawn[0]), "noise": trust(noise, of_noise)},
    }
