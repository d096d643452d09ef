"""A study decides claims about a model and the reader's data, and leaves evidence that can be read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from stlib.evidence import Estimate, decide, load, records
from stlib.evidence.records import Record, public_name, schema

GAIN = Estimate.of(np.random.default_rng(0).normal(5, 1, 50))


@pytest.fixture
def mine(tmp_path: Path) -> str:
    file = tmp_path / "mine.csv"
    file.write_text("text,label\none sentence,a\nanother sentence,b\na third,a\n")
    return str(file)


def test_verdicts_are_written_at_once_as_records_of_their_lesson(tmp_path: Path, mine: str) -> None:
    study = load(sentences=mine, evidence=str(tmp_path / "evidence"), seed=3)
    assert len(study.sentences) == 3
    claim = decide("mean-generalises", GAIN)
    decide("clusters-in-full-space", GAIN)
    record = Record.read(tmp_path / "evidence" / "02_pool_the_tokens.json")
    assert record.claims == [claim] and record.seed == 3 and record.model["name"].endswith("MiniLM-L6-v2")
    assert record.data["sentences"]["name"] == "mine.csv" and record.data["sentences"]["used"] == 3
    assert (tmp_path / "evidence" / "06_clusters.json").is_file()


def test_what_a_lab_tries_is_written_beside_what_the_lesson_tried(tmp_path: Path) -> None:
    load(evidence=str(tmp_path))
    decide("close-to-the-peak", GAIN)
    decide("int8-keeps-quality", GAIN)
    assert [c.id for c in Record.read(tmp_path / "07_speed.json").claims] == ["close-to-the-peak"]
    assert [c.id for c in Record.read(tmp_path / "07_speed.lab.json").claims] == ["int8-keeps-quality"]


def test_a_record_fits_its_schema_and_tells_nothing_of_its_machine(tmp_path: Path, mine: str) -> None:
    study = load(sentences=mine, evidence=str(tmp_path / "evidence"))
    assert study.sentences is not None
    decide("mean-generalises", GAIN)
    text = (tmp_path / "evidence" / "02_pool_the_tokens.json").read_text()
    jsonschema.validate(json.loads(text), schema(Record), jsonschema.Draft202012Validator)
    assert str(tmp_path) not in text and str(Path.home()) not in text


def test_the_schema_refuses_what_is_not_a_record(tmp_path: Path) -> None:
    load(evidence=str(tmp_path))
    decide("packing-pays", GAIN)
    entry: dict[str, Any] = json.loads((tmp_path / "07_speed.json").read_text())
    for spoil in (
        lambda e: e.pop("seed"),
        lambda e: e["claims"][0].update(verdict="perhaps"),
        lambda e: e.update(more=1),
    ):
        broken = json.loads(json.dumps(entry))
        spoil(broken)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema(Record), jsonschema.Draft202012Validator)


def test_data_that_stand_in_decide_nothing(mine: str) -> None:
    load(sentences=mine, passages="none", pairs="none")
    claim = decide("mean-beats-cls", GAIN)
    assert claim.verdict == "not decided" and claim.value == pytest.approx(GAIN.value)
    assert "shown on the built-in passages" in claim.note
    assert decide("mean-generalises", GAIN).verdict == "holds"


def test_a_damaged_or_older_record_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "02.json"
    file.write_text(json.dumps({"version": 1, "claims": []}))
    with pytest.raises(ValueError, match=r"02\.json: not an evidence file of version 2"):
        Record.read(file)


def test_a_local_folder_is_known_by_its_last_part(tmp_path: Path) -> None:
    assert public_name(str(tmp_path)) == tmp_path.name
    assert public_name("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"


def test_what_was_not_recorded_says_what_was() -> None:
    with pytest.raises(FileNotFoundError, match="runs that have it"):
        records.recorded("no-such-run", "02_pool_the_tokens")
