"""The pages of a review, from executed notebooks and their evidence: plain HTML that asks the network for nothing.

Each file stands alone: style and pictures lie inside, there is no script, and a content policy forbids the rest.
"""

from __future__ import annotations

import csv
import html
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stlib.evidence.claims import SYMBOLS, Claim, number_text, public_name, recorded

REFERENCE_RUN = "minilm_builtin"
GENERATOR = '<meta name="generator" content="stlib review">'
HERE = Path(__file__).parent


def _identity(text: str) -> str:
    return text


@dataclass
class Result:
    """What became of one notebook. error: empty when it ran to its end. hide: takes absolute paths out of a text."""

    name: str
    seconds: float
    error: str
    notebook: nbformat.NotebookNode
    evidence: dict[str, Any] | None
    hide: Callable[[str], str] = _identity

    @cached_property
    def claims(self) -> list[Claim]:
        """Its claims, the headline first."""
        return sorted(_claims(self.evidence), key=lambda claim: not claim.headline)

    @cached_property
    def reference(self) -> dict[str, Claim]:
        """The same claims in the recorded run of the reference model, by id; empty where none is recorded."""
        try:
            return {claim.id: claim for claim in _claims(recorded(REFERENCE_RUN, self.name))}
        except FileNotFoundError:
            return {}

    @property
    def title(self) -> str:
        texts = (cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")
        found = next((match for text in texts if (match := re.search(r"^# (.+)$", text, re.MULTILINE))), None)
        return found[1].strip() if found else self.name

    def stand_in(self, claim: Claim) -> bool:
        """Whether the claim is undecided because no data were given."""
        return bool(self.evidence and claim.on and self.evidence["data"].get(claim.on, {}).get("stand_in"))

    def differs(self, claim: Claim) -> Claim | None:
        """The reference run's claim, where its verdict is another and the data were given."""
        other = self.reference.get(claim.id)
        return other if other and other.verdict != claim.verdict and not self.stand_in(claim) else None

    def cell_of(self, claim_id: str) -> int | None:
        """The cell that checks the claim, else the first code that names it."""
        naming = [
            number
            for number, cell in enumerate(self.notebook.cells)
            if cell.cell_type == "code" and re.search(rf"""["']{re.escape(claim_id)}["']""", cell.source)
        ]
        checking = [number for number in naming if ".check(" in self.notebook.cells[number].source]
        return next(iter([*checking, *naming]), None)

    def figure_of(self, claim_id: str) -> dict[str, Any] | None:
        """The figure that decided the claim: the last before its check or the first after, in the check's own section
        if there is one, else the last before."""
        figures: list[dict[str, Any]] = [
            {"source": f"data:image/png;base64,{''.join(picture.split())}", "alt": _alt(output), "cell": number}
            for number, cell in enumerate(self.notebook.cells)
            for output in cell.get("outputs", [])
            if (picture := output.get("data", {}).get("image/png"))
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
    """One run of the series."""

    parameters: Mapping[str, Any]
    date: datetime
    results: list[Result] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether each notebook ran to its end."""
        return not any(result.error for result in self.results)


def is_ours(path: Path) -> bool:
    """Whether the file is there and was written by this module."""
    return path.is_file() and GENERATOR in path.read_text(encoding="utf-8", errors="replace")[:2000]


def write(review: Review, folder: Path) -> None:
    """Writes `index.html` and a page for each notebook."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals |= {"generator": Markup(GENERATOR), "symbols": SYMBOLS, "chart": _chart}
    environment.filters |= {"asked": _asked, "duration": _duration, "number": number_text}
    environment.filters |= {"slug": _slug, "spelled": _spelled}
    names = [result.name for result in review.results]
    common = {"review": review, "model": public_name(str(review.parameters["model"]))}
    for number, result in enumerate(review.results):
        neighbours = [review.results[at] if 0 <= at < len(names) else None for at in (number - 1, number + 1)]
        text = environment.get_template("notebook.html.j2").render(
            **common, result=result, cells=_cells(result, names), previous=neighbours[0], following=neighbours[1]
        )
        (folder / f"{result.name}.html").write_text(text, encoding="utf-8")
    own = not {review.parameters["pairs"], review.parameters["sentences"]} <= {"built-in", "none"}
    text = environment.get_template("index.html.j2").render(
        **common,
        decisions=[_decision(result, own) for result in review.results],
        differing=_differing(review, own),
        counts=Counter(claim.verdict for result in review.results for claim in result.claims),
        compared=any(result.reference for result in review.results),
        evidence=_merged(review),
        own=own,
    )
    (folder / "index.html").write_text(text, encoding="utf-8")


# --- The index --------------------------------------------------------------------------------------------------------


def _claims(evidence: Mapping[str, Any] | None) -> list[Claim]:
    return [Claim.from_record(entry) for entry in (evidence["claims"] if evidence else [])]


def _words(name: str, own: bool = True) -> dict[str, str]:
    """The question that a notebook answers, and the answer in words for each verdict. own: on data of the reader's."""
    with (HERE.parent / "evidence" / "data" / "decisions.csv").open(encoding="utf-8", newline="") as file:
        row = next((row for row in csv.DictReader(file) if row["notebook"] == name), {})
    return {key: words if own else words.replace("your", "these") for key, words in row.items()}


def _decision(result: Result, own: bool) -> dict[str, Any]:
    """The row of one notebook: its headline claim, and what it means for the design."""
    headline = next((claim for claim in result.claims if claim.headline), None)
    words = _words(result.name, own)
    answer = words.get(headline.verdict, "") if headline else ""
    if headline and result.stand_in(headline):
        answer = f"Open: give {headline.on} of your own and run this again."
    return {
        "result": result,
        "question": words.get("question") or result.title,
        "headline": headline,
        "answer": answer,
        "figure": headline and result.figure_of(headline.id),
    }


def _differing(review: Review, own: bool) -> list[dict[str, Any]]:
    """Claims whose verdict is not the reference run's, headlines first."""
    found = []
    for result in review.results:
        for claim in result.claims:
            other = result.differs(claim)
            if other:
                words = _words(result.name, own).get(claim.verdict, "") if claim.headline else ""
                found.append({"result": result, "claim": claim, "other": other, "answer": words})
    return sorted(found, key=lambda row: not row["claim"].headline)


def _merged(review: Review) -> dict[str, Any]:
    """What the evidence files say in common: model, data, versions, machine; empty where no notebook wrote any."""
    records = [result.evidence for result in review.results if result.evidence]
    merged: dict[str, Any] = {**records[0], "data": {}} if records else {}
    for record in records:
        for kind, data in record["data"].items():
            if not data["stand_in"]:
                merged["data"][kind] = data
            else:
                merged["data"].setdefault(kind, data)
    return merged


def _chart(claim: Claim) -> Markup:
    """The interval beside its criterion, to scale; shaded is where the claim holds. The numbers stand beside it."""
    if claim.interval is None or claim.bound is None or claim.value is None:
        return Markup("")
    low, high = claim.interval
    edges = [-claim.bound, claim.bound] if claim.criterion == "within" else [claim.bound]
    least, most = min(low, *edges), max(high, *edges)
    room = (most - least or 1.0) * 0.18
    least, most = least - room, most + room

    def x(number: float) -> str:
        return f"{200 * (number - least) / (most - least):.1f}"

    start, end = {
        "at_least": (claim.bound, most), "at_most": (least, claim.bound), "within": (-claim.bound, claim.bound)
    }[claim.criterion]  # fmt: skip
    width = f"{float(x(end)) - float(x(start)):.1f}"
    lines = "".join(f'<line class="edge" x1="{x(edge)}" x2="{x(edge)}" y1="2" y2="22"/>' for edge in edges)
    return Markup(
        f'<svg class="chart" viewBox="0 0 200 24" preserveAspectRatio="xMinYMid" aria-hidden="true" focusable="false">'
        f'<rect x="{x(start)}" y="2" width="{width}" height="20"/>{lines}'
        f'<line class="span" x1="{x(low)}" x2="{x(high)}" y1="12" y2="12"/>'
        f'<circle cx="{x(claim.value)}" cy="12" r="4.5"/></svg>'
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"


def _slug(text: str) -> str:
    return text.replace(" ", "-")


def _asked(claim: Claim) -> str:
    """The criterion with its unit."""
    if claim.bound is None:
        return "exact"
    unit = "point" if claim.bound == 1 and claim.unit == "points" else claim.unit
    return f"{claim.criterion_text.replace('-', '−')} {unit}".strip()


def _spelled(claim: Claim) -> str:
    """Value and interval as a phrase."""
    interval = f" ({claim.interval_text})" if claim.interval else ""
    return f"{claim.measured}{interval}" if claim.value is not None else ""


# --- The notebooks ----------------------------------------------------------------------------------------------------


def _cells(result: Result, names: Iterable[str]) -> list[dict[str, Any]]:
    """What a page shows of each cell: id, kind, content, outputs, and the claims checked in it."""
    checked: dict[int, list[Claim]] = {}
    for claim in result.claims:
        at = result.cell_of(claim.id)
        if at is not None:
            checked.setdefault(at, []).append(claim)
    cells = []
    for number, cell in enumerate(result.notebook.cells):
        tags = cell.metadata.get("tags", [])
        if any(tag.startswith("papermill-error") for tag in tags):
            continue  # the page says it in its own words
        claims = checked.get(number, [])
        shown: dict[str, Any] = {"id": f"cell-{number}", "claims": claims, "outputs": []}
        if cell.cell_type == "markdown":
            shown |= {"kind": "text", "content": _tidy(_markdown(result.hide(cell.source)), names)}
        elif cell.cell_type == "code" and cell.source.strip():
            shown |= {"kind": "code", "content": _highlighted(result.hide(cell.source))}
            shown["outputs"] = [
                _output(output, result.hide, names)
                for output in cell.get("outputs", [])
                # the page has its own line for a verdict
                if output.get("data", {}).get("text/plain") not in map(repr, claims)
            ]
        else:
            continue
        shown["injected"] = "injected-parameters" in tags
        cells.append(shown)
    return cells


def _output(output: nbformat.NotebookNode, hide: Callable[[str], str], names: Iterable[str]) -> Markup:
    if output.output_type == "stream":
        return Markup("<pre>{}</pre>").format(_plain(hide(output.text)))
    if output.output_type == "error":
        return Markup('<pre class="error">{}</pre>').format(_plain(hide(f"{output.ename}: {output.evalue}")))
    data = output.get("data", {})
    if "text/html" in data:
        return _tidy(hide(data["text/html"]), names)
    if "text/markdown" in data:
        return _tidy(_markdown(hide(data["text/markdown"])), names)
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            picture = "".join(data[kind].split())
            return Markup('<figure><img src="data:{};base64,{}" alt="{}"></figure>').format(kind, picture, _alt(output))
    text = data.get("text/plain", "")
    return Markup("<pre>{}</pre>").format(_plain(hide(text))) if text else Markup("")


def _alt(output: nbformat.NotebookNode) -> str:
    told = output.get("metadata", {}).get("image/png", {}).get("alt")
    text = output.get("data", {}).get("text/plain", "")
    return str(told or ("" if text.startswith("<Figure") else text) or "a figure without a description")


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip("\n")


def _markdown(source: str) -> str:
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    text: str = MarkdownWithMath(renderer=IPythonRenderer(escape=False, exclude_anchor_links=True)).render(source)
    return text


def _highlighted(source: str) -> Markup:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n"))


def _tidy(text: str, names: Iterable[str]) -> Markup:
    """HTML without what would be fetched or run, and with its links on pages that are there."""
    text = re.sub(r"<(script|iframe|object|svg\s+onload)\b.*?</\1>", "", text, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"<(?:link|meta|base|embed)\b[^>]*>", "", text, flags=re.IGNORECASE)

    def picture(match: re.Match[str]) -> str:
        if re.search(r"""src\s*=\s*["']?data:""", match[0]):
            return match[0]
        alt = re.search(r"""alt\s*=\s*"([^"]*)\"""", match[0])
        return f"[{alt[1] if alt else 'picture'}]"

    def link(match: re.Match[str]) -> str:
        target, words = html.unescape(match[2]), match[4]
        if re.match(r"(https?|mailto):|#", target):
            return match[0]
        stem, _, anchor = Path(target).name.partition("#")
        name = stem.removesuffix(".ipynb")
        if "solutions" not in target and name in names:
            return f'<a href="{name}.html{"#" + anchor if anchor else ""}">{words}</a>'
        return words

    text = re.sub(r"<img\b[^>]*>", picture, text, flags=re.IGNORECASE)
    text = re.sub(r'<a\b([^>]*?)href="([^"]*)"([^>]*)>(.*?)</a>', link, text, flags=re.DOTALL)
    return Markup(text)


# --- Paths ------------------------------------------------------------------------------------------------------------


def path_hider(sources: Iterable[str], folders: Iterable[str]) -> Callable[[str], str]:
    """A function that leaves of each absolute path its last part.

    sources: what the reader gave, which may hold any character. folders: others that the run used.
    """
    given = sorted((source for source in sources if Path(source).is_absolute()), key=len, reverse=True)
    roots = {str(Path.home()), tempfile.gettempdir(), sys.prefix, sys.base_prefix, str(HERE.parents[1]), str(Path.cwd())}
    roots |= {str(Path(source).parent) for source in given} | set(folders)
    named = "|".join(re.escape(root) for root in sorted(roots, key=len, reverse=True) if len(root) > 3)
    usual = r"/(?:home|root|tmp|Users|usr|opt|var|mnt|private)(?=/)"
    pattern = re.compile(rf"(?<![\w.<])(?:{named}|{usual})(?:[/\\][\w.@+-]+)*[/\\]?")

    def last(match: re.Match[str]) -> str:
        return Path(match[0].rstrip("/\\")).name or "…"

    def hide(text: str) -> str:
        for source in given:
            text = text.replace(source, Path(source).name)
        # A picture's base64 may hold any letters: it is no text.
        parts = re.split(r"(data:image/[^\"')]*)", text)
        return "".join(part if number % 2 else pattern.sub(last, part) for number, part in enumerate(parts))

    return hide
