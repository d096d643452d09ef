"""The fair trial: what it trains, on what, and what it leaves alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from checkpoints import TEXTS, build

from stlib import SentenceTransformer
from stlib.evidence.training import RATES, _batches, cosent_loss, inner_scores, pair_cosines, part, train


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model loses time to threads that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    return SentenceTransformer.from_pretrained(build("bert", tmp_path_factory.mktemp("trial") / "bert"), pooling="mean")


@pytest.fixture()
def pairs() -> pd.DataFrame:
    """Eight anchors of three grades each."""
    rows = [
        (TEXTS[anchor], TEXTS[(anchor + grade + 1) % len(TEXTS)], float(grade), f"a{anchor}")
        for anchor in range(8)
        for grade in range(3)
    ]
    frame = pd.DataFrame(rows, columns=["sentence1", "sentence2", "score", "anchor"])
    frame.attrs = {"has_anchor": True}
    return frame


def test_loss_is_the_published_formula() -> None:
    cosines, scores = torch.tensor([0.5, 0.4, 0.9]), torch.tensor([2.0, 1.0, 1.0])
    expected = math.log(1 + math.exp(20 * (0.4 - 0.5)) + math.exp(20 * (0.9 - 0.5)))
    assert cosent_loss(cosines, scores).item() == pytest.approx(expected, rel=1e-5)


def test_loss_agrees_with_sentence_transformers() -> None:
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    cosines, scores = torch.tensor([0.1, -0.3, 0.8, 0.5]), torch.tensor([3.0, 0.0, 3.0, 1.0])
    angle = torch.arccos(cosines)
    vectors = [torch.tensor([[1.0, 0.0]]).expand(4, 2), torch.stack([angle.cos(), angle.sin()], dim=1)]
    peer = CoSENTLoss(model=None, scale=20.0).compute_loss_from_embeddings(vectors, scores)
    assert cosent_loss(cosines, scores).item() == pytest.approx(peer.item(), rel=1e-4)


def test_a_batch_of_one_grade_has_no_loss() -> None:
    assert cosent_loss(torch.tensor([0.1, 0.9]), torch.tensor([1.0, 1.0])).item() == 0


def test_batches_keep_groups_together_and_come_round_to_all(
    pairs: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stlib.evidence.training.BATCH_PAIRS", 6)
    batches = list(_batches(pairs, steps=4, seed=0))
    assert all(batch["anchor"].value_counts().eq(3).all() and len(batch) == 6 for batch in batches)
    assert set().union(*(batch["anchor"] for batch in batches)) == set(pairs["anchor"])


def test_training_works_on_a_copy_and_leaves_the_given_model_alone(
    model: SentenceTransformer, pairs: pd.DataFrame
) -> None:
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    curve = train(model, "cls", pairs, pairs, rate=1e-2, look_at=(0, 3))
    assert model.pooling == ("mean",) and not model.training
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())
    assert np.abs(curve[3] - curve[0]).max() > 0.01


def test_untrained_point_is_the_model_under_that_pooling(model: SentenceTransformer, pairs: pd.DataFrame) -> None:
    curve = train(model, "mean", pairs, pairs, rate=1e-3, look_at=(0, 1))
    assert np.allclose(curve[0], pair_cosines(model, pairs))


def test_the_same_seed_gives_the_same_curve_and_a_short_training_is_the_beginning_of_a_long_one(
    model: SentenceTransformer, pairs: pd.DataFrame
) -> None:
    long = train(model, "mean", pairs, pairs, rate=1e-3, look_at=(2, 4), seed=5)
    short = train(model, "mean", pairs, pairs, rate=1e-3, look_at=(2,), seed=5)
    other = train(model, "mean", pairs, pairs, rate=1e-3, look_at=(2,), seed=6)
    assert np.allclose(long[2], short[2]) and not np.allclose(short[2], other[2])


def test_enough_steps_teach_the_pairs(model: SentenceTransformer, pairs: pd.DataFrame) -> None:
    from stlib.evidence.evaluation import order_accuracy

    curve = train(model, "mean", pairs, pairs, rate=3e-3, look_at=(0, 120))
    untrained, trained = (order_accuracy(curve[step], pairs["score"], pairs["anchor"]) for step in (0, 120))
    assert trained > untrained + 10


def test_rates_are_judged_on_groups_that_were_not_trained_on(
    model: SentenceTransformer, pairs: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(model: object, pooling: str, learn: pd.DataFrame, judge: pd.DataFrame, **options: object) -> object:
        seen.append((set(learn["anchor"]), set(judge["anchor"]), options["rate"]))
        return {7: np.arange(len(judge), dtype=float)}

    monkeypatch.setattr("stlib.evidence.training.train", spy)
    scores = inner_scores(model, "cls", pairs, steps=7)
    assert list(scores) == list(RATES) == [rate for *_, rate in seen]
    assert all(not learn & judge and learn | judge == set(pairs["anchor"]) for learn, judge, _ in seen)


def test_a_part_keeps_what_the_score_reads(pairs: pd.DataFrame) -> None:
    chosen = part(pairs, (pairs["anchor"] == "a1").to_numpy())
    assert len(chosen) == 3 and chosen.attrs["has_anchor"] and list(chosen.index) == [0, 1, 2]


def test_recorded_trial_is_whole() -> None:
    from stlib.evidence.claims import measurement

    record = measurement("fair_trial")
    steps, folds = record["protocol"]["steps"], 2
    assert [row["step"] for row in record["summary"]] == list(steps) and steps[0] == 0 and steps[-1] >= 20
    runs = folds * len(record["protocol"]["modes"]) * len(record["protocol"]["seeds"])
    assert len(record["curves"]) == runs and len(record["protocol"]["seeds"]) >= 3
    for choice in record["chosen"]:
        assert choice["rate"] == max(choice["inner"], key=lambda tried: tried[1])[0]
