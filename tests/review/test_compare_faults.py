"""A candidate that fails is missing and the others stand; an interrupt is nobody's fault and leaves an earlier page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import wrap

from stlib import SentenceEncoder
from stlib.__main__ import main
from stlib.evidence.corpora import load_pairs, load_passages
from stlib.review import compare_command, comparison_page
from stlib.review.candidates import Encoded, Recipe
from stlib.review.compare import compare
from stlib.tokens import FILES

pytestmark = pytest.mark.usefixtures("cache")


class Stumbles(SentenceEncoder):
    """Its tokenizer fails on one text."""

    def encode(self, sentences: Any, **options: Any) -> Any:
        if len(sentences) > 17:
            raise RuntimeError(f"tokenizer: row 17 of {len(sentences)} cannot be read")
        return super().encode(sentences, **options)


@pytest.mark.parametrize("known", [False, True])
def test_a_candidate_that_fails_is_named_and_the_others_stand(
    known: bool, models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """In a trial; or while it is timed, where its vectors are known from an earlier comparison."""
    if known:
        assert (
            main(["compare", str(models / "b"), "--passages", str(data / "p.csv"), "--out", str(tmp_path / "b")]) == 0
        )
    else:
        monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "cache"))
    broken = wrap(models / "plain", tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"these are no weights")
    real = Recipe.load

    def load(recipe: Recipe) -> Encoded:
        loaded = real(recipe)
        if recipe.name == "b":
            loaded.encoder.__class__ = Stumbles
        return loaded

    monkeypatch.setattr(Recipe, "load", load)
    arguments = ["compare", str(broken), str(models / "a"), str(models / "b"), "--passages", str(data / "p.csv")]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    text, record = ((tmp_path / "out" / name).read_text() for name in ("index.html", "comparison.json"))
    assert set(json.loads(record)["failed"]) == {"broken", "b"}
    assert json.loads(record)["baseline"] == "a"  # the first that stands
    assert "2 candidates missing" in text and "row 17 of 80" in text
    assert "b: failed: RuntimeError" in capsys.readouterr().out
    assert str(tmp_path) not in text + record and "secret" not in text + record


class Panic(BaseException):
    """What a tokenizer written in Rust raises is no `Exception`."""


@pytest.mark.parametrize("when", ["tried", "timed"])
@pytest.mark.parametrize("error", [Panic("row 17"), MemoryError(), RuntimeError("can't allocate memory")])
def test_whatever_a_model_raises_costs_that_candidate_only(
    error: BaseException, when: str, models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    broken, name = SentenceEncoder(models / "a", truncation="ignore"), "rank" if when == "tried" else "work"
    real = getattr(Encoded, name)
    monkeypatch.setattr(Encoded, name, lambda self, given: fail() if self.name == "broken" else real(self, given))
    found = compare({"broken": broken, "a": models / "a"}, passages=load_passages(data / "p.csv"), rounds=1, sample=4)
    assert found.failed == {"broken": f"{type(error).__name__}: {error}".rstrip(": ")} and not found.whole
    assert set(found.answer.estimates) == {"a", "BM25", "TF-IDF"} and found.baseline == "a"


@pytest.mark.parametrize("name", ["rank", "work", "cost"])
def test_interrupt_is_no_fault_of_the_candidate(
    name: str, models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Encoded, name, stop)
    with pytest.raises(KeyboardInterrupt):
        compare([models / "a"], passages=load_passages(data / "p.csv"), rounds=1, sample=4)


def test_interrupt_leaves_the_earlier_page(
    models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare_command, "compare", stop)
    (tmp_path / "index.html").write_text(comparison_page.GENERATOR)
    arguments = ["compare", str(models / "a"), "--passages", str(data / "p.csv"), "--out", str(tmp_path)]
    assert main(arguments) == 130
    assert capsys.readouterr().err == "\ncompare: interrupted; nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_text() == comparison_page.GENERATOR


@pytest.mark.parametrize(
    ("kind", "rows", "what"),
    [
        ("sentences", "text,label\n" + "".join(f"text {n},label {n}\n" for n in range(12)), "each stands once"),
        ("sentences", "text,label\none,a\ntwo,a\nthree,b\n", "expected"),
        ("pairs", "sentence1,sentence2,score,anchor\n" + "".join(f"the same,other {n},{n},x\n" for n in range(6)),
         "at least 2"),
    ],
)  # fmt: skip
def test_data_on_which_nothing_can_be_measured_are_refused_before_a_model_is_loaded(
    kind: str, rows: str, what: str, models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(Recipe, "load", lambda recipe: pytest.fail("loaded"))
    (tmp_path / "few.csv").write_text(rows)
    given = ["--passages", str(data / "p.csv"), f"--{kind}", str(tmp_path / "few.csv"), "--out", str(tmp_path / "out")]
    assert main(["compare", str(models / "a"), *given]) == 2
    assert f"{kind}: nothing can be measured on them: " in (said := capsys.readouterr().err) and what in said


def test_a_folder_without_a_tokenizer_is_refused_before_another_is_loaded(
    models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Recipe, "load", lambda recipe: pytest.fail("loaded"))
    broken = wrap(models / "plain", tmp_path / "broken")
    for name in FILES:
        (broken / name).unlink(missing_ok=True)
    given = ["--passages", str(data / "p.csv"), "--out", str(tmp_path / "out")]
    assert main(["compare", str(models / "a"), str(broken), *given]) == 2
    assert "needs config.json, weights and a tokenizer" in capsys.readouterr().err


def test_where_one_alone_stands_nothing_is_advised_and_a_pool_of_ten_is_told(
    models: Path, data: Path, tmp_path: Path
) -> None:
    broken = wrap(models / "plain", tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"these are no weights")
    rows = "".join(f"the word w{n},text w{n} and more\n" for n in range(9))
    (tmp_path / "nine.csv").write_text("query,text\n" + rows)
    found = compare([broken], passages=load_passages(tmp_path / "nine.csv"), rounds=0)
    assert any("9 passages" in warning and "says nothing" in warning for warning in found.warnings)
    pairs = "".join(f"a cat {n},a dog {n % 4},{n % 5}\n" for n in range(12))
    (tmp_path / "pairs.csv").write_text("sentence1,sentence2,score\n" + pairs)
    alone = compare([broken], pairs=load_pairs(tmp_path / "pairs.csv"), rounds=0)
    assert alone.advice == "Nothing was compared: TF-IDF alone could be tried."
