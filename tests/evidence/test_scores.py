"""Scores equal what a plain loop gives, and their pseudo-values what deleting each unit in turn gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import ndcg_score, roc_auc_score

from stlib.evidence import Estimate
from stlib.evidence.scores import (
    balanced_error,
    hub_share,
    ndcg_of,
    neighbour_accuracy,
    neighbours,
    occurrences,
    order_accuracy,
    pair_score,
    pair_score_name,
    ranking,
    ranking_of,
    roc_auc,
    spearman,
    split_groups,
    top,
    topic_auc,
    topic_aucs,
)

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((40, 6))
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
LABELS = RNG.integers(4, size=40)
X = RNG.standard_normal(60).round(1)
Y = (X + RNG.standard_normal(60)).round(1)
GROUPS = RNG.integers(20, size=60)
RELATED = RNG.random(60) < 0.4


def deletes(estimate: Estimate, without: list[float]) -> None:
    """Pseudo-values are those of the statistic computed anew without each unit."""
    n = len(without)
    np.testing.assert_allclose(
        estimate.parts[0].pseudo, n * estimate.value - (n - 1) * np.array(without), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("score", [topic_auc, neighbour_accuracy, lambda *data: neighbour_accuracy(*data, 3, "dot")])
def test_a_sentence_is_deleted_from_the_data_and_from_every_neighbourhood(score: Callable[..., Estimate]) -> None:
    without = [score(np.delete(VECTORS, i, 0), np.delete(LABELS, i)).value for i in range(len(LABELS))]
    deletes(score(VECTORS, LABELS), without)


@pytest.mark.parametrize(
    "score",
    [
        lambda rows: spearman(X[rows], Y[rows], GROUPS[rows]),
        lambda rows: roc_auc(X[rows], RELATED[rows], GROUPS[rows]),
        lambda rows: balanced_error(X[rows], RELATED[rows], 0.1, GROUPS[rows]),
    ],
)
def test_a_group_of_pairs_is_deleted_whole(score: Callable[[np.ndarray], Estimate]) -> None:
    names = pd.factorize(GROUPS)[1]
    deletes(score(np.full(60, True)), [score(name != GROUPS).value for name in names])


def test_topic_auc_is_the_mean_area_under_each_sentences_curve() -> None:
    similarity = VECTORS @ VECTORS.T
    areas = [roc_auc_score(np.delete(LABELS[i] == LABELS, i), np.delete(similarity[i], i)) for i in range(len(LABELS))]
    assert topic_auc(VECTORS, LABELS).value == pytest.approx(np.mean(areas))
    by_topic = topic_aucs(VECTORS, LABELS)
    assert by_topic["2"].value == pytest.approx(np.mean(np.array(areas)[LABELS == 2]))


def test_a_sentence_alone_in_its_topic_is_left_out() -> None:
    labels = np.append(LABELS, 9)
    vectors = np.vstack([VECTORS, VECTORS[:1]])
    assert np.isfinite(topic_auc(vectors, labels).value)


def test_neighbours_by_each_metric_equal_a_plain_search() -> None:
    long = VECTORS * RNG.lognormal(0, 1, (40, 1))
    dot = long @ long.T
    distance = ((long[:, None] - long) ** 2).sum(-1)
    for metric, closeness in (("dot", dot), ("euclidean", -distance), ("cosine", VECTORS @ VECTORS.T)):
        closeness = closeness.copy()
        np.fill_diagonal(closeness, -np.inf)
        np.testing.assert_array_equal(neighbours(long, 5, metric), np.argsort(-closeness, axis=1)[:, :5])


def test_neighbour_accuracy_of_random_vectors_is_the_share_of_the_label() -> None:
    vectors = np.random.default_rng(1).standard_normal((600, 20))
    labels = np.arange(600) % 5
    low, high = neighbour_accuracy(vectors, labels).interval(0.999)
    assert low < 20 < high


def test_hubs_take_places_where_lengths_differ() -> None:
    vectors = np.random.default_rng(1).standard_normal((300, 20))
    vectors *= np.random.default_rng(2).lognormal(0, 0.5, (300, 1))
    more = hub_share(vectors, 5, "dot", parts=5) - hub_share(vectors, 5, "cosine", parts=5)
    assert more.interval()[0] > 10
    assert occurrences(neighbours(vectors, 5, "dot")).sum() == 5 * 300


def test_recall_counts_relevant_passages_among_the_first() -> None:
    pool = np.eye(5)
    queries = np.array([[0.9, 0.5, 0, 0, 0], [0, 0, 0, 1, 0.5]])
    assert ranking(queries, pool, [{0}, {3}], k=1).value == 100
    assert ranking(queries, pool, [{1}, {3}], k=1).value == 50
    assert ranking(queries, pool, [{0, 1}, {3, 4}], k=1).value == 50  # one of two each
    assert ranking(queries, pool, [{1}, {4}], k=2).value == 100


def test_equal_scores_share_their_ranks() -> None:
    scores = np.zeros((2, 4))
    assert ranking_of(scores, [{0}, {3}], k=1).value == 25
    assert ranking_of(scores, [{0}, {3}], k=2).value == 50


def test_ndcg_equals_scikit_learns() -> None:
    scores = RNG.standard_normal((30, 12))
    grades = [{int(i): float(RNG.integers(1, 3)) for i in RNG.choice(12, 4, replace=False)} for _ in range(30)]
    true = np.zeros((30, 12))
    for row, one in enumerate(grades):
        for passage, gain in one.items():
            true[row, passage] = gain
    assert ndcg_of(scores, grades, 5).value == pytest.approx(100 * ndcg_score(true, scores, k=5))


def test_scores_may_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = RNG.standard_normal((20, 9))
    relevant = [{int(RNG.integers(9))} for _ in range(20)]
    whole = ranking_of(scores, relevant, 3)
    monkeypatch.setattr("stlib.evidence.scores.checks.CHUNK", 30)
    assert ranking_of(lambda rows: scores[rows], relevant, 3, pool=9).value == whole.value


@pytest.mark.parametrize("relevant", [[{0}, set()], [{0}, {5}], [{0}, {-1}], [{0}]])
def test_a_query_without_a_passage_in_the_pool_is_named(relevant: list[set[int]]) -> None:
    with pytest.raises(ValueError, match="relevant"):
        ranking(np.eye(5)[:2], np.eye(5), relevant)


def test_rankings_by_other_judgements_are_other_units() -> None:
    pool = np.eye(5)
    with pytest.raises(ValueError, match="not the same units"):
        ranking(pool, pool, [{i} for i in range(5)]) - ranking(pool, pool, [{(i + 1) % 5} for i in range(5)])


def test_top_gives_the_best_first() -> None:
    np.testing.assert_array_equal(top(np.array([[1.0, 5.0, 3.0, 4.0]]), 3), [[1, 3, 2]])


def test_spearman_equals_scipys_with_ties() -> None:
    assert spearman(X, Y).value == pytest.approx(100 * stats.spearmanr(X, Y).statistic)


def test_roc_auc_equals_scikit_learns_with_ties() -> None:
    assert roc_auc(X, RELATED).value == pytest.approx(roc_auc_score(RELATED, X))


def test_balanced_error_counts_both_ways_of_being_wrong() -> None:
    estimate = balanced_error([0.9, 0.1, 0.8, 0.2, 0.3, 0.1], [1, 1, 0, 0, 0, 0], 0.5)
    assert estimate.value == pytest.approx(50 * (1 / 2 + 1 / 4))


def test_order_accuracy_counts_each_group_once() -> None:
    similarity = [0.9, 0.1, 0.1, 0.9, 0.5, 0.5, 0.4, 0.3]
    score = [5, 1, 5, 1, 5, 1, 3, 3]
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]  # right, wrong, level, one grade
    assert order_accuracy(similarity, score, groups).value == 50
    assert order_accuracy(similarity, score, groups).units == 3


def test_pairs_are_scored_by_order_where_anchors_hold_several_grades_else_by_spearman() -> None:
    pairs = pd.DataFrame(
        {
            "sentence1": list("aabbcc"),
            "sentence2": list("uvwxyz"),
            "score": [1.0, 2, 1, 2, 2, 1],
            "anchor": list("aabbcc"),
        }
    )
    similarity = [0.1, 0.2, 0.1, 0.2, 0.3, 0.1]
    assert pair_score_name(pairs) == "order accuracy" and pair_score(similarity, pairs).value == 100
    loose = pairs.drop(columns="anchor")
    assert pair_score_name(loose) == "Spearman" and pair_score(similarity, loose).units == 3


def test_halves_never_divide_a_group() -> None:
    half = split_groups(GROUPS, seed=3)
    assert all(len(set(half[name == GROUPS])) == 1 for name in set(GROUPS))
    assert 0 < half.sum() < len(half)


@pytest.mark.parametrize(
    "call",
    [
        lambda: topic_auc(VECTORS, np.zeros(40)),
        lambda: neighbour_accuracy(VECTORS, LABELS, k=0),
        lambda: neighbour_accuracy(VECTORS, LABELS, metric="manhattan"),
        lambda: spearman([1, 1, 1], [1, 2, 3]),
        lambda: spearman([1, 2, np.nan], [1, 2, 3]),
        lambda: spearman([1, 2, 3], [1, 2]),
        lambda: roc_auc([1, 2], [1, 1]),
        lambda: order_accuracy([1, 2], [3, 3], ["a", "a"]),
        lambda: ranking_of(np.zeros((2, 3)), [{0}, {1}], k=0),
        lambda: hub_share(VECTORS, parts=20),
    ],
)
def test_what_cannot_be_scored_is_refused(call: Callable[[], Estimate]) -> None:
    with pytest.raises(ValueError, match=r"^\w+:|^expected"):
        call()
