"""Which shards there are, where the vectors of each go, and which an earlier run has left whole.

An address is a path, or whatever fsspec knows (`s3://…`, where its package, s3fs, is installed).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from posixpath import basename, dirname, join, relpath, splitext
from typing import Any, NamedTuple
from uuid import uuid4

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from stlib.tables import SUFFIXES

OUTPUTS = (".npy", ".parquet")
MARK = "stlib"  # the key under which a Parquet shard's metadata say what it was made of
BESIDE = re.compile(r"\.stlib-new-\w+-(\d+)-(.+)")  # what is written before it is renamed: no data by its name


class Shard(NamedTuple):
    """A file of texts and the file of vectors that it becomes: two addresses."""

    source: str
    target: str


class Outcome(NamedTuple):
    """What became of a shard: its rows, how many of their texts were cut, on which Ray node; or what went wrong."""

    shard: Shard
    rows: int = 0
    truncated: int = 0
    node: str = ""
    error: Exception | None = None


def at(address: str) -> tuple[Any, str]:
    """The fsspec filesystem of an address, and the path in it."""
    files, path = url_to_fs(address)
    return files, os.path.realpath(path) if is_local(files) else path  # a link may lead back to the inputs


def is_local(files: Any) -> bool:
    return isinstance(files, LocalFileSystem)


def find(inputs: Sequence[str], out: str) -> list[Shard]:
    """A shard for each file given, and for each of a known format anywhere in a folder given.

    Into the file `out` where it has a file's name; else into the folder `out`, under the shard's own name (or its path
    below its folder) with the suffix .parquet.

    Raises:
        FileNotFoundError: no such input, or a folder without such a file.
        ValueError: a name that is not allowed, two shards of one name, an output that would be read as an input.
    """
    if not inputs:
        raise ValueError("inputs: at least one file or folder is needed")
    files, path = at(out)
    root, one = _address(files, path), out.lower().endswith(OUTPUTS)
    names = {source: name for each in inputs for source, name in _sources(each, root).items()}
    wrong = files.isdir(path) or len(names) > 1 if one else files.isfile(path) or out.lower().endswith(SUFFIXES)
    if wrong or (out.lower().endswith(".npy") and not is_local(files)):
        allowed = "a folder; or, for a single file, a name in .parquet or, on this machine, .npy"
        raise ValueError(f"out={out!r} is not allowed for {len(names)} shards: use {allowed}")
    shards = [Shard(source, root if one else f"{root}/{splitext(name)[0]}.parquet") for source, name in names.items()]
    for target, times in Counter(shard.target for shard in shards).items():
        if times > 1 or target in names:
            raise ValueError(f"{target} would be {'made twice' if times > 1 else 'an input, too'}: choose another out")
    return shards


def _sources(each: str, out: str) -> dict[str, str]:
    """Address -> name of each shard. In a folder what begins with . or _ is no data, by an old convention."""
    files, path = at(each)
    folder = _address(files, path)
    if files.isfile(path):
        if not path.lower().endswith(SUFFIXES):
            raise ValueError(f"input={each!r} is not allowed: its name must end in one of {SUFFIXES}")
        return {folder: basename(path)}
    names = [relpath(file, path) for file in files.find(path)]
    names = [name for name in names if not any(part[0] in "._" for part in name.split("/"))]
    found = {f"{folder}/{name}": name for name in names if name.lower().endswith(SUFFIXES)}
    if not found:
        raise FileNotFoundError(f"input={each!r}: no such file, nor a folder with files that end in one of {SUFFIXES}")
    if f"{out}/".startswith(f"{folder}/"):
        raise ValueError(f"out={out!r} lies in the input {each!r}, where the next run would read it")
    return found


def _address(files: Any, path: str) -> str:
    return path if is_local(files) else str(files.unstrip_protocol(path))


def beside(path: str) -> str:
    """Where to write what will stand at `path`: on the same disk, under a new name that tells which process is at it.

    It is this call's alone, should a worker that was taken for dead still write its own.
    """
    return join(dirname(path), f".stlib-new-{uuid4().hex}-{os.getpid()}-{_here()}")


def clear(shards: Sequence[Shard]) -> None:
    """Remove what killed runs have left beside the outputs, and nothing that another run is at."""
    places = [at(shard.target) for shard in shards]  # where links lead
    for folder, files in {dirname(path): files for files, path in places}.items():
        for path in files.ls(folder, detail=False) if files.isdir(folder) else ():
            with contextlib.suppress(FileNotFoundError, NotImplementedError):  # just renamed; or a disk without times
                if (name := BESIDE.fullmatch(basename(path))) and _is_left(files, path, int(name[1]), name[2]):
                    files.rm_file(path)


def _is_left(files: Any, path: str, process: int, where: str) -> bool:
    """Whether its process is dead; of one elsewhere, whether it has not grown for a day."""
    import psutil

    if where == _here():
        return not psutil.pid_exists(process)
    return bool(time.time() - files.modified(path).timestamp() > 24 * 3600)


def _here() -> str:
    """Among which processes a number stands for one: a machine, or a container on it."""
    space = Path("/proc/self/ns/pid")  # only Linux has it
    return f"{socket.gethostname()}.{space.stat().st_ino}" if space.exists() else socket.gethostname()


def is_empty(source: str) -> bool:
    """No bytes at all, as some writers leave where a part has no rows. (Parquet has some even then.)"""
    files, path = at(source)
    return not path.lower().endswith(".parquet") and files.size(path) == 0


def state(address: str) -> str:
    """Changes when the file there does."""
    files, path = at(address)
    return f"{files.size(path)} bytes of {files.modified(path)}" if is_local(files) else str(files.ukey(path))


def kept(shard: Shard, settings: dict[str, str], truncation: str, replace: bool) -> Outcome | None:
    """The shard where an earlier run left it whole: made with these settings of this very input. Else `None`.

    Raises:
        ValueError: what is there is a folder, or was made with other settings or by another program, and may not be
            replaced.
    """
    from pyarrow import ArrowInvalid, parquet

    files, path = at(shard.target)
    if not files.isfile(path):
        if files.isdir(path):  # a new file would be moved into it
            raise ValueError(f"{shard.target} is a folder: choose another out, or remove it")
        return None
    try:
        with files.open(path) as file:
            metadata = parquet.read_metadata(file)
        mark = json.loads(metadata.metadata[MARK.encode()])
    except (ArrowInvalid, KeyError, TypeError):
        mark = {}
    other = [name for name, value in settings.items() if mark.get(name) != value]
    if other and not replace:
        raise ValueError(f"{shard.target} is there, of another {' and '.join(other)}: choose another out, or remove it")
    if other or mark["input"] != state(shard.source) or (mark["truncated"] and truncation == "error"):
        return None
    return Outcome(shard, metadata.num_rows, mark["truncated"])
