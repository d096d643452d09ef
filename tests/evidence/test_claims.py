"""A claim can fail: its verdict follows from the interval and the criterion, and the evidence file says on what."""

from __future__ import annotations

import hashlib
import html
import json
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from stlib.evidence import claims as module
from stlib.evidence.claims import HEADLINE_LEVEL, REFERENCE_SHA256, Claims, elsewhere, recorded
from stlib.evidence.corpora import load_pairs, load_sentences

SCHEMA = json.loads((Path(module.__file__).parent / "data" / "evidence.schema.json").read_text())
STAND_IN = "no pairs of your own were given; shown on the built-in pairs"


@pytest.fixture
def weights(monkeypatch):
    """The digest that the model's weights are said to have; a test may change it."""
    said = {"sha256": REFERENCE_SHA256, "folder": Path("/models/hub/snapshots/abc123")}
    monkeypatch.setattr("stlib.checkpoint.resolve", lambda name, revision=None: said["folder"])
    monkeypatch.setattr("stlib.checkpoint.weights_sha256", lambda folder: said["sha256"])
    return said


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Pairs of the reader's own."""
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    path.write_text("sentence1,sentence2,score\na,b,1\nc,d,2\ne,f,3\n")
    return load_pairs(path)


@pytest.fixture
def claims(weights, mine):
    return Claims("02_pooling", model="some/model", data=mine)


def evidence_is_valid(evidence):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(evidence, SCHEMA, jsonschema.Draft202012Validator)


# --- Verdicts ---


@pytest.mark.parametrize(
    ("criterion", "interval", "verdict"),
    [
        ({"at_least": 1}, (1.0, 3), "holds"),
        ({"at_least": 1}, (0.9, 3), "not decided"),
        ({"at_least": 1}, (-1, 1.0), "not decided"),
        ({"at_least": 1}, (-1, 0.9), "does not hold"),
        ({"at_least": -1}, (-1, 3), "holds"),  # "no set worse by 1"
        ({"at_most": 1}, (0.1, 1.0), "holds"),
        ({"at_most": 1}, (0.1, 1.1), "not decided"),
        ({"at_most": 1}, (1.1, 2), "does not hold"),
        ({"within": 1}, (-1.0, 1.0), "holds"),
        ({"within": 1}, (-0.2, 1.1), "not decided"),
        ({"within": 1}, (-2, 2), "not decided"),
        ({"within": 1}, (1.1, 2), "does not hold"),
        ({"within": 1}, (-3, -1.1), "does not hold"),
    ],
)
def test_a_verdict_follows_from_the_whole_interval(claims, criterion, interval, verdict):
    assert claims.check("a", "A.", value=sum(interval) / 2, interval=interval, **criterion).verdict == verdict


@pytest.mark.parametrize("exact", [True, np.True_, 2 < 3])
def test_an_exact_claim_holds_by_its_condition_and_has_no_interval(claims, exact):
    claim = claims.check("a", "A.", exact=exact, on=None)
    assert (claim.verdict, claim.interval, claim.value, claim.level) == ("holds", None, None, None)


def test_an_exact_claim_can_fail_and_may_show_its_number(claims):
    claim = claims.check("a", "A.", value=np.float32(3), exact=np.False_)
    assert (claim.verdict, claim.value) == ("does not hold", 3.0)


def test_a_headline_is_held_to_the_wider_level(claims):
    assert claims.check("a", "A.", value=1, interval=(0, 2), at_least=0, headline=True).level == HEADLINE_LEVEL
    assert claims.check("b", "B.", value=1, interval=(0, 2), at_least=0).level == 0.95


# --- What is refused ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": 1, "interval": (0, 2)}, "criterion: 'a' needs exactly one of .*got none"),
        ({"value": 1, "interval": (0, 2), "at_least": 0, "within": 1}, "exactly one of.*got at_least, within"),
        ({"value": 1, "at_least": 0}, "interval: 'a' has none; at_least needs both"),
        ({"interval": (0, 2), "at_most": 0}, "value: 'a' has none"),
        ({"value": float("nan"), "interval": (0, 2), "at_least": 0}, "value: 'a' needs a finite number, got nan"),
        ({"value": "much", "interval": (0, 2), "at_least": 0}, "value: 'a' needs a number, got 'much'"),
        ({"value": 1, "interval": (0, float("inf")), "at_least": 0}, "interval: 'a' needs a finite number"),
        ({"value": 1, "interval": (2, 0), "at_least": 0}, "low end 2.0 above its high end 0.0"),
        ({"value": 1, "interval": 2, "at_least": 0}, r"interval: 'a' needs \(low, high\), got 2"),
        ({"value": 1, "interval": (0, 1, 2), "at_least": 0}, r"needs \(low, high\)"),
        ({"value": 2.3, "interval": (0.018, 0.031), "at_least": 0}, "far outside.*one unit"),
        ({"value": 1, "interval": (0, 2), "at_least": float("nan")}, "at_least: 'a' needs a finite number"),
        ({"value": 0, "interval": (0, 0), "within": 0}, "within: 'a' needs a margin above 0"),
        ({"exact": True, "interval": (0, 2)}, "interval: 'a' is exact"),
        ({"exact": 0.98}, "exact: 'a' needs a condition"),
        ({"exact": True, "expected": "true"}, "expected: 'a' has 'true'"),
        ({"exact": True, "on": "passages"}, "on: 'a' has 'passages'"),
        ({"exact": True, "on": "sentences"}, "on: 'a' is about sentences, but Claims was given none"),
        ({"exact": True, "detectable": float("inf")}, "detectable: 'a' needs a finite number"),
    ],
)
def test_a_claim_without_sound_evidence_is_refused_by_name(claims, arguments, message):
    with pytest.raises(ValueError, match=message):
        claims.check("a", "A.", **arguments)
    assert claims.claims == {}


def test_a_claim_is_decided_once(claims):
    claims.check("a", "A.", exact=True)
    with pytest.raises(ValueError, match="'a' was checked before"):
        claims.check("a", "Another.", exact=True)


def test_a_notebook_has_one_headline(claims):
    claims.check("a", "A.", exact=True, headline=True)
    with pytest.raises(ValueError, match="headline: 02_pooling has one already; 'b'"):
        claims.check("b", "B.", exact=True, headline=True)


# --- Data that stand in ---


def test_no_claim_about_data_is_decided_where_the_reader_gave_none(weights):
    claims = Claims("02_pooling", model="some/model", data=load_pairs("none"), sentences=load_sentences())
    about_pairs = claims.check("a", "A.", value=5, interval=(4, 6), at_least=1, expected="holds")
    assert (about_pairs.verdict, about_pairs.note) == ("not decided", STAND_IN)
    assert claims.check("b", "B.", exact=True, on=None).verdict == "holds"
    assert claims.check("c", "C.", exact=True, on="sentences").verdict == "holds"


# --- Expected verdicts ---


def surprise(claims, **more):
    return claims.check("a", "A.", value=0, interval=(-1, 0.5), at_least=1, expected="holds", **more)


def test_a_changed_verdict_fails_on_the_reference_model_and_the_built_in_data(weights):
    claims = Claims("02_pooling", model="some/model", data="built-in")
    with pytest.raises(AssertionError, match=r"a: 'A.' was expected to come out as 'holds'.*'does not hold'"):
        surprise(claims)


def test_the_data_are_known_by_their_content_and_not_by_their_name(weights, tmp_path):
    copy = tmp_path / "mine.csv"
    copy.write_bytes((Path(module.__file__).parent / "data" / "pairs.csv").read_bytes())
    with pytest.raises(AssertionError):
        surprise(Claims("02_pooling", model="some/model", data=load_pairs(copy)))


def test_a_changed_verdict_is_a_finding_on_other_data(claims):
    assert surprise(claims).verdict == "does not hold"


def test_a_changed_verdict_is_a_finding_on_another_model(weights):
    weights["sha256"] = "0" * 64
    assert surprise(Claims("02_pooling", model="some/model", data="built-in")).verdict == "does not hold"


def test_a_changed_verdict_is_a_finding_on_part_of_the_data(weights):
    data = load_pairs(limit=60)
    assert surprise(Claims("02_pooling", model="some/model", data=data)).verdict == "does not hold"


def test_a_claim_about_no_data_binds_by_the_model_alone(claims):
    with pytest.raises(AssertionError):
        surprise(claims, on=None)


def test_the_expected_verdict_passes(weights):
    claims = Claims("02_pooling", model="some/model")
    assert claims.check("a", "A.", value=2, interval=(1, 3), at_least=1, expected="holds").verdict == "holds"


def test_an_encoder_is_known_by_the_folder_it_was_loaded_from(weights):
    encoder = SimpleNamespace(
        model=SimpleNamespace(source="/home/me/models/minilm", folder=Path("/home/me/models/minilm"))
    )
    with pytest.raises(AssertionError):
        surprise(Claims("02_pooling", model=encoder))


def test_a_model_made_in_the_notebook_has_no_weights_file_and_binds_nothing(weights):
    encoder = SimpleNamespace(model=SimpleNamespace(source=None, folder=None))
    claims = Claims("02_pooling", model=encoder)
    assert surprise(claims).verdict == "does not hold"
    assert claims.record()["model"] == {"name": "SimpleNamespace", "revision": None, "sha256": None}


# --- The evidence file ---


def full(claims):
    claims.check("second", "Costs nothing", value=1e-7, exact=True, on=None, note="by <count>")
    claims.check(
        "first", "Mean beats CLS", value=2.345, interval=(1.04, 3.66), at_least=1, unit="points", headline=True,
        detectable=1.87, flips_when="the model | was trained with CLS",
    )  # fmt: skip
    claims.check("third", "AUC is alike", value=0.0123, interval=(-0.021, 0.046), within=0.05)
    return claims


def test_the_evidence_file_keeps_to_its_schema_and_says_on_what_it_stands(claims, mine, tmp_path):
    claims.evidence = tmp_path / "deep" / "evidence"
    full(claims).report()
    [file] = (tmp_path / "deep" / "evidence").iterdir()  # nothing half-written is left beside it
    assert file.name == "02_pooling.json"
    evidence = json.loads(file.read_text(encoding="utf-8"))
    evidence_is_valid(evidence)
    assert evidence["model"] == {"name": "some/model", "revision": "abc123", "sha256": REFERENCE_SHA256}
    assert evidence["data"] == {
        "pairs": {"name": "mine.csv", "sha256": mine.attrs["sha256"], "rows": 3, "used": 3, "stand_in": False}
    }
    assert {"python", "torch", "numpy", "scikit-learn", "transformers"} <= set(evidence["versions"])
    assert [claim["id"] for claim in evidence["claims"]] == ["second", "first", "third"]
    assert evidence["claims"][1]["interval"] == [1.04, 3.66]


def test_the_schema_refuses_what_is_not_evidence(claims):
    evidence = full(claims).record()
    evidence_is_valid(json.loads(json.dumps(evidence)))
    for change in (
        lambda e: e.update(version=2),
        lambda e: e["model"].update(name="/home/me/model"),
        lambda e: e["data"]["pairs"].update(name="/home/me/pairs.csv"),
        lambda e: e["claims"][0].update(verdict="maybe"),
        lambda e: e["claims"][1].update(interval=None),
        lambda e: e["claims"][1].pop("flips_when"),
        lambda e: e.update(host="mine"),
    ):
        broken = json.loads(json.dumps(evidence))
        change(broken)
        with pytest.raises(jsonschema.ValidationError):
            evidence_is_valid(broken)


def test_without_a_folder_nothing_is_written_and_the_model_is_not_read(mine, monkeypatch, tmp_path):
    def never(*_, **__):
        raise AssertionError("the model was looked for")

    monkeypatch.setattr("stlib.checkpoint.resolve", never)
    monkeypatch.chdir(tmp_path)
    repr(full(Claims("02_pooling", model="some/model", data=mine)).report())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["{folder}", "./my-model", "some/model"])
def test_no_path_gets_into_the_evidence(weights, mine, tmp_path, monkeypatch, given):
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path)
    claims = Claims("02_pooling", model=given.format(folder=tmp_path / "my-model"), data=mine)
    name = claims.record()["model"]["name"]
    assert name == ("some/model" if given == "some/model" else "my-model")
    assert str(tmp_path) not in json.dumps(claims.record())


def test_a_failed_write_leaves_the_old_file(claims, tmp_path, monkeypatch):
    (tmp_path / "02_pooling.json").write_text("old")
    claims.evidence = tmp_path
    monkeypatch.setattr(module.json, "dumps", lambda *_, **__: (_ for _ in ()).throw(ValueError("full disk")))
    with pytest.raises(ValueError):
        full(claims).report()
    assert (tmp_path / "02_pooling.json").read_text() == "old"


# --- The report ---


def test_a_claim_shows_its_verdict_in_a_line(claims):
    claim = claims.check("a-id", "A sentence", value=2.04, interval=(1.5, 2.5), at_least=1.0, unit="points")
    assert claim._repr_markdown_() == "`a-id`: **✓ holds**: 2.0 points, interval 1.5 to 2.5"
    assert claims.check("b-id", "B", exact=False)._repr_markdown_() == "`b-id`: **✗ does not hold**"


def test_the_text_of_a_report_holds_the_verdicts_and_no_number(claims):
    assert repr(full(claims).report()) == "first: holds\nsecond: holds\nthird: holds"


def test_the_table_puts_the_headline_first_and_gives_each_claim_its_condition(claims):
    page = BeautifulSoup(full(claims).report()._repr_html_(), "html.parser")
    assert [cell.text for cell in page.select("thead th[scope=col]")] == [
        "Claim", "Scope", "Measured", "Interval", "Criterion", "Verdict", "Detectable", "Flips when",
    ]  # fmt: skip
    rows = [[cell.text for cell in row.select("th, td")] for row in page.select("tbody tr")]
    assert rows == [
        ["Mean beats CLS", "headline", "2.3 points", "1.0 to 3.7", "at least 1", "✓ holds", "1.9",
         "the model | was trained with CLS"],
        ["Costs nothing (by <count>)", "exact", "1e-07", "–", "exact", "✓ holds", "–", "–"],
        ["AUC is alike", "exploratory", "0.012", "−0.021 to 0.046", "within ±0.05", "✓ holds", "–", "–"],
    ]  # fmt: skip
    assert len(page.select("tbody th[scope=row]")) == 3
    assert "some/model" in page.caption.text and "3 pairs (mine.csv)" in page.caption.text


def test_markdown_keeps_its_columns_whatever_the_text_holds(claims):
    table = [line for line in full(claims).report()._repr_markdown_().splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {9}
    assert table[2].startswith("| **Mean beats CLS** |")


def test_each_verdict_is_a_word_and_a_symbol(claims):
    claims.check("a", "A.", exact=True)
    claims.check("b", "B.", exact=False)
    claims.check("c", "C.", value=1, interval=(0, 2), at_least=1)
    assert list(claims.report().frame["Verdict"]) == ["✓ holds", "✗ does not hold", "? not decided"]


@pytest.mark.parametrize(
    ("value", "interval", "unit", "shown"),
    [
        (-0.04, (-0.5, 0.4), "points", "0.0 points"),
        (12345.6, (12000, 13000), "tokens a second", "12,346 tokens a second"),
        (3.14159, (3.0, 3.3), "times", "3.14 times"),
        (5e-7, (1e-7, 9e-7), "", "5e-07"),
        (91.25, (88, 94), "%", "91.2 %"),
    ],
)
def test_numbers_are_rounded_to_what_they_warrant(claims, value, interval, unit, shown):
    claims.check("a", "A.", value=value, interval=interval, at_most=1e6, unit=unit)
    assert claims.report().frame["Measured"][0] == shown


def test_a_report_without_claims_says_so(claims):
    assert repr(claims.report()) == "no claims were checked"


# --- Recorded runs ---


@pytest.fixture
def runs(weights, mine, tmp_path, monkeypatch):
    for run, model in {"minilm_mine": "maker/minilm", "mpnet_mine": "maker/mpnet"}.items():
        claims = Claims("02_pooling", model=model, data=mine, evidence=tmp_path / "results" / "evidence" / run)
        full(claims).report()
    monkeypatch.setattr(module, "_results", lambda: tmp_path / "results")


def test_a_recorded_run_is_read_back(runs):
    assert recorded("mpnet_mine", "02_pooling")["model"]["name"] == "maker/mpnet"


def test_a_run_that_was_not_recorded_is_named_with_those_that_were(runs):
    with pytest.raises(FileNotFoundError, match=r"'03_projection' was recorded in run 'minilm_mine'.*: none"):
        recorded("minilm_mine", "03_projection")
    with pytest.raises(FileNotFoundError, match="minilm_mine, mpnet_mine"):
        recorded("other", "02_pooling")


def test_a_claim_is_shown_as_it_came_out_elsewhere(runs):
    table = elsewhere("first", "02_pooling")
    assert table.frame.drop(columns="Date").to_numpy().tolist() == [
        ["minilm", "mine.csv", "2.3 points", "1.0 to 3.7", "✓ holds"],
        ["mpnet", "mine.csv", "2.3 points", "1.0 to 3.7", "✓ holds"],
    ]
    assert pd.to_datetime(table.frame["Date"]).notna().all()
    assert repr(table) == "minilm on mine.csv: holds\nmpnet on mine.csv: holds"


def test_a_claim_never_recorded_gets_a_sentence_and_no_empty_table(runs):
    table = elsewhere("unheard-of", "02_pooling")
    assert repr(table) == "No other run has been recorded for 'unheard-of' yet."
    assert table._repr_html_() == f"<p>{html.escape(repr(table))}</p>"
    assert table._repr_markdown_() == repr(table)


def test_built_in_hashes_are_those_of_the_files():
    content = (Path(module.__file__).parent / "data" / "pairs.csv").read_bytes()
    assert load_pairs().attrs["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("criterion", [{"at_least": 1}, {"within": 1}, {"exact": True}])
def test_a_claim_that_cannot_be_tried_here_is_not_decided_and_says_why(claims, criterion):
    claim = claims.check("first", "It cannot be tried", **criterion, undecided="no recorded cosines of these pairs")
    assert (claim.verdict, claim.value, claim.interval) == ("not decided", None, None)
    assert "no recorded cosines of these pairs" in claims.report()._repr_html_()
    evidence_is_valid(claims.record())
