"""The trials of lesson 03 on queries and passages whose truth is known: each can come out either way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch

from stlib import Projection, SentenceEncoder
from stlib.evidence.claims import Claim
from stlib.evidence.experiments import projection
from stlib.evidence.experiments.projection import Search
from stlib.evidence.passages import Passages
from stlib.evidence.vectors import unit

COUNT, WIDTH = 240, 24
MANY = 960
"""So many that a point more or less is told apart even where all queries agree."""


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def a_search(
    dimensions: int, error: float = 0.2, hidden: bool = True, count: int = COUNT, faint: float = 0.0
) -> Search:
    """Queries and their passages, `error` apart, that lie in so many of all dimensions: the first, or turned any way.

    faint: how much is added in the dimensions that are left.
    """
    turn = np.linalg.qr(normal(0, WIDTH, WIDTH))[0] if hidden else np.eye(WIDTH)
    sides = [normal(1, count, dimensions)]
    sides.append(sides[0] + error * normal(2, count, dimensions))
    rest = [faint * normal(3 + number, count, WIDTH - dimensions) for number in range(2)]
    queries, texts = (
        np.hstack(side).astype(np.float32) @ turn.astype(np.float32) for side in zip(sides, rest, strict=True)
    )
    return Search(queries, texts, [{row} for row in range(count)], np.arange(count))


@pytest.mark.parametrize(("dimensions", "verdict"), [(8, "holds"), (24, "does not hold")])
def test_half_the_size_will_do_where_the_other_half_is_empty(dimensions: int, verdict: str) -> None:
    search = a_search(dimensions, error=0.2 if dimensions == 8 else 1.2, count=MANY)
    found = projection.minus_full(search, projection.pca(search, WIDTH // 2))
    assert Claim.decide("half-the-size-will-do", found).verdict == verdict


@pytest.mark.parametrize(("dimensions", "verdict"), [(4, "holds"), (24, "does not hold")])
def test_a_sixth_of_the_bytes_will_do_where_little_is_needed(dimensions: int, verdict: str) -> None:
    assert projection.two_thirds(a_search(4)) == 16
    found = projection.sixth_of_the_bytes(a_search(dimensions, error=0.05 if dimensions == 4 else 1.2, count=MANY))
    assert Claim.decide("sixth-of-the-bytes-will-do", found).verdict == verdict


def test_bytes_are_bytes_and_the_query_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    search, seen = a_search(WIDTH), []
    monkeypatch.setattr(projection, "ranking", lambda *sides: seen.append(sides))
    search.found(bytes_each=1)
    queries, texts, _ = seen[0]
    np.testing.assert_array_equal(queries, unit(search.queries))
    assert max(len(np.unique(column)) for column in texts.T) <= 255
    np.testing.assert_allclose(texts, unit(search.texts), atol=1 / 127)


def test_a_random_map_counts_its_draws_as_well() -> None:
    search = a_search(WIDTH, error=0.9)
    found = projection.random_map(search, 12, range(4))
    assert [part.kind for part in found.parts] == ["query", "seed"] and len(found.parts[1]) == 4
    assert projection.minus_full(search, found).value < -5
    easy = a_search(2, error=0.01, count=MANY)
    enough = projection.minus_full(easy, projection.random_map(easy, 16))
    assert Claim.decide("random-projection-will-do", enough).verdict == "holds"


def test_no_query_is_judged_behind_a_layer_that_it_helped_to_make() -> None:
    search, asked = a_search(WIDTH, error=0.6), []

    def fit(rows: np.ndarray) -> Projection:
        asked.append(rows)
        return Projection.truncation(WIDTH, 4) if len(asked) == 1 else Projection.truncation(WIDTH, WIDTH)

    found = search.cross_fitted(fit).parts[0].pseudo
    assert (asked[0] ^ asked[1]).all() and abs(int(asked[0].sum()) - COUNT // 2) <= 1
    cut, whole = (search.found(Projection.truncation(WIDTH, size)).parts[0].pseudo for size in (4, WIDTH))
    np.testing.assert_array_equal(found[~asked[0]], cut[~asked[0]])
    np.testing.assert_array_equal(found[~asked[1]], whole[~asked[1]])


def test_what_answers_a_judged_query_is_not_learnt_from() -> None:
    search = a_search(WIDTH, count=6)
    shared = Search(search.queries, search.texts, [{0}, {0}, {2}, {3}, {3}, {5, 0}], np.array([0, 0, 2, 3, 3, 5]))
    queries, texts = shared.pairs(np.array([True, True, False, True, True, False]))
    np.testing.assert_array_equal(texts, search.texts[[3]])  # passage 0 answers query 5, and 3 has two queries: one
    np.testing.assert_array_equal(queries, search.queries[[4]])


def test_sizes_stay_below_what_the_texts_can_fit() -> None:
    many, few = a_search(WIDTH), a_search(WIDTH, count=20)
    assert projection.sizes(many) == [2, 4, 6, 12, 16, 24] and many.largest == WIDTH
    assert projection.sizes(few) == [2, 4, 6] and few.largest == 10
    assert projection.pca(few, 12) is projection.trained(few, 12) is projection.sixth_of_the_bytes(few) is None
    assert projection.trained_minus_pca(few, 12) is None
    offered, lines = projection.by_size(a_search(WIDTH, count=2))
    assert offered == [2, 4, 6, 12, 16, 24] and set(lines) == {"truncation", "random map"}


def test_all_ways_are_compared_at_the_same_sizes() -> None:
    offered, lines = projection.by_size(a_search(WIDTH, error=0.6))
    assert set(lines) == {"PCA", "truncation", "random map", "trained"}
    assert all(len(line) == len(offered) for line in lines.values())
    assert lines["truncation"][-1].value == 0 and lines["PCA"][0].value < -10


@pytest.mark.parametrize(("error", "gains"), [(0.3, True), (30.0, False)])
def test_training_gains_on_queries_not_seen_where_there_is_something_to_learn(error: float, gains: bool) -> None:
    """Four dimensions tell which passage belongs to a query; the other twenty are nearly as loud and tell nothing."""
    found = projection.trained_minus_pca(a_search(4, error, count=600, faint=0.8), 6)
    assert found is not None
    low, high = found.interval()
    assert low > 5 if gains else low < 0 < high < 5


# ------------------------------------------------------------------------------------------------------------- a bias


@pytest.mark.parametrize("length", [1.0, 3.0, 20.0])
def test_the_shift_by_a_fresh_bias_is_predicted_by_the_length_of_the_vectors(length: float) -> None:
    vectors = (length * unit(normal(5, 200, 64))).astype(np.float32)
    predicted, observed = projection.bias_shift(vectors, 512, range(10))
    assert predicted == pytest.approx(1 / (1 + length**2), abs=0.01)
    assert observed.value == pytest.approx(predicted, abs=0.03)


def test_a_fresh_layer_is_torchs_own_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.nn.Linear(8, 4).weight
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert torch.equal(projection.fresh(8, 4, seed=3).linear.weight, expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_cosine_of_unrelated_texts_leaves_out_each_with_itself() -> None:
    vectors = normal(6, 9, 5)
    cosines = unit(vectors) @ unit(vectors).T
    assert projection.unrelated(vectors) == pytest.approx(cosines[~np.eye(9, dtype=bool)].mean())


# ------------------------------------------------------------------------------------------------------------ the lab


@pytest.mark.parametrize(("hidden", "verdict"), [(True, "holds"), (False, "does not hold")])
def test_the_first_numbers_are_better_only_where_the_model_put_the_best_there(hidden: bool, verdict: str) -> None:
    search = a_search(6, error=0.1, hidden=hidden, count=900, faint=0.3)
    assert Claim.decide("first-numbers-are-no-better", projection.first_minus_any(search, 6)).verdict == verdict


def test_components_fitted_where_the_texts_vary_otherwise_find_less() -> None:
    search = a_search(6, error=0.3)
    others = np.linalg.svd(search.texts)[2][6:]  # the directions in which these texts do not vary
    elsewhere = normal(8, 200, WIDTH - 6) @ others
    offered, lines = projection.by_fit(search, elsewhere)
    at = offered.index(6)
    assert lines["other texts"][at].interval()[1] < -5
    assert abs(lines["queries, passages"][at].value) < 2 and abs(lines["passages alone"][at].value) < 2
    assert projection.by_fit(search, elsewhere[:8])[0] == [2, 4]


def test_a_size_is_chosen_on_one_half_and_judged_on_the_other() -> None:
    found = projection.chosen_size(a_search(6, error=0.1))
    assert {size for size, _ in found.values()} == {4}
    assert sum(loss.units for _, loss in found.values()) == COUNT
    assert {size for size, _ in projection.chosen_size(a_search(WIDTH, error=0.9)).values()} == {WIDTH}


# ----------------------------------------------------------------------------------------------------- on a small model


@pytest.mark.filterwarnings("ignore:.*left out")
def test_a_projection_gets_the_models_vectors_before_they_are_scaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "cache"))
    encoder = SentenceEncoder(checkpoints.build("bert", tmp_path / "model"), device="cpu")
    texts = checkpoints.TEXTS
    grades: list[dict[int, Any]] = [{1: 1.0, 0: 2.0}, {0: 1.0, 3: 1.0}]
    passages = Passages(texts[:2], texts, [{0, 1}, {0, 3}], grades, [], [], [])
    search = Search.of(encoder, passages)
    assert search.own.tolist() == [0, 0] and search.width == encoder.dimension
    lengths = np.linalg.norm(search.texts, axis=1)
    assert np.abs(lengths - 1).min() > 0.1
    np.testing.assert_allclose(unit(search.texts), encoder.encode(texts), atol=1e-5)
