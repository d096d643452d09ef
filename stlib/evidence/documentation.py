"""The built-in yardstick: the docstrings of installed packages, a summary as query and its body as passage.

What the words say was written by the packages' authors; here it is only selected and cleaned. Reading takes a few
seconds, most of them imports, so the result is kept in the user's cache: for these versions and these rules.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from stlib.evidence import docstrings
from stlib.evidence.docstrings import HIDDEN, hide, parse, plain, sentences
from stlib.evidence.passages import Passages, hashed
from stlib.evidence.vectors import cache_folder

PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "matplotlib")
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
DEPTH = 3  # scipy.sparse.linalg, not deeper
NO_DOCUMENTATION = {
    *("tests", "testing", "conftest", "setup", "externals", "experimental", "compat", "typing"),
    *("core", "f2py", "distutils", "sphinxext", "backends"),
}

QUERY_WORDS = 3  # at least
PASSAGE_WORDS = (25, 60)  # at least, of two letters or more; at most
USUAL = 3  # a sentence that stands under so many names says nothing about any; a word of so many summaries is no name
ALIKE = 0.7  # of the runs of three words, from which two passages count as one


def documentation(limit: int | None = None, seed: int = 0, *, packages: Sequence[str] = PACKAGES) -> Passages:
    """Queries and passages from the docstrings of `packages`, as installed.

    A query is the summary of a function, a class or a method, its passage the first 60 words of prose below, its label
    the module. `relevant` holds the own passage; `grades` adds what stands under "See Also".

    Args:
        limit: draws so many entries at random, with `seed`: queries and pool.
        packages: their names as one imports them.

    Raises:
        ModuleNotFoundError: a package is not installed.
    """
    versions = {name: version(DISTRIBUTIONS.get(name, name)) for name in packages}
    kept = _kept(versions)
    own: list[set[int]] = [{number} for number in range(len(kept["queries"]))]
    grades = [{number: 2.0} | dict.fromkeys(links, 1.0) for number, links in enumerate(kept["see_also"])]
    attrs = {
        "name": "documentation" if tuple(packages) == PACKAGES else f"documentation of {', '.join(packages)}",
        "sha256": hashed(kept["queries"], kept["texts"]),
        "rows": len(own),
        "stand_in": False,
        "has_label": True,
        "versions": versions,
    }
    labels = kept["labels"]
    whole = Passages(kept["queries"], kept["texts"], own, grades, labels, labels, kept["names"], {}, attrs)
    return whole.drawn(limit, seed)


# ------------------------------------------------------------------------------------------------ cache


def _kept(versions: dict[str, str]) -> dict[str, list[Any]]:
    """The columns of all entries, from the cache where they are there and whole."""
    rules = "".join(Path(module).read_text(encoding="utf-8") for module in (__file__, docstrings.__file__))
    key = hashlib.sha256(json.dumps([versions, rules]).encode()).hexdigest()[:16]
    file = cache_folder() / f"documentation-{key}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept.pop("sha256") == _digest(kept):
            return dict(kept)
    columns = _columns(entries(list(versions)))
    with suppress(OSError):  # a cache that cannot be written costs a few seconds the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.write_text(json.dumps(columns | {"sha256": _digest(columns)}), encoding="utf-8")
        beside.replace(file)
    return columns


def _digest(columns: Any) -> str:
    return hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()


def _columns(found: list[Entry]) -> dict[str, list[Any]]:
    number = {entry.thing.key: place for place, entry in enumerate(found)}
    links = [[number[key] for key in entry.thing.see_also if key in number] for entry in found]
    return {
        "queries": [entry.query for entry in found],
        "texts": [entry.passage for entry in found],
        "names": [entry.thing.name for entry in found],
        "labels": [".".join(entry.thing.module.split(".")[:2]) for entry in found],
        "see_also": [sorted(set(link) - {place}) for place, link in enumerate(links)],
    }


# ------------------------------------------------------------------------------------------------ cleaning


class Thing(NamedTuple):
    """A public function, class or method: its module, full name, the id of its object, its prose, and the ids of the
    objects under "See Also".
    """

    module: str
    name: str
    key: int
    paragraphs: list[str]
    see_also: list[int]

    @property
    def own(self) -> str:
        return self.name.rsplit(".", 1)[-1]


class Entry(NamedTuple):
    thing: Thing
    query: str
    passage: str


def entries(packages: Sequence[str]) -> list[Entry]:
    """What is fit for use of the packages' docstrings, in a fixed order: package by package, methods last."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of modules and names that are about to go
        found = [thing for package in packages for thing in things(package)]
    return distinct(cleaned(found))


def cleaned(found: Sequence[Thing]) -> list[Entry]:
    """Queries and passages without names of their own and without sentences that stand everywhere."""
    summaries: dict[str, set[str]] = defaultdict(set)
    for thing in found:
        for word in re.findall(r"\w+", thing.paragraphs[0].lower()):
            summaries[word].add(thing.own)
    split: list[tuple[Thing, list[str]]] = []
    standing: dict[str, set[str]] = defaultdict(set)
    for thing in found:
        strange = is_code(thing.own) or len(summaries[thing.own.lower()] - {thing.own}) < USUAL
        summary = hide(thing.paragraphs[0], thing.own, is_code(thing.own))
        body = [hide(paragraph, thing.own, strange) for paragraph in thing.paragraphs[1:]]
        split.append((thing, [one for text in [summary, *body] for one in sentences(plain(text))]))
        for sentence in split[-1][1][1:]:
            standing[sentence].add(thing.own)
    made = []
    for thing, (query, *rest) in split:
        words = " ".join(sentence for sentence in rest if len(standing[sentence]) < USUAL).split()
        passage = " ".join(words[: PASSAGE_WORDS[1]])
        made.append(Entry(thing, query, passage))
    return [entry for entry in made if _fit(entry)]


def is_code(name: str) -> bool:
    """Nobody writes it in a sentence without meaning the name: an underscore, a digit, capitals inside."""
    return re.search(r"_|\d|\w[A-Z]", name) is not None


def _fit(entry: Entry) -> bool:
    words = [re.findall(r"[A-Za-z]{2,}", text) for text in (entry.query, entry.passage)]
    long_enough = len(words[0]) >= QUERY_WORDS and len(words[1]) >= PASSAGE_WORDS[0]
    return long_enough and HIDDEN not in entry.query and not entry.query.endswith(":")


def distinct(found: Sequence[Entry]) -> list[Entry]:
    """Of entries with the same query, or with passages alike, the first."""
    kept: list[Entry] = []
    queries: set[str] = set()
    runs: list[set[tuple[str, str, str]]] = []
    holders: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for entry in found:
        query, words = " ".join(_words(entry.query)), _words(entry.passage)
        own = set(zip(words, words[1:], words[2:], strict=False))
        shared: dict[int, int] = defaultdict(int)
        for run in own:
            for other in holders[run]:
                shared[other] += 1
        twin = any(count >= ALIKE * min(len(own), len(runs[other])) for other, count in shared.items())
        if query in queries or twin:
            continue
        queries.add(query)
        for run in own:
            holders[run].append(len(kept))
        runs.append(own)
        kept.append(entry)
    return kept


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


# ------------------------------------------------------------------------------------------------ reading


def things(package: str) -> list[Thing]:
    """The public functions and classes of a package, module by module, then the methods of the classes."""
    root = importlib.import_module(package)
    found: dict[int, tuple[str, str, Any]] = {}
    for module in sorted(_modules(root, 1), key=lambda one: (one.__name__.count("."), one.__name__)):
        for name, value in _public(module, package):
            here = found.get(id(value), (module.__name__,))[0] == module.__name__
            if id(value) not in found or (here and name == getattr(value, "__name__", "")):  # not an alias of it
                found[id(value)] = (module.__name__, f"{module.__name__}.{name}", value)
    for module_name, name, value in list(found.values()):
        if inspect.isclass(value):
            for method, function in _methods(value, package, found):
                found.setdefault(id(function), (module_name, f"{name}.{method}", function))
    made = []
    for key, (module_name, name, value) in found.items():
        docstring = getattr(value, "__doc__", None)
        if isinstance(docstring, str) and docstring.strip():
            paragraphs, terms = parse(docstring)
            made.append(Thing(module_name, name, key, paragraphs, [id(_find(root, name, term)) for term in terms]))
    return made


def _modules(module: ModuleType, depth: int) -> Iterator[ModuleType]:
    yield module
    if depth < DEPTH and hasattr(module, "__path__"):
        for found in pkgutil.iter_modules(module.__path__):
            if not found.name.startswith("_") and found.name not in NO_DOCUMENTATION:
                with suppress(Exception):  # one that needs what is not installed
                    yield from _modules(importlib.import_module(f"{module.__name__}.{found.name}"), depth + 1)


def _public(module: ModuleType, package: str) -> Iterator[tuple[str, Any]]:
    """What a module lists, or without a list what it and its private parts define. Nothing is loaded for it."""
    listed, held = getattr(module, "__all__", None), vars(module)
    for name in sorted(held if listed is None else listed):
        value = held.get(name)
        home = getattr(value, "__module__", None) or package  # a ufunc has none
        ours = home == module.__name__ or home.startswith(f"{module.__name__}._")
        if not name.startswith("_") and callable(value) and home.split(".")[0] == package and (ours or listed):
            yield name, value


def _methods(kind: type, package: str, public: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """Methods and properties, inherited ones only from classes that are not public themselves."""
    for name in sorted(dir(kind)):
        owner = next((base for base in kind.__mro__ if name in vars(base)), None)
        if owner is None or name.startswith("_") or (owner is not kind and id(owner) in public):
            continue
        value = _function(vars(owner)[name])
        home = getattr(value, "__module__", None) or owner.__module__
        if home.split(".")[0] == package and (callable(value) or inspect.isdatadescriptor(value)):
            yield name, value


def _function(value: Any) -> Any:
    """The function behind a class method, a static method or a property."""
    return getattr(value, "fget", None) or getattr(value, "__func__", value)


def _find(root: ModuleType, name: str, term: str) -> Any:
    """What a term under "See Also" of `name` names: seen from there, from its class, its module, or as a full name."""
    parts = name.split(".")
    scopes = [parts[:end] for end in range(len(parts) - 1, 0, -1)] + [[]]
    for scope in scopes:
        path = [*scope, *term.split(".")]
        if path[0] == root.__name__:
            value: Any = root
            with suppress(Exception):
                for part in path[1:]:
                    value = inspect.getattr_static(value, part) if inspect.isclass(value) else getattr(value, part)
                return _function(value)
    return None
