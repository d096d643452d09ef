"""Files of any size to vectors: `python -m stlib encode INPUT… --column TEXT --out OUT`, here or over Ray.

Each input file is a shard. Its vectors are written beside their place and renamed when all are there, so what has its
name is whole, and a rerun leaves it alone where it was made by the same model, with the same settings, of the same
input. A kill costs the shards that were at work; one huge file is one shard, so split it if that is too much.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from posixpath import basename
from typing import Any, NamedTuple

from tqdm import tqdm

from stlib import hub
from stlib.backbone import DTYPES
from stlib.bulk.local import encode_shard
from stlib.bulk.shards import OUTPUTS, Outcome, clear, find, is_empty, kept
from stlib.checks import choice, positive_integer
from stlib.encoder import SentenceEncoder
from stlib.files import first_line, warn
from stlib.tables import SUFFIXES, read_batches
from stlib.tokens import TRUNCATION

ENGINES = ("local", "ray")
CHUNK_ROWS = 4096  # enough texts to find others of equal length among them


class Encoded(NamedTuple):
    """Shards, how many of them an earlier run had left whole, rows of all of them, and D."""

    shards: int
    kept: int
    rows: int
    dimension: int


class FailedShards(RuntimeError):
    """`failed`: address -> error of each shard that could not be encoded. The others are whole."""

    def __init__(self, failed: dict[str, Exception], shards: int) -> None:
        self.failed = failed
        lines = [f"{each}: {first_line(error).removeprefix(f'{basename(each)}: ')}" for each, error in failed.items()]
        super().__init__("\n".join([*lines, f"{len(failed)} of {shards} shards failed"]))


def encode_files(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    column: str,
    out: str | os.PathLike[str],
    *,
    encoder: SentenceEncoder | str = hub.DEFAULT_MODEL,
    prompt_name: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    engine: str = "local",
    address: str | None = None,
    actors: int | None = None,
    show_progress: bool = False,
    **options: Any,
) -> Encoded:
    """Embed the texts in a column of files, in memory that grows neither with their rows nor with their number.

    Args:
        inputs: a file, several, or folders of them: paths, or addresses that fsspec knows.
        column: of texts, in each of them.
        out: a folder, where each shard becomes a Parquet file of float32 vectors: columns `row`, from 0, to join by,
            and `embedding`. For a single file also a name that ends in .parquet, or in .npy for an array [n, D];
            what is at that name is replaced.
        encoder: or the name of a model, with `options` of `SentenceEncoder`. Its `truncation` holds for all shards.
        prompt_name: one of the model's prompts, put before each text.
        chunk_rows: how many texts are read, encoded and written at once.
        engine: "local", or "ray" with `address` and `actors` as in `encode_over_ray`.
        show_progress: a bar on stderr, in texts.

    Raises:
        FileNotFoundError: no such input, or no such model.
        ValueError: an argument outside what is allowed; no such column in the first shard that has any; a folder `out`
            that holds shards of another model or of other settings, or a folder in the place of one.
        FailedShards: some shards hold a row without a text, changed meanwhile, or could not be read or written.
        ImportError: a package is missing for the engine or for an address.
    """
    given, out = [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs, os.fspath(out)
    shards = find([os.fspath(each) for each in given], out)
    positive_integer("chunk_rows", chunk_rows)
    _check_engine(engine, address, actors)
    if options and isinstance(encoder, SentenceEncoder):
        raise ValueError(f"{', '.join(options)}: already decided by the encoder")
    first = next((shard for shard in shards if not is_empty(shard.source)), shards[0])
    next(read_batches(first.source, [column], 1))  # the column is there
    encoder = encoder if isinstance(encoder, SentenceEncoder) else SentenceEncoder(encoder, **options)
    prompt, truncation = encoder.model.prompt(None, prompt_name), encoder.truncation
    settings = {"model": encoder.identity(), "column": column, "prompt": prompt}
    look = partial(kept, settings=settings, truncation=truncation, replace=out.lower().endswith(OUTPUTS))
    with ThreadPoolExecutor(16) as threads:  # far away each look takes a while
        outcomes = [outcome for outcome in threads.map(look, shards) if outcome is not None]
    whole = {outcome.shard for outcome in outcomes}
    todo = [shard for shard in shards if shard not in whole]
    quiet = copy.copy(encoder)  # shares the weights
    quiet.truncation = "ignore"  # what is cut is counted over all shards
    work = partial(encode_shard, encoder=quiet, column=column, prompt=prompt, truncation=truncation,
                   chunk_rows=chunk_rows, settings=settings)  # fmt: skip
    with tqdm(desc="encoding", unit=" texts", disable=not show_progress, file=sys.stderr) as bar:
        if engine == "local":
            outcomes += [work(shard, report=bar.update) for shard in todo]
        elif todo:
            from stlib.bulk.ray_engine import encode_over_ray

            for outcome in encode_over_ray(todo, work, address, actors):
                outcomes.append(outcome)
                bar.update(outcome.rows)
    clear(shards)
    return _sum(outcomes, len(whole), encoder)


def _sum(outcomes: list[Outcome], whole: int, encoder: SentenceEncoder) -> Encoded:
    """What all shards come to, once none has failed."""
    rows, truncated = sum(outcome.rows for outcome in outcomes), sum(outcome.truncated for outcome in outcomes)
    if truncated and encoder.truncation == "warn":
        warn(f"{truncated} of {rows} texts were truncated to {encoder.max_length} tokens")
    if failed := {outcome.shard.source: outcome.error for outcome in outcomes if outcome.error}:
        raise FailedShards(failed, len(outcomes))
    return Encoded(len(outcomes), whole, rows, encoder.dimension)


def _check_engine(engine: str, address: str | None, actors: int | None) -> None:
    choice("engine", engine, ENGINES)
    if engine == "ray" and find_spec("ray") is None:
        raise ModuleNotFoundError("engine='ray' needs Ray: pip install -e '.[ray]'")
    if engine == "local" and (address is not None or actors is not None):
        raise ValueError("address and actors go with engine='ray'")
    if actors is not None:
        positive_integer("actors", actors)


# ------------------------------------------------------------------------------------------------ the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `python -m stlib encode`."""
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help=f"files that end in {', '.join(SUFFIXES)}, or folders of them")
    add("--column", required=True, metavar="TEXT", help="their column of texts")
    add("--out", required=True, metavar="OUT", help=f"a folder; for one file also a name with {' or '.join(OUTPUTS)}")
    add("--model", dest="encoder", metavar="M", default=hub.DEFAULT_MODEL, help="default: %(default)s")
    add("--dtype", default="float32", choices=list(DTYPES), help="of the backbone")
    add("--prompt-name", metavar="NAME", help="one of the model's prompts, put before each text")
    add("--truncation", default="warn", choices=TRUNCATION, help="of texts beyond the model's limit")
    add("--chunk-rows", type=int, default=CHUNK_ROWS, metavar="N", help="rows held at once")
    add("--engine", default="local", choices=ENGINES, help="ray: several processes, or a cluster")
    add("--address", metavar="A", help="of a Ray cluster; without it, Ray is started on this machine")
    add("--actors", type=int, metavar="N", help="Ray processes; by default one a GPU or processor")


def main(args: argparse.Namespace) -> int:
    """Run `encode`: 0 when all is whole, 1 when shards failed, 2 when it cannot begin, 130 interrupted."""
    names = ("encoder", "dtype", "truncation", "prompt_name", "chunk_rows", "engine", "address", "actors")
    options = {name: getattr(args, name) for name in names}
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):  # Ray tells of dead workers on stdout
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        try:
            done = encode_files(args.inputs, args.column, args.out, show_progress=True, **options)
        except (FailedShards, ValueError, OSError, ImportError) as error:
            print(*(f"error: {line}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
            return 1 if isinstance(error, FailedShards) else 2
        except KeyboardInterrupt:
            print("stopped; the same command makes what is missing", file=sys.stderr)
            return 130
    many = f" in {done.shards:,} shards" if done.shards > 1 else ""
    kept = f", {done.kept:,} of them from an earlier run" if done.kept else ""
    print(f"{args.out}: {done.rows:,} vectors of {done.dimension} numbers{many}{kept}")
    return 0
