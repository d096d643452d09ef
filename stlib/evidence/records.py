"""What a run leaves behind: evidence with model, data, versions and machine; and what was recorded in results/."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from stlib.evidence.claims import Claim

VERSION = 2
PACKAGES = (
    "stlib", "torch", "transformers", "sentence-transformers", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib"
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The evidence of one lesson or lab on one model and data."""

    lesson: str
    model: dict[str, Any]
    """name, revision, sha256"""
    data: dict[str, dict[str, Any]]
    """passages, sentences, pairs: name, sha256, rows, used, stand_in"""
    seed: int
    claims: list[Claim]
    versions: dict[str, str]
    machine: dict[str, Any]
    date: str
    version: int = VERSION

    @classmethod
    def read(cls, path: Path) -> Record:
        """ValueError: not a record of this version."""
        entries = json.loads(path.read_text(encoding="utf-8"))
        names = {field.name for field in fields(cls)}
        if not isinstance(entries, Mapping) or set(entries) != names or entries["version"] != VERSION:
            raise ValueError(f"{path.name}: not an evidence file of version {VERSION}; record it again")
        return cls(**{**entries, "claims": [Claim.from_record(entry) for entry in entries["claims"]]})

    def write(self, path: Path) -> None:
        write_whole(path, asdict(self))


def schema(kind: Any) -> dict[str, Any]:
    """JSON Schema of a type as it is written to a file: a dataclass says the shape of a record once."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        properties = {field.name: schema(hints[field.name]) for field in fields(kind)}
        return {
            "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False
        }  # fmt: skip
    if origin in (UnionType, Union):
        return {"anyOf": [schema(one) for one in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple and inner[-1] is not Ellipsis:
        items = [schema(one) for one in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin in (list, tuple):
        return {"type": "array", "items": schema(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(inner[1])}
    names = {str: "string", float: "number", int: "integer", bool: "boolean", type(None): "null"}
    return {"type": names[kind]} if kind in names else {}


def write_whole(path: Path, value: Any) -> None:
    """JSON, written beside and renamed, so that no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    beside.replace(path)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Processor (name, family, model), cores and operating system; names are often masked, family and model are not."""
    told: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = (line.partition(":") for line in cpuinfo.read_text(errors="replace").splitlines())
        for name, _, value in lines:
            told.setdefault(name.strip(), value.strip())
    return {
        "processor": told.get("model name") or platform.processor() or platform.machine(),
        "vendor": told.get("vendor_id", ""),
        "family": told.get("cpu family", ""),
        "model": told.get("model", ""),
        "cores": os.cpu_count() or 1,
        "system": platform.system(),
    }


def public_name(source: str) -> str:
    """A hub name as it is; of a local folder only its last part, for an evidence file tells nothing of its machine."""
    path = Path(source)
    return path.resolve().name if path.is_absolute() or path.exists() or source.startswith((".", "~")) else source


def results() -> Path:
    """Recorded results: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parents[1]
    beside = package.parent / "results"
    return beside if beside.is_dir() else package / "results"


def measurement(name: str) -> dict[str, Any]:
    """What `results/{name}.json` records. FileNotFoundError where nothing was recorded."""
    path = results() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no measurement {name!r} was recorded: there is no results/{name}.json")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def recorded(run: str, lesson: str) -> Record:
    """The evidence of `lesson` and its lab from an earlier `run`, such as "minilm"; FileNotFoundError if none."""
    folder = results() / "evidence" / run
    files = [path for path in (folder / f"{lesson}.json", folder / f"{lesson}.lab.json") if path.is_file()]
    if not files:
        runs = ", ".join(sorted({path.parent.name for path in results().glob(f"evidence/*/{lesson}*.json")}))
        raise FileNotFoundError(f"no evidence of {lesson!r} in run {run!r}; runs that have it: {runs or 'none'}")
    found = [Record.read(path) for path in files]
    return replace(found[0], claims=[claim for record in found for claim in record.claims])


def runs_of(claim_id: str) -> dict[str, Claim]:
    """How a claim came out in each recorded run that had its data: {run: Claim}."""
    found = {}
    for path in sorted(results().glob("evidence/*/*.json")):
        record = Record.read(path)
        for claim in record.claims:
            data = record.data.get(claim.definition.on, {})
            if claim.id == claim_id and claim.value is not None and not data.get("stand_in", False):
                found[path.parent.name] = claim
    return found
