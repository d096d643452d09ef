"""One study: a model, the reader's data, and the verdicts, kept where an evidence folder is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from transformers.utils import logging

from stlib import hub
from stlib.encoder import SentenceEncoder
from stlib.evidence import corpora
from stlib.evidence.claims import Claim, definition
from stlib.evidence.estimate import Estimate
from stlib.evidence.records import Record, machine, now, public_name, versions

LIMITS = {"pairs": 3000, "sentences": 1000, "passages": 3000}
"""More rows than these are drawn at random, so that a lesson stays a matter of seconds."""


class Study:
    """What a lesson works on. Everything is loaded when it is first asked for.

    Attributes:
        encoder: of `model`, for the reader's texts; texts beyond its limit are cut without a warning.
        passages, sentences, pairs: the data, from `stlib.evidence.corpora`.
        seed: of whatever is drawn.
        claims: the verdicts so far, by id.
    """

    def __init__(self, model: str | os.PathLike[str], sources: Mapping[str, str], seed: int, evidence: str) -> None:
        self.model, self.sources, self.seed, self.evidence = model, dict(sources), seed, evidence
        self.claims: dict[str, Claim] = {}

    @cached_property
    def encoder(self) -> SentenceEncoder:
        return SentenceEncoder(self.model, truncation="ignore")

    @cached_property
    def passages(self) -> corpora.Passages:
        return corpora.load_passages(self.sources["passages"], limit=LIMITS["passages"], seed=self.seed)

    @cached_property
    def sentences(self) -> pd.DataFrame:
        return corpora.load_sentences(self.sources["sentences"], limit=LIMITS["sentences"], seed=self.seed)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return corpora.load_pairs(self.sources["pairs"], limit=LIMITS["pairs"], seed=self.seed)

    def keep(self, claim: Claim) -> Claim:
        """With an evidence folder it is written at once, to `LESSON.json`, what a lab tried to `LESSON.lab.json`."""
        self.claims[claim.id] = claim
        if self.evidence:
            lesson, lab = claim.definition.lesson, claim.definition.lab
            self.record(lesson, lab).write(Path(self.evidence) / f"{lesson}{'.lab' * lab}.json")
        return claim

    def record(self, lesson: str, lab: bool = False) -> Record:
        source = str(self.model)
        folder = self.encoder.model.folder
        known = folder is not None and folder.parent.name == "snapshots"  # the hub's cache: one folder a commit
        used = [kind for kind in ("passages", "sentences", "pairs") if kind in vars(self)]
        return Record(
            lesson=lesson,
            model={
                "name": public_name(source),
                "revision": folder.name if known and folder else None,
                "sha256": hub.weights_sha256(folder) if folder else None,
            },
            data={kind: _about(vars(self)[kind].attrs) for kind in used},
            seed=self.seed,
            claims=[c for c in self.claims.values() if (c.definition.lesson, c.definition.lab) == (lesson, lab)],
            versions=versions(),
            machine=machine(),
            date=now(),
        )


def _about(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: attrs[name] for name in ("name", "sha256", "rows", "used", "stand_in")}


_current: Study | None = None


def load(
    model: str | os.PathLike[str] = hub.DEFAULT_MODEL,
    *,
    pairs: str = "built-in",
    sentences: str = "built-in",
    passages: str = "built-in",
    seed: int = 0,
    evidence: str = "",
) -> Study:
    """Begin a study; `decide` speaks about the one that was loaded last.

    Args:
        model: a name or a folder.
        pairs, sentences, passages: "built-in", a file, an `hf://` address, for passages also a folder of texts; or
            "none": the built-in data are shown in its place and no claim about them is decided.
        evidence: a folder for the verdicts, or "".
    """
    global _current
    logging.disable_progress_bar()  # of what a lesson loads through transformers besides
    sources = {"pairs": str(pairs), "sentences": str(sentences), "passages": str(passages)}
    _current = Study(model, sources, seed, str(evidence))
    return _current


def decide(
    claim_id: str, estimate: Estimate | Mapping[str, Estimate] | None, *, note: str = "", study: Study | None = None
) -> Claim:
    """The verdict on a claim, by its criterion in claims.toml; shows as one line.

    Args:
        estimate: what was measured, or {name: estimate} where all of several comparisons have to meet the criterion, or
            `None` where it could not be tried, and `note` says why.
        study: the one that it belongs to, else the one loaded last; without one there is only the verdict.

    Raises:
        ValueError: no such claim.
    """
    study, on = study or _current, definition(claim_id).on
    claim = (
        Claim.undecided(claim_id, note or "these data lack what it needs")
        if estimate is None
        else Claim.decide(claim_id, estimate, note)
    )
    if study is None:
        return claim
    if on != "machine" and estimate is not None and study.sources[on] == "none":
        claim = Claim.undecided(claim_id, f"no {on} of your own were given; shown on the built-in {on}", shown=claim)
    return study.keep(claim)
