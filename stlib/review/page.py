"""The pages of a review, from executed notebooks and their evidence.

Each file stands alone: style and pictures lie inside, there is no script, and a content policy forbids the rest.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stlib.evidence.claims import SYMBOLS, Claim, difference_decided, headlines, number_text
from stlib.evidence.records import Record, public_name, recorded
from stlib.review import cells

REFERENCE_RUN = "minilm"
GENERATOR = '<meta name="generator" content="stlib review">'
HERE = Path(__file__).parent


@dataclass
class Result:
    """What became of one notebook: of a lesson, or of its lab, whose name ends in ".lab".

    error: empty when it ran to its end. hide: takes absolute paths out of a text.
    """

    name: str
    seconds: float
    error: str
    notebook: nbformat.NotebookNode
    record: Record | None
    hide: Callable[[str], str] = str

    @property
    def lab(self) -> bool:
        return self.name.endswith(".lab")

    @property
    def path(self) -> str:
        """Of the notebook, in the series."""
        return f"labs/{self.name.removesuffix('.lab')}.ipynb" if self.lab else f"{self.name}.ipynb"

    @cached_property
    def claims(self) -> list[Claim]:
        """Its claims, the headline first."""
        return sorted(self.record.claims if self.record else [], key=lambda claim: not claim.definition.headline)

    @cached_property
    def reference(self) -> dict[str, Claim]:
        """The claims of the lesson and its lab in the recorded run of the reference model, by id; maybe none."""
        try:
            return {claim.id: claim for claim in recorded(REFERENCE_RUN, self.name.removesuffix(".lab")).claims}
        except FileNotFoundError:
            return {}

    @property
    def title(self) -> str:
        texts = (cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")
        found = next((match for text in texts if (match := re.search(r"^# (.+)$", text, re.MULTILINE))), None)
        return found[1].strip() if found else self.name

    @property
    def short_title(self) -> str:
        return self.title.partition(":")[0] + " (lab)" * self.lab

    def stand_in(self, claim: Claim) -> bool:
        """Whether the claim is undecided because no data were given."""
        data = self.record.data.get(claim.definition.on, {}) if self.record else {}
        return bool(data.get("stand_in"))

    def differs(self, claim: Claim) -> Claim | None:
        """The reference run's claim, where its verdict is another and the two measurements differ beyond chance."""
        other = self.reference.get(claim.id)
        if other is None or self.stand_in(claim) or other.verdict == claim.verdict:
            return None
        return other if difference_decided(claim, other) else None

    def cell_of(self, claim_id: str) -> int | None:
        """The cell that decides the claim, else the first code that names it."""
        naming = [
            number
            for number, cell in enumerate(self.notebook.cells)
            if cell.cell_type == "code" and re.search(rf"""["']{re.escape(claim_id)}["']""", cell.source)
        ]
        deciding = [number for number in naming if "decide(" in self.notebook.cells[number].source]
        return next(iter([*deciding, *naming]), None)

    def figure_of(self, claim_id: str) -> dict[str, Any] | None:
        """The figure that decided the claim: the last before its cell or the first after, in the cell's own section
        if there is one, else the last before."""
        figures: list[dict[str, Any]] = [
            {**figure, "cell": number}
            for number, cell in enumerate(self.notebook.cells)
            for output in cell.get("outputs", [])
            if (figure := cells.figure_of(output, self.hide))
        ]
        at = self.cell_of(claim_id)
        if at is None or not figures:
            return None
        headings = [
            number
            for number, cell in enumerate(self.notebook.cells)
            if cell.cell_type == "markdown" and re.search(r"^##+ ", cell.source, re.MULTILINE)
        ]
        start = max((number for number in headings if number <= at), default=0)
        end = min((number for number in headings if number > at), default=len(self.notebook.cells))
        near = [figure for figure in figures if start <= figure["cell"] < end] or figures
        before = [figure for figure in near if figure["cell"] <= at]
        return before[-1] if before else near[0]


@dataclass
class Review:
    """One run of the series: `results` in its order, `seconds` in all."""

    parameters: Mapping[str, Any]
    date: datetime
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether each notebook ran to its end."""
        return not any(result.error for result in self.results)

    @property
    def own(self) -> bool:
        """Whether it is about data of the reader's."""
        return not {self.parameters[kind] for kind in ("pairs", "sentences", "passages")} <= {"built-in", "none"}


def is_ours(path: Path, generator: str = GENERATOR) -> bool:
    """Whether the file is there and was written by this package, by the command that `generator` names."""
    return path.is_file() and generator in path.read_text(encoding="utf-8", errors="replace")[:2000]


def environment(generator: str = GENERATOR) -> Environment:
    """Of the templates, with what all pages use."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    style = (HERE / "templates" / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    made.globals |= {"generator": Markup(generator), "symbols": SYMBOLS, "style": Markup(style)}
    made.globals["policy"] = Markup(
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; style-src-attr 'unsafe-inline'; "
        "form-action 'none'; base-uri 'none'"
    )
    made.filters |= {"duration": _duration, "number": number_text, "slug": lambda text: text.replace(" ", "-")}
    return made


def write(review: Review, folder: Path) -> None:
    """Writes `index.html` and a page for each notebook."""
    templates = environment()
    templates.globals |= {"chart": _chart, "review": review, "model": public_name(str(review.parameters["model"]))}
    templates.filters["asked"] = _asked
    pages = {result.path: f"{result.name}.html" for result in review.results}
    for number, result in enumerate(review.results):
        here = {
            at: [claim for claim in result.claims if result.cell_of(claim.id) == at]
            for at in map(result.cell_of, (claim.id for claim in result.claims))
        }
        text = templates.get_template("notebook.html.j2").render(
            result=result, claims=here,
            cells=cells.shown(result.notebook, pages, "labs" * result.lab, result.hide, list(map(repr, result.claims))),
            previous=review.results[number - 1] if number else None,
            following=review.results[number + 1] if number + 1 < len(review.results) else None,
        )  # fmt: skip
        (folder / f"{result.name}.html").write_text(text, encoding="utf-8")
    text = templates.get_template("index.html.j2").render(
        decisions=[_decision(result) for result in review.results if not result.lab],
        differing=_differing(review),
        counts=Counter(claim.verdict for result in review.results for claim in result.claims),
        compared=any(result.reference for result in review.results),
        evidence=_merged(review),
        level=f"{100 * (1 - 0.05 / headlines()):.1f} %",
    )
    (folder / "index.html").write_text(text, encoding="utf-8")


def _decision(result: Result) -> dict[str, Any]:
    """The row of one lesson: its headline claim, and what it means for the design."""
    headline = next((claim for claim in result.claims if claim.definition.headline), None)
    answer = headline.advice if headline else ""
    if headline and result.stand_in(headline):
        answer = f"Open: give {headline.definition.on} of your own. Until then: {answer[:1].lower()}{answer[1:]}"
    return {
        "result": result, "headline": headline, "answer": answer, "figure": headline and result.figure_of(headline.id)
    }  # fmt: skip


def _differing(review: Review) -> list[tuple[Result, Claim, Claim]]:
    """Claims that differ from the reference run's, headlines first."""
    found = [
        (result, claim, other)
        for result in review.results
        for claim in result.claims
        if (other := result.differs(claim))
    ]
    return sorted(found, key=lambda row: not row[1].definition.headline)


def _merged(review: Review) -> dict[str, Any]:
    """What the records say in common: model, data, versions, machine; empty where no notebook wrote any."""
    records = [result.record for result in review.results if result.record]
    data: dict[str, Any] = {}
    for record in records:
        data |= {kind: about for kind, about in record.data.items() if kind not in data or data[kind]["stand_in"]}
    return {**vars(records[0]), "data": data} if records else {}


def _chart(claim: Claim) -> Markup:
    """The interval beside its criterion; shaded is where the claim holds. The numbers stand beside it."""
    if claim.interval is None or claim.value is None:
        return Markup("")
    asked = claim.definition
    edges = {"within": [-asked.bound, asked.bound], "no_worse_than": [-asked.bound]}.get(asked.criterion, [asked.bound])
    start = None if asked.criterion == "at_most" else edges[0]
    end = edges[-1] if asked.criterion in ("at_most", "within") else None
    return chart(claim.value, claim.interval, edges, (start, end), (*claim.interval, *edges))


def chart(
    value: float,
    interval: tuple[float, float],
    edges: Sequence[float],
    shaded: tuple[float | None, float | None],
    scale: Sequence[float],
) -> Markup:
    """An interval to scale, with dashed edges and a shaded part (`None`: to the end); all of `scale` is inside."""
    least, most = min(scale), max(scale)
    room = (most - least or 1.0) * 0.18
    least, most = least - room, most + room

    def x(number: float | None, otherwise: float = 0.0) -> str:
        return f"{200 * ((otherwise if number is None else number) - least) / (most - least):.1f}"

    start, end = x(shaded[0], least), x(shaded[1], most)
    lines = "".join(f'<line class="edge" x1="{x(edge)}" x2="{x(edge)}" y1="2" y2="22"/>' for edge in edges)
    return Markup(
        f'<svg class="chart" viewBox="0 0 200 24" preserveAspectRatio="xMinYMid" aria-hidden="true" focusable="false">'
        f'<rect x="{start}" y="2" width="{float(end) - float(start):.1f}" height="20"/>{lines}'
        f'<line class="span" x1="{x(interval[0])}" x2="{x(interval[1])}" y1="12" y2="12"/>'
        f'<circle cx="{x(value)}" cy="12" r="4.5"/></svg>'
    )


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60:02} s"


def _asked(claim: Claim) -> str:
    """The criterion with its unit."""
    asked = claim.definition
    return f"{asked.criterion_text} {'point' if asked.bound == 1 and asked.unit == 'points' else asked.unit}"
