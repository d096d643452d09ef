"""The built-in pairs keep to their rubric, and nothing but meaning gives their grades away."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stlib.evidence.corpora import load_pairs

ROOT = Path(__file__).resolve().parents[2]
RUBRIC = ROOT / "stlib" / "evidence" / "data" / "RUBRIC.md"

_spec = importlib.util.spec_from_file_location("data_quality", ROOT / "benchmarks" / "data_quality.py")
assert _spec and _spec.loader
quality = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(quality)


@pytest.fixture(scope="module")
def pairs():
    return load_pairs()


@pytest.fixture(scope="module")
def measured(pairs):
    return quality.measure(pairs)


def rubric_grades() -> dict[str, set[int]]:
    """Kind -> the grades that the rubric's table allows it."""
    rows = [line.strip().strip("|").split("|") for line in RUBRIC.read_text(encoding="utf-8").splitlines()]
    kinds = {row[0].strip(" `"): row[2:] for row in rows if row[0].strip().startswith("`")}
    return {kind: {5 - i for i, cell in enumerate(cells) if cell.strip()} for kind, cells in kinds.items()}


def test_every_anchor_has_one_pair_of_each_grade(pairs):
    assert pairs["anchor"].nunique() >= 80
    assert all(sorted(rows["score"]) == [0, 1, 2, 3, 4, 5] for _, rows in pairs.groupby("anchor"))
    assert pairs.groupby("anchor")["sentence1"].nunique().eq(1).all()


def test_every_grade_holds_four_kinds_and_every_kind_two_grades(pairs, measured):
    assert min(measured["kinds by grade"].values()) >= 4
    assert pairs.groupby("kind")["score"].nunique().min() >= 2


def test_no_pair_has_a_grade_that_the_rubric_does_not_give_its_kind(pairs):
    allowed = rubric_grades()
    assert len(allowed) >= 15
    assert [row.kind for row in pairs.itertuples() if row.score not in allowed.get(row.kind, set())] == []


def test_no_sentence_stands_twice(measured):
    assert measured["duplicate sentences"] == 0


def test_sentences_are_clean_text(pairs):
    for text in [*pairs["sentence1"], *pairs["sentence2"]]:
        assert text == text.strip() and "  " not in text and not re.search(r"[\n\t|]", text)


def test_lengths_run_from_short_to_long_and_differ_within_pairs(measured):
    assert measured["anchor tokens"]["least"] <= 5
    assert 45 <= measured["anchor tokens"]["most"] <= 64
    assert measured["length ratio"]["0.1"] < 0.8 and measured["length ratio"]["0.9"] > 1.4


@pytest.mark.parametrize(
    "clue", ["length of sentence1", "length of sentence2", "sentence2 over sentence1", "shorter over longer"]
)
def test_length_does_not_give_the_grade_away(measured, clue):
    assert abs(measured["correlation with the score"][clue]) < 0.1


@pytest.mark.parametrize("sentence", ["sentence1", "sentence2"])
def test_one_sentence_alone_does_not_give_the_grade_away(measured, sentence):
    assert measured["correlation with the score"][f"{sentence} alone"] < 0.15


def test_word_overlap_says_little_about_the_grade(measured):
    assert measured["correlation with the score"]["jaccard"] < 0.45
    assert measured["correlation with the score"]["tfidf"] < 0.55


def test_every_grade_from_two_up_has_high_and_low_overlap(pairs, measured):
    heavy = measured["share with jaccard of 0.4 or more, by grade"]
    assert all(0.35 <= heavy[grade] <= 0.65 for grade in "2345")
    fooled = pairs["kind"].isin(["frame", "homonym"])
    assert all(fooled[pairs["score"] == grade].mean() >= 0.33 for grade in (0, 1))
    heavy = measured["share with jaccard of 0.3 or more, by grade"]
    assert all(heavy[grade] >= 0.32 for grade in "01")


def test_negative_words_stand_in_every_grade(measured):
    shares = measured["share with a negative word, by grade"]
    assert min(shares.values()) > 0.1 and max(shares.values()) < 0.5


def test_the_measures_see_a_set_that_gives_itself_away(pairs):
    """The control: the same sentences, graded by length and marked by a word, must fail."""
    leaky = pairs.copy()
    leaky["sentence2"] = [
        f"{text} {'again ' * int(grade)}" for text, grade in zip(pairs["sentence2"], pairs["score"], strict=True)
    ]
    leaky.attrs = pairs.attrs
    found = quality.measure(leaky)["correlation with the score"]
    assert found["sentence2 over sentence1"] > 0.15 and found["sentence2 alone"] > 0.8
    overlap = quality.shared_with(["The cat, it sat."], pd.Series(["the cat it sat", "no"]))
    assert overlap == {"sentences": 1, "8-grams": 0}
    assert quality.shared_with(["x a b c d e f g h"], ["a b c d e f g h y"])["8-grams"] == 1


def test_a_constant_clue_correlates_with_nothing():
    assert quality.correlation(np.ones(4), pd.Series([0, 1, 2, 3])) == 0.0


def test_nothing_is_shared_with_stsb(pairs):
    folder = os.environ.get("STLIB_DATA_DIR")
    if not folder or not (Path(folder) / "stsb" / "train.csv").exists():
        pytest.skip("STLIB_DATA_DIR names no folder with stsb/train.csv")
    sentences = [*pairs["sentence1"].unique(), *pairs["sentence2"]]
    assert quality.shared_with(sentences, quality.stsb_sentences(Path(folder))) == {"sentences": 0, "8-grams": 0}
