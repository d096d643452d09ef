"""The one reader of tables: what it gives is the same in every format, and what is wrong is named by row or line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest

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


def test_rows_longer_than_a_block_of_pyarrows_default_are_read(tmp_path: Path) -> None:
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
