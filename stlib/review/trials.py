"""The trials of a comparison, one for each kind of data: what a candidate scores, on what slices, and what it found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.passages import Passages
from stlib.evidence.scores import neighbour_accuracy, pair_score, pair_score_name, ranking_of, top
from stlib.review.candidates import Candidate, Words

NEGATION = re.compile(r"\b(no|not|never|none|nobody|nothing|neither|nor|without|cannot)\b|n['’]t\b", re.IGNORECASE)
MOST_PARTS = 12
STOPS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What ends a comparison. Whatever else comes out of a model costs that candidate only, a panic of a tokenizer in Rust
too, which is no `Exception`."""
SHOWN = 20
FIRST = 10
"""Of a ranking, so many are looked at."""


@dataclass(frozen=True)
class Disagreement:
    """One text on which two candidates disagree.

    asked: a query or a pair. right: what answers it, or its grade. found: for each of the two what it put where.
    """

    asked: str
    right: str
    found: tuple[str, str]


@dataclass(frozen=True)
class Tried:
    """What became of one candidate. detail: what the trial keeps to compare two candidates by."""

    estimate: Estimate
    detail: Any

    def same(self, other: Tried) -> bool:
        """Whether the two did the same on every text, and not only scored the same."""
        if self.detail is None or other.detail is None:
            return False
        return all(
            map(np.array_equal, *(one if isinstance(one, tuple) else (one,) for one in (self.detail, other.detail)))
        )


class Search:
    """Queries and passages: the share of a query's relevant passages among its ten nearest."""

    measure = "recall@10"

    def __init__(self, passages: Passages) -> None:
        self.data, self.texts = passages, passages.texts

    def run(self, candidate: Candidate) -> Tried:
        ranker = candidate.rank(self.data)
        ranks, found = np.zeros(len(self.data.queries)), np.zeros((len(self.data.queries), 3), dtype=int)

        def scores(rows: slice) -> Floats:
            block = ranker(rows)
            for number, line in enumerate(block, rows.start):
                ranks[number] = 1 + (line > line[list(self.data.relevant[number])].max()).sum()
            found[rows, : min(3, block.shape[1])] = top(block, min(3, block.shape[1]))
            return block

        estimate = ranking_of(scores, self.data.relevant, FIRST, pool=len(self.data.texts))
        return Tried(estimate, (ranks, found))

    def columns(self) -> dict[str, Sequence[object]]:
        labels = {"label": self.data.query_labels, **self.data.columns}
        return _columns(self.data.queries, labels)

    def part(self, one: Tried, other: Tried, mask: NDArray[np.bool_]) -> Estimate | None:
        return _of_values(one.estimate - other.estimate, mask)

    def disagreements(self, one: Tried, other: Tried) -> list[Disagreement]:
        """By how much the best answer's weight in the list, 1 / log2(1 + rank), differs."""
        ranks = [tried.detail[0] for tried in (one, other)]
        apart = np.abs(1 / np.log2(1 + ranks[0]) - 1 / np.log2(1 + ranks[1]))
        shown = []
        for query in np.argsort(-apart, kind="stable")[:SHOWN].tolist():
            if apart[query] == 0:
                break
            right = self._title(min(self.data.relevant[query]))
            asked = short(self.data.queries[query], 200)
            shown.append(Disagreement(asked, right, (self._put(query, one), self._put(query, other))))
        return shown

    def _put(self, query: int, tried: Tried) -> str:
        ranks, found = tried.detail
        first = "" if ranks[query] == 1 else f"; first: {self._title(int(found[query, 0]))}"
        return f"the answer comes {_place(ranks[query])}{first}"

    def _title(self, passage: int) -> str:
        name = self.data.names[passage]
        return short(f"{name}: {self.data.texts[passage]}" if name else self.data.texts[passage], 160)


class Neighbours:
    """Labelled sentences: the share of a sentence's five nearest that have its label."""

    measure = "neighbour accuracy"

    def __init__(self, sentences: pd.DataFrame) -> None:
        self.data, self.texts = sentences, sentences["text"].tolist()

    def run(self, candidate: Candidate) -> Tried | None:
        if not hasattr(candidate, "place"):
            return None
        vectors = candidate.place(self.texts)
        return Tried(neighbour_accuracy(vectors, self.data["label"]), vectors)

    def columns(self) -> dict[str, Sequence[object]]:
        return _columns(self.texts, {"label": self.data["label"].tolist()})

    def part(self, one: Tried, other: Tried, mask: NDArray[np.bool_]) -> Estimate | None:
        return _of_values(one.estimate - other.estimate, mask)

    def disagreements(self, one: Tried, other: Tried) -> list[Disagreement]:
        return []


class Pairs:
    """Graded pairs: how well similarity follows the grades."""

    def __init__(self, pairs: pd.DataFrame) -> None:
        self.data, self.measure = pairs, pair_score_name(pairs)
        self.texts = pd.unique(pairs[["sentence1", "sentence2"]].to_numpy().ravel()).tolist()

    def run(self, candidate: Candidate) -> Tried | None:
        if not hasattr(candidate, "compare"):
            return None
        similarity = candidate.compare(self.data)
        return Tried(pair_score(similarity, self.data), similarity)

    def columns(self) -> dict[str, Sequence[object]]:
        both = (self.data["sentence1"] + " " + self.data["sentence2"]).tolist()
        kind = self.data["kind"].tolist() if "kind" in self.data else []
        return _columns(both, {"kind": kind})

    def part(self, one: Tried, other: Tried, mask: NDArray[np.bool_]) -> Estimate | None:
        pairs = self.data[mask]
        pairs.attrs = self.data.attrs
        try:
            if pair_score_name(pairs) != self.measure:
                return None
            return pair_score(one.detail[mask], pairs) - pair_score(other.detail[mask], pairs)
        except ValueError:  # too few groups with two grades
            return None

    def disagreements(self, one: Tried, other: Tried) -> list[Disagreement]:
        """By how far apart the pair stands in the two orders of all pairs."""
        places = [100 * stats.rankdata(tried.detail) / len(tried.detail) for tried in (one, other)]
        grades = 100 * stats.rankdata(self.data["score"]) / len(self.data)
        apart = np.abs(places[0] - places[1])
        shown = []
        for row in np.argsort(-apart, kind="stable")[:SHOWN].tolist():
            if apart[row] == 0:
                break
            pair = self.data.iloc[row]
            asked = f"{short(pair['sentence1'], 140)} / {short(pair['sentence2'], 140)}"
            words = [f"more similar than {place[row]:.0f} of 100 pairs" for place in places]
            right = f"graded {pair['score']:g}, above {grades[row]:.0f} of 100 pairs"
            shown.append(Disagreement(asked, right, (words[0], words[1])))
        return shown


Trial = Search | Neighbours | Pairs


def trials(passages: Passages | None, sentences: pd.DataFrame | None, pairs: pd.DataFrame | None) -> dict[str, Trial]:
    """A trial for each kind of data that is given, the one that decides first. ValueError: nothing to decide by."""
    found: dict[str, Trial] = {}
    if passages is not None:
        found["passages"] = Search(passages)
    if pairs is not None:
        found["pairs"] = Pairs(pairs)
    if sentences is not None and "label" in sentences:
        found["sentences"] = Neighbours(sentences)
    if not found:
        raise ValueError("data: expected passages, pairs, or sentences with a label; there is nothing to decide by")
    return found


# ------------------------------------------------------------------------------------------------------------ slices


def _columns(texts: Sequence[str], given: Mapping[str, Sequence[object]]) -> dict[str, Sequence[object]]:
    """Length in thirds, negation, and the columns given: of many values the most common, the rest as "other"."""
    words = np.array([len(text.split()) for text in texts])
    third = np.searchsorted(np.quantile(words, [1 / 3, 2 / 3]), words, side="left")
    ends = {number: (words[third == number].min(), words[third == number].max()) for number in np.unique(third)}
    lengths = ["{} to {} words".format(*ends[number]) for number in third.tolist()]
    negated = ["with a negation" if NEGATION.search(text) else "without" for text in texts]
    return {"length": lengths, "negation": negated, **{name: _common(values) for name, values in given.items()}}


def _common(values: Sequence[object]) -> Sequence[object]:
    """At most `MOST_PARTS` parts; one part, which makes no slice, where hardly a value comes twice."""
    counts = pd.Series([str(value) for value in values], dtype=str).value_counts(sort=False)
    if len(counts) <= MOST_PARTS:
        return values
    most = set(counts.sort_values(ascending=False, kind="stable").index[: MOST_PARTS - 1])
    return [value if str(value) in most and counts[str(value)] > 1 else "other" for value in values]


def _of_values(difference: Estimate, mask: NDArray[np.bool_]) -> Estimate | None:
    """The difference on some of its units, whose pseudo-values are what each of them adds."""
    values = difference.parts[0].pseudo[mask]
    return Estimate.of(values, difference.unit) if len(values) > 1 else None


def _place(rank: float) -> str:
    return "first" if rank == 1 else f"at {rank:,.0f}"


def short(text: str, width: int) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


# -------------------------------------------------------------------------------------------------------------- cost


def timed(
    candidates: Mapping[str, Candidate], texts: Sequence[str], rounds: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, BaseException]]:
    """Texts a second of each candidate in each of the rounds, in which they take turns; and what failed."""
    speeds: dict[str, list[float]] = {name: [] for name in candidates}
    failed: dict[str, BaseException] = {}
    for number in range(-1, rounds) if rounds else ():  # the first only warms up
        for name, candidate in candidates.items():
            if name in failed:
                continue
            sample = list(texts) if number >= 0 or isinstance(candidate, Words) else list(texts[:16])
            try:
                started = clock()
                candidate.work(sample)
                if number >= 0:
                    speeds[name].append(len(sample) / max(clock() - started, 1e-9))
            except STOPS:
                raise
            except BaseException as error:
                failed[name] = error
    return {name: found for name, found in speeds.items() if name not in failed}, failed
