"""Candidates side by side on the same data: quality, cost, and which to take by rules that were fixed before.

    from stlib.review.compare import compare
    found = compare(["A", "A:pooling=cls", "B"], passages=load_passages("mine.csv"))
    found.advice, found.table(), found.lead("A", "BM25")

BM25 and TF-IDF are always among them. One that fails is left out and named; the others stand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stlib import hub
from stlib.evidence import controls
from stlib.evidence.estimate import Estimate, best_of
from stlib.evidence.passages import Passages
from stlib.evidence.records import machine, now, public_name, versions
from stlib.review.answers import Against, Answer, Cost, Slice, advice, sliced
from stlib.review.candidates import Candidate, Chance, Encoded, Recipe, Recorded, named, word_counters
from stlib.review.cells import path_hider
from stlib.review.known_texts import declared, known
from stlib.review.trials import FIRST, STOPS, Disagreement, Trial, Tried, timed, trials

SAMPLE = 96
"""Texts that are encoded in each round of timing."""
DEEPEST = 25.0
"""Points below the best that the picture of quality and cost reaches; what is on the Pareto front is in it anyway."""


@dataclass
class Comparison:
    """What was found.

    Attributes:
        advice, choice: the sentence on top of the page, and the candidate that it names.
        answers: {"passages", "pairs", "sentences": Answer} of the data that were given; the first decides.
        costs: of each candidate that stands. failed: why another does not.
        slices: by the first answer's data. disagreements: between the two of `disputed`.
        about: weights' hash and prompts of each candidate.
        warnings, not_tried: what the page says on them.
        data, versions, machine, date, seed, level, seconds: as in an evidence record.
    """

    advice: str
    choice: str
    baseline: str
    margin: float
    level: float
    answers: dict[str, Answer]
    costs: dict[str, Cost]
    failed: dict[str, str]
    slices: list[Slice]
    disputed: tuple[str, str]
    disagreements: list[Disagreement]
    about: dict[str, dict[str, Any]]
    warnings: list[str]
    not_tried: list[str]
    data: dict[str, dict[str, Any]]
    seed: int
    seconds: float
    versions: dict[str, str] = field(default_factory=versions)
    machine: dict[str, Any] = field(default_factory=machine)
    date: str = field(default_factory=now)

    @property
    def whole(self) -> bool:
        """Whether each candidate stands."""
        return not self.failed

    @property
    def answer(self) -> Answer:
        """The one that decides."""
        return next(iter(self.answers.values()))

    def lead(self, name: str, *over: str) -> Estimate:
        """By how much a candidate is ahead of the best of others, by the data that decide. ValueError: no such name."""
        known = self.answer.estimates
        if not over or not {name, *over} <= set(known):
            raise ValueError(f"lead: expected names among {list(known)}, got {[name, *over]}")
        return known[name] - best_of({one: known[one] for one in over})[1]

    def table(self) -> pd.DataFrame:
        """A row for each candidate, best first: its value, how far it lies from the baseline (intervals that hold
        together), and what it costs; below them those that failed."""
        answer, rows = self.answer, {}
        for name, one in sorted(answer.estimates.items(), key=lambda item: -item[1].value):
            other, cost = answer.against.get(name), self.costs[name]
            rows[name] = {
                f"{answer.measure}, points": round(one.value, 1),
                f"− {self.baseline}": _span(other) if other else "",
                "verdict": other.verdict if other else "baseline",
                "may be best": "yes" if name in answer.best else "",
                "texts a second": f"{cost.speed[0]:,.0f}" if cost.speed else "–",
                "bytes a vector": f"{cost.vector_bytes:,}" if cost.vector_bytes else "–",
            }
        table = pd.DataFrame.from_dict(rows, orient="index")
        for name, why in self.failed.items():
            table.loc[name] = [np.nan, "", f"missing: {why}", "", "–", "–"]
        return table

    def figure(self) -> Any:
        """Quality against seconds for a thousand texts, the Pareto front drawn; `None` where nothing was timed.

        What lies so far below the best that the rest would lie upon one another is named under the picture.
        """
        from stlib.evidence import figures

        points = {
            name: (1000 / cost.speed[0], self.answer.estimates[name])
            for name, cost in self.costs.items()
            if cost.speed and name in self.answer.estimates
        }
        if len(points) < 2:
            return None
        figures.use_style()
        front = figures.pareto({name: (cost, one.value) for name, (cost, one) in points.items()})
        least = max(one.value for _, one in points.values()) - DEEPEST
        below = [name for name, (_, one) in points.items() if one.value < least and name not in front]
        cost, unit = "seconds for 1,000 texts (log scale)", f"{self.answer.measure}, points"
        if below:
            cost += f"\nfar below: {', '.join(f'{name} ({points.pop(name)[1].value:.0f})' for name in below)}"
        return figures.quality_against_cost(points, cost, unit, level=self.level)


def _span(one: Against) -> str:
    low, high = one.interval
    return f"{one.difference.value:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−")


def compare(
    candidates: Mapping[str, Any] | Sequence[Any],
    *,
    passages: Passages | None = None,
    sentences: pd.DataFrame | None = None,
    pairs: pd.DataFrame | None = None,
    baseline: str | None = None,
    margin: float = 1.0,
    level: float = 0.95,
    rounds: int = 5,
    sample: int = SAMPLE,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Tries each candidate on the same data.

    Args:
        candidates: recipes (see `Recipe`), or {name: recipe, SentenceEncoder or Estimate}. An estimate is what was
            measured before on the units of the data that decide, such as a recall of the same queries.
        passages, sentences, pairs: as `stlib.evidence.corpora` loads them. Passages decide, else pairs, else sentences.
        baseline: the name of the one in use, the first by default. margin: the smallest difference, in points, that
            would change the decision.
        rounds: of timing, in which the candidates take turns; 0 times nothing. sample: texts encoded in each.
        progress: called with a line of text for each candidate.

    Raises:
        ValueError: bad arguments, before anything is loaded.
    """
    started, say = time.perf_counter(), progress or (lambda text: None)
    if not (np.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin: expected points from 0, got {margin!r}")
    if rounds < 0 or sample < 1:
        raise ValueError(f"rounds and sample: expected 0 or more of 1 or more texts, got {rounds} of {sample}")
    given = named(candidates)
    tasks = trials(passages, sentences, pairs)
    baseline = _baseline(baseline, given)
    for kind, task in tasks.items():
        try:
            task.run(Chance("chance", controls.bm25_index))
        except ValueError as error:
            raise ValueError(f"{kind}: nothing can be measured on them: {error}") from error
    standing, found, failed = _tried({**given, **word_counters()}, tasks, say)
    tasks = {kind: task for kind, task in tasks.items() if found[kind]}
    if not tasks:
        raise ValueError(f"candidates: none could be tried: {'; '.join(map(': '.join, failed.items()))}")
    texts = next(iter(tasks.values())).texts
    chosen = np.random.default_rng(seed).permutation(len(texts))[:sample]
    costs = _costs(standing, [texts[number] for number in chosen], rounds, failed, say)
    names = [name for name in standing if name not in failed]
    if baseline not in names:
        baseline = names[0]
    answers = {
        kind: Answer.of(
            task.measure, {name: found[kind][name].estimate for name in names if name in found[kind]},
            baseline if baseline in found[kind] else next(name for name in names if name in found[kind]), margin, level,
        )
        for kind, task in tasks.items()
    }  # fmt: skip
    choice, sentence = advice(answers, costs)
    kind, task = next(iter(tasks.items()))
    tries = {name: found[kind][name] for name in names if name in found[kind] and _runs(standing[name])}
    disputed = _disputed(answers[kind], choice, tries)
    hide = path_hider([str(Path(one.model).resolve()) for one in given.values() if isinstance(one, Recipe)], [])
    data = {"passages": passages, "sentences": sentences, "pairs": pairs}
    sources = {kind: dict(one.attrs) for kind, one in data.items() if one is not None}
    return Comparison(
        advice=sentence,
        choice=choice,
        baseline=baseline,
        margin=margin,
        level=level,
        answers=answers,
        costs={name: costs[name] for name in names},
        failed={name: hide(why) for name, why in failed.items()},
        slices=sliced(
            lambda name, mask: task.part(tries[name], tries[baseline], mask),
            [name for name in tries if name != baseline] if baseline in tries else [], task.columns(), level,
        ),
        disputed=disputed,
        disagreements=(
            task.disagreements(tries[disputed[0]], tries[disputed[1]]) if set(disputed) <= set(tries) else []
        ),
        about={name: _about(standing[name]) for name in names},
        warnings=_warnings(standing, names, sources, answers, costs, len(passages.texts) if passages else None),
        not_tried=_not_tried(tasks, sentences),
        data={kind: {name: told.get(name) for name in _TOLD} for kind, told in sources.items()},
        seed=seed,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


_TOLD = ("name", "sha256", "rows", "used", "stand_in")


def _runs(candidate: Candidate | Recorded) -> bool:
    return not isinstance(candidate, Recorded)


def _baseline(wanted: str | None, given: Mapping[str, Recipe | Encoded | Recorded]) -> str:
    """The name of the baseline among the candidates, which may be given as its recipe was."""
    if wanted is None:
        return next(iter(given))
    names = {name: name for name in (*given, *word_counters())}
    recipes = {one.text: name for name, one in reversed(list(given.items())) if isinstance(one, Recipe)}
    if wanted not in recipes | names:
        raise ValueError(f"baseline: {wanted!r} is not among the candidates: {', '.join(names)}")
    return (recipes | names)[wanted]


def _tried(
    candidates: Mapping[str, Any], tasks: Mapping[str, Trial], say: Callable[[str], None]
) -> tuple[dict[str, Candidate | Recorded], dict[str, dict[str, Tried]], dict[str, str]]:
    """Each candidate that loads and stands each trial, what it scored in them, and why another failed."""
    standing: dict[str, Candidate | Recorded] = {}
    found: dict[str, dict[str, Tried]] = {kind: {} for kind in tasks}
    failed: dict[str, str] = {}
    for name, one in sorted(candidates.items(), key=lambda item: not _runs(item[1])):
        started = time.perf_counter()
        try:
            candidate = replace(one.load(), name=name) if isinstance(one, Recipe) else one
            scores = _scores(candidate, tasks, found)
        except STOPS:
            raise
        except BaseException as error:  # models, tokenizers and allocators raise what they like; the others stand
            failed[name] = _why(error)
            say(f"{name}: failed: {failed[name]}\n")
            continue
        if not any(scores.values()):  # BM25, where there are no passages
            continue
        standing[name] = candidate
        for kind, tried in scores.items():
            if tried is not None:  # two that do the same on every text are one: their difference is 0 for certain
                found[kind][name] = next((other for other in found[kind].values() if other.same(tried)), tried)
        values = ", ".join(
            f"{tasks[kind].measure} {tried.estimate.value:.1f}" for kind, tried in scores.items() if tried
        )
        say(f"{name}: {values}, {time.perf_counter() - started:.0f} s\n")
    return standing, found, failed


def _scores(
    candidate: Candidate | Recorded, tasks: Mapping[str, Trial], found: Mapping[str, Mapping[str, Tried]]
) -> Mapping[str, Tried | None]:
    """What it scores by kind of data; what was measured before counts for the data that decide."""
    if isinstance(candidate, Recorded):
        kind = next(iter(tasks))
        for other in found[kind].values():
            _ = candidate.estimate - other.estimate  # ValueError: measured on other units
        return {kind: Tried(candidate.estimate, None)}
    return {kind: task.run(candidate) for kind, task in tasks.items()}


def _why(error: BaseException) -> str:
    line = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
    return line if len(line) <= 300 else f"{line[:299]}…"


def _costs(
    standing: Mapping[str, Candidate | Recorded],
    texts: Sequence[str],
    rounds: int,
    failed: dict[str, str],
    say: Callable[[str], None],
) -> dict[str, Cost]:
    """What each costs; one that fails over it goes to `failed`."""
    running = {name: one for name, one in standing.items() if not isinstance(one, Recorded)}
    if rounds:
        say(f"timing {len(running)} candidates in {rounds} rounds\n")
    speeds, errors = timed(running, texts, rounds, time.perf_counter)
    costs = {}
    for name in [name for name in standing if name not in errors]:
        found = speeds.get(name)
        speed = (float(np.median(found)), min(found), max(found)) if found else None
        try:
            costs[name] = replace(standing[name].cost(texts), speed=speed)
        except STOPS:
            raise
        except BaseException as error:
            errors[name] = error
    for name, problem in errors.items():
        failed[name] = _why(problem)
        say(f"{name}: failed: {failed[name]}\n")
    return costs


def _disputed(answer: Answer, choice: str, tries: Mapping[str, Tried]) -> tuple[str, str]:
    """The baseline and what would take its place: the choice, else the best of the others that were run."""
    others = {name: one.estimate.value for name, one in tries.items() if name != answer.baseline}
    if not others:
        return answer.baseline, answer.baseline
    return answer.baseline, choice if choice in others else max(others, key=lambda name: others[name])


def _about(candidate: Candidate | Recorded) -> dict[str, Any]:
    if not isinstance(candidate, Encoded):
        return {"sha256": None, "prompts": {}}
    folder = candidate.encoder.model.folder
    prompts = {side: prompt for side, prompt in candidate.prompts().items() if prompt}
    return {"sha256": hub.weights_sha256(folder) if folder else None, "prompts": prompts}


def _warnings(
    standing: Mapping[str, Candidate | Recorded],
    names: Sequence[str],
    sources: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, Answer],
    costs: Mapping[str, Cost],
    pool: int | None,
) -> list[str]:
    found = []
    for kind, told in sources.items():
        sets: dict[str, list[str]] = {}
        for name in names:
            one = standing[name]
            cards = declared(one.encoder.model.folder) if isinstance(one, Encoded) else []
            sets.setdefault("; ".join(known(public_name(str(told.get("name", kind))), cards)), []).append(name)
        for training, whose in sets.items():
            if training:
                who = ", ".join(whose)
                found.append(
                    f"Texts of the {kind} ({told.get('name', 'given')}) may be known to {who}, trained on {training}."
                )
    if pool is not None and pool <= FIRST:
        found.append(f"The pool has {pool} passages: all of them are among the first {FIRST}, so recall says nothing.")
    for kind, answer in answers.items():
        units = answer.estimates[answer.baseline].units
        if units < 50:
            found.append(f"The {kind} hold {units} independent units ({answer.unit}): few differences can be decided.")
    if list(sources) == ["pairs"] and sources["pairs"].get("name") == "built-in":
        found.append(
            "The built-in pairs are a diagnostic of traps, written by rule: no decision should rest on them alone."
        )
    for name in names:
        cut = costs[name].cut or 0.0
        if cut > 0.1:
            found.append(
                f"{name} reads the first {costs[name].limit} tokens: {100 * cut:.0f} % of a sample of texts are longer."
            )
    return found


def _not_tried(tasks: Mapping[str, Trial], sentences: pd.DataFrame | None) -> list[str]:
    found = [f"No {kind}: none were given." for kind in ("passages", "pairs", "sentences") if kind not in tasks]
    if sentences is not None and "sentences" not in tasks:
        found[-1] = "The sentences have no label, so that nothing was decided by them."
    if set(tasks) - {"passages"}:
        found.append("BM25 on pairs and sentences: its scores of a query cannot be compared with another query's.")
    return [
        *found,
        "Two candidates together, such as BM25 and vectors, or a second model that ranks again.",
        "Fine-tuning on your data, other prompts than those declared, and an approximate index.",
        "Other machines: speeds were measured on this one, and differ on a GPU.",
        "What the texts do not contain: other languages, other lengths, what users will ask tomorrow.",
    ]
