"""A design claim, its evidence, its verdict.

A claim states its criterion before the run. `at_least=c` holds when the whole interval is at or above `c` and does not
hold when the whole interval is below; in between it is not decided. `at_most=c` and `within=d` (inside -d to d) go the
same way.
`exact=condition` is for proofs, parity and counts, which have no interval.
"""

from __future__ import annotations

import hashlib
import html
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from stlib import checkpoint
from stlib.evidence import corpora as datasets
from stlib.checkpoint import REFERENCE_SHA256
from stlib.evidence.evaluation import HEADLINE_LEVEL

Verdict = Literal["holds", "does not hold", "not decided"]
SYMBOLS: dict[str, str] = {"holds": "✓", "does not hold": "✗", "not decided": "?"}

SCHEMA_VERSION = 1
PACKAGES = ("stlib", "torch", "transformers", "sentence-transformers", "scikit-learn", "numpy")


@dataclass(frozen=True, repr=False)
class Claim:
    """One claim with its criterion, what was measured, and the verdict that follows."""

    id: str
    claim: str
    value: float | None
    unit: str
    interval: tuple[float, float] | None
    level: float | None
    criterion: str
    bound: float | None
    verdict: Verdict
    headline: bool
    on: str | None
    detectable: float | None
    expected: Verdict | None
    flips_when: str
    note: str

    def __repr__(self) -> str:
        return f"{self.id}: {self.verdict}"

    def _repr_markdown_(self) -> str:
        """The verdict in a line, with the numbers as the table at the end of a notebook has them."""
        numbers = f": {self.measured}, interval {self.interval_text}" if self.interval else ""
        return f"`{self.id}`: **{SYMBOLS[self.verdict]} {self.verdict}**{numbers}"

    @classmethod
    def from_record(cls, entry: Mapping[str, Any]) -> Claim:
        """A claim as an evidence file has it."""
        return cls(**{**entry, "interval": entry["interval"] and tuple(entry["interval"])})

    @property
    def measured(self) -> str:
        """The value with its unit."""
        if self.value is None:
            return "–"
        whole = self.interval is None and float(self.value).is_integer()
        number = f"{self.value:,.0f}" if whole else number_text(self.value, self.unit, self._width)
        return f"{number} {self.unit}".strip()

    @property
    def interval_text(self) -> str:
        """The interval, without the unit."""
        if self.interval is None:
            return "–"
        return " to ".join(number_text(end, self.unit, self._width) for end in self.interval)

    @property
    def criterion_text(self) -> str:
        """What was asked for, without the unit."""
        if self.bound is None:
            return "exact"
        words = {"at_least": "at least", "at_most": "at most", "within": "within ±"}[self.criterion]
        return f"{words} {self.bound:,g}".replace("± ", "±")

    @property
    def _width(self) -> float | None:
        """Value and interval are rounded alike, to two significant digits of the interval's width."""
        return (self.interval[1] - self.interval[0]) or None if self.interval else None


class Claims:
    """The claims of one notebook, checked one by one and reported at the end.

    name: the notebook's stem. model: a name, a path, or an encoder. data, sentences: a frame from `stlib.evidence.corpora`, or
    a source. evidence: a folder for the evidence file, or "" for none.
    """

    def __init__(
        self,
        name: str,
        *,
        model: Any,
        data: pd.DataFrame | str | None = "built-in",
        sentences: pd.DataFrame | str | None = None,
        evidence: str | Path = "",
        seed: int = 0,
        revision: str | None = None,
    ) -> None:
        self.name, self.evidence, self.seed, self.revision = name, evidence, seed, revision
        self.claims: dict[str, Claim] = {}
        self._model = model
        self._data = {
            "pairs": datasets.load_pairs(data) if isinstance(data, str) else data,
            "sentences": datasets.load_sentences(sentences) if isinstance(sentences, str) else sentences,
        }

    def check(
        self,
        id: str,
        sentence: str,
        *,
        value: float | None = None,
        interval: tuple[float, float] | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        within: float | None = None,
        exact: bool | None = None,
        unit: str = "",
        headline: bool = False,
        expected: Verdict | None = None,
        flips_when: str = "",
        detectable: float | None = None,
        on: Literal["pairs", "sentences"] | None = "pairs",
        note: str = "",
        undecided: str = "",
    ) -> Claim:
        """Decides one claim and keeps it for the report.

        value and interval are in `unit`. A headline's interval is taken at HEADLINE_LEVEL, any other at 0.95.
        on: the data that the claim is about, None where it is about none (a proof, a count).
        expected: the verdict on the reference model and the built-in data; there, another raises AssertionError.
        undecided: why the experiment cannot be run here; the claim is then not decided and needs no value.
        """
        criterion, bound = self._criterion(id, at_least, at_most, within, exact)
        numbers = (None, None) if undecided else self._numbers(id, criterion, value, interval)
        if id in self.claims:
            raise ValueError(f"id: {id!r} was checked before; a claim is decided once")
        if headline and any(claim.headline for claim in self.claims.values()):
            raise ValueError(f"headline: {self.name} has one already; {id!r} would be a second")
        if expected is not None and expected not in SYMBOLS:
            raise ValueError(f"expected: {id!r} has {expected!r}; expected one of {', '.join(SYMBOLS)}")
        if detectable is not None:
            detectable = _finite(id, "detectable", detectable)
        data = self._about(id, on)
        stand_in = data is not None and bool(data.attrs.get("stand_in"))
        if stand_in:
            verdict: Verdict = "not decided"
            reason = f"no {on} of your own were given; shown on the built-in {on}"
            note = f"{note}; {reason}" if note else reason
        elif undecided:
            verdict, note = "not decided", f"{note}; {undecided}" if note else undecided
        else:
            verdict = _verdict(criterion, bound, numbers[1], bool(exact))
        level = None if numbers[1] is None else HEADLINE_LEVEL if headline else 0.95
        claim = Claim(
            id, sentence, numbers[0], unit, numbers[1], level, criterion, bound, verdict,
            headline, on, detectable, expected, flips_when, note,
        )  # fmt: skip
        if expected is not None and verdict != expected and not stand_in and self._is_reference(on):
            raise AssertionError(
                f"{id}: {sentence!r} was expected to come out as {expected!r} on the reference model and built-in "
                f"data, but the verdict is {verdict!r}: {claim.measured}, interval {claim.interval_text}, "
                f"criterion {claim.criterion_text}"
            )
        self.claims[id] = claim
        return claim

    def report(self) -> Table:
        """The decision table, headline first; with an evidence folder, also writes `{evidence}/{name}.json`."""
        if self.evidence:
            folder = Path(self.evidence)
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f"{self.name}.json", self.record())
        claims = sorted(self.claims.values(), key=lambda claim: not claim.headline)
        rows = [
            [
                claim.claim + (f" ({claim.note})" if claim.note else ""),
                "headline" if claim.headline else "exact" if claim.criterion == "exact" else "exploratory",
                claim.measured,
                claim.interval_text,
                claim.criterion_text,
                f"{SYMBOLS[claim.verdict]} {claim.verdict}",
                "–" if claim.detectable is None else number_text(claim.detectable, claim.unit),
                claim.flips_when or "–",
            ]
            for claim in claims
        ]
        return Table(
            ["Claim", "Scope", "Measured", "Interval", "Criterion", "Verdict", "Detectable", "Flips when"],
            rows,
            f"Model: {self._model_name}. Data: {self._data_names()}. Intervals: {100 * HEADLINE_LEVEL:.1f} % for the "
            "headline, 95 % for exploratory claims. Detectable: the difference that a sample as variable as this one "
            "shows four times in five.",
            "\n".join(f"{claim.id}: {claim.verdict}" for claim in claims) or "no claims were checked",
            bold_first=any(claim.headline for claim in claims),
        )

    def record(self) -> dict[str, Any]:
        """The evidence as it is written to the file: see `stlib/evidence/data/evidence.schema.json`."""
        return {
            "version": SCHEMA_VERSION,
            "notebook": self.name,
            "model": {"name": self._model_name, "revision": self._model_revision, "sha256": self._model_sha256},
            "data": {
                kind: {key: frame.attrs[key] for key in ("name", "sha256", "rows", "used", "stand_in")}
                for kind, frame in self._data.items()
                if frame is not None
            },
            "versions": versions(),
            "machine": machine(),
            "seed": self.seed,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "claims": [asdict(claim) for claim in self.claims.values()],
        }

    # --- What the claims are about ---

    @cached_property
    def _source(self) -> tuple[str, Path | None]:
        """Name or path of the model as given, and its folder on disk, if it has one."""
        if isinstance(self._model, (str, os.PathLike)):
            return str(self._model), Path(checkpoint.resolve(self._model, revision=self.revision))
        inner = getattr(self._model, "model", self._model)  # an encoder's model, or a model
        folder = getattr(inner, "folder", None)
        return str(getattr(inner, "source", None) or folder or type(inner).__name__), folder and Path(folder)

    @property
    def _model_name(self) -> str:
        if isinstance(self._model, (str, os.PathLike)):
            return public_name(str(self._model))
        return public_name(self._source[0])

    @property
    def _model_revision(self) -> str | None:
        folder = self._source[1]
        if self.revision is None and folder is not None and folder.parent.name == "snapshots":
            return folder.name  # the hub's cache keeps each commit in a folder of its name
        return self.revision

    @cached_property
    def _model_sha256(self) -> str | None:
        folder = self._source[1]
        return None if folder is None else checkpoint.weights_sha256(folder)

    def _about(self, id: str, on: str | None) -> pd.DataFrame | None:
        if on is None:
            return None
        if on not in self._data:
            raise ValueError(f"on: {id!r} has {on!r}; expected 'pairs', 'sentences' or None")
        if self._data[on] is None:
            raise ValueError(f"on: {id!r} is about {on}, but Claims was given none")
        return self._data[on]

    def _is_reference(self, on: str | None) -> bool:
        """Whether `expected` binds: the reference weights and, if the claim is about data, all of the built-in set."""
        data = self._about("", on)
        if data is not None:
            attrs = data.attrs
            content = (datasets.DATA / f"{on}.csv").read_bytes()
            if attrs["sha256"] != hashlib.sha256(content).hexdigest() or attrs["used"] < attrs["rows"]:
                return False
        return self._model_sha256 == REFERENCE_SHA256

    def _data_names(self) -> str:
        named = [
            f"{frame.attrs['used']:,} {kind} ({frame.attrs['name']}{', standing in' * frame.attrs['stand_in']})"
            for kind, frame in self._data.items()
            if frame is not None
        ]
        return ", ".join(named) or "none"

    # --- Checks of the arguments ---

    @staticmethod
    def _criterion(
        id: str, at_least: float | None, at_most: float | None, within: float | None, exact: bool | None
    ) -> tuple[str, float | None]:
        bounds = {"at_least": at_least, "at_most": at_most, "within": within, "exact": exact}
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        if len(given) != 1:
            got = ", ".join(given) or "none"
            raise ValueError(f"criterion: {id!r} needs exactly one of {', '.join(bounds)}; got {got}")
        [(criterion, bound)] = given.items()
        if criterion == "exact":
            if not isinstance(bound, bool) and type(bound).__name__ not in ("bool_", "bool"):  # numpy's own
                raise ValueError(f"exact: {id!r} needs a condition that is True or False, got {bound!r}")
            return criterion, None
        bound = _finite(id, criterion, bound)
        if criterion == "within" and bound <= 0:
            raise ValueError(f"within: {id!r} needs a margin above 0, got {bound}")
        return criterion, bound

    @staticmethod
    def _numbers(id: str, criterion: str, value: Any, interval: Any) -> tuple[float | None, tuple[float, float] | None]:
        if criterion == "exact":
            if interval is not None:
                raise ValueError(f"interval: {id!r} is exact and has none; give at_least, at_most or within instead")
            return (None if value is None else _finite(id, "value", value)), None
        if value is None or interval is None:
            missing = "value" if value is None else "interval"
            raise ValueError(f"{missing}: {id!r} has none; {criterion} needs both (a proof or a count takes exact=)")
        value = _finite(id, "value", value)
        try:
            low, high = interval
        except (TypeError, ValueError):
            raise ValueError(f"interval: {id!r} needs (low, high), got {interval!r}") from None
        low, high = _finite(id, "interval", low), _finite(id, "interval", high)
        if low > high:
            raise ValueError(f"interval: {id!r} has its low end {low} above its high end {high}")
        slack = (high - low) + 1e-9 * max(1.0, abs(value))
        if not low - slack <= value <= high + slack:
            raise ValueError(f"interval: {id!r} has value {value} far outside ({low}, {high}); are both in one unit?")
        return value, (low, high)


def _finite(id: str, name: str, number: Any) -> float:
    try:
        finite = float(number)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {id!r} needs a number, got {number!r}") from None
    if not math.isfinite(finite):
        raise ValueError(f"{name}: {id!r} needs a finite number, got {number}")
    return finite


def _verdict(criterion: str, bound: float | None, interval: tuple[float, float] | None, exact: bool) -> Verdict:
    if interval is None or bound is None:
        return "holds" if exact else "does not hold"
    low, high = interval
    holds, fails = {
        "at_least": (low >= bound, high < bound),
        "at_most": (high <= bound, low > bound),
        "within": (-bound <= low and high <= bound, low > bound or high < -bound),
    }[criterion]
    return "holds" if holds else "does not hold" if fails else "not decided"


# --- Rendering --------------------------------------------------------------------------------------------------------


def number_text(number: float, unit: str = "", scale: float | None = None) -> str:
    """Rounded to what its size (`scale`) warrants: one decimal for points and per cent, else two significant digits."""
    scale = abs(number) if scale is None else scale
    if number and max(abs(number), scale) < 1e-3:
        return f"{number:.0e}".replace("-", "−", 1) if number < 0 else f"{number:.0e}"
    if "point" in unit or "%" in unit or "per cent" in unit:
        digits = 1
    else:
        digits = 2 if not scale else min(3, max(0, 1 - math.floor(math.log10(scale))))
    return f"{round(number, digits) + 0.0:,.{digits}f}".replace("-", "−")  # + 0.0: no minus zero


class Table:
    """A table that shows as HTML or Markdown, and as its verdicts alone where only text is shown."""

    def __init__(
        self, columns: list[str], rows: list[list[str]], caption: str, text: str, bold_first: bool = False
    ) -> None:
        self.columns, self.rows, self.caption, self.text, self.bold_first = columns, rows, caption, text, bold_first

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=self.columns)

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{html.escape(self.text)}</p>"
        style = ' style="text-align: left; vertical-align: top"'
        head = "".join(f'<th scope="col"{style}>{html.escape(column)}</th>' for column in self.columns)
        body = ""
        for number, (first, *others) in enumerate(self.rows):
            weight = "bold" if self.bold_first and number == 0 else "normal"
            row_style = style.replace("left;", f"left; font-weight: {weight};", 1)
            cells = "".join(f"<td{style}>{html.escape(cell)}</td>" for cell in others)
            body += f'<tr><th scope="row"{row_style}>{html.escape(first)}</th>{cells}</tr>\n'
        caption = f'<caption style="text-align: left">{html.escape(self.caption)}</caption>'
        # The comments mark what notebook tests leave out of the comparison: last digits differ from machine to machine.
        return (
            f"<!-- stlib table --><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"
            "<!-- end -->"
        )

    def _repr_markdown_(self) -> str:
        if not self.rows:
            return self.text

        def line(cells: Iterable[str]) -> str:
            return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

        rows = [
            line([f"**{row[0]}**", *row[1:]] if self.bold_first and number == 0 else row)
            for number, row in enumerate(self.rows)
        ]
        table = [line(self.columns), line("---" for _ in self.columns), *rows]
        return "<!-- stlib table -->\n" + "\n".join([*table, "", self.caption]) + "\n<!-- end -->"


# --- Evidence files ---------------------------------------------------------------------------------------------------


def public_name(source: str) -> str:
    """A hub name as it is; of a local folder only its last part, for an evidence file tells nothing of its machine."""
    path = Path(source)
    return path.resolve().name if path.is_absolute() or path.exists() or source.startswith((".", "~")) else source


def _write(path: Path, record: dict[str, Any]) -> None:
    """Written beside and renamed, so that no reader ever sees half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    beside.replace(path)


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
    """Processor, cores and operating system."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line for line in cpuinfo.read_text(errors="replace").splitlines() if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    return {"processor": processor, "cores": os.cpu_count() or 1, "system": platform.system()}


def _results() -> Path:
    """Recorded results: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parents[1]
    beside = package.parent / "results"
    return beside if (beside / "evidence").is_dir() else package / "results"


def measurement(name: str) -> dict[str, Any]:
    """What `results/{name}.json` records, from the checkout or from inside the installed package."""
    path = _results() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no measurement {name!r} was recorded: there is no results/{name}.json")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def recorded(run: str, name: str) -> dict[str, Any]:
    """The evidence of notebook `name` from an earlier `run`, such as "mpnet_stsb-dev"; FileNotFoundError if none."""
    path = _results() / "evidence" / run / f"{name}.json"
    if not path.is_file():
        runs = ", ".join(sorted(path.parent.name for path in _results().glob(f"evidence/*/{name}.json")))
        raise FileNotFoundError(
            f"no evidence of {name!r} was recorded in run {run!r}; runs that have it: {runs or 'none'}"
        )
    evidence: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return evidence


def elsewhere(claim_id: str, name: str) -> Table:
    """How the claim of notebook `name` came out in each recorded run: model, data, value, interval, verdict, date.

    Runs that had no data of the claim's kind, and only showed the built-in set in its place, are left out.
    """
    rows, text = [], []
    for path in sorted(_results().glob(f"evidence/*/{name}.json")):
        evidence = json.loads(path.read_text(encoding="utf-8"))
        for entry in evidence["claims"]:
            if entry["id"] == claim_id and not evidence["data"].get(entry["on"], {}).get("stand_in", False):
                claim = Claim.from_record(entry)
                data = evidence["data"].get(claim.on, {}).get("name", "–")
                verdict = f"{SYMBOLS[claim.verdict]} {claim.verdict}"
                model, date = evidence["model"]["name"].rpartition("/")[2], evidence["date"][:10]
                rows.append([model, data, claim.measured, claim.interval_text, verdict, date])
                text.append(f"{model} on {data}: {claim.verdict}")
    columns = ["Model", "Data", "Measured", "Interval", "Verdict", "Date"]
    if not rows:
        sentence = f"No other run has been recorded for {claim_id!r} yet."
        return Table(columns, [], sentence, sentence)
    return Table(columns, rows, f"{claim_id} in recorded runs", "\n".join(text))
