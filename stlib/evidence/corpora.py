"""Pairs and labelled sentences: built-in, from a file, or from the hub.

A source is "built-in", a file (.csv, .tsv, .jsonl, .parquet), an `hf://` address of such a file, or "none": the reader
gave none, so the built-in data stand in and no claim about them is decided. What is wrong in a file is a ValueError
that names the row and the column; row 1 is the first row of data.
"""

# mypy: disable-error-code="no-any-return"
# pandas carries no types.

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DATA = Path(__file__).parent / "data"

# Text stays text: a sentence may read "null" or "NA", and an anchor "007".
_AS_TEXT: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}


def _read_json_lines(file: str | BytesIO) -> pd.DataFrame:
    """Local files go through `json`: pandas 3 drops a lone surrogate without a word."""
    if isinstance(file, str):
        return pd.read_json(file, lines=True, dtype=False)
    records = []
    for number, line in enumerate(file.read().decode("utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            if not isinstance(record, dict):
                raise ValueError(f"line {number} holds a {type(record).__name__}, expected an object")
            records.append(record)
    return pd.DataFrame(records, dtype=object)


READERS: dict[str, Callable[[Any], pd.DataFrame]] = {
    ".csv": lambda file: pd.read_csv(file, **_AS_TEXT),
    ".tsv": lambda file: pd.read_csv(file, sep="\t", **_AS_TEXT),
    ".jsonl": _read_json_lines,
    ".parquet": lambda file: pd.read_parquet(file),
}


def load_pairs(source: str | Path = "built-in", *, limit: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Graded pairs: columns sentence1, sentence2, score (float), anchor, kind ("" where the file has none).

    Without an `anchor` column, pairs that share a sentence form a group, and `anchor` is its number. `limit` draws
    whole groups until no further one fits. `attrs` holds name, sha256, rows (before drawing), used, stand_in,
    has_anchor, seed.
    """
    frame, attrs = _read(source, "pairs.csv", ["sentence1", "sentence2", "score"])
    where = attrs["name"]
    pairs = pd.DataFrame({name: _text(frame, name, where) for name in ("sentence1", "sentence2")})
    pairs["score"] = _score(frame, where)
    attrs["has_anchor"] = "anchor" in frame.columns
    pairs["anchor"] = _given(frame, "anchor", where) if attrs["has_anchor"] else connected_groups(pairs)
    pairs["kind"] = frame["kind"].fillna("").astype(str).to_numpy() if "kind" in frame.columns else ""
    if limit is not None and limit < len(pairs):
        pairs = pairs[_whole_groups(pairs["anchor"], limit, seed)]
    _not_constant(pairs["score"], where)
    return _finish(pairs, attrs, seed)


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


def load_passages() -> pd.DataFrame:
    """Built-in questions, each with the passage that answers it: columns question, passage."""
    frame, attrs = _read("built-in", "passages.csv", ["question", "passage"])
    passages = pd.DataFrame({name: _text(frame, name, attrs["name"]) for name in ("question", "passage")})
    return _finish(passages, attrs, 0)


def describe(frame: pd.DataFrame) -> str:
    """One sentence of Markdown: how many pairs or sentences there are, of what, and how they were drawn."""
    attrs = frame.attrs
    if "anchor" in frame:
        unit, parts = "pairs", f" in {frame['anchor'].nunique():,} groups"
    else:
        unit, parts = "sentences", f" under {frame['label'].nunique():,} labels" if "label" in frame else ""
    if attrs["stand_in"]:
        return (
            f"**No {unit} given**: shown on {attrs['used']:,} built-in {unit}{parts}; "
            f"no claim about {unit} is decided without your own."
        )
    if attrs["used"] < attrs["rows"]:
        drawn = f"drawn with seed {attrs['seed']}"
        return f"{attrs['used']:,} of {attrs['rows']:,} {unit}{parts} ({attrs['name']}), {drawn}."
    return f"{attrs['used']:,} {unit}{parts} ({attrs['name']})."


def connected_groups(pairs: pd.DataFrame) -> np.ndarray:
    """Numbers `[n]` of the groups of pairs that are linked by shared sentences, in order of first appearance."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    codes, sentences = pd.factorize(np.concatenate([pairs["sentence1"].array, pairs["sentence2"].array]))
    one, other = codes[: len(pairs)], codes[len(pairs) :]
    links = coo_array((np.ones(len(pairs), dtype=np.int8), (one, other)), shape=(len(sentences),) * 2)
    return pd.factorize(connected_components(links, directed=False)[1][one])[0]


def _read(source: str | Path, built_in: str, columns: list[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The source as it stands, with the columns it must have, and its attrs. Local files are hashed as bytes."""
    own = str(source) not in ("built-in", "none")
    address = str(source) if own else str(DATA / built_in)
    suffix = Path(address).suffix.lower()
    name = "built-in" if not own else address if address.startswith("hf://") else Path(address).name
    if suffix not in READERS:
        raise ValueError(
            f"{name}: cannot read {suffix or 'a name without suffix'!r}; expected a file that ends in "
            f"{', '.join(READERS)}, an hf:// address of one, 'built-in' or 'none'"
        )
    if address.startswith("hf://"):
        frame = READERS[suffix](address)
        sha256 = hashlib.sha256(frame.to_csv(index=False).encode("utf-8", "surrogatepass")).hexdigest()
    else:
        if not Path(address).is_file():
            raise FileNotFoundError(f"no such file: {address if own else name + ' ' + built_in}")
        content = Path(address).read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            frame = READERS[suffix](BytesIO(content))
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: expected UTF-8 text; byte {error.start + 1} is not ({error.reason})") from error
        except ValueError as error:  # pandas' own parsing errors, which do not say what file they are about
            raise ValueError(f"{name}: cannot be read as {suffix[1:]}: {error}") from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{name}: no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, frame.columns)) or 'none'}"
        )
    if len(frame) < 2:
        raise ValueError(f"{name}: expected at least 2 rows, got {len(frame)}")
    return frame, {"name": name, "sha256": sha256, "rows": len(frame), "stand_in": str(source) == "none"}


def _bad(where: str, column: str, row: int, problem: str) -> ValueError:
    return ValueError(f"{where}: row {row + 1}, column {column!r}: {problem}")


def _text(frame: pd.DataFrame, column: str, where: str) -> list[str]:
    values = frame[column].tolist()
    for row, value in enumerate(values):
        if not isinstance(value, str):
            missing = value is None or value is pd.NA or value != value  # NaN differs from itself
            problem = "no sentence" if missing else f"expected text, got {type(value).__name__}"
            raise _bad(where, column, row, problem)
        if not value or value.isspace():
            raise _bad(where, column, row, "the sentence is empty")
    try:
        "".join(values).encode("utf-8")  # one pass over all rows; only a failure is worth a search
    except UnicodeEncodeError:
        row = next(row for row, value in enumerate(values) if any("\ud800" <= c <= "\udfff" for c in value))
        raise _bad(where, column, row, "a lone surrogate, which is not a character") from None
    return values


def _score(frame: pd.DataFrame, where: str) -> np.ndarray:
    scores = pd.to_numeric(frame["score"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise _bad(where, "score", row, f"expected a finite number, got {frame['score'].iloc[row]!r}")
    _not_constant(pd.Series(scores), where)
    return scores


def _not_constant(scores: pd.Series, where: str) -> None:
    if scores.nunique() < 2:
        raise ValueError(f"{where}: column 'score' is {scores.iloc[0]:g} in each row used; nothing can be ranked by it")


def _given(frame: pd.DataFrame, column: str, where: str) -> np.ndarray:
    values = frame[column]
    gaps = (values.isna() | (values.astype(str).str.strip() == "")).to_numpy()
    if gaps.any():
        raise _bad(where, column, int(np.argmax(gaps)), "empty; fill it in each row or leave the column out")
    return values.to_numpy()


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
