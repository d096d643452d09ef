"""Data are read as they stand, or refused with the row and the column that are wrong."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter

import fsspec
import numpy as np
import pandas as pd
import pytest

from stlib.evidence.corpora import connected_groups, describe, load_pairs, load_sentences, original_groups

ROWS = [
    {"sentence1": "A dog runs.", "sentence2": "A dog is running.", "score": 5.0, "anchor": "a", "kind": ""},
    {"sentence1": "A dog runs.", "sentence2": "The bank failed.", "score": 0.5, "anchor": "a", "kind": "unrelated"},
    {"sentence1": "Café, “au lait”", "sentence2": "Milk\tcoffee", "score": 3, "anchor": "b", "kind": "register"},
]


def write(path, rows=ROWS):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    frame = pd.DataFrame(rows)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".tsv":
        frame.to_csv(path, index=False, sep="\t")
    else:
        frame.to_parquet(path)
    return path


def with_row(number, **changes):
    """The rows as they are, but for changes in one, counted from 1."""
    return [{**row, **changes} if at == number else row for at, row in enumerate(ROWS, 1)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".CSV"])
def test_every_format_gives_the_same_pairs(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    write(tmp_path / f"mine{suffix.lower()}").rename(path)
    pairs = load_pairs(path)
    assert list(pairs.columns) == ["sentence1", "sentence2", "score", "anchor", "kind"]
    assert pairs.to_dict("records") == ROWS
    assert pairs["score"].dtype == float
    assert pairs.attrs == {
        "name": f"mine{suffix}",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": 3,
        "used": 3,
        "stand_in": False,
        "has_anchor": True,
        "seed": 0,
    }


def test_an_address_is_read_and_is_named_in_full():
    with fsspec.open("memory://someone/pairs/test.csv", "w") as file:
        file.write("sentence1,sentence2,score\na,b,1\nc,d,2\n")
    try:
        pairs = load_pairs("memory://someone/pairs/test.csv")
        assert pairs.attrs["name"] == "memory://someone/pairs/test.csv" and pairs["score"].tolist() == [1, 2]
        assert len(pairs.attrs["sha256"]) == 64
    finally:
        fsspec.filesystem("memory").rm("someone", recursive=True)


def test_words_that_pandas_takes_for_gaps_are_sentences(tmp_path):
    pairs = load_pairs(write(tmp_path / "mine.csv", with_row(1, sentence1="null", sentence2="NA", anchor="007")))
    assert pairs.loc[0, ["sentence1", "sentence2", "anchor"]].tolist() == ["null", "NA", "007"]


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path):
    path = write(tmp_path / "mine.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load_pairs(path)) == 3


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentence1": ""}, r"row 2, column 'sentence1': the text is empty"),
        ({"sentence2": " \t"}, r"row 2, column 'sentence2': the text is empty"),
        ({"score": float("inf")}, r"row 2, column 'score': expected a finite number"),
        ({"score": float("nan")}, r"row 2, column 'score': expected a finite number"),
        ({"anchor": " "}, r"row 2, column 'anchor': empty"),
    ],
)
def test_a_bad_row_is_named(tmp_path, suffix, changes, message):
    with pytest.raises(ValueError, match=rf"^mine{suffix}: {message}"):
        load_pairs(write(tmp_path / f"mine{suffix}", with_row(2, **changes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentence2": None}, r"row 3, column 'sentence2': no text"),
        ({"sentence2": 12}, r"row 3, column 'sentence2': expected text, got int"),
        ({"sentence2": ["a"]}, r"row 3, column 'sentence2': expected text, got list"),
        ({"sentence1": "half \ud83d a pair"}, r"line 3: a lone surrogate"),
        ({"score": "good"}, r"row 3, column 'score': expected a finite number, got 'good'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load_pairs(write(tmp_path / "mine.jsonl", with_row(3, **changes)))


def test_a_word_for_a_score_in_csv_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"row 1, column 'score': expected a finite number, got '4,5'"):
        load_pairs(write(tmp_path / "mine.csv", with_row(1, score="4,5")))


def test_a_missing_column_is_named_with_those_that_exist(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("sentence1,text,score\na,b,1\nc,d,2\n")
    with pytest.raises(ValueError, match=r"mine.csv: no column 'sentence2'; it has \['sentence1', 'text', 'score'\]"):
        load_pairs(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence1,sentence2,score\n", "at least 2 rows, got 0"),
        ("sentence1,sentence2,score\na,b,1\n", "at least 2 rows, got 1"),
        ("sentence1,sentence2,score\na,b,1\nc,d,1\n", "'score' is 1 in each row"),
        ("sentence1,sentence2,score\na,b,1\nc,d,1,2,3\n", "row 2: 5 fields where the header has 3"),
        ("", "the file is empty"),
    ],
)
def test_a_file_with_nothing_to_rank_is_refused(tmp_path, content, message):
    (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"mine.csv.*{message}"):
        load_pairs(tmp_path / "mine.csv")


@pytest.mark.parametrize(("line", "message"), [("{oops}", "line 2: "), ("[1]", "line 2: expected an object, got list")])
def test_a_line_that_is_not_an_object_is_named(tmp_path, line, message):
    (tmp_path / "mine.jsonl").write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=f"^mine.jsonl: {message}"):
        load_pairs(tmp_path / "mine.jsonl")


def test_other_encodings_are_refused_by_name(tmp_path):
    (tmp_path / "mine.csv").write_bytes("sentence1,sentence2,score\ncafé,b,1\nc,d,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"mine\.csv: row 1, column 'sentence1': expected UTF-8"):
        load_pairs(tmp_path / "mine.csv")


def test_an_unknown_suffix_lists_those_allowed(tmp_path):
    with pytest.raises(ValueError, match=r"\.xlsx.*\.csv, \.tsv, \.jsonl, \.parquet"):
        load_pairs(tmp_path / "mine.xlsx")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        load_pairs(tmp_path / "nowhere.csv")


def test_pairs_that_share_a_sentence_form_a_group():
    pairs = pd.DataFrame(
        [("a", "b"), ("c", "d"), ("b", "e"), ("f", "f"), ("d", "g"), ("h", "a")], columns=["sentence1", "sentence2"]
    )
    assert connected_groups(pairs).tolist() == [0, 1, 0, 2, 1, 0]


def test_groups_are_found_where_the_file_names_no_anchor(tmp_path):
    rows = [{key: row[key] for key in ("sentence1", "sentence2", "score")} for row in ROWS]
    pairs = load_pairs(write(tmp_path / "mine.csv", rows))
    assert pairs["anchor"].tolist() == [0, 0, 1]
    assert pairs["kind"].tolist() == ["", "", ""]
    assert not pairs.attrs["has_anchor"]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """100,000 pairs in 25,000 groups of 4."""
    number = np.arange(100_000)
    frame = pd.DataFrame(
        {
            "sentence1": [f"the first sentence of group {group}" for group in number // 4],
            "sentence2": [f"another sentence, number {n}" for n in number],
            "score": number % 5,
        }
    )
    path = tmp_path_factory.mktemp("data") / "large.csv"
    frame.to_csv(path, index=False)
    return path


def test_a_limit_draws_whole_groups_by_seed(large):
    drawn = load_pairs(large, limit=1001, seed=3)
    assert len(drawn) == 1000  # 250 groups of 4; the 251st does not fit
    assert set(Counter(drawn["sentence1"]).values()) == {4}
    assert drawn.equals(load_pairs(large, limit=1001, seed=3))
    assert not drawn["sentence1"].equals(load_pairs(large, limit=1001, seed=4)["sentence1"])
    assert (drawn.attrs["rows"], drawn.attrs["used"]) == (100_000, 1000)
    assert describe(drawn) == "1,000 of 100,000 pairs in 250 groups (large.csv), drawn with seed 3."


def test_a_limit_too_small_for_two_groups_says_so(large):
    with pytest.raises(ValueError, match="limit: 7 rows do not hold two whole groups"):
        load_pairs(large, limit=7)


def test_a_limit_above_the_rows_changes_nothing(tmp_path):
    assert load_pairs(write(tmp_path / "mine.csv"), limit=3).attrs["used"] == 3


def labelled(tmp_path, labels):
    path = tmp_path / "sentences.csv"
    pd.DataFrame({"text": [f"sentence {n}" for n in range(len(labels))], "label": labels}).to_csv(path, index=False)
    return path


def test_a_limit_keeps_the_shares_of_the_labels(tmp_path):
    sentences = load_sentences(labelled(tmp_path, ["a"] * 600 + ["b"] * 300 + ["c"] * 100), limit=100)
    counts = Counter(sentences["label"])
    assert sum(counts.values()) == 100
    assert all(abs(counts[label] - share) <= 1 for label, share in {"a": 60, "b": 30, "c": 10}.items())


def test_rows_drawn_are_spread_over_the_file(tmp_path):
    path = tmp_path / "sentences.csv"
    pd.DataFrame({"text": [f"{n}" for n in range(1000)]}).to_csv(path, index=False)
    drawn = load_sentences(path, limit=200)["text"].astype(int)
    assert 430 < drawn.mean() < 570 and drawn.is_monotonic_increasing


def test_labels_are_optional_and_text(tmp_path):
    (tmp_path / "plain.csv").write_text("text\na\nb\n")
    plain = load_sentences(tmp_path / "plain.csv")
    assert list(plain.columns) == ["text"] and not plain.attrs["has_label"]
    numbered = load_sentences(labelled(tmp_path, [1, 2, 2]))
    assert numbered["label"].tolist() == ["1", "2", "2"]


@pytest.mark.parametrize(
    ("labels", "message"), [(["a", "a"], "'label' holds one value"), (["a", "", "b"], "row 2, column 'label': empty")]
)
def test_labels_that_label_nothing_are_refused(tmp_path, labels, message):
    with pytest.raises(ValueError, match=message):
        load_sentences(labelled(tmp_path, labels))


def test_data_that_stand_in_say_so():
    pairs, sentences = load_pairs("none"), load_sentences("none")
    assert pairs.attrs["stand_in"] and sentences.attrs["stand_in"]
    assert describe(pairs).startswith("**No pairs given**")
    assert describe(sentences).startswith("**No sentences given**")
    assert pairs.equals(load_pairs("built-in")) and not load_pairs().attrs["stand_in"]


def test_the_built_in_data_load_and_are_described():
    pairs, sentences = load_pairs(), load_sentences()
    assert pairs.attrs["has_anchor"] and sentences.attrs["has_label"]
    assert pairs.attrs["name"] == sentences.attrs["name"] == "built-in"
    assert describe(pairs) == f"{len(pairs)} pairs in {pairs['anchor'].nunique()} groups (built-in)."
    assert describe(sentences) == f"{len(sentences)} sentences under {sentences['label'].nunique()} labels (built-in)."


def test_groups_added_after_an_outcome_was_seen_can_be_left_out(tmp_path):
    whole, original = load_pairs(), original_groups(load_pairs())
    added = {f"a{number}" for number in range(85, 107)}
    assert set(whole["anchor"]) - set(original["anchor"]) == added
    assert len(original) == 504 == original.attrs["used"] and original.attrs["rows"] == 636
    own = load_pairs(write(tmp_path / "mine.csv", with_row(1, anchor="a85")))
    assert original_groups(own).equals(own), "a reader's own names mean something else"


def test_reading_data_loads_no_plots_and_no_learning():
    script = "import sys, stlib.evidence.corpora; print({'sklearn', 'matplotlib', 'bm25s'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
