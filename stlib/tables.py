"""The one reader of tables: .csv, .tsv, .jsonl and .parquet as a stream of batches of columns.

Text stays text: in CSV and TSV every value is a string, so that a sentence may read "null" or "NA" and an anchor "007".
What is wrong with a file is a ValueError that names it and the row (1 is the first row of data) or the line.

Python's own `csv` and `json` read the texts. Unlike pyarrow, which reads Parquet, they guess no types, refuse a quote
that neither ends nor opens its value (where rows would run into one another), and tell where they stand in the file.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

BATCH_ROWS = 4096
LONGEST_TEXT = 1 << 22  # characters of a value in CSV: a quote that is not closed is found before the memory is full

Batch = dict[str, list[Any]]  # column -> its values, in the order of the rows
Choose = Callable[[Sequence[str]], list[str]]  # the names of the columns that there are -> those to read


def read_batches(
    source: str | os.PathLike[str], columns: Sequence[str] | None = None, batch_rows: int = BATCH_ROWS
) -> Iterator[Batch]:
    """The columns of a file as lists of values, `batch_rows` rows at a time, in memory that does not grow with it.

    Args:
        source: a path, or an address that fsspec knows (`hf://…`, `s3://…`).
        columns: those to read; `None` reads all.

    Yields:
        Column -> values. There is always a first batch, without rows where the file has none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the name ends in no known suffix; no such column; or something in the file is wrong: a row of
            another length than the header, text that is not UTF-8, a quote not closed, a line that is no object.
    """
    address = os.fspath(source)
    name, suffix = Path(address).name, Path(address).suffix.lower()
    if suffix not in READERS:
        found = repr(suffix) if suffix else "a name without suffix"
        raise ValueError(f"{name}: cannot read {found}; expected a file that ends in {', '.join(READERS)}")
    return _batches(address, name, READERS[suffix], columns, batch_rows)


def read_table(source: str | os.PathLike[str], columns: Sequence[str] = ()) -> pd.DataFrame:
    """A small file as a whole, all its columns, of which `columns` must be there. Every column has the type object.

    Raises: as `read_batches`.
    """
    import pandas as pd

    batches = [pd.DataFrame(batch, dtype=object) for batch in read_batches(source, batch_rows=1 << 20)]
    frame = pd.concat(batches, ignore_index=True)
    _require(columns, list(frame.columns), Path(source).name)
    return frame


def read_texts(source: str | os.PathLike[str], column: str, batch_rows: int = BATCH_ROWS) -> Iterator[list[str]]:
    """The texts of one column, `batch_rows` at a time.

    Raises: as `read_batches`; a row without a text, or with something else, is a ValueError with its number.
    """
    row = 1
    for batch in read_batches(source, [column], batch_rows):
        yield check_texts(batch[column], Path(source).name, column, row)
        row += len(batch[column])


def check_texts(values: list[Any], where: str, column: str, row: int = 1) -> list[str]:
    """The values, if all of them are strings. `row` is the number of the first one, for the error."""
    for number, value in enumerate(values, row):
        if not isinstance(value, str):
            absent = value is None or value != value  # NaN differs from itself
            problem = "no text" if absent else f"expected text, got {type(value).__name__}"
            raise ValueError(f"{where}: row {number}, column {column!r}: {problem}")
    return values


# ------------------------------------------------------------------------------------------------ formats


def _batches(
    address: str, name: str, read: Callable[..., Iterator[Batch]], columns: Sequence[str] | None, rows: int
) -> Iterator[Batch]:
    def choose(names: Sequence[str]) -> list[str]:
        chosen = list(names if columns is None else columns)
        _require(chosen, names)
        return chosen

    with open_bytes(address) as file:
        try:
            yield from read(file, choose, rows)
        except (ValueError, NotImplementedError, OSError) as error:  # pyarrow's do not say what file they are about
            if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the content's
                raise
            raise ValueError(f"{name}: {error}") from error


def open_bytes(source: str | os.PathLike[str]) -> IO[bytes]:
    """A file, or what stands at an address that fsspec knows."""
    address = os.fspath(source)
    if "://" not in address:
        return Path(address).open("rb")
    import fsspec

    return fsspec.open(address, "rb").open()


def _require(columns: Sequence[str], names: Sequence[str], where: str = "") -> None:
    missing = [column for column in columns if column not in names]
    if missing:
        found = f"it has {list(names)}" if names else "it has none"
        raise ValueError(f"{where and where + ': '}no column {', '.join(map(repr, missing))}; {found}")
    if twice := [column for column in columns if list(names).count(column) > 1]:
        raise ValueError(f"{where and where + ': '}column {twice[0]!r} stands twice")


def _comma(file: IO[bytes], choose: Choose, rows: int, delimiter: str = ",") -> Iterator[Batch]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_TEXT))  # there is one for all of Python
    lines = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        records = _records(csv.reader(lines, delimiter=delimiter, strict=True))
        names = _utf8(next(records, []), "the header")
        chosen = choose(names)
        if not names:
            raise ValueError("the file is empty")
        row, places = 1, {name: names.index(name) for name in chosen}
        while (batch := list(islice(records, rows))) or row == 1:
            yield {name: _utf8([record[at] for record in batch], name, row) for name, at in places.items()}
            row += max(len(batch), 1)
    finally:
        lines.detach()  # it would close a file that is not its own


def _records(reader: Any) -> Iterator[list[str]]:
    """The header and the rows, each as long as the header. A blank line is an empty text where there is one column."""
    width, row = 0, 0
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{f'row {row}' if row else 'the header'}: {_fault(str(error))}") from None
        if not record and width != 1:
            continue
        record, width = record or [""], width or len(record)
        if len(record) != width:
            raise ValueError(f"row {row}: {len(record)} fields where the header has {width}")
        yield record
        row += 1


def _fault(told: str) -> str:
    """What is wrong with a row, from what `csv` says of it."""
    if told.endswith("expected after '\"'"):
        return "a quote within a value; it must be written twice, and the value between quotes"
    unclosed = "a quote that is not closed"
    larger = f"{unclosed}, or a row of more than {LONGEST_TEXT:,} characters"
    return unclosed if told == "unexpected end of data" else larger if told.startswith("field larger") else told


def _utf8(values: list[str], column: str, row: int = 0) -> list[str]:
    """The values, if none holds a surrogate, which stands for a byte that is not UTF-8. row: of the first value."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        for number, value in enumerate(values, row):
            try:
                value.encode("utf-8", "surrogateescape").decode()
            except UnicodeDecodeError as error:
                where = f"row {number}, column {column!r}" if row else column
                problem = f"expected UTF-8 text; byte {error.start + 1} is not ({error.reason})"
                raise ValueError(f"{where}: {problem}") from None
        raise
    return values


def _tab(file: IO[bytes], choose: Choose, rows: int) -> Iterator[Batch]:
    return _comma(file, choose, rows, delimiter="\t")


def _parquet(file: IO[bytes], choose: Choose, rows: int) -> Iterator[Batch]:
    from pyarrow import parquet

    with parquet.ParquetFile(file, buffer_size=1 << 20) as table:  # with a buffer, no row group is read whole
        chosen = choose(table.schema_arrow.names)
        batches = table.iter_batches(rows, columns=chosen)
        yield from _even(({name: batch.column(name).to_pylist() for name in chosen} for batch in batches), chosen, rows)


def _even(batches: Iterator[Batch], columns: list[str], rows: int) -> Iterator[Batch]:
    """The same rows in batches of `rows`; what remains comes last."""
    held: Batch = {column: [] for column in columns}
    first = True
    for batch in batches:
        held = {column: held[column] + batch[column] for column in columns}
        size, start = len(held[columns[0]]) if columns else 0, 0
        for start in range(rows, size + 1, rows):
            yield {column: values[start - rows : start] for column, values in held.items()}
            first = False
        held = {column: values[start:] for column, values in held.items()}
    if first or any(held.values()):
        yield held


def _json_lines(file: IO[bytes], choose: Choose, rows: int) -> Iterator[Batch]:
    """A key that some objects lack is None there; one that all of the first batch lack is no column."""
    records, chosen = _objects(file), None
    while (batch := list(islice(records, rows))) or chosen is None:
        names = list(dict.fromkeys(name for record in batch for name in record))
        chosen = choose(names) if chosen is None else chosen
        yield {name: [record.get(name) for record in batch] for name in chosen}


def _objects(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            record = json.loads(text, object_pairs_hook=_object)
            if not isinstance(record, dict):
                raise ValueError(f"expected an object, got {type(record).__name__}")
            if "\\u" in text:  # the only way in for half a surrogate pair, which is no character
                json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError(f"line {number}: a lone surrogate, which is not a character") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number}: expected UTF-8 text; byte {error.start + 1} is not") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        yield record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # json keeps the last, and says nothing
        twice = next(name for name in found if [key for key, _ in pairs].count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return found


READERS: dict[str, Callable[[IO[bytes], Choose, int], Iterator[Batch]]] = {
    ".csv": _comma,
    ".tsv": _tab,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
SUFFIXES = tuple(READERS)
