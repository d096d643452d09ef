"""Each kind of interval covers the truth as often as it says: known worlds, 400 samples each, small data.

The truth is the value in the whole world from which the samples come, computed on a sample so large that its own error
does not matter (or known exactly). A nominal 95 % must cover in 92 to 98 %.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stlib.evidence.estimate import Estimate
from stlib.evidence.scores import (
    balanced_error,
    hub_share,
    neighbour_accuracy,
    order_accuracy,
    ranking,
    ranking_of,
    roc_auc,
    spearman,
    topic_auc,
    v_measure,
)

DRAWS = 400
Sample = Callable[[np.random.Generator], Estimate]


def coverage(sample: Sample, truth: float, draws: int = DRAWS, level: float = 0.95) -> float:
    hits = 0
    for seed in range(draws):
        low, high = sample(np.random.default_rng(seed)).interval(level)
        hits += low <= truth <= high
    return hits / draws


def covers(sample: Sample, truth: float) -> None:
    assert 0.92 <= coverage(sample, truth) <= 0.98


# ------------------------------------------------------------------------------------------------------------- worlds


def topics(rng: np.random.Generator, n: int, spread: float = 1.3) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around four topics in eight dimensions."""
    labels = rng.permutation(np.arange(n) % 4)
    centres = np.eye(8)[:4] * 2
    vectors = centres[labels] + spread * rng.standard_normal((n, 8))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def pairs(rng: np.random.Generator, groups: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities and grades of six pairs a group; the pairs of a group err together."""
    codes = np.repeat(np.arange(groups), 6)
    grade = np.tile(np.arange(6.0), groups)
    common = rng.standard_normal(groups)[codes]
    return grade + noise * (common + rng.standard_normal(len(codes))), grade, codes


def large(statistic: Callable[..., Estimate], world: Callable[..., tuple], n: int, repeats: int = 4) -> float:
    """The value in the world, from samples of a size that leaves no error to speak of."""
    return float(np.mean([statistic(*world(np.random.default_rng(10_000 + r), n)).value for r in range(repeats)]))


# -------------------------------------------------------------------------------------------------- what is simulated


def test_mean_of_independent_values() -> None:
    covers(lambda rng: Estimate.of(rng.exponential(size=40)), 1.0)


def test_five_processes_on_log_ratios() -> None:
    covers(lambda rng: Estimate.of(rng.normal(0.7, 0.1, size=5), "process"), 0.7)


def test_topic_auc() -> None:
    truth = large(topic_auc, topics, 2000, 2)
    covers(lambda rng: topic_auc(*topics(rng, 60)), truth)


def test_neighbour_accuracy_in_data_of_that_size() -> None:
    """Neighbours get closer as data grow, so the truth is the mean over samples of the same size."""
    truth = float(
        np.mean([neighbour_accuracy(*topics(np.random.default_rng(s), 150)).value for s in range(5000, 7000)])
    )
    covers(lambda rng: neighbour_accuracy(*topics(rng, 150)), truth)


def uneven(rng: np.random.Generator) -> Estimate:
    """What a dot product does to hubs where lengths vary a little."""
    vectors = topics(rng, 120)[0] * rng.lognormal(0, 0.1, (120, 1))
    return hub_share(vectors, 5, "dot", parts=6) - hub_share(vectors, 5, "cosine", parts=6)


def test_hubs_in_parts_of_that_size() -> None:
    covers(uneven, float(np.mean([uneven(np.random.default_rng(s)).value for s in range(5000, 7000)])))


def test_blind_clusters_in_parts_of_that_size() -> None:
    def agreement(rng: np.random.Generator) -> Estimate:
        return v_measure(*topics(rng, 100, 1.0), parts=4)

    covers(agreement, float(np.mean([agreement(np.random.default_rng(seed)).value for seed in range(5000, 5250)])))


def test_recall_in_a_fixed_pool() -> None:
    pool = np.random.default_rng(1).standard_normal((200, 8))

    def recall(rng: np.random.Generator, queries: int = 60) -> Estimate:
        own = rng.integers(len(pool), size=queries)
        return ranking(pool[own] + 1.2 * rng.standard_normal((queries, 8)), pool, [{one} for one in own], k=10)

    covers(recall, recall(np.random.default_rng(2), 40_000).value)


def test_paired_difference_of_recall() -> None:
    pool = np.random.default_rng(1).standard_normal((200, 8))

    def difference(rng: np.random.Generator, queries: int = 60) -> Estimate:
        own = rng.integers(len(pool), size=queries)
        vectors, relevant = pool[own] + rng.standard_normal((queries, 8)), [{one} for one in own]
        return ranking(vectors, pool, relevant, 5) - ranking(vectors[:, :6], pool[:, :6], relevant, 5)

    covers(difference, difference(np.random.default_rng(2), 40_000).value)


@pytest.mark.parametrize(("units", "rare"), [(10, 0.01), (20, 0.05), (30, 0.02), (100, 0.01)])
def test_units_that_nearly_all_agree(units: int, rare: float) -> None:
    """Samples in which all do have no variance, and would say that the truth is what they have seen, to the digit."""
    relevant = [{0}] * units

    def found(rng: np.random.Generator) -> Estimate:
        scores = np.where(rng.random(units)[:, None] < rare, [[0.0, 1.0]], [[1.0, 0.0]])
        return ranking_of(scores, relevant, k=1)

    assert coverage(found, 100 * (1 - rare)) >= 0.92

    def changed(rng: np.random.Generator) -> Estimate:
        return found(rng) - ranking_of(np.tile([[1.0, 0.0]], (units, 1)), relevant, k=1)

    assert coverage(changed, -100 * rare) >= 0.92


def test_order_accuracy_within_groups() -> None:
    covers(lambda rng: order_accuracy(*pairs(rng, 40)), large(order_accuracy, pairs, 5000, 1))


def test_spearman_over_groups_whose_pairs_err_together() -> None:
    covers(lambda rng: spearman(*pairs(rng, 40)), large(spearman, pairs, 700, 20))


def test_roc_auc_over_groups() -> None:
    def area(similarity: np.ndarray, grade: np.ndarray, groups: np.ndarray) -> Estimate:
        return roc_auc(similarity, grade >= 3, groups)

    truth = large(area, lambda rng, n: pairs(rng, n, 2.0), 1500, 10)
    covers(lambda rng: area(*pairs(rng, 40, 2.0)), truth)


def test_balanced_error_at_a_given_threshold() -> None:
    def error(similarity: np.ndarray, grade: np.ndarray, groups: np.ndarray) -> Estimate:
        return balanced_error(similarity, grade >= 3, 2.5, groups)

    covers(lambda rng: error(*pairs(rng, 40)), large(error, pairs, 20_000, 2))


def seeds_and_sentences(rng: np.random.Generator) -> Estimate:
    """Eight seeds on forty sentences: a sentence's value is its own part and the seed's."""
    own, seed = rng.standard_normal(40), 0.3 * rng.standard_normal(8)
    return Estimate.over([Estimate.of(own + one + 0.5 * rng.standard_normal(40), "sentence", "s") for one in seed])


def test_sentences_and_seeds_both_count() -> None:
    covers(seeds_and_sentences, 0.0)


def test_intervals_hold_together() -> None:
    mixing = np.linalg.cholesky(0.6 + 0.4 * np.eye(5))
    hits = 0
    for draw in range(DRAWS):
        values = np.random.default_rng(draw).standard_normal((40, 5)) @ mixing.T
        intervals = Estimate.simultaneous([Estimate.of(column) for column in values.T])
        hits += all(low <= 0 <= high for low, high in intervals)
    assert 0.92 <= hits / DRAWS <= 0.98


def test_resampling_values_held_fixed_would_not_cover() -> None:
    """The control: an interval over each sentence's own value, the others held fixed, is far too narrow."""
    truth = large(topic_auc, topics, 2000, 2)

    def fixed(rng: np.random.Generator) -> Estimate:
        vectors, labels = topics(rng, 60)
        similarity, same = vectors @ vectors.T, labels[:, None] == labels
        np.fill_diagonal(same, False)
        other = labels[:, None] != labels
        return Estimate.of([(s[p][:, None] > s[q]).mean() for s, p, q in zip(similarity, same, other, strict=True)])

    assert coverage(fixed, truth) < 0.85
