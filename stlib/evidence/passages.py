"""Queries, and the passages that answer them: one form for the built-in documentation and for a reader's own data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stlib.evidence.plain import plain

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Passages:
    """`q` queries over a pool of `p` passages.

    Attributes:
        queries, texts: the words of the queries [q] and of the passages [p].
        relevant: for each query the numbers of the passages that answer it, at least one.
        grades: for each query {passage: gain} for nDCG, those in `relevant` among them. In the documentation the own
            passage has 2 and those of "See Also" have 1.
        labels, query_labels: the topic of each passage and of each query, "" where none is known.
        names: what each passage is called: a function, or a file with the title of a section.
        columns: further columns of the reader's file, a value for each query.
        attrs: name, sha256, rows (passages before drawing), used, stand_in, has_label, seed; versions where they count.
    """

    queries: list[str]
    texts: list[str]
    relevant: list[set[int]]
    grades: list[dict[int, float]]
    labels: list[str]
    query_labels: list[str]
    names: list[str]
    columns: dict[str, list[Any]] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """One sentence of Markdown: how many queries and passages, of what, and how they were drawn."""
        attrs, labels = self.attrs, len(set(self.labels))
        parts = f" under {labels:,} labels" if attrs["has_label"] else ""
        many = f"{len(self.queries):,} queries over {len(self.texts):,} passages{parts}"
        if attrs["stand_in"]:
            found = f"shown on {many} of the built-in documentation"
            return f"**No passages given**: {found}; no claim about passages is decided without your own."
        drawn = f", drawn with seed {attrs['seed']} from {attrs['rows']:,}" if attrs["used"] < attrs["rows"] else ""
        return f"{many} ({plain(attrs['name'])}){drawn}."

    def drawn(self, limit: int | None, seed: int) -> Passages:
        """At most `limit` queries over at most `limit` passages, drawn at random: queries with all that answers them
        for as long as there is room, then other passages.

        Raises:
            ValueError: `limit` below 2, or too small for the answers of any query.
        """
        chosen, pool = list(range(len(self.queries))), list(range(len(self.texts)))
        if limit is not None and limit < max(len(chosen), len(pool)):
            chosen, pool = self._room(limit, np.random.default_rng(seed))
        place = {old: new for new, old in enumerate(pool)}
        return replace(
            self,
            queries=_at(self.queries, chosen),
            texts=_at(self.texts, pool),
            relevant=[{place[old] for old in self.relevant[query]} for query in chosen],
            grades=[{place[old]: g for old, g in self.grades[query].items() if old in place} for query in chosen],
            labels=_at(self.labels, pool),
            query_labels=_at(self.query_labels, chosen),
            names=_at(self.names, pool),
            columns={name: _at(values, chosen) for name, values in self.columns.items()},
            attrs={**self.attrs, "used": len(pool), "seed": seed},
        )

    def _room(self, limit: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        if limit < 2:
            raise ValueError(f"limit: expected at least 2, got {limit}")
        chosen: list[int] = []
        pool: set[int] = set()
        for query in rng.permutation(len(self.queries)).tolist():
            if len(chosen) < limit and len(pool | self.relevant[query]) <= limit:
                chosen.append(query)
                pool |= self.relevant[query]
        if not chosen:
            least = min(map(len, self.relevant))
            raise ValueError(f"limit: {limit} passages do not hold all {least} that answer one query; raise it")
        others = [passage for passage in rng.permutation(len(self.texts)).tolist() if passage not in pool]
        return sorted(chosen), sorted(pool.union(others[: limit - len(pool)]))


def hashed(queries: Sequence[str], texts: Sequence[str]) -> str:
    """SHA-256 of the words that are compared."""
    return hashlib.sha256(json.dumps([list(queries), list(texts)]).encode()).hexdigest()


def _at(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [values[place] for place in places]


def from_table(frame: pd.DataFrame, attrs: dict[str, Any]) -> Passages:
    """The judgements of a file: a row each, with query, text and, where it has them, relevance, label and others.

    Raises:
        ValueError: fewer than two texts; a query without a relevant one; two judgements of the same query and text.
    """
    where, rows = attrs["name"], len(frame)
    queries = {query: number for number, query in enumerate(dict.fromkeys(frame["query"]))}
    texts = {text: number for number, text in enumerate(dict.fromkeys(frame["text"]))}
    if len(texts) < 2:
        raise ValueError(f"{where}: expected at least 2 different texts, got {len(texts)}")
    relevance = frame["relevance"] if "relevance" in frame.columns else [1.0] * rows
    judged: list[dict[int, float]] = [{} for _ in queries]
    for row, (query, text, gain) in enumerate(zip(frame["query"], frame["text"], relevance, strict=True), 1):
        if judged[queries[query]].setdefault(texts[text], gain) != gain:
            raise ValueError(f"{where}: row {row}, column 'relevance': another than further up for this query and text")
    grades = [{text: float(gain) for text, gain in one.items() if gain > 0} for one in judged]
    for query, number in queries.items():
        if not grades[number]:
            row = frame["query"].tolist().index(query) + 1
            raise ValueError(f"{where}: row {row}, column 'query': no text is relevant to {query!r}")
    first_query, first_text = frame.drop_duplicates("query"), frame.drop_duplicates("text")
    labels, query_labels = (_labels(part) for part in (first_text, first_query))
    further = [name for name in frame.columns if name not in ("query", "text", "relevance", "label")]
    return Passages(
        queries=list(queries),
        texts=list(texts),
        relevant=[set(one) for one in grades],
        grades=grades,
        labels=labels,
        query_labels=query_labels,
        names=[f"{where}#{row}" for row in first_text.index + 1],
        columns={name: first_query[name].tolist() for name in further},
        attrs={**attrs, "rows": len(texts), "has_label": len(set(labels) - {""}) > 1},
    )


def _labels(rows: pd.DataFrame) -> list[str]:
    if "label" not in rows.columns:
        return [""] * len(rows)
    return ["" if label is None or label != label else str(label) for label in rows["label"]]
