"""Files of any size to vectors: `python -m stlib encode INPUT --column TEXT --out OUT`, on this machine or over Ray.

INPUT (.csv, .tsv, .jsonl, .parquet) is read as a stream, twice: all texts are checked before any work is done.
OUT holds float32 vectors in the order of the input: .npy, [n, D]; or .parquet, with columns `row`, from 0, to join by,
and `embedding`. It appears by a rename when it is whole. Until then finished chunks wait in the folder OUT.partial,
with a manifest of the input, the model and the settings that they belong to; after a kill the same call goes on there.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import functools
import hashlib
import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from stlib import checkpoint
from stlib.backbone import DTYPES
from stlib.encoder import TRUNCATION, SentenceEncoder, check_sentences
from stlib.files import read_json, write_json
from stlib.projection import positive_integer

OUTPUTS = (".npy", ".parquet")
ENGINES = ("local", "ray")
CHUNK_ROWS = 4096  # what a kill can cost, and enough texts to find others of equal length among them


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
    **options: Any,
) -> Encoded:
    """Embed the texts in a column of a file, in constant memory. The formats stand at the top of this module.

    Args:
        source, column, out: the file, its column of texts, and where the vectors go. What is at `out` is replaced.
        encoder: or the name of a model, with `options` of `SentenceEncoder`. Its `truncation` holds for the whole file.
        prompt_name: one of the model's prompts, put before each text.
        chunk_rows: how many texts are encoded, written and recorded at once.
        engine: "local", or "ray" with `address` and `actors` as in `encode_with_ray`.
        show_progress: bars on stderr, in texts.

    Raises:
        FileNotFoundError: no such input, or no such model.
        ValueError: an argument outside what is allowed; a column that is not there; a row without a text, with its
            number (1 is the first row of data); an input that changes meanwhile; another run at the same `out`.
        ModuleNotFoundError: `engine="ray"` without Ray.
    """
    source, out = Path(source).absolute(), Path(out)
    _check_arguments(source, column, out, chunk_rows, engine, address, actors)
    if options and isinstance(encoder, SentenceEncoder):
        raise ValueError(f"{', '.join(options)}: already decided by the encoder")
    encoder = encoder if isinstance(encoder, SentenceEncoder) else SentenceEncoder(encoder, **options)
    prompt = encoder._prompt(None, prompt_name)
    settings = {"input": _input_state(source), "column": column, "model": _model_state(encoder), "prompt": prompt}
    partial = out.with_name(out.name + ".partial")
    with _claim(partial):
        state = _kept(partial, settings)
        if state is not None and state.get("finished") and out.is_file() and not _whole(partial, out).exists():
            shutil.rmtree(partial)  # a kill struck after the rename, when only this was left to do
            return Encoded(state["rows"], state["rows"], encoder.dimension)
        if state is None or _size(partial / "vectors.npy") < state["done"] * encoder.dimension * 4:
            rows, too_long = _check_texts(source, column, encoder, prompt, chunk_rows, show_progress)
            state = {**settings, "rows": rows, "too_long": too_long, "done": 0}
        kept = state["done"]
        message = f"{state['too_long']} of {state['rows']} texts were truncated to {encoder.max_length} tokens"
        if state["too_long"] and encoder.truncation == "error":  # begun under another setting
            raise ValueError(f"{source.name}: {message} in the run that {partial.name} is of")
        if state["too_long"] and encoder.truncation == "warn":
            warnings.warn(message, stacklevel=2)
        quiet = copy.copy(encoder)  # shares the weights
        quiet.truncation = "ignore"  # the file has been judged as a whole
        chunks = functools.partial(_chunks, source, column, chunk_rows, kept)
        if engine == "ray" and kept < state["rows"]:
            vectors = _over_ray(chunks, quiet, prompt_name, address, actors)
        else:
            vectors = (quiet.encode(texts, prompt_name=prompt_name) for texts in chunks())
        _write(partial, state, vectors, encoder.dimension, show_progress)
        if _input_state(source) != settings["input"] or state["done"] != state["rows"]:
            raise ValueError(f"{source.name} has changed while it was read: run again, which starts afresh")
        _finish(partial, out, state, encoder.dimension)
    return Encoded(state["rows"], kept, encoder.dimension)


# ------------------------------------------------------------------------------------------------ reading


def _check_arguments(
    source: Path, column: str, out: Path, chunk_rows: int, engine: str, address: str | None, actors: int | None
) -> None:
    positive_integer("chunk_rows", chunk_rows)
    for name, path, allowed in (("input", source, tuple(READERS)), ("out", out, OUTPUTS)):
        if path.suffix.lower() not in allowed:
            raise ValueError(f"{name}={path.name!r} is not allowed: its name must end in one of {allowed}")
    if not source.is_file():
        raise FileNotFoundError(f"input={str(source)!r}: no such file")
    if out.is_dir() or out.resolve() == source.resolve():
        raise ValueError(f"out={str(out)!r} is {'a folder' if out.is_dir() else 'the input itself'}")
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r} is not allowed: use one of {ENGINES}")
    if engine == "ray":
        _import_ray()
    elif address is not None or actors is not None:
        raise ValueError("address and actors go with engine='ray'")
    if actors is not None:
        positive_integer("actors", actors)
    next(_texts(source, column), None)  # the column is there


def _read_csv(source: Path, column: str) -> Iterator[Any]:
    """An empty cell is the text ""; a row longer than the header would hide a comma that lacks its quotes."""
    csv.field_size_limit(2**31 - 1)
    with source.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter="\t" if source.suffix.lower() == ".tsv" else ",", strict=True)
        header = next(rows, [])
        if column not in header:
            raise LookupError(header)
        place = header.index(column)
        for row in filter(None, rows):
            if len(row) != len(header):
                raise ValueError(f"{len(row)} fields where the header has {len(header)}")
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

    with parquet.ParquetFile(source, buffer_size=1 << 20) as file:  # with a buffer, no row group is read whole
        if column not in file.schema_arrow.names:
            raise LookupError(file.schema_arrow.names)
        for batch in file.iter_batches(CHUNK_ROWS, columns=[column]):
            yield from batch.column(0).to_pylist()


READERS: dict[str, Callable[[Path, str], Iterator[Any]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}


def _texts(source: Path, column: str) -> Iterator[str]:
    """The texts of the column, one by one. What is wrong is a `ValueError` with the number of its row."""
    values = READERS[source.suffix.lower()](source, column)
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
        except (ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
            problem: object = error
            if isinstance(error, UnicodeError):  # files are decoded a block at a time, ahead of the row
                problem = "a lone surrogate" if isinstance(error, UnicodeEncodeError) else "here or below: not UTF-8"
            raise ValueError(f"{source.name}: row {row}, column {column!r}: {problem}") from error
        yield text


def _chunks(source: Path, column: str, chunk_rows: int, start: int = 0) -> Iterator[list[str]]:
    texts = islice(_texts(source, column), start, None)
    while chunk := list(islice(texts, chunk_rows)):
        yield chunk


def _check_texts(
    source: Path, column: str, encoder: SentenceEncoder, prompt: str, chunk_rows: int, show_progress: bool
) -> tuple[int, int]:
    """How many texts the file holds, and how many exceed the encoder's limit (of those, "error" reports the first)."""
    rows = too_long = 0
    with _bar("checking", None, 0, show_progress) as bar:
        for texts in _chunks(source, column, chunk_rows):
            counts = np.array(encoder.token_counts([prompt + text for text in texts]))
            (cut,) = np.nonzero(counts > encoder.max_length)
            too_long += len(cut)
            if len(cut) and encoder.truncation == "error":
                found = f"row {rows + cut[0] + 1}, column {column!r}: {counts[cut[0]]} tokens"
                raise ValueError(f"{source.name}: {found}, more than max_length={encoder.max_length}")
            rows += len(texts)
            bar.update(len(texts))
    return rows, too_long


def _bar(what: str, total: int | None, done: int, show: bool) -> Any:
    from tqdm import tqdm

    return tqdm(desc=what, total=total, initial=done, unit=" texts", disable=not show, file=sys.stderr)


# ------------------------------------------------------------------------------------------------ what a kill leaves


@contextlib.contextmanager
def _claim(partial: Path) -> Iterator[None]:
    """The folder of finished chunks, for one run at a time. It goes if nothing is left in it."""
    partial.mkdir(parents=True, exist_ok=True)
    folder = None
    try:
        with contextlib.suppress(ImportError):  # no fcntl on Windows
            import fcntl

            folder = os.open(partial, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lifts it with the process
            except OSError:
                raise ValueError(f"{partial} belongs to a run that is still at work") from None
        yield
    finally:
        if folder is not None:
            os.close(folder)
        with contextlib.suppress(OSError):
            partial.rmdir()


def _input_state(source: Path) -> dict[str, Any]:
    """Size, time, and SHA-256 of both ends: tells another file without reading all of this one."""
    stat = source.stat()
    with source.open("rb") as file:
        ends = file.read(1 << 20)
        file.seek(max(0, stat.st_size - (1 << 20)))
        ends += file.read()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ends_sha256": hashlib.sha256(ends).hexdigest()}


def _model_state(encoder: SentenceEncoder) -> str:
    """SHA-256 of what decides the vectors: the weights as they are loaded, the tokenizer, and how they are used."""
    model, words = encoder.model, getattr(encoder.tokenizer, "backend_tokenizer", None)
    usage = (model.pooling, model.normalize, model.max_length, model.include_prompt, model.backbone.causal)
    digest = hashlib.sha256(repr((usage, words.to_str() if words else encoder.tokenizer.get_vocab())).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _kept(partial: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier run with these settings, or `None`, with a warning where it was with others."""
    try:
        state: dict[str, Any] = read_json(partial / "manifest.json")
    except ValueError:
        return None
    other = [name for name, value in settings.items() if state.get(name) != value]
    if other:
        warnings.warn(f"{partial.name} is of another {' and '.join(other)}: starting afresh", stacklevel=3)
    return None if other else state


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _write(partial: Path, state: dict[str, Any], chunks: Iterator[np.ndarray], dimension: int, show: bool) -> None:
    """Append chunks to vectors.npy, whose header tells the final shape. A chunk counts once the manifest says so."""
    file = partial / "vectors.npy"
    file.touch()
    with file.open("r+b") as stream, _bar("encoding", state["rows"], state["done"], show) as bar:
        shape = (state["rows"], dimension)
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        stream.truncate(stream.seek(stream.tell() + state["done"] * dimension * 4))
        _record(partial, state)
        for vectors in chunks:
            stream.write(vectors.astype("<f4").tobytes())
            stream.flush()
            os.fsync(stream.fileno())
            state["done"] += len(vectors)
            _record(partial, state)
            bar.update(len(vectors))


def _record(partial: Path, state: dict[str, Any]) -> None:
    write_json(partial / "manifest.new", state)
    (partial / "manifest.new").replace(partial / "manifest.json")


def _finish(partial: Path, out: Path, state: dict[str, Any], dimension: int) -> None:
    if out.suffix.lower() == ".parquet":
        _as_parquet(partial / "vectors.npy", state["rows"], dimension)
    _record(partial, state | {"finished": True})
    _whole(partial, out).replace(out)
    shutil.rmtree(partial)


def _whole(partial: Path, out: Path) -> Path:
    """The finished file before it is renamed."""
    return partial / f"vectors{out.suffix.lower()}"


def _as_parquet(vectors: Path, rows: int, dimension: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    file = vectors.with_suffix(".parquet")
    schema = pa.schema({"row": pa.int64(), "embedding": pa.list_(pa.float32(), dimension)})
    with vectors.open("rb") as stream, parquet.ParquetWriter(file, schema) as writer:
        stream.seek(-rows * dimension * 4, os.SEEK_END)
        for start in range(0, rows, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, rows)
            numbers = pa.array(np.fromfile(stream, "<f4", (stop - start) * dimension))
            embedding = pa.FixedSizeListArray.from_arrays(numbers, dimension)
            writer.write_table(pa.table([pa.array(range(start, stop)), embedding], schema=schema))


# ------------------------------------------------------------------------------------------------ over Ray


def encode_with_ray(
    sentences: Sequence[str],
    encoder: SentenceEncoder | str = checkpoint.DEFAULT_MODEL,
    *,
    actors: int | None = None,
    address: str | None = None,
    prompt_name: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> np.ndarray:
    """`encoder.encode(sentences)` by a pool of Ray Data actors: the same vectors [n, D], in the same order.

    Args:
        actors: processes, each with its copy of the model; `None` takes one a GPU, or one a processor without GPUs.
        address: of a cluster whose machines have stlib; `None` starts Ray on this machine, and stops it at the end.
        prompt_name, chunk_rows: as in `encode_file`.

    Raises:
        TypeError, ValueError: as `SentenceEncoder.encode`, before Ray is started; `actors` or `chunk_rows` below 1.
        ModuleNotFoundError: without Ray.
    """
    _import_ray()
    positive_integer("chunk_rows", chunk_rows)
    if actors is not None:
        positive_integer("actors", actors)
    encoder = encoder if isinstance(encoder, SentenceEncoder) else SentenceEncoder(encoder)
    texts, single = check_sentences(sentences)
    if single:
        raise TypeError("sentences must be a sequence of str, got str")
    prompt = encoder._prompt(None, prompt_name)
    encoder._token_ids([prompt + text for text in texts])  # what is wrong or too long is noticed before Ray starts
    quiet = copy.copy(encoder)  # shares the weights
    quiet.truncation = "ignore"

    def chunks() -> Iterator[list[str]]:
        return (texts[start : start + chunk_rows] for start in range(0, len(texts), chunk_rows))

    vectors = np.zeros((len(texts), encoder.dimension), dtype=np.float32)
    start = 0
    for block in _over_ray(chunks, quiet, prompt_name, address, actors) if texts else ():
        vectors[start : start + len(block)] = block
        start += len(block)
    return vectors


class _Actor:
    """One process of the pool: a row with the texts of a chunk in, a row with their vectors out."""

    def __init__(self, encoder: Any, prompt_name: str | None) -> None:
        self.encoder: SentenceEncoder = _import_ray().get(encoder)
        self.encoder.model.to("cuda" if torch.cuda.is_available() else "cpu")
        self.prompt_name = prompt_name

    def __call__(self, chunk: Any) -> Any:
        vectors = self.encoder.encode(json.loads(chunk["texts"][0].as_py()), prompt_name=self.prompt_name)
        return chunk.from_pydict({"vectors": [vectors.tobytes()]})


def _over_ray(
    chunks: Callable[[], Iterator[list[str]]],
    encoder: SentenceEncoder,
    prompt_name: str | None,
    address: str | None,
    actors: int | None,
) -> Iterator[np.ndarray]:
    """The vectors of each chunk, in order. One task streams the chunks, and waits while the actors are busy."""
    ray = _import_ray()
    own = not ray.is_initialized()
    if own:
        _start_ray(ray, address or "local")

    def read(table: Any) -> Iterator[Any]:
        for texts in chunks():
            yield table.from_pydict({"texts": [json.dumps(texts)]})

    try:
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        context.target_max_block_size = 1  # each row, which is a chunk, travels alone
        with ray.data.DataContext.current(context):
            here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}  # where the file is
            resources = ray.cluster_resources()
            gpus = int(resources.get("GPU", 0))
            portable = copy.deepcopy(encoder)
            portable.model.to("cpu")
            model = ray.put(portable)
            data = ray.data.from_items([0])
            data = data.map_batches(read, batch_format="pyarrow", num_cpus=0, label_selector=here)
            data = data.map_batches(
                _Actor,
                fn_constructor_args=(model, prompt_name),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=actors or gpus or int(resources["CPU"])),
                num_cpus=1,
                num_gpus=1 if gpus else None,
            )
            for block in data.iter_batches(batch_size=None, batch_format="pyarrow"):
                for vectors in block["vectors"]:
                    yield np.frombuffer(vectors.as_py(), dtype=np.float32).reshape(-1, encoder.dimension)
    finally:
        if own:
            ray.shutdown()


def _start_ray(ray: Any, address: str) -> None:
    """Start or join Ray. It has no setting under which it writes nothing, so the first lines are kept off stderr."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"} | os.environ
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises bare ones here
        raise OSError(f"Ray cannot be started or reached at address={address!r}: {error}") from error
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ModuleNotFoundError("engine='ray' needs Ray Data: pip install -e '.[ray]'") from error
    return ray


# ------------------------------------------------------------------------------------------------ the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `python -m stlib encode`."""
    parser.add_argument("input", metavar="INPUT", help=f"a file that ends in {', '.join(READERS)}")
    parser.add_argument("--column", required=True, metavar="TEXT", help="its column of texts")
    parser.add_argument("--out", required=True, metavar="OUT", help=f"a name that ends in {' or '.join(OUTPUTS)}")
    parser.add_argument(
        "--model", dest="encoder", metavar="M", default=checkpoint.DEFAULT_MODEL, help="default: %(default)s"
    )
    parser.add_argument("--dtype", default="float32", choices=list(DTYPES), help="of the backbone")
    parser.add_argument("--prompt-name", metavar="NAME", help="one of the model's prompts, put before each text")
    parser.add_argument("--truncation", default="warn", choices=TRUNCATION, help="of texts beyond the model's limit")
    parser.add_argument("--chunk-rows", type=int, default=CHUNK_ROWS, metavar="N", help="rows kept at once")
    parser.add_argument("--engine", default="local", choices=ENGINES, help="ray: several processes, or a cluster")
    parser.add_argument("--address", metavar="A", help="of a Ray cluster; without it, Ray is started on this machine")
    parser.add_argument("--actors", type=int, metavar="N", help="Ray processes; by default one a GPU or processor")


def main(args: argparse.Namespace) -> int:
    """Run `encode`: 0 when OUT is whole. What is wrong is one line on stderr."""
    names = ("encoder", "dtype", "truncation", "prompt_name", "chunk_rows", "engine", "address", "actors")
    options = {name: getattr(args, name) for name in names}
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        try:
            done = encode_file(args.input, args.column, args.out, show_progress=True, **options)
        except (ValueError, OSError, ImportError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"stopped; the same command goes on from {args.out}.partial", file=sys.stderr)
            return 130
    kept = f", {done.kept:,} of them from an earlier run" if done.kept else ""
    print(f"{args.out}: {done.rows:,} vectors of {done.dimension} numbers{kept}")
    return 0
