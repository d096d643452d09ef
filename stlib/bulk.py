"""Files of any size to vectors: `python -m stlib encode INPUT --column TEXT --out OUT`, on this machine or over Ray.

INPUT ends in .csv, .tsv, .jsonl or .parquet; it is read as a stream, twice: all its texts are checked before any work
is done. OUT ends in .npy ([n, D] float32, in the input's order) or .parquet (columns `row`, counted from 0, and
`embedding`, a list of D float32; join it to the input by `row`).

Finished chunks wait in the folder OUT.partial, beside a manifest of the input, the model and the settings they belong
to. A run that is killed goes on from there when it is started again, and OUT appears by a rename when it is whole.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from stlib import checkpoint
from stlib.encoder import TRUNCATION, SentenceEncoder
from stlib.projection import positive_integer

INPUTS = (".csv", ".tsv", ".jsonl", ".parquet")
OUTPUTS = (".npy", ".parquet")
ENGINES = ("local", "ray")
CHUNK_ROWS = 4096  # a chunk is what a kill can cost, and enough texts to find others of their own length


class Encoded(NamedTuple):
    """What `encode_file` did: rows of the output, how many of them an earlier run had left, and D."""

    rows: int
    kept: int
    dimension: int


def encode_file(
    source: str | os.PathLike[str],
    column: str,
    out: str | os.PathLike[str],
    *,
    encoder: SentenceEncoder | str = checkpoint.DEFAULT_MODEL,
    prompt_name: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    engine: str = "local",
    address: str | None = None,
    actors: int | None = None,
    show_progress: bool = False,
) -> Encoded:
    """Embed the texts in a column of a file, in constant memory. See above for the formats and for what a kill leaves.

    Args:
        source, column, out: the file, its column of texts, and where the vectors go. What is at `out` is replaced.
        encoder: or the name of a model. Its `truncation` holds for the whole file: one warning, or one error.
        prompt_name: one of the model's prompts, put before each text.
        chunk_rows: texts encoded, written and recorded at once.
        engine: "local", or "ray" with its `address` and `actors`: see `encode_with_ray`.
        show_progress: bars on stderr, in texts.

    Raises:
        FileNotFoundError: no such input, or no such model.
        ValueError: an argument outside what is allowed; a column that is not there; a row without text, with its
            number (1 is the first row of data); a file that changes while it is read; another run at the same `out`.
        ModuleNotFoundError: `engine="ray"` where Ray is not installed.
    """
    source, out = Path(source), Path(out)
    positive_integer("chunk_rows", chunk_rows)
    _check_arguments(source, column, out, engine, address, actors)
    if not isinstance(encoder, SentenceEncoder):
        encoder = SentenceEncoder(encoder)
    prefix = encoder._prompt(None, prompt_name)
    settings = {"input": _input_state(source), "column": column, "model": _model_state(encoder), "prompt": prefix}
    partial = out.with_name(out.name + ".partial")
    with _claim(partial):
        state = _kept(partial, settings)
        if state is None:
            rows, too_long = _check_texts(source, column, encoder, prefix, chunk_rows, show_progress)
            state = settings | {"rows": rows, "too_long": too_long, "done": 0}
            _save(partial, state)
        if state["too_long"] and encoder.truncation == "warn":
            message = f"{state['too_long']} of {state['rows']} texts were truncated to {encoder.max_length} tokens"
            warnings.warn(message, stacklevel=2)
        kept = state["done"]
        chunks = _chunks(source, column, chunk_rows, kept)
        if kept == state["rows"]:
            vectors: Iterator[np.ndarray] = iter(())
        elif engine == "ray":
            vectors = _over_ray(chunks, encoder, prompt_name, address, actors)
        else:
            quiet = _without_truncation(encoder)
            vectors = (quiet.encode(texts, prompt_name=prompt_name) for texts in chunks)
        _write_chunks(partial, state, vectors, encoder.dimension, show_progress)
        if _input_state(source) != settings["input"]:
            raise ValueError(f"{source.name} has changed while it was read: run again, from the start")
        _finish(partial, out, state["rows"], encoder.dimension)
    return Encoded(state["rows"], kept, encoder.dimension)


# ------------------------------------------------------------------------------------------------ reading


def _check_arguments(
    source: Path, column: str, out: Path, engine: str, address: str | None, actors: int | None
) -> None:
    for name, path, allowed in (("input", source, INPUTS), ("out", out, OUTPUTS)):
        if path.suffix.lower() not in allowed:
            raise ValueError(f"{name}={str(path)!r} must end in {', '.join(allowed)}")
    if not source.is_file():
        raise FileNotFoundError(f"input={str(source)!r}: no such file")
    if out.is_dir() or out.resolve() == source.resolve():
        raise ValueError(f"out={str(out)!r} is {'a folder' if out.is_dir() else 'the input itself'}")
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r} is not allowed: use one of {ENGINES}")
    if engine == "ray":
        _import_ray()
    elif address is not None or actors is not None:
        raise ValueError("address and actors are for engine='ray'")
    if actors is not None:
        positive_integer("actors", actors)
    next(_texts(source, column), None)  # the column is there


def _texts(source: Path, column: str) -> Iterator[str]:
    """The texts of the column, one by one. What is wrong is a `ValueError` with the number of its row."""
    read = {".jsonl": _read_json_lines, ".parquet": _read_parquet}.get(source.suffix.lower(), _read_csv)
    values = read(source, column)
    for row in count(1):
        try:
            text = next(values)
            if not isinstance(text, str):
                raise ValueError("no text" if text is None else f"expected text, got {type(text).__name__}")
            text.encode()
        except StopIteration:
            return
        except LookupError as error:
            raise ValueError(f"{source.name}: no column {column!r}; it has {error.args[0] or 'none'}") from None
        except UnicodeError as error:
            problem = "a lone surrogate" if isinstance(error, UnicodeEncodeError) else "this or a row soon after"
            raise ValueError(f"{source.name}: row {row}, column {column!r}: not UTF-8 text ({problem})") from None
        except (ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
            raise ValueError(f"{source.name}: row {row}, column {column!r}: {error}") from error
        yield text


def _read_csv(source: Path, column: str) -> Iterator[Any]:
    """An empty cell is the text "". A row longer than the header would hide a comma that lacks its quotes."""
    csv.field_size_limit(2**31 - 1)
    with source.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter="\t" if source.suffix.lower() == ".tsv" else ",", strict=True)
        header = next(rows, [])
        if column not in header:
            raise LookupError(header)
        place = header.index(column)
        for row in filter(None, rows):
            if len(row) != len(header):
                raise ValueError(f"{len(row)} fields, but the header has {len(header)}")
            yield row[place]


def _read_json_lines(source: Path, column: str) -> Iterator[Any]:
    with source.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(filter(str.strip, file)):
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"expected an object, got {type(record).__name__}")
            if number == 0 and column not in record:
                raise LookupError(list(record))
            yield record.get(column)


def _read_parquet(source: Path, column: str) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(source, buffer_size=1 << 20) as file:  # a buffer: not a whole row group at once
        if column not in file.schema_arrow.names:
            raise LookupError(file.schema_arrow.names)
        for batch in file.iter_batches(CHUNK_ROWS, columns=[column]):
            yield from batch.column(0).to_pylist()


def _chunks(source: Path, column: str, chunk_rows: int, start: int = 0) -> Iterator[list[str]]:
    texts = islice(_texts(source, column), start, None)
    while chunk := list(islice(texts, chunk_rows)):
        yield chunk


def _check_texts(
    source: Path, column: str, encoder: SentenceEncoder, prefix: str, chunk_rows: int, show_progress: bool
) -> tuple[int, int]:
    """How many texts the file holds, and how many of them are longer than the encoder takes (0 if nobody asks)."""
    rows = too_long = 0
    with _bar("checking", None, 0, show_progress) as bar:
        for texts in _chunks(source, column, chunk_rows):
            if encoder.truncation != "ignore":
                counts = np.array(encoder.token_counts([prefix + text for text in texts]))
                (cut,) = np.nonzero(counts > encoder.max_length)
                too_long += len(cut)
                if len(cut) and encoder.truncation == "error":
                    found = f"row {rows + cut[0] + 1}, column {column!r}: {counts[cut[0]]} tokens"
                    raise ValueError(f"{source.name}: {found}, more than max_length={encoder.max_length}")
            rows += len(texts)
            bar.update(len(texts))
    return rows, too_long


# ------------------------------------------------------------------------------------------------ what a kill leaves


@contextlib.contextmanager
def _claim(partial: Path) -> Iterator[None]:
    """The folder of finished chunks, for one run at a time; it goes if nothing is in it."""
    partial.mkdir(parents=True, exist_ok=True)
    folder = None
    try:
        with contextlib.suppress(ImportError):  # Windows has no fcntl
            import fcntl

            folder = os.open(partial, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lifts it, even after a kill
            except OSError:
                raise ValueError(f"another run is at work in {partial}") from None
        yield
    finally:
        if folder is not None:
            os.close(folder)
        with contextlib.suppress(OSError):
            partial.rmdir()


def _input_state(source: Path) -> dict[str, Any]:
    """Size, time, and SHA-256 of both ends: enough to notice another file, without reading all of this one."""
    stat = source.stat()
    with source.open("rb") as file:
        ends = file.read(1 << 20)
        file.seek(max(0, stat.st_size - (1 << 20)))
        ends += file.read()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ends": hashlib.sha256(ends).hexdigest()}


def _model_state(encoder: SentenceEncoder) -> str:
    """SHA-256 of all that vectors depend on: weights as loaded, tokenizer, pooling, length."""
    model, tokenizer = encoder.model, encoder.tokenizer
    words = getattr(tokenizer, "backend_tokenizer", None)
    choices = (model.pooling, model.normalize, model.max_length, model.include_prompt, model.backbone.causal)
    digest = hashlib.sha256(repr((choices, words.to_str() if words else tokenizer.get_vocab())).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _kept(partial: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run of these settings recorded, or `None`."""
    if not (partial / "manifest.json").exists():
        return None
    try:
        state: dict[str, Any] = checkpoint.read_json(partial / "manifest.json")
    except ValueError:
        state = {}
    other = [name for name, value in settings.items() if state.get(name) != value]
    if other:
        message = f"{partial.name} was left by a run with another {' and '.join(other)}: starting afresh"
        warnings.warn(message, stacklevel=3)
    return None if other else state


def _save(partial: Path, state: dict[str, Any]) -> None:
    checkpoint.write_json(partial / "manifest.new", state)
    (partial / "manifest.new").replace(partial / "manifest.json")


def _write_chunks(
    partial: Path, state: dict[str, Any], chunks: Iterator[np.ndarray], dimension: int, show_progress: bool
) -> None:
    """Append chunks to vectors.npy, whose header already tells the final shape. A chunk counts once it is recorded."""
    file = partial / "vectors.npy"
    file.touch()
    with file.open("r+b") as stream, _bar("encoding", state["rows"], state["done"], show_progress) as bar:
        shape = (state["rows"], dimension)
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        stream.seek(stream.tell() + state["done"] * dimension * 4)
        stream.truncate()
        for vectors in chunks:
            stream.write(vectors.astype("<f4", copy=False).tobytes())
            stream.flush()
            os.fsync(stream.fileno())
            state["done"] += len(vectors)
            _save(partial, state)
            bar.update(len(vectors))
    if state["done"] != state["rows"]:
        raise ValueError(f"the input had {state['rows']} rows and now has {state['done']}: it changed while it was read")


def _finish(partial: Path, out: Path, rows: int, dimension: int) -> None:
    whole = partial / "vectors.npy"
    if out.suffix.lower() == ".parquet":
        whole = _as_parquet(whole, partial / "vectors.parquet", rows, dimension)
    whole.replace(out)
    shutil.rmtree(partial)


def _as_parquet(vectors: Path, file: Path, rows: int, dimension: int) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema({"row": pa.int64(), "embedding": pa.list_(pa.float32(), dimension)})
    with vectors.open("rb") as stream, parquet.ParquetWriter(file, schema) as writer:
        stream.seek(-rows * dimension * 4, os.SEEK_END)
        for start in range(0, rows, CHUNK_ROWS):
            chunk = np.fromfile(stream, "<f4", min(CHUNK_ROWS, rows - start) * dimension)
            embedding = pa.FixedSizeListArray.from_arrays(pa.array(chunk), dimension)
            row = pa.array(np.arange(start, start + len(embedding)))
            writer.write_table(pa.table([row, embedding], schema=schema))
    return file


def _bar(what: str, total: int | None, done: int, show: bool) -> Any:
    from tqdm import tqdm

    return tqdm(desc=what, total=total, initial=done, unit=" texts", disable=not show, file=sys.stderr)


# ------------------------------------------------------------------------------------------------ over Ray


def encode_with_ray(
    sentences: list[str],
    encoder: SentenceEncoder | str = checkpoint.DEFAULT_MODEL,
    *,
    prompt_name: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    address: str | None = None,
    actors: int | None = None,
) -> np.ndarray:
    """`encoder.encode(sentences)` by a pool of Ray Data actors: the same vectors [n, D], in the same order.

    Args:
        address: of a cluster, whose machines have stlib installed; `None` starts Ray on this machine, and stops it.
        actors: processes, each with its copy of the model; `None` takes one per GPU, or per processor without GPUs.
    """
    encoder = encoder if isinstance(encoder, SentenceEncoder) else SentenceEncoder(encoder)
    encoder.token_counts(sentences)
    chunks = (sentences[start : start + chunk_rows] for start in range(0, len(sentences), chunk_rows))
    return np.concatenate(list(_over_ray(chunks, encoder, prompt_name, address, actors)))
