"""Trials of search: fusion by ranks, typing errors, a small index and silence, each on data with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from stlib import SentenceEncoder
from stlib.evidence.corpora import documentation
from stlib.evidence.experiments import search as trial


def test_fusion_adds_reciprocal_ranks_and_lets_silence_be() -> None:
    dense, words = np.array([[0.9, 0.5, 0.1]]), np.array([[0.0, 7.0, 0.0]])
    np.testing.assert_allclose(trial.fused(dense, words), [[1 / 61, 1 / 62 + 1 / 61, 1 / 63]])


@pytest.mark.parametrize(
    ("query", "wrong"), [("find a parcel", "find a pacrel"), ("a to b", "a to b"), ("noon oooo", "noon oooo")]
)
def test_two_letters_of_the_longest_word_change_places(query: str, wrong: str) -> None:
    found = trial.mistyped(query)
    assert sorted(found) == sorted(query) and len(found) == len(query)
    assert (found == query) == (wrong == query)


def test_as_many_words_are_mistyped_as_asked_the_longest_first() -> None:
    assert trial.mistyped("sort every parcel", words=2) == "sort eevry pacrel"
    assert trial.mistyped("axis by axis", words=2) == "aixs by aixs"
    assert trial.mistyped("a parcel", words=3) == "a pacrel"


@pytest.fixture(scope="module")
def few(encoder: SentenceEncoder) -> object:
    return documentation(200, seed=1)


def test_both_together_are_judged_on_the_same_queries(encoder: SentenceEncoder, few) -> None:  # type: ignore[no-untyped-def]
    found = trial.by_way(encoder, few)
    assert set(found) == {"vectors", "BM25", "both"}
    assert (found["both"] - found["vectors"]).units == 200
    assert found["both"].value > found["BM25"].value


def test_a_second_look_mends_the_small_index(encoder: SentenceEncoder, few) -> None:  # type: ignore[no-untyped-def]
    found = trial.small_index(encoder, few)
    assert abs((found["small, rescored"] - found["full"]).value) <= abs((found["small"] - found["full"]).value) + 0.5


def test_typing_errors_never_help_on_the_whole(encoder: SentenceEncoder, few) -> None:  # type: ignore[no-untyped-def]
    assert trial.lost_by_typos(encoder, few).value > 0


def test_strangers_are_told_by_their_best_cosine(encoder: SentenceEncoder, few) -> None:  # type: ignore[no-untyped-def]
    strangers = ["My aunt grows roses.", "The match ended in a draw.", "Boil the pasta.", "We flew to Rome."] * 3
    threshold, error = trial.silence(encoder, few, [f"{one} {n}" for n, one in enumerate(strangers)])
    assert 0 < threshold < 1 and error.value < 30
