"""Pairs, labelled sentences and passages: built-in or the reader's own.

A source is "built-in", a file (.csv, .tsv, .jsonl, .parquet) or an address of one that fsspec knows (`hf://…`), for
passages also a folder of texts; or "none": the reader gave none, so the built-in data stand in and no claim about them
is decided. What is wrong in a file is a ValueError that names the row and the column; row 1 is the first row of data.
"""

# mypy: disable-error-code="no-any-return"
# pandas carries no types.

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stlib.evidence.documentation import documentation
from stlib.evidence.passages import Passages, from_table
from stlib.evidence.plain import plain
from stlib.evidence.sections import from_folder
from stlib.tables import check_texts, open_bytes, read_table

__all__ = [
    "Passages",
    "connected_groups",
    "describe",
    "documentation",
    "load_pairs",
    "load_passages",
    "load_sentences",
    "original_groups",
]

DATA = Path(__file__).parent / "data"


def load_passages(source: str | Path = "built-in", *, limit: int | None = None, seed: int = 0) -> Passages:
    """Queries and the passages that answer them.

    Built-in: `documentation`. A file has the columns query and text, a row a judgement, and may have `relevance` (a
    text with more than 0 is relevant; by default 1), `label`, and others, which are kept for each query. In a folder of
    .md, .rst and .txt files, the heading of each section is the query for its text. `limit` draws at random.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: something in it is wrong; fewer than 2 passages; a query without a relevant one.
    """
    if str(source) in ("built-in", "none"):
        passages = documentation(limit, seed)
        return replace(passages, attrs=passages.attrs | {"stand_in": str(source) == "none"})
    if "://" not in str(source) and Path(source).is_dir():
        return from_folder(Path(source)).drawn(limit, seed)
    frame, attrs = _read(source, "", ["query", "text"])
    where = attrs["name"]
    for column in ("query", "text"):
        _text(frame, column, where)
    if "relevance" in frame.columns:
        frame["relevance"] = _numbers(frame, "relevance", where)
        if (frame["relevance"] < 0).any():
            row = int(np.argmax(frame["relevance"] < 0))
            raise _bad(where, "relevance", row, f"expected 0 or more, got {frame['relevance'].iloc[row]:g}")
    return from_table(frame, attrs).drawn(limit, seed)


def load_pairs(source: str | Path = "built-in", *, limit: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Graded pairs: columns sentence1, sentence2, score (float), anchor, kind ("" where the file has none).

    Without an `anchor` column, pairs that share a sentence form a group, and `anchor` is its number. `limit` draws
    whole groups until no further one fits. `attrs` holds name, sha256, rows (before drawing), used, stand_in,
    has_anchor, seed.
    """
    frame, attrs = _read(source, "pairs.csv", ["sentence1", "sentence2", "score"])
    where = attrs["name"]
    pairs = pd.DataFrame({name: _text(frame, name, where) for name in ("sentence1", "sentence2")})
    pairs["score"] = _numbers(frame, "score", where)
    _not_constant(pairs["score"], where)
    attrs["has_anchor"] = "anchor" in frame.columns
    pairs["anchor"] = _given(frame, "anchor", where) if attrs["has_anchor"] else connected_groups(pairs)
    pairs["kind"] = frame["kind"].fillna("").astype(str).to_numpy() if "kind" in frame.columns else ""
    if limit is not None and limit < len(pairs):
        pairs = pairs[_whole_groups(pairs["anchor"], limit, seed)]
    _not_constant(pairs["score"], where)
    return _finish(pairs, attrs, seed)


def original_groups(pairs: pd.DataFrame) -> pd.DataFrame:
    """The built-in pairs without the groups a85 to a106; pairs of the reader's own as they are.

    Those groups were added because the outcome of a comparison of pooling modes was not STS-B's, so that no claim about
    pooling may rest on them.
    """
    if pairs.attrs["name"] != "built-in":
        return pairs
    added = {f"a{number}" for number in range(85, 107)}
    return _finish(pairs[~pairs["anchor"].isin(added)], pairs.attrs, pairs.attrs["seed"])


def load_sentences(source: str | Path = "built-in", *, limit: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Sentences: column text and, where the file has it, label (str). `limit` draws rows in proportion to the labels.

    `attrs` holds name, sha256, rows (before drawing), used, stand_in, has_label, seed.
    """
    frame, attrs = _read(source, "sentences.csv", ["text"])
    where = attrs["name"]
    sentences = pd.DataFrame({"text": _text(frame, "text", where)})
    attrs["has_label"] = "label" in frame.columns
    if attrs["has_label"]:
        sentences["label"] = [str(label) for label in _given(frame, "label", where)]
        if sentences["label"].nunique() < 2:
            raise ValueError(f"{where}: column 'label' holds one value throughout; leave it out or give two or more")
    if limit is not None and limit < len(sentences):
        sentences = sentences[_stratified(sentences, _checked_limit(limit), seed)]
    return _finish(sentences, attrs, seed)


def describe(data: pd.DataFrame | Passages) -> str:
    """One sentence of Markdown: how many pairs, sentences or passages there are, of what, and how they were drawn."""
    if isinstance(data, Passages):
        return data.describe()
    attrs = data.attrs
    if "anchor" in data:
        unit, parts = "pairs", f" in {data['anchor'].nunique():,} groups"
    else:
        unit, parts = "sentences", f" under {data['label'].nunique():,} labels" if "label" in data else ""
    if attrs["stand_in"]:
        return (
            f"**No {unit} given**: shown on {attrs['used']:,} built-in {unit}{parts}; "
            f"no claim about {unit} is decided without your own."
        )
    if attrs["used"] < attrs["rows"]:
        drawn = f"drawn with seed {attrs['seed']}"
        return f"{attrs['used']:,} of {attrs['rows']:,} {unit}{parts} ({plain(attrs['name'])}), {drawn}."
    return f"{attrs['used']:,} {unit}{parts} ({plain(attrs['name'])})."


def connected_groups(pairs: pd.DataFrame) -> np.ndarray:
    """Numbers `[n]` of the groups of pairs that are linked by shared sentences, in order of first appearance."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    codes, sentences = pd.factorize(np.concatenate([pairs["sentence1"].array, pairs["sentence2"].array]))
    one, other = codes[: len(pairs)], codes[len(pairs) :]
    links = coo_array((np.ones(len(pairs), dtype=np.int8), (one, other)), shape=(len(sentences),) * 2)
    return pd.factorize(connected_components(links, directed=False)[1][one])[0]


# ------------------------------------------------------------------------------------------------ reading


def _read(source: str | Path, built_in: str, columns: list[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The source as it stands, with the columns it must have, and its attrs."""
    own = str(source) not in ("built-in", "none")
    address = str(source) if own else str(DATA / built_in)
    name = "built-in" if not own else address if "://" in address else Path(address).name
    frame = read_table(address, columns)
    if len(frame) < 2:
        raise ValueError(f"{name}: expected at least 2 rows, got {len(frame)}")
    with open_bytes(address) as file:
        sha256 = hashlib.sha256(file.read()).hexdigest()
    return frame, {"name": name, "sha256": sha256, "rows": len(frame), "stand_in": str(source) == "none"}


def _bad(where: str, column: str, row: int, problem: str) -> ValueError:
    return ValueError(f"{where}: row {row + 1}, column {column!r}: {problem}")


def _text(frame: pd.DataFrame, column: str, where: str) -> list[str]:
    values = check_texts(frame[column].tolist(), where, column)
    for row, value in enumerate(values):
        if not value or value.isspace():
            raise _bad(where, column, row, "the text is empty")
    return values


def _numbers(frame: pd.DataFrame, column: str, where: str) -> np.ndarray:
    numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise _bad(where, column, row, f"expected a finite number, got {frame[column].iloc[row]!r}")
    return numbers


def _not_constant(scores: pd.Series, where: str) -> None:
    if scores.nunique() < 2:
        raise ValueError(f"{where}: column 'score' is {scores.iloc[0]:g} in each row used; nothing can be ranked by it")


def _given(frame: pd.DataFrame, column: str, where: str) -> np.ndarray:
    values = frame[column]
    gaps = (values.isna() | (values.astype(str).str.strip() == "")).to_numpy()
    if gaps.any():
        raise _bad(where, column, int(np.argmax(gaps)), "empty; fill it in each row or leave the column out")
    return values.to_numpy()


# ------------------------------------------------------------------------------------------------ drawing


def _checked_limit(limit: int) -> int:
    if limit < 2:
        raise ValueError(f"limit: expected at least 2, got {limit}")
    return limit


def _whole_groups(groups: pd.Series, limit: int, seed: int) -> np.ndarray:
    codes, names = pd.factorize(groups)
    sizes, room, taken = np.bincount(codes), _checked_limit(limit), np.zeros(len(names), dtype=bool)
    for group in np.random.default_rng(seed).permutation(len(names)):
        if sizes[group] <= room:
            taken[group], room = True, room - sizes[group]
    if taken.sum() < 2:
        raise ValueError(
            f"limit: {limit} rows do not hold two whole groups (the smallest has {sizes.min():,} rows, the largest "
            f"{sizes.max():,}); raise it, or divide the pairs with an 'anchor' column"
        )
    return taken[codes]


def _stratified(sentences: pd.DataFrame, limit: int, seed: int) -> np.ndarray:
    """Each label's rows, shuffled, are spread evenly over 0 to 1; the lowest `limit` then hold each in proportion."""
    rng = np.random.default_rng(seed)
    label = sentences["label"] if "label" in sentences else pd.Series("", index=sentences.index)
    shuffled = label.sample(frac=1, random_state=rng)
    rank = shuffled.groupby(shuffled).cumcount().reindex(label.index) + rng.random(len(label))
    quantile = (rank / label.map(label.value_counts())).to_numpy(dtype=float)
    chosen = np.zeros(len(label), dtype=bool)
    chosen[np.argsort(quantile)[:limit]] = True
    return chosen


def _finish(frame: pd.DataFrame, attrs: dict[str, Any], seed: int) -> pd.DataFrame:
    frame = frame.reset_index(drop=True)
    frame.attrs = {**attrs, "used": len(frame), "seed": seed}
    return frame
