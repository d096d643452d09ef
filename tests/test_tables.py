"""The one reader of tables: what it gives is the same in every format, and what is wrong is named by row or line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from stlib.evidence.corpora import load_sentences
from stlib.tables import read_batches, read_table, read_texts

ROWS = [
    {"id": "007", "text": "null"},
    {"id": "NA", "text": 'two\r\nlines, "quoted"\tand tabbed'},
    {"id": "3", "text": ""},
    {"id": "", "text": "Café, “au lait”"},
    {"id": "2020-01-01", "text": "2020-01-01"},
]


def write(file: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    suffix = file.suffix.lower()
    frame = pd.DataFrame(rows)
    if suffix == ".parquet":
        frame.to_parquet(file)
    elif suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        frame.to_csv(file, index=False, sep="\t" if suffix == ".tsv" else ",")
    return file


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".CSV"])
@pytest.mark.parametrize("batch_rows", [1, 2, 5, 100])
def test_every_format_gives_the_same_batches(tmp_path: Path, suffix: str, batch_rows: int) -> None:
    batches = list(read_batches(write(tmp_path / f"in{suffix}"), batch_rows=batch_rows))
    sizes = [batch_rows] * (5 // batch_rows) + [5 % batch_rows] * (5 % batch_rows > 0)
    assert [len(batch["text"]) for batch in batches] == sizes
    for column in ("id", "text"):
        assert [value for batch in batches for value in batch[column]] == [row[column] for row in ROWS]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_only_the_columns_asked_for_are_read(tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / f"in{suffix}")
    assert list(read_batches(source, ["text"])) == [{"text": [row["text"] for row in ROWS]}]
    with pytest.raises(ValueError, match=r"^in\.\w+: no column 'txt'; it has \['id', 'text'\]"):
        next(read_batches(source, ["txt"]))
    with pytest.raises(ValueError, match=r"no column 'a', 'b'; it has \['id', 'text'\]"):
        read_table(source, ["a", "text", "b"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_without_rows_gives_one_batch_without_rows(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    frame = pd.DataFrame({"id": [], "text": []})
    frame.to_csv(source, index=False) if suffix == ".csv" else frame.to_parquet(source)
    assert list(read_batches(source)) == [{"id": [], "text": []}]
    assert list(read_texts(source, "text")) == [[]]


def test_blank_lines_and_a_byte_order_mark_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"\xef\xbb\xbftext,id\n\na,1\n\n\nb,2\n")
    (tmp_path / "in.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\n\n  \r\n{"text": "b", "id": 1}')
    for name in ("in.csv", "in.jsonl"):
        assert [text for texts in read_texts(tmp_path / name, "text", 1) for text in texts] == ["a", "b"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_blank_line_in_the_only_column_is_an_empty_text_and_shifts_no_row(tmp_path: Path, end: str) -> None:
    source = tmp_path / "in.csv"
    source.write_text(end.join(["", "text", "a", "", "b", '""', "c"]), newline="")
    assert list(read_texts(source, "text", 2)) == [["a", ""], ["b", ""], ["c"]]
    with pytest.raises(ValueError, match=r"^in\.csv: row 2, column 'text': the text is empty"):
        load_sentences(source)


@pytest.mark.parametrize("content", [b"id,text", b"id,text\n", b"id,text\n\n", b"\xef\xbb\xbfid,text\r\n"])
def test_a_header_alone_is_a_table_without_rows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    assert list(read_batches(tmp_path / "in.csv")) == [{"id": [], "text": []}]


def test_a_quote_that_does_not_open_its_value_is_a_letter(tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_bytes(b'text\tid\n5" pipe, 3" bend\t1\nthe "end"\t2\n')
    assert list(read_texts(tmp_path / "in.tsv", "text")) == [['5" pipe, 3" bend', 'the "end"']]


# Texts with everything that the formats give a meaning to; a lone surrogate is no text.
LETTERS = st.one_of(st.sampled_from('",\t\n\r\0 \ufeff\u2028\x0b\x1a\\é😀'), st.characters(exclude_categories=["Cs"]))
TABLES = st.lists(st.tuples(st.text(LETTERS, max_size=6), st.text(LETTERS, max_size=6)), max_size=5)
READ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@READ
@given(rows=TABLES, end=st.sampled_from(["\n", "\r\n", "\r"]), mark=st.booleans())
@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_what_the_csv_module_writes_comes_back(
    tmp_path: Path, suffix: str, delimiter: str, rows: Any, end: str, mark: bool
) -> None:
    # It leaves line breaks that are not its own without quotes.
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL
    with (tmp_path / f"in{suffix}").open("w", encoding="utf-8-sig" if mark else "utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
        writer.writerows([("one", "two"), *rows])
    batches = list(read_batches(file.name, batch_rows=2))
    assert [row for batch in batches for row in zip(batch["one"], batch["two"], strict=True)] == rows


@READ
@given(rows=TABLES, escaped=st.booleans(), mark=st.booleans())
def test_what_json_writes_comes_back(tmp_path: Path, rows: Any, escaped: bool, mark: bool) -> None:
    lines = [json.dumps({"one": one, "two": two}, ensure_ascii=escaped) for one, two in rows]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8-sig" if mark else "utf-8", newline="")
    if rows:
        batches = list(read_batches(tmp_path / "in.jsonl", batch_rows=2))
        assert [row for batch in batches for row in zip(batch["one"], batch["two"], strict=True)] == rows


@READ
@given(rows=TABLES, kind=st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]))
def test_what_parquet_holds_comes_back_whatever_kind_of_text_it_is(tmp_path: Path, rows: Any, kind: Any) -> None:
    columns = {
        name: pa.array([row[at] for row in rows], pa.string()).cast(kind) for at, name in enumerate(("a", "b.c"))
    }
    parquet.write_table(pa.table(columns), tmp_path / "in.parquet", row_group_size=2)
    batches = list(read_batches(tmp_path / "in.parquet", batch_rows=3))
    assert [row for batch in batches for row in zip(batch["a"], batch["b.c"], strict=True)] == rows


@READ
@given(content=st.one_of(st.binary(max_size=40), st.text(LETTERS, max_size=40).map(str.encode)))
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_any_bytes_are_read_into_columns_of_one_length_or_refused_with_the_files_name(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / f"in{suffix}").write_bytes(content)
    try:
        batches = list(read_batches(tmp_path / f"in{suffix}", batch_rows=2))
    except ValueError as error:
        assert str(error).startswith(f"in{suffix}: ")
    else:
        assert all(len({len(values) for values in batch.values()}) <= 1 for batch in batches)


@READ
@given(data=st.data())
def test_a_damaged_parquet_file_is_read_or_refused_with_its_name(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(write(tmp_path / "good.parquet").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "in.parquet").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        list(read_batches(tmp_path / "in.parquet"))
    except ValueError as error:
        assert str(error).startswith("in.parquet: ")


def test_rows_of_millions_of_characters_are_read(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [{"text": "x" * 3_000_000}, {"text": "y" * 3_000_000}] * 3)
    assert [text[0] + str(len(text)) for (text,) in read_texts(source, "text", 1)] == ["x3000000", "y3000000"] * 3


BAD = {
    "null.jsonl": (b'{"text": "a"}\n\n{"text": null}\n', r"row 2, column 'text': no text"),
    "nan.jsonl": (b'{"text": "a"}\n{"text": NaN}\n', r"row 2, column 'text': no text"),
    "absent.jsonl": (b'{"text": "a"}\n{"other": "b"}\n', r"row 2, column 'text': no text"),
    "number.jsonl": (b'{"text": "a"}\n{"text": 5}\n', r"row 2, column 'text': expected text, got int"),
    "surrogate.jsonl": (b'{"text": "a"}\n\n{"text": "\\ud800"}\n', r"line 3: a lone surrogate"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": "b"\n', r"line 2: Expecting"),
    "list.jsonl": (b'{"text": "a"}\n\n[1]\n', r"line 3: expected an object, got list"),
    "latin.jsonl": (b'{"text": "a"}\n{"text": "caf\xe9"}\n', r"line 2: expected UTF-8 text; byte 14 is not"),
    "latin.csv": (b"id,text\n1,a\n2,Caf\xe9\n", r"row 2, column 'text': expected UTF-8 text; byte 4 is not"),
    "latin-header.csv": (b"id,text,\xe9\n1,a,b\n", r"UTF-8|utf-8"),
    "comma.csv": (b"id,text\n1,a\n\n2,b, c\n", r"row 2: 3 fields where the header has 2"),
    "surplus.csv": (b"text,label\nA dog, it barks,dog\n", r"row 1: 3 fields where the header has 2"),
    "surplus-one.csv": (b"text\nA dog, it barks\n", r"row 1: 2 fields where the header has 1"),
    "surplus.tsv": (b"text\tid\na\t1\nb\tc\t2\n", r"row 2: 3 fields where the header has 2"),
    "within.csv": (b'id,text\n1,a\n2,"Hello" he said\n', r"row 2: a quote within a value"),
    "merging.tsv": (b'text\tid\n"Hello\t1\nb\t2\nc" d\t3\n', r"row 1: a quote within a value"),
    "utf-16.csv": ("text\na\n".encode("utf-16"), r"the header: expected UTF-8 text; byte 1 is not"),
    "key-twice.jsonl": (b'{"text": "a"}\n{"text": "b", "text": "c"}\n', r"line 2: the key 'text' stands twice"),
    "short.csv": (b"id,text\n1,a\n2\n", r"row 2: 1 fields where the header has 2"),
    "quote.csv": (b'id,text\n1,a\n2,"b\n3,c\n', r"row 2: a quote that is not closed"),
    "quote-crlf.csv": (b'id,text\r\n1,a\r\n2,"b\r\n3,c\r\n', r"row 2: a quote that is not closed"),
    "huge.csv": (b'id,text\n1,a\n2,"b\n' + b"3,c\n" * 3_000_000, r"a quote that is not closed, or a row of more than"),
    "twice.csv": (b"text,text\n1,a\n", r"column 'text' stands twice"),
    "column.csv": (b"id,sentence\n1,a\n", r"no column 'text'; it has \['id', 'sentence'\]"),
    "column.jsonl": (b'{"id": 1, "sentence": "a"}\n', r"no column 'text'; it has \['id', 'sentence'\]"),
    "empty.csv": (b"", "no column 'text'; it has none"),
    "empty.jsonl": (b"", "no column 'text'; it has none"),
    "damaged.parquet": (b"PAR1", "Parquet"),
    "in.txt": (b"text\na\n", r"cannot read '.txt'; expected a file that ends in .csv, .tsv, .jsonl, .parquet"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{name}: .*({message})"):
        list(read_texts(tmp_path / name, "text", batch_rows=1))


def test_a_quoted_value_may_end_in_a_line_break(tmp_path: Path) -> None:
    for content in (b'id,text\n1,"b\n"\n', b'id,text\r\n1,"b\n"\r\n\r\n', b'id,text\n1,"b\n"'):
        (tmp_path / "in.csv").write_bytes(content)
        assert list(read_texts(tmp_path / "in.csv", "text")) == [["b\n"]]


def test_a_row_without_a_text_in_parquet_is_named(tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", [{"text": "a"}, {"text": "b"}, {"text": None}])
    with pytest.raises(ValueError, match=r"^in.parquet: row 3, column 'text': no text"):
        list(read_texts(source, "text", batch_rows=2))


def test_a_missing_file_and_an_empty_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        read_table(tmp_path / "nowhere.csv")
    (tmp_path / "in.csv").write_text("")
    with pytest.raises(ValueError, match=r"in\.csv: the file is empty"):
        read_table(tmp_path / "in.csv")


def test_a_table_keeps_what_each_value_is(tmp_path: Path) -> None:
    rows = [{"text": "a", "score": 1}, {"text": 2, "score": 1.5, "more": ["x"]}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame = read_table(tmp_path / "in.jsonl", ["text"])
    assert list(frame.columns) == ["text", "score", "more"] and frame["text"].tolist() == ["a", 2]
    assert frame["score"].tolist() == [1, 1.5] and frame["more"].tolist() == [None, ["x"]]


def test_an_address_that_fsspec_knows_is_read() -> None:
    with fsspec.open("memory://bucket/in.csv", "w") as file:
        file.write("text\na\nb\n")
    try:
        assert list(read_texts("memory://bucket/in.csv", "text")) == [["a", "b"]]
    finally:
        fsspec.filesystem("memory").rm("bucket", recursive=True)


def test_the_reader_itself_imports_neither_pyarrow_nor_pandas() -> None:
    script = "import sys, stlib.tables; print(sorted({'pyarrow', 'pandas', 'fsspec.core'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
