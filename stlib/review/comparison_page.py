"""A comparison as a page that stands alone, and as JSON: the shape of the record is said once, by its dataclasses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from stlib.evidence.estimate import Estimate
from stlib.evidence.records import schema, write_whole
from stlib.review import page
from stlib.review.answers import Answer, Cost, Slice, Verdict, points, rounded
from stlib.review.compare import Comparison
from stlib.review.trials import Disagreement

VERSION = 1
GENERATOR = '<meta name="generator" content="stlib compare">'
SIGNS = {"better": "▲", "worse": "▼", "no difference": "=", "no worse": "≥", "no better": "≤", "open": "?"}
LOOKS = {"better": "holds", "worse": "does-not-hold", "no difference": "holds", "no worse": "holds"}


@dataclass(frozen=True)
class Score:
    """One candidate on one kind of data, in points. difference: to the baseline; its interval holds together with the
    others'. more: how many units would settle it; `None` where it is settled."""

    value: float
    interval: tuple[float, float]
    standard_error: float
    units: int
    difference: float | None
    difference_interval: tuple[float, float] | None
    verdict: Verdict | Literal["baseline"]
    more: int | Literal["no number of them"] | None
    may_be_best: bool
    shown_to_do: bool


@dataclass(frozen=True)
class Candidate:
    name: str
    sha256: str | None
    prompts: dict[str, str]
    cost: Cost
    scores: dict[str, Score]


@dataclass(frozen=True)
class Record:
    """comparison.json. measures, units: of each kind of data, the one that decides first."""

    version: int
    advice: str
    choice: str
    baseline: str
    margin: float
    level: float
    measures: dict[str, str]
    units: dict[str, str]
    candidates: list[Candidate]
    failed: dict[str, str]
    slices: list[Slice]
    disputed: tuple[str, str]
    disagreements: list[Disagreement]
    warnings: list[str]
    not_tried: list[str]
    data: dict[str, dict[str, Any]]
    seed: int
    seconds: float
    versions: dict[str, str]
    machine: dict[str, Any]
    date: str

    @classmethod
    def of(cls, found: Comparison) -> Record:
        scores = {kind: _scores(answer, found.level) for kind, answer in found.answers.items()}
        same = {field.name for field in fields(cls)} & {field.name for field in fields(found)}
        best_first = sorted(found.costs, key=lambda name: -_value(found.answer.estimates.get(name)))
        return cls(
            version=VERSION,
            measures={kind: answer.measure for kind, answer in found.answers.items()},
            units={kind: answer.unit for kind, answer in found.answers.items()},
            candidates=[
                Candidate(
                    name, found.about[name]["sha256"], found.about[name]["prompts"], found.costs[name],
                    {kind: one[name] for kind, one in scores.items() if name in one},
                )
                for name in best_first
            ],
            **{name: getattr(found, name) for name in same},
        )  # fmt: skip


def _value(estimate: Estimate | None) -> float:
    return -math.inf if estimate is None else estimate.value


def _scores(answer: Answer, level: float) -> dict[str, Score]:
    found = {}
    for name, one in answer.estimates.items():
        against = answer.against.get(name)
        more: Any = against.more if against else None
        if more is not None:
            more = "no number of them" if math.isinf(more) else rounded(more)
        found[name] = Score(
            value=one.value,
            interval=one.interval(level),
            standard_error=one.standard_error,
            units=one.units,
            difference=against.difference.value if against else None,
            difference_interval=against.interval if against else None,
            verdict=against.verdict if against else "baseline",
            more=more,
            may_be_best=name in answer.best,
            shown_to_do=name in answer.safe,
        )
    return found


def comparison_schema() -> dict[str, Any]:
    """The JSON Schema of comparison.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "stlib compare", **schema(Record)}


# -------------------------------------------------------------------------------------------------------------- page


def write(found: Comparison, folder: Path) -> None:
    """Writes comparison.json and index.html, each beside its place and renamed, the page last."""
    folder.mkdir(parents=True, exist_ok=True)
    record = Record.of(found)
    text = rendered(record, _figure(found))
    write_whole(folder / "comparison.json", asdict(record))
    beside = folder / ".index.html.new"
    beside.write_text(text, encoding="utf-8")
    beside.replace(folder / "index.html")


def rendered(record: Record, figure: Markup) -> str:
    templates = page.environment(GENERATOR)
    templates.globals |= {"SIGNS": SIGNS, "LOOKS": LOOKS, "chart": _chart, "points": points, "size": _size}
    templates.filters |= {"signed": _signed, "one": lambda number: f"{number:.1f}".replace("-", "−")}
    kind = next(iter(record.measures))
    parts = list(dict.fromkeys((one.column, one.part) for one in record.slices))
    cells = {(one.column, one.part, one.candidate): one for one in record.slices}
    return templates.get_template("compare.html.j2").render(
        record=record,
        first=kind,
        baselines={
            kind: next(
                one.name for one in record.candidates if kind in one.scores and one.scores[kind].difference is None
            )
            for kind in record.measures
        },
        figure=figure,
        parts=parts,
        cells=cells,
        sliced=list(dict.fromkeys(one.candidate for one in record.slices)),
        best=[one.name for one in record.candidates if kind in one.scores and one.scores[kind].may_be_best],
    )


def _figure(found: Comparison) -> Markup:
    """Quality against cost as an image with its words."""
    from stlib.evidence import figures

    figure = found.figure()
    if figure is None:
        return Markup("")
    points = {
        name: (1000 / cost.speed[0], found.answer.estimates[name].value)
        for name, cost in found.costs.items()
        if cost.speed and name in found.answer.estimates
    }
    alt = f"{found.answer.measure} of each candidate against the seconds it takes for 1,000 texts; nothing beats " + (
        ", ".join(figures.pareto(points)) + " at its price."
    )
    data, _ = figures.bundle(figure, alt)
    picture = Markup('<figure class="quality"><img src="data:image/png;base64,{}" alt="{}"></figure>')
    return picture.format("".join(data["image/png"].split()), alt)


def _chart(score: Score, scores: Sequence[Score], margin: float) -> Markup:
    """The difference on the scale that all share; shaded is what makes no difference."""
    if score.difference is None or score.difference_interval is None:
        return Markup("")
    scale = [end for one in scores for end in one.difference_interval or ()]
    edges = [-margin, margin]
    return page.chart(score.difference, score.difference_interval, edges, (-margin, margin), [*scale, *edges])


def _signed(number: float) -> str:
    return f"{number:+.1f}".replace("-", "−").replace("+0.0", "0.0").replace("−0.0", "0.0")


def _size(count: float | None) -> str:
    """Bytes in the unit that suits."""
    if count is None:
        return "–"
    for unit, most in (("bytes", 10_000), ("kB", 1e7), ("MB", 1e10)):
        if count < most:
            return (
                f"{count:,.0f} {unit}" if unit == "bytes" else f"{count / (1e3 if unit == 'kB' else 1e6):,.0f} {unit}"
            )
    return f"{count / 1e9:,.1f} GB"
