"""Candidates on the same data: recipes, prompts, memory, and a record of the shape that it says."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from checkpoints import wrap

from stlib import SentenceEncoder
from stlib.__main__ import main
from stlib.evidence import Estimate
from stlib.evidence.claims import Claim
from stlib.evidence.corpora import load_pairs, load_passages, load_sentences
from stlib.evidence.passages import Passages
from stlib.review import candidates, comparison_page
from stlib.review.answers import Cost
from stlib.review.candidates import Encoded, Recipe, named, word_counters
from stlib.review.compare import Comparison, compare
from stlib.review.known_texts import declared, known
from stlib.review.trials import Search

pytestmark = pytest.mark.usefixtures("cache")


def passages(data: Path) -> Passages:
    return load_passages(data / "p.csv")


# ----------------------------------------------------------------------------------------------------------- recipes


def test_recipe_is_a_model_with_choices() -> None:
    assert Recipe.parse("some/model").options == {}
    recipe = Recipe.parse("some/model:pooling=cls+mean,output_dim=256,dtype=bfloat16,prompt_name=query")
    assert (
        recipe.model == "some/model"
        and recipe.name == "model:pooling=cls+mean,output_dim=256,dtype=bfloat16,prompt_name=query"
    )
    assert recipe.options == {
        "pooling": ("cls", "mean"), "output_dim": 256, "dtype": "bfloat16", "prompt_name": "query"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (":flavour=x", "no choice 'flavour'; allowed are pooling, output_dim, pca"),
        (":pooling=median", "pooling=median is not allowed: expected one of cls, mean"),
        (":output_dim=0", "output_dim=0 is not allowed: expected a whole number from 1"),
        (":dtype=float128", "dtype=float128 is not allowed: expected one of float32"),
        (":output_dim=16", "no trained head of 16, only none at all; .* pca=16 takes principal components"),
        (":prompt_name=query", r"no prompt 'query'; declared are \[\]"),
        (":weights=none", "weights=none is not allowed: expected one of random"),
        (":weights=random,dtype=bfloat16", "weights=random are of float32"),
        ("/missing", "no such folder"),
    ],
)
def test_bad_recipe_is_refused_before_anything_is_loaded(
    choices: str, message: str, models: Path, data: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(Recipe, "load", lambda self: pytest.fail("something was loaded"))
    arguments = ["compare", str(models / "a"), f"{models / 'a'}{choices}", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--passages", str(data / "p.csv")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and pd.Series([error]).str.contains(message, regex=True).all(), error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--margin", "-1"], "margin: expected points from 0"),
        (["--baseline", "c"], "baseline: 'c' is not among the candidates: a, BM25, TF-IDF"),
        (["--passages", "absent.csv"], "passages: .*absent.csv"),
        (["--seed", "-1"], "seed: expected 0"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_loaded(
    arguments: list[str], message: str, models: Path, data: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(Recipe, "load", lambda self: pytest.fail("something was loaded"))
    usual = ["compare", str(models / "a"), "--out", str(tmp_path / "out"), "--passages", str(data / "p.csv")]
    assert main([*usual, *arguments]) == 2
    assert pd.Series([capsys.readouterr().err]).str.contains(message, regex=True).all()


def test_page_of_another_command_is_not_replaced(models: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<meta name="generator" content="stlib review">')
    assert main(["compare", str(models / "a"), "--out", str(tmp_path)]) == 2


def test_same_name_twice_is_numbered_and_an_encoder_needs_a_name(models: Path) -> None:
    encoder = SentenceEncoder(models / "a")
    assert list(named([models / "a", models / "a"])) == ["a", "a (2)"]
    assert list(named({"BM25": encoder})) == ["BM25 (2)"]
    with pytest.raises(ValueError, match="SentenceEncoder needs a name"):
        named([encoder])
    with pytest.raises(ValueError, match="Estimate needs a name"):
        named([Estimate.of([1.0, 2.0])])
    with pytest.raises(ValueError, match="at least one model"):
        named([])


# ----------------------------------------------------------------------------------------------- what a candidate does


def test_each_side_gets_the_prompt_that_the_folder_declares_for_it(models: Path) -> None:
    both = SentenceEncoder(models / "b")
    assert Encoded("b", both).prompts() == {"query": "find: ", "passage": "text: ", "text": "like: "}
    assert Encoded("b", both, "query").prompts() == {"query": "find: ", "passage": "text: ", "text": "find: "}
    assert Encoded("a", SentenceEncoder(models / "a")).prompts() == {"query": "", "passage": "", "text": ""}


def test_random_weights_are_the_same_model_without_its_training(models: Path) -> None:
    """Its tokenizer, limit, width and prompts stay; its vectors are others, and the same again."""
    trained = SentenceEncoder(models / "b", truncation="ignore")
    blank, again = (Recipe.parse(f"{models / 'b'}:weights=random").load() for _ in range(2))
    assert blank.name == "b:weights=random" and blank.prompts() == Encoded("b", trained).prompts()
    assert (blank.encoder.dimension, blank.encoder.max_length) == (trained.dimension, trained.max_length)
    texts = ["river bank", "dog bark"]
    assert np.abs(blank.encoder.encode(texts) - trained.encode(texts)).max() > 0.1
    assert np.array_equal(blank.encoder.encode(texts), again.encoder.encode(texts))


def test_recipes_of_one_model_with_other_poolings_share_a_pass(
    models: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And rank as an encoder does that pools so by itself."""
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    given, rows, passes = passages(data), slice(0, 80), []
    real = SentenceEncoder.map_states
    monkeypatch.setattr(
        SentenceEncoder, "map_states", lambda self, texts, own: passes.append(len(texts)) or real(self, texts, own)
    )
    for modes in ("cls", "max", "cls+mean"):
        recipe = Recipe.parse(f"{models / 'a'}:pooling={modes}").load()
        alone = Encoded("alone", SentenceEncoder(models / "a", pooling=tuple(modes.split("+")), truncation="ignore"))
        assert np.allclose(recipe.rank(given)(rows), alone.rank(given)(rows), atol=1e-5)
    assert passes == [80, 80]  # the queries and the texts, once


def test_prompts_reach_the_vectors(models: Path, data: Path) -> None:
    encoder, given = SentenceEncoder(models / "b"), passages(data)
    scores = Encoded("b", encoder).rank(given)(slice(0, 80))
    by_hand = encoder.encode(given.queries, prompt="find: ") @ encoder.encode(given.texts, prompt="text: ").T
    assert np.abs(scores - by_hand).max() < 1e-5


def test_principal_components_are_never_fitted_on_the_answers_of_the_queries_they_judge(
    models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, encoder = passages(data), SentenceEncoder(models / "a")
    vectors, seen = encoder.encode(given.texts), []
    fit = candidates._principal
    monkeypatch.setattr(candidates, "_principal", lambda texts, size: seen.append(texts) or fit(texts, size))
    candidate = Encoded("a", encoder, pca=8)
    ranks = candidate.rank(given)
    assert candidate.cost(given.texts).dimension == 8 and ranks(slice(0, 80)).shape == (80, 80)
    half = np.random.default_rng(0).permutation(80) % 2
    for one in (0, 1):
        own = np.flatnonzero(half == one)
        apart = np.abs(seen[one][:, None] - vectors[own]).max(axis=2).min(axis=0)
        assert (apart > 1e-4).all() and len(seen[one]) == 80 - len(own)
    with pytest.raises(ValueError, match="pca=32 needs at least 64 texts"):
        Encoded("a", encoder, pca=32).rank(given)


@pytest.mark.parametrize("name", ["BM25", "TF-IDF"])
def test_words_counted_in_chunks_are_those_counted_at_once(name: str, data: Path) -> None:
    given = passages(data)
    ranker = word_counters()[name].rank(given)
    whole = ranker(slice(0, 80))
    assert whole.max() > 0
    assert np.array_equal(np.concatenate([ranker(slice(at, at + 7)) for at in range(0, 80, 7)]), whole)


def test_a_pool_of_100_000_passages_is_ranked_in_chunks() -> None:
    rng, many = np.random.default_rng(0), 100_000
    given = Passages(["q"] * 300, ["t"] * many, [{n} for n in range(300)], [{n: 1.0} for n in range(300)], [""] * many,
                     [""] * 300, [""] * many)  # fmt: skip
    pool = rng.standard_normal((many, 8), dtype=np.float32)

    class Known:
        name = "known"

        def rank(self, passages: Passages) -> Any:
            return lambda rows: pool[rows] @ pool.T

    tracemalloc.start()
    try:
        found = Search(given).run(Known())  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.estimate.units == 300
    assert peak < 100e6  # all scores at once would be 120 MB, and their order 240 MB more


# ---------------------------------------------------------------------------------------------------------- one run


@pytest.fixture(scope="module")
def found(models: Path, data: Path, cache: None) -> Comparison:
    given = {
        "passages": passages(data),
        "pairs": load_pairs(data / "pairs.csv"),
        "sentences": load_sentences(data / "s.csv"),
    }
    recipes = [models / "a", f"{models / 'b'}:output_dim=8", models / "a"]
    return compare(recipes, **given, baseline="a", rounds=2)  # type: ignore[arg-type]


def test_a_model_against_itself_is_no_difference_exactly(found: Comparison) -> None:
    for answer in found.answers.values():
        against = answer.against["a (2)"]
        assert against.difference.value == 0.0 and against.interval == (0.0, 0.0)
        assert against.verdict == "no difference"


def test_word_counters_are_candidates_where_they_can_be(found: Comparison) -> None:
    assert list(found.answers) == ["passages", "pairs", "sentences"]  # the passages decide
    assert set(found.answers["passages"].estimates) == {"a", "b:output_dim=8", "a (2)", "BM25", "TF-IDF"}
    for kind in ("pairs", "sentences"):
        assert set(found.answers[kind].estimates) == {"a", "b:output_dim=8", "a (2)", "TF-IDF"}
    assert any("BM25 on pairs and sentences" in line for line in found.not_tried)


def test_what_was_measured_before_stands_beside_what_is_run(found: Comparison, models: Path, data: Path) -> None:
    """Paired on the same queries and compared with all; its cost is unknown, and what it put where as well."""
    recorded = {"a": models / "a", "b (recorded)": found.answer.estimates["b:output_dim=8"]}
    again = compare(recorded, passages=passages(data), sentences=load_sentences(data / "s.csv"), rounds=1)
    beside = found.answer.against["b:output_dim=8"].difference
    assert again.answer.against["b (recorded)"].difference.interval() == beside.interval()
    assert again.costs["b (recorded)"] == Cost() and again.table().loc["b (recorded)", "texts a second"] == "–"
    assert "b (recorded)" not in again.answers["sentences"].estimates
    assert "b (recorded)" not in again.disputed and again.disagreements
    assert "b (recorded)" not in {one.candidate for one in again.slices}


def test_what_was_measured_on_other_queries_is_missing_and_the_others_stand(models: Path, data: Path) -> None:
    other = {"b (recorded)": Estimate.of(np.arange(80.0)), "a": models / "a"}
    found = compare(other, passages=passages(data), rounds=0)
    assert "not the same units" in found.failed["b (recorded)"] and found.baseline == "a"
    assert found.table().loc["b (recorded)", "verdict"] == f"missing: {found.failed['b (recorded)']}"


def test_lead_is_over_the_best_of_the_others(found: Comparison) -> None:
    values = found.answer.estimates
    best = max(("BM25", "TF-IDF"), key=lambda name: values[name].value)
    lead = found.lead("a", "BM25", "TF-IDF")
    assert lead.value == values["a"].value - values[best].value and lead.units == 80
    for names in (("a",), ("a", "absent"), ("absent", "a")):
        with pytest.raises(ValueError, match="lead: expected names among"):
            found.lead(*names)


@pytest.mark.parametrize(("shared", "verdict"), [(False, "holds"), (True, "does not hold")])
def test_a_model_beats_words_where_they_are_not_shared(
    shared: bool, verdict: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The headline of lesson 01, of a model that knows which passage answers which query."""
    names, blank = [f"word{number}" for number in range(200)], [""] * 200
    queries = names if shared else [f"other{number}" for number in range(200)]
    own = [{number} for number in range(200)]
    given = Passages(queries, names, own, [{n: 1.0} for n in range(200)], blank, blank, blank)
    monkeypatch.setattr(Encoded, "rank", lambda self, passages: lambda rows: np.eye(200, dtype=np.float32)[rows])
    found = compare({"the model": models / "a"}, passages=given, rounds=0)
    assert Claim.decide("model-beats-words", found.lead("the model", "BM25")).verdict == verdict


def test_baseline_that_some_data_cannot_try_gives_way_there(models: Path, data: Path, tmp_path: Path) -> None:
    given = {"passages": passages(data), "pairs": load_pairs(data / "pairs.csv")}
    found = compare([models / "a"], **given, baseline="BM25", rounds=0)  # type: ignore[arg-type]
    assert (found.answers["passages"].baseline, found.answers["pairs"].baseline) == ("BM25", "a")
    comparison_page.write(found, tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert text.index(">Against BM25<") < text.index(">Against a<")


def test_costs_are_counted_and_timed(found: Comparison, models: Path) -> None:
    cost = found.costs["b:output_dim=8"]
    assert (cost.dimension, cost.vector_bytes, cost.limit) == (8, 32, 64)
    weights = (models / "b" / "model.safetensors", models / "b" / "2_Dense" / "model.safetensors")
    assert cost.disk == sum(file.stat().st_size for file in weights)
    assert cost.memory == sum(one.numel() * 4 for one in SentenceEncoder(models / "b").model.parameters())
    assert all(one.speed and one.speed[1] <= one.speed[0] <= one.speed[2] for one in found.costs.values())


def test_slices_are_of_length_negation_and_the_files_own_columns(found: Comparison) -> None:
    assert {one.column for one in found.slices} == {"length", "source"}  # no query has a negation
    [wiki] = [one for one in found.slices if one.part == "wiki" and one.candidate == "BM25"]
    whole = found.answers["passages"].against["BM25"].difference.parts[0].pseudo
    assert wiki.units == 40 and wiki.value == pytest.approx(whole[1::2].mean())


def test_of_a_column_with_many_values_the_common_ones_are_slices_and_the_rest_is_one() -> None:
    labels = [f"module {n % 20}" for n in range(70)]  # ten come four times, ten three times
    given = Passages(["q"] * 70, ["t"] * 70, [{n} for n in range(70)], [{n: 1.0} for n in range(70)], labels, labels,
                     [""] * 70, {"id": [f"row {n}" for n in range(70)]})  # fmt: skip
    columns = Search(given).columns()
    assert len(set(columns["label"])) == 12 and list(columns["label"]).count("other") > 12
    assert {f"module {n}" for n in range(10)} < set(columns["label"])
    assert set(columns["id"]) == {"other"}  # names of rows, which make no slice


def test_the_twenty_on_which_two_disagree_most_show_what_each_found(found: Comparison, data: Path) -> None:
    assert found.disputed[0] == "a" and found.disputed[1] != "a"
    assert 0 < len(found.disagreements) <= 20
    first = found.disagreements[0]
    assert first.asked in passages(data).queries and "p.csv#" in first.right
    assert all(text.startswith("the answer comes ") for text in first.found) and first.found[0] != first.found[1]


def test_second_comparison_encodes_nothing_again(
    found: Comparison, models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SentenceEncoder, "encode", lambda *_, **__: pytest.fail("something was encoded"))
    again = compare([models / "a"], passages=passages(data), rounds=0)
    assert again.answer.estimates["a"].value == found.answer.estimates["a"].value
    assert again.costs["a"].speed is None


def test_record_has_the_shape_that_its_schema_says(found: Comparison, tmp_path: Path) -> None:
    comparison_page.write(found, tmp_path)
    record = json.loads((tmp_path / "comparison.json").read_text())
    schema = comparison_page.comparison_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(record, schema)
    assert record["advice"] == found.advice and record["choice"] == found.choice
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**record, "candidates": [{**record["candidates"][0], "scores": {"passages": 1}}]}, schema)


def test_table_has_a_row_for_each_candidate_best_first(found: Comparison) -> None:
    values = found.table()["recall@10, points"].tolist()
    assert values == sorted(values, reverse=True) and len(values) == 5
    assert found.table().loc["a", "verdict"] == "baseline"


def test_nothing_to_decide_by_is_refused(models: Path, data: Path) -> None:
    with pytest.raises(ValueError, match="expected passages, pairs, or sentences with a label"):
        compare([models / "a"], sentences=load_sentences(data / "s.csv").drop(columns="label"))


# ------------------------------------------------------------------------------------------------------- known texts


def test_card_of_the_folder_names_its_training_sets(tmp_path: Path) -> None:
    assert declared(tmp_path) == [] and declared(None) == []
    (tmp_path / "README.md").write_text(
        "---\nlanguage: en\ndatasets:\n- snli\n- embedding-data/QQP\n---\n\n# A model\n"
    )
    assert declared(tmp_path) == ["snli", "embedding-data/QQP"]
    (tmp_path / "README.md").write_text("# A card without metadata\n\ndatasets:\n- snli\n")
    assert declared(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "training", "found"),
    [
        ("stsb-dev.csv", "sentence-transformers/stsb", True),
        ("stsb_dev.csv", "embedding-data/flickr30k-captions", True),
        ("documentation", "code_search_net", True),
        ("snli_test.csv", "snli", True),
        ("pairs.csv", "embedding-data/PAQ_pairs", False),
        ("our-questions.csv", "natural_questions", False),
        ("mine.csv", "snli", False),
    ],
)
def test_known_are_texts_by_name_or_kinship(data: str, training: str, found: bool) -> None:
    assert bool(known(data, ["other", training])) == found


def test_page_warns_of_texts_that_a_model_was_trained_on(models: Path, data: Path, tmp_path: Path) -> None:
    folder = wrap(models / "plain", tmp_path / "c")
    (folder / "README.md").write_text("---\ndatasets: [snli]\n---\n")
    (tmp_path / "snli_dev.csv").write_bytes((data / "p.csv").read_bytes())
    found = compare([folder], passages=load_passages(tmp_path / "snli_dev.csv"), rounds=0)
    assert any("may be known to c, trained on snli" in line for line in found.warnings)
