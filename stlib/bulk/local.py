"""One shard: texts in, vectors out, a chunk at a time, into a file that appears by a rename once it is whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from posixpath import dirname
from typing import IO, Any

import numpy as np

from stlib.bulk.shards import MARK, Outcome, Shard, at, beside, is_empty, is_local, state
from stlib.encoder import SentenceEncoder
from stlib.tables import read_texts


def encode_shard(
    shard: Shard,
    *,
    encoder: SentenceEncoder,
    column: str,
    prompt: str,
    truncation: str,
    chunk_rows: int,
    settings: dict[str, str],
    report: Callable[[int], Any] = lambda rows: None,
) -> Outcome:
    """Encode one shard. What goes wrong is told in the outcome, so that one shard does not stop the others.

    Args:
        encoder: cuts long texts without a word; `truncation="error"` makes one an error here, with its row.
        settings: what the vectors depend on beside the input. They are kept with them.
        report: is told of each chunk's number of rows.
    """
    mark: dict[str, Any] = {**settings, "truncated": 0}

    def vectors() -> Iterator[np.ndarray]:
        row = 1  # the first row of data, as in the errors of the reader
        for texts in () if is_empty(shard.source) else read_texts(shard.source, column, chunk_rows):
            counts = np.array(encoder.token_counts([prompt + text for text in texts]))
            (cut,) = np.nonzero(counts > encoder.max_length)
            if len(cut) and truncation == "error":
                found = f"row {row + cut[0]}, column {column!r}: {counts[cut[0]]} tokens"
                raise ValueError(f"{found}, more than max_length={encoder.max_length}")
            yield encoder.encode(texts, prompt=prompt)
            mark["truncated"] += len(cut)
            row += len(texts)
            report(len(texts))
        if state(shard.source) != mark["input"]:
            raise ValueError("it has changed while it was read")

    try:
        mark["input"] = state(shard.source)
        rows = _write(shard.target, vectors(), encoder.dimension, mark)
    except Exception as error:
        return Outcome(shard, error=error)
    return Outcome(shard, rows, mark["truncated"])


def _write(target: str, chunks: Iterable[np.ndarray], dimension: int, mark: dict[str, Any]) -> int:
    files, path = at(target)
    fresh = beside(path)
    if not files.isdir(dirname(path)):
        files.makedirs(dirname(path), exist_ok=True)
    write = _write_npy if target.lower().endswith(".npy") else _write_parquet
    try:
        with files.open(fresh, "wb") as file:
            rows = write(file, chunks, dimension, mark)
            if is_local(files):  # else the new name may outlive a power cut, and the content not
                file.flush()
                os.fsync(file.fileno())
        if is_local(files) and files.exists(path):
            shutil.copymode(path, fresh)
        files.mv(fresh, path)
    finally:
        if files.exists(fresh):
            files.rm_file(fresh)
    return rows


def _write_npy(file: IO[bytes], chunks: Iterable[np.ndarray], dimension: int, mark: dict[str, Any]) -> int:
    """One array [n, D]. numpy leaves room in the header, so that n can be put in at the end."""
    rows = 0
    header = {"descr": "<f4", "fortran_order": False, "shape": (0, dimension)}
    np.lib.format.write_array_header_1_0(file, header)
    for vectors in chunks:
        file.write(vectors.astype("<f4").tobytes())
        rows += len(vectors)
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, header | {"shape": (rows, dimension)})
    return rows


def _write_parquet(file: IO[bytes], chunks: Iterable[np.ndarray], dimension: int, mark: dict[str, Any]) -> int:
    """Columns `row`, from 0, to join by, and `embedding`; `mark`, as it is at the end, among the metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = 0
    schema = pa.schema({"row": pa.int64(), "embedding": pa.list_(pa.float32(), dimension)})
    with parquet.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for vectors in chunks:
            embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension)
            writer.write_table(pa.table([pa.array(range(rows, rows + len(vectors))), embedding], schema=schema))
            rows += len(vectors)
        writer.add_key_value_metadata({MARK: json.dumps(mark, sort_keys=True)})
    return rows
