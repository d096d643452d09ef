"""Each statistic has an answer worked out by hand or by another library, and a control that scores as it must."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from stlib.evidence import evaluation as ev


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def graded(rng, anchors=80, noise=1.0):
    """80 anchors with the grades 0 to 5: the six pairs of an anchor have 15 that can be ordered."""
    pairs = pd.DataFrame({"anchor": np.repeat(np.arange(anchors), 6), "score": np.tile(np.arange(6.0), anchors)})
    pairs.attrs["has_anchor"] = True
    return pairs, pairs["score"].to_numpy() + rng.normal(scale=noise, size=len(pairs))


# --- Weights ---


def test_weights_draw_whole_groups_and_as_many_as_there_are():
    groups = np.array(["b", "a", "a", "c", "b", "c"])
    weights = ev.group_weights(groups, resamples=500, seed=1)
    assert weights.shape == (500, 6)
    assert (weights[:, 0] == weights[:, 4]).all() and (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    # A group is left out of a resample with chance (2/3)^3.
    assert np.isclose((weights[:, 0] == 0).mean(), 8 / 27, atol=0.06)


def test_weights_come_from_the_seed_alone():
    groups = np.arange(50)
    assert (ev.group_weights(groups, 20, seed=3) == ev.group_weights(groups, 20, seed=3)).all()
    assert (ev.group_weights(groups, 20, seed=3) != ev.group_weights(groups, 20, seed=4)).any()


def test_one_group_cannot_be_resampled():
    with pytest.raises(ValueError, match=r"at least 2 groups.*got 1"):
        ev.group_weights([5, 5, 5])


def test_a_split_puts_whole_groups_in_two_halves():
    groups = np.repeat(np.arange(21), 4)
    mask = ev.split_groups(groups, seed=2)
    assert set(groups[mask]).isdisjoint(groups[~mask])
    assert len(set(groups[mask])) == 11
    assert (mask != ev.split_groups(groups, seed=3)).any()


# --- Cosine ---


def test_cosine_of_known_angles_and_of_a_zero_row():
    a = [[1, 0], [1, 1], [2, 0], [0, 0]]
    b = [[0, 3], [1, 0], [-1, 0], [1, 1]]
    assert np.allclose(ev.cosine(a, b), [0, np.sqrt(0.5), -1, 0])


# --- Spearman ---


def test_spearman_with_ties_is_that_of_scipy(rng):
    similarity, score = rng.normal(size=300).round(1), rng.integers(0, 6, size=300)
    expected = 100 * stats.spearmanr(similarity, score).statistic
    assert ev.spearman(similarity, score) == pytest.approx(expected, abs=1e-10)


def test_whole_weights_are_repeated_rows(rng):
    similarity, score = rng.normal(size=60).round(1), rng.integers(0, 6, size=60)
    weights = rng.integers(0, 4, size=(25, 60))
    repeated = [100 * stats.spearmanr(np.repeat(similarity, row), np.repeat(score, row)).statistic for row in weights]
    assert np.allclose(ev.spearman(similarity, score, weights), repeated, atol=1e-10)


def test_spearman_of_perfect_reversed_and_shuffled_orders(rng):
    score = np.arange(1000.0)
    assert ev.spearman(np.exp(score / 100), score) == pytest.approx(100)
    assert ev.spearman(-score, score) == pytest.approx(-100)
    assert abs(ev.spearman(rng.permutation(score), score)) < 10  # three standard errors of 100 / sqrt(1000)


def test_chunks_do_not_change_the_draws(rng, monkeypatch):
    pairs, similarity = graded(rng)
    weights = ev.group_weights(pairs["anchor"], 50)
    whole = [ev.spearman(similarity, pairs["score"], weights), ev.pair_score(similarity, pairs, weights)]
    monkeypatch.setattr(ev, "CHUNK", 7 * len(pairs))
    parts = [ev.spearman(similarity, pairs["score"], weights), ev.pair_score(similarity, pairs, weights)]
    assert np.allclose(whole, parts, rtol=0, atol=1e-9)


def test_two_thousand_resamples_of_1500_pairs_take_about_a_second(rng):
    similarity, score = rng.normal(size=1500), rng.integers(0, 6, size=1500)
    start = time.process_time()
    ev.spearman(similarity, score, ev.group_weights(np.arange(1500) // 6))
    assert time.process_time() - start < 2.5  # 0.2 s on an idle core; a loop over resamples takes several


@pytest.mark.parametrize(
    ("similarity", "score", "message"),
    [
        ([1, 1, 1], [1, 2, 3], "similarity: a correlation needs at least 2 different"),
        ([1, 2, 3], [2, 2, 2], "score: a correlation"),
        ([1, 2], [1, 2, 3], r"one length, got similarity \[2\], score \[3\]"),
        ([1, float("nan"), 3], [1, 2, 3], "similarity: row 2 is not a finite number"),
    ],
)
def test_columns_that_have_no_correlation_are_named(similarity, score, message):
    with pytest.raises(ValueError, match=message):
        ev.spearman(similarity, score)


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"weights: expected shape \[resamples, 3\], got \[4, 2\]"):
        ev.spearman([1, 2, 3], [1, 2, 3], np.ones((4, 2)))


# --- Order accuracy ---


def by_hand(similarity, score, groups):
    accuracies = []
    for group in set(groups):
        rows = [i for i, g in enumerate(groups) if g == group]
        wins = [
            1.0 if similarity[i] > similarity[j] else 0.5 if similarity[i] == similarity[j] else 0.0
            for i in rows
            for j in rows
            if score[i] > score[j]
        ]
        if wins:
            accuracies.append(np.mean(wins))
    return 100 * np.mean(accuracies)


def test_order_accuracy_of_a_group_worked_out_by_hand():
    # 3 ordered pairs of grades: right, level (half), wrong.
    assert ev.order_accuracy([0.5, 0.5, 0.4], [0, 1, 2], ["a"] * 3) == pytest.approx(100 * 0.5 / 3)
    assert ev.order_accuracy([0.1, 0.5, 0.5], [0, 1, 2], ["a"] * 3) == pytest.approx(100 * 2.5 / 3)


def test_order_accuracy_of_80_anchors_is_the_mean_of_their_15_pairs(rng):
    pairs, similarity = graded(rng)
    similarity = similarity.round(1)
    expected = by_hand(similarity, pairs["score"], pairs["anchor"])
    assert ev.order_accuracy(similarity, pairs["score"], pairs["anchor"]) == pytest.approx(expected)


def test_order_accuracy_of_groups_of_any_size_in_any_order(rng):
    groups, score = rng.integers(0, 40, size=200), rng.integers(0, 3, size=200)
    similarity = rng.normal(size=200).round(1)
    assert ev.order_accuracy(similarity, score, groups) == pytest.approx(by_hand(similarity, score, groups))


def test_groups_of_one_pair_or_one_grade_are_left_out():
    groups, score = ["a", "a", "b", "c", "c"], [1, 0, 5, 2, 2]
    assert ev.order_accuracy([1, 0, 9, 1, 2], score, groups) == 100


def test_where_no_group_has_two_grades_spearman_is_recommended():
    with pytest.raises(ValueError, match="use spearman"):
        ev.order_accuracy([1, 2, 3], [1, 1, 2], ["a", "a", "b"])


def test_whole_group_weights_are_repeated_groups(rng):
    pairs, similarity = graded(rng, anchors=12)
    weights = ev.group_weights(pairs["anchor"], 20)
    for row, draw in zip(weights, ev.order_accuracy(similarity, pairs["score"], pairs["anchor"], weights), strict=True):
        accuracies = [
            by_hand(similarity[rows], pairs["score"].to_numpy()[rows], [0] * len(rows))
            for anchor in range(12)
            for rows in [np.flatnonzero(pairs["anchor"] == anchor)] * int(row[6 * anchor])
        ]
        assert draw == pytest.approx(np.mean(accuracies))


def test_weights_that_divide_a_group_are_refused(rng):
    pairs, similarity = graded(rng)
    with pytest.raises(ValueError, match="one weight"):
        ev.order_accuracy(similarity, pairs["score"], pairs["anchor"], ev.group_weights(np.arange(len(pairs)), 3))


def test_order_accuracy_is_100_0_and_50_for_perfect_reversed_and_random_orders(rng):
    pairs, _ = graded(rng)
    score, groups = pairs["score"].to_numpy(), pairs["anchor"]
    assert ev.order_accuracy(score, score, groups) == 100
    assert ev.order_accuracy(-score, score, groups) == 0
    assert ev.order_accuracy(rng.normal(size=len(score)), score, groups) == pytest.approx(50, abs=6)


# --- The headline score and comparisons ---


def test_the_headline_score_is_order_accuracy_where_anchors_are_given_and_spearman_elsewhere(rng):
    pairs, similarity = graded(rng)
    assert ev.pair_score_name(pairs) == "order accuracy"
    assert ev.pair_score(similarity, pairs) == ev.order_accuracy(similarity, pairs["score"], pairs["anchor"])
    pairs.attrs["has_anchor"] = False
    assert ev.pair_score_name(pairs) == "Spearman"
    assert ev.pair_score(similarity, pairs) == ev.spearman(similarity, pairs["score"])
    pairs.attrs["has_anchor"], pairs["anchor"] = True, pairs["score"]  # groups of one grade each
    assert ev.pair_score_name(pairs) == "Spearman"


def test_a_model_compared_with_itself_differs_by_nothing(rng):
    pairs, similarity = graded(rng)
    same = ev.compare(similarity, similarity, pairs, resamples=100)
    assert (same.value, same.interval, same.detectable) == (0, (0, 0), 0)


def test_a_better_model_is_found_and_the_pairing_narrows_the_interval(rng):
    pairs, similarity = graded(rng)
    worse = similarity + rng.normal(scale=0.5, size=len(similarity))
    found = ev.compare(similarity, worse, pairs)
    assert found.value == pytest.approx(ev.pair_score(similarity, pairs) - ev.pair_score(worse, pairs))
    assert 0 < found.low < found.value < found.high
    apart = [
        ev.pair_score(scored, pairs, ev.group_weights(pairs["anchor"], seed=seed))
        for seed, scored in enumerate((similarity, worse))
    ]
    assert found.high - found.low < np.ptp(ev.interval(apart[0] - apart[1]))


def test_a_higher_level_gives_a_wider_interval(rng):
    draws = rng.normal(size=5000)
    assert np.allclose(ev.interval(draws), (-1.96, 1.96), atol=0.12)
    assert np.allclose(ev.interval(draws, ev.HEADLINE_LEVEL), (-2.69, 2.69), atol=0.3)


def test_undefined_resamples_are_left_out_if_few_and_refused_if_many():
    draws = np.arange(100.0)
    draws[:4] = np.nan
    assert ev.interval(draws, 1.0) == (4, 99)
    draws[:6] = np.nan
    with pytest.raises(ValueError, match="undefined in 6 of 100"):
        ev.interval(draws)


# --- Coverage ---


def clustered(rng, groups=40, size=6):
    """Similarity and score are unrelated, but the pairs of a group are alike in both: the true Spearman is 0."""
    shared, own = rng.normal(size=(2, groups, 1)), rng.normal(size=(2, groups, size))
    return *(2 * shared + own).reshape(2, -1), np.repeat(np.arange(groups), size)


def test_intervals_from_groups_cover_the_truth_and_intervals_from_pairs_do_not(rng):
    trials, by_group, by_pair = 300, 0, 0
    for seed in range(trials):
        similarity, score, groups = clustered(rng)
        for resampled in (groups, np.arange(len(groups))):
            low, high = ev.interval(ev.spearman(similarity, score, ev.group_weights(resampled, 300, seed)))
            if resampled is groups:
                by_group += low <= 0 <= high
            else:
                by_pair += low <= 0 <= high
    assert 0.90 <= by_group / trials <= 0.98  # nominal 0.95, four binomial standard errors below, three above
    assert by_pair / trials < 0.75


def test_intervals_of_order_accuracy_and_of_its_differences_cover_the_truth(rng):
    noise, other = 2.0, 3.0
    # A step of g grades comes out right with chance Phi(g / (noise sqrt 2)); there are 6 - g such steps.
    steps = np.arange(1, 6)
    true, lower = (
        100 * np.average(stats.norm.cdf(steps / (scale * np.sqrt(2))), weights=6 - steps) for scale in (noise, other)
    )
    trials, covered, differences = 200, 0, 0
    for seed in range(trials):
        pairs, similarity = graded(rng, anchors=40, noise=noise)
        low, high = ev.interval(ev.pair_score(similarity, pairs, ev.group_weights(pairs["anchor"], 300, seed)))
        covered += low <= true <= high
        worse = pairs["score"] + rng.normal(scale=other, size=len(pairs))
        found = ev.compare(similarity, worse, pairs, resamples=300, seed=seed)
        differences += found.low <= true - lower <= found.high
    assert 0.89 <= covered / trials <= 0.99
    assert 0.89 <= differences / trials <= 0.99


def test_simultaneous_intervals_cover_all_at_once_and_separate_ones_do_not(rng):
    trials, together, apart = 300, 0, 0
    for _ in range(trials):
        sample = rng.normal(size=(60, 8))
        weights = ev.group_weights(np.arange(60), 300, int(rng.integers(1 << 30)))
        draws = weights @ sample / 60
        bounds = ev.simultaneous_intervals(sample.mean(axis=0), draws)
        together += (bounds[:, 0] <= 0).all() and (bounds[:, 1] >= 0).all()
        each = np.array([ev.interval(column) for column in draws.T])
        apart += (each[:, 0] <= 0).all() and (each[:, 1] >= 0).all()
    assert 0.90 <= together / trials <= 0.98
    assert apart / trials < 0.80  # 0.95^8 = 0.66


def test_a_value_that_never_moves_has_a_simultaneous_interval_of_no_width(rng):
    draws = np.stack([np.zeros(500), rng.normal(size=500)], axis=1)
    bounds = ev.simultaneous_intervals([0, 0], draws)
    assert bounds[0].tolist() == [0, 0]
    assert np.allclose(bounds[1], [-1.96, 1.96], atol=0.3)
    assert ev.simultaneous_intervals([3.0], np.full((10, 1), 3.0)).tolist() == [[3, 3]]


def test_the_detectable_difference_is_detected_four_times_in_five(rng):
    error = 0.5  # of a mean of 100 values with spread 5
    difference = ev.detectable(rng.normal(scale=error, size=20_000))
    assert difference == pytest.approx(error * (1.960 + 0.842), rel=0.03)
    estimates = rng.normal(loc=difference, scale=error, size=5000)
    assert (estimates - 1.96 * error > 0).mean() == pytest.approx(0.8, abs=0.03)


def test_intervals_of_means_cover_the_truth(rng):
    covered = 0
    for seed in range(200):
        low, high = ev.mean_interval(rng.exponential(size=150), seed=seed, resamples=300)
        covered += low <= 1 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_draws_of_means_do_not_fall_apart_into_chunks(rng, monkeypatch):
    values = rng.normal(loc=4, size=100)
    monkeypatch.setattr(ev, "CHUNK", 700)
    draws = ev.mean_draws(values, resamples=2000)
    assert draws.shape == (2000,) and len(np.unique(draws)) > 1900
    assert draws.std() == pytest.approx(values.std() / 10, rel=0.1)


def test_resampled_seeds_add_their_own_spread(rng):
    anchors = rng.normal(size=4000)  # what resampling anchors does, the same for each training seed
    seeds = np.array([-3.0, 0.0, 3.0])[:, None]
    draws = ev.over_seeds(anchors + seeds)
    assert draws.var() == pytest.approx(1 + 6 / 3, rel=0.1)
    assert np.allclose(ev.over_seeds([anchors, anchors]), anchors)


# --- ROC and thresholds ---


def test_auc_is_that_of_scikit_learn_with_ties_and_with_weights(rng):
    similarity, related = rng.normal(size=400).round(1), rng.random(400) < 0.3
    assert ev.roc_auc(similarity, related) == pytest.approx(roc_auc_score(related, similarity))
    weights = ev.group_weights(np.arange(400) // 5, 10)
    expected = [roc_auc_score(related, similarity, sample_weight=row) for row in weights]
    assert np.allclose(ev.roc_auc(similarity, related, weights), expected)


def test_auc_of_two_lists():
    assert ev.auc([3, 4], [1, 2]) == 1
    assert ev.auc([1, 3], [2, 2]) == 0.5
    assert ev.auc([1, 1], [1]) == 0.5


def test_auc_of_shuffled_labels_is_chance(rng):
    similarity = rng.normal(size=2000)
    assert ev.roc_auc(similarity, rng.random(2000) < 0.5) == pytest.approx(0.5, abs=0.05)


def test_auc_needs_related_and_unrelated_pairs():
    with pytest.raises(ValueError, match="at least one of each"):
        ev.roc_auc([1, 2], [True, True])


def test_topic_auc_of_each_sentence_is_that_of_scikit_learn(rng):
    similarity, labels = rng.normal(size=(30, 30)).round(1), np.repeat(["a", "b", "c"], 10)
    others = ~np.eye(30, dtype=bool)
    expected = [roc_auc_score((labels == labels[i])[others[i]], similarity[i][others[i]]) for i in range(30)]
    assert np.allclose(ev.topic_auc(similarity, labels), expected)


def test_topic_auc_is_1_for_separate_topics_chance_for_shuffled_ones_and_undefined_alone(rng):
    labels = np.repeat([0, 1], 50)
    similarity = (labels[:, None] == labels) + rng.normal(scale=0.01, size=(100, 100))
    assert (ev.topic_auc(similarity, labels) == 1).all()
    assert ev.topic_auc(similarity, rng.permutation(labels)).mean() == pytest.approx(0.5, abs=0.05)
    assert np.isnan(ev.topic_auc(similarity, ["alone"] + ["rest"] * 99)[0])


def test_a_threshold_separates_what_can_be_separated():
    similarity, related = np.array([0.1, 0.2, 0.6, 0.7]), np.array([False, False, True, True])
    threshold = ev.choose_threshold(similarity, related)
    assert threshold == 0.6
    assert ev.at_threshold(similarity, related, threshold) == {
        "hits": 100, "false alarms": 0, "precision": 100, "balanced accuracy": 100
    }  # fmt: skip


def test_rates_at_a_threshold_worked_out_by_hand():
    rates = ev.at_threshold([0.9, 0.4, 0.8, 0.1, 0.2, 0.3], [1, 1, 0, 0, 0, 0], 0.5)
    assert rates == {"hits": 50, "false alarms": 25, "precision": 50, "balanced accuracy": 62.5}


def test_a_threshold_chosen_on_noise_is_at_chance_on_the_other_half(rng):
    similarity, related, groups = rng.normal(size=4000), rng.random(4000) < 0.5, np.arange(4000) // 4
    half = ev.split_groups(groups)
    threshold = ev.choose_threshold(similarity[half], related[half])
    rates = ev.at_threshold(similarity[~half], related[~half], threshold)
    assert np.isfinite(threshold) and rates["balanced accuracy"] == pytest.approx(50, abs=4)


# --- Neighbours and clusters ---


def blobs(rng, topics=4, size=30, distance=20.0):
    centres = distance * np.eye(topics, 16)
    return np.repeat(centres, size, axis=0) + rng.normal(size=(topics * size, 16)), np.repeat(np.arange(topics), size)


def test_neighbours_by_each_metric_worked_out_by_hand():
    vectors = [[1.0, 0.0], [10.0, 1.0], [0.0, 1.5], [1.2, 0.9]]
    assert ev.neighbours(vectors, 1, "cosine").ravel().tolist() == [1, 0, 3, 1]
    assert ev.neighbours(vectors, 1, "dot").ravel().tolist() == [1, 3, 1, 1]
    assert ev.neighbours(vectors, 1, "euclidean").ravel().tolist() == [3, 3, 3, 0]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_are_those_of_scikit_learn_in_chunks_too(rng, metric, monkeypatch):
    from sklearn.neighbors import NearestNeighbors

    vectors = rng.normal(size=(90, 8))
    expected = NearestNeighbors(n_neighbors=7, metric=metric).fit(vectors).kneighbors(return_distance=False)
    monkeypatch.setattr(ev, "CHUNK", 90 * 13)
    assert (np.sort(ev.neighbours(vectors, 7, metric)) == np.sort(expected)).all()


@pytest.mark.parametrize(("k", "metric"), [(0, "cosine"), (4, "cosine"), (1, "manhattan")])
def test_neighbours_that_do_not_exist_are_refused(k, metric):
    with pytest.raises(ValueError, match="expected"):
        ev.neighbours(np.eye(4), k, metric)


def test_neighbour_accuracy_is_100_for_topics_apart_and_chance_for_random_vectors(rng):
    vectors, labels = blobs(rng)
    assert (ev.neighbour_accuracy(vectors, labels) == 100).all()
    chance = 100 * 29 / 119
    noise, shuffled = rng.normal(size=vectors.shape), rng.permutation(labels)
    assert ev.neighbour_accuracy(noise, labels).mean() == pytest.approx(chance, abs=6)
    assert ev.neighbour_accuracy(vectors, shuffled).mean() == pytest.approx(chance, abs=6)


def test_resampling_sentences_would_make_random_vectors_look_pure(rng):
    """Why the values are resampled and not the sentences: a copy is its own neighbour."""
    noise, labels = rng.normal(size=(120, 16)), np.repeat(np.arange(4), 30)
    copies = rng.integers(120, size=120)
    wrong = ev.neighbour_accuracy(noise[copies], labels[copies], k=1).mean()
    low, high = ev.mean_interval(ev.neighbour_accuracy(noise, labels, k=1))
    assert low < 100 * 29 / 119 < high
    assert wrong > high + 15


def test_labels_must_be_two_at_least(rng):
    with pytest.raises(ValueError, match="at least 2 different labels, got 1"):
        ev.neighbour_accuracy(rng.normal(size=(9, 3)), ["a"] * 9)


def test_hubness_counts_each_neighbour_once_and_finds_the_hub():
    star = np.array([[0.0, 0.0], [1.0, 0.0], [-1.1, 0.0], [0.0, 1.2], [0.0, -1.3]])
    assert ev.hubness(star, k=1, metric="euclidean").tolist() == [4, 1, 0, 0, 0]


def test_long_vectors_are_hubs_for_the_dot_product_and_not_for_the_cosine(rng):
    vectors = rng.normal(size=(300, 20)) * rng.uniform(0.2, 3, size=(300, 1))
    by_dot, by_cosine = ev.hubness(vectors, 10, "dot"), ev.hubness(vectors, 10, "cosine")
    assert by_dot.mean() == by_cosine.mean() == 10
    assert stats.skew(by_dot) > stats.skew(by_cosine) + 1
    assert np.corrcoef(by_dot, np.linalg.norm(vectors, axis=1))[0, 1] > 0.7


def test_silhouettes_worked_out_by_hand_and_at_chance(rng):
    line = [[0.0], [1.0], [10.0], [11.0]]
    values = ev.silhouettes(line, ["a", "a", "b", "b"], metric="euclidean")
    assert np.allclose(values, [1 - 1 / 10.5, 1 - 1 / 9.5, 1 - 1 / 9.5, 1 - 1 / 10.5])
    vectors, labels = blobs(rng)
    assert ev.silhouettes(vectors, labels).mean() > 0.8
    assert abs(ev.silhouettes(rng.normal(size=vectors.shape), labels).mean()) < 0.05


def test_v_measure_is_one_value_a_seed_high_for_topics_apart_and_low_for_noise(rng):
    vectors, labels = blobs(rng, distance=60.0)
    found = ev.v_measure(vectors, labels, seeds=range(4))
    assert found.shape == (4,) and found.max() == pytest.approx(100)
    assert ev.v_measure(rng.normal(size=vectors.shape), labels).mean() < 15


def test_trust_is_1_for_a_faithful_plot_and_half_for_one_that_ignores_the_data(rng):
    vectors = np.zeros((200, 10))
    vectors[:, :2] = rng.normal(size=(200, 2))
    assert ev.trust(vectors, vectors[:, :2], metric="euclidean") == pytest.approx(1)
    assert ev.trust(vectors, rng.normal(size=(200, 2)), metric="euclidean") == pytest.approx(0.5, abs=0.05)


# --- Controls ---

FIRST = ["The dog runs home", "A red car", "One two three four", "???"]
SECOND = ["the DOG runs home", "Green tea", "one two", "!!"]


def test_jaccard_is_the_share_of_words_in_common():
    assert ev.jaccard_similarity(FIRST, SECOND).tolist() == [1, 0, 0.5, 0]


def test_length_ratio_counts_words():
    assert ev.length_ratio([*FIRST, "a b"], [*SECOND, ""]).tolist() == [1, 2 / 3, 0.5, 1, 0]


def test_tfidf_is_1_for_the_same_words_0_for_none_and_weighs_rare_words_more():
    similarity = ev.tfidf_similarity([*FIRST, "the cat", "the cat"], [*SECOND, "the sun", "a cat"])
    assert similarity[0] == pytest.approx(1)
    assert similarity[1] == similarity[3] == 0
    assert 0 < similarity[4] < 1 and similarity.shape == (6,)


def test_tfidf_handles_sentences_without_words():
    assert ev.tfidf_similarity(["???", "!"], ["...", ";"]).tolist() == [0, 0]
