"""Training: published losses, tasks that share a model, wrong input refused, and a kill that loses nothing whole."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS
from small_training import search, weights

from stlib import SentenceEncoder, SentenceTransformer
from stlib.evidence.training import (
    Classify,
    Grade,
    Search,
    _rows,
    contrastive_loss,
    cosent_loss,
    embed,
    load_head,
    save_head,
    train,
)

pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------------------------------- losses


def test_cosent_is_the_published_formula() -> None:
    cosines, scores = torch.tensor([0.5, 0.4, 0.9]), torch.tensor([2.0, 1.0, 1.0])
    expected = math.log(1 + math.exp(20 * (0.4 - 0.5)) + math.exp(20 * (0.9 - 0.5)))
    assert cosent_loss(cosines, scores).item() == pytest.approx(expected, rel=1e-5)


def test_cosent_agrees_with_sentence_transformers() -> None:
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    cosines, scores = torch.tensor([0.1, -0.3, 0.8, 0.5]), torch.tensor([3.0, 0.0, 3.0, 1.0])
    angle = torch.arccos(cosines)
    vectors = [torch.tensor([[1.0, 0.0]]).expand(4, 2), torch.stack([angle.cos(), angle.sin()], dim=1)]
    peer = CoSENTLoss(model=None, scale=20.0).compute_loss_from_embeddings(vectors, scores)
    assert cosent_loss(cosines, scores).item() == pytest.approx(peer.item(), rel=1e-4)


def test_contrastive_loss_agrees_with_sentence_transformers() -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    generator = torch.Generator().manual_seed(0)
    queries, passages = (torch.randn(5, 8, generator=generator) for _ in range(2))
    peer = MultipleNegativesRankingLoss(model=None, scale=20.0).compute_loss_from_embeddings([queries, passages], None)
    assert contrastive_loss(queries, passages).item() == pytest.approx(peer.item(), rel=1e-4)


def test_the_same_passage_twice_in_a_batch_is_no_negative(model: SentenceTransformer) -> None:
    model.eval()
    twice = Search([TEXTS[0], TEXTS[1], TEXTS[2]], [TEXTS[6], TEXTS[6], TEXTS[7]])
    alone = contrastive_loss(*(torch.eye(2, 4) for _ in range(2)))
    assert torch.isfinite(twice.loss(model, np.array([0, 1, 2]))) and torch.isfinite(alone)
    queries = torch.tensor([[1.0, 0], [1.0, 0]])
    same = torch.ones(2, 2, dtype=torch.bool)
    assert contrastive_loss(queries, queries, same).item() == 0


# -------------------------------------------------------------------------------------------------------- it learns


def test_each_task_gets_better_at_what_it_is_trained_for(model: SentenceTransformer) -> None:
    labels = ["a" if index % 2 else "b" for index in range(12)]
    grade = Grade(TEXTS[:6], TEXTS[6:12], [0.0, 1, 2, 3, 4, 5])
    classify = Classify(TEXTS[:12], labels, SentenceEncoder(model).dimension)
    for task in (search(), grade, classify):
        trained = copy.deepcopy(model)
        history = train(trained, task, steps=30, batch=6, rate=2e-3, seed=1)
        assert np.mean(history.losses[-5:]) < 0.8 * np.mean(history.losses[:5]), type(task).__name__


def test_two_tasks_share_one_encoder_by_their_weights(model: SentenceTransformer) -> None:
    head = Classify(TEXTS[:6], list("ababab"), SentenceEncoder(model).dimension)
    before = head.head.weight.clone()
    only = copy.deepcopy(model)
    train(only, {"search": (search(), 1.0), "labels": (copy.deepcopy(head), 0.0)}, steps=3, batch=6, seed=2)
    plain = copy.deepcopy(model)
    train(plain, search(), steps=3, batch=6, seed=2)
    assert torch.allclose(weights(only), weights(plain), atol=1e-4)
    both = copy.deepcopy(model)
    train(both, {"search": (search(), 1.0), "labels": (head, 1.0)}, steps=3, batch=6, seed=2)
    assert not torch.equal(head.head.weight, before) and not torch.equal(weights(both), weights(only))


@pytest.mark.parametrize("name", ["model", "heads", "train", "a.b", ""])
def test_a_task_may_have_any_name(model: SentenceTransformer, name: str) -> None:
    task, before = Classify(TEXTS[:6], list("ababab"), model.dimension), weights(model)
    head = task.head.weight.clone()
    train(model, {name: (task, 1.0)}, steps=2, batch=4)
    assert not torch.equal(before, weights(model)) and not torch.equal(head, task.head.weight)


def test_each_text_stands_behind_the_default_prompt_as_in_use(model: SentenceTransformer) -> None:
    model.eval()
    bare = embed(model, TEXTS[:3])
    model.prompts, model.default_prompt_name = {"query": "Tomatoes: "}, "query"
    for model.include_prompt in (True, False):
        found = embed(model, TEXTS[:3]).detach().numpy()
        np.testing.assert_allclose(found, SentenceEncoder(model).encode(TEXTS[:3]), atol=1e-5)
        assert abs(found - bare.detach().numpy()).max() > 1e-3


def test_each_round_takes_all_rows_in_a_new_order() -> None:
    """Also where there are fewer of them than a batch has room for."""
    for n, batch in ((3, 32), (8, 4), (32, 32)):
        turns = max(1, n // batch)
        drawn = np.concatenate([_rows(n, batch, number, seed=1) for number in range(3 * turns)]).reshape(3, n)
        assert np.sort(drawn).tolist() == [list(range(n))] * 3 and len({*map(tuple, drawn.tolist())}) > 1


def test_gradients_that_others_left_are_no_part_of_the_first_step(model: SentenceTransformer) -> None:
    clean = copy.deepcopy(model)
    embed(model, TEXTS[:2]).sum().backward()
    for one in (model, clean):
        train(one, search(), steps=1, batch=4)
    assert torch.equal(weights(model), weights(clean))


def test_frozen_parameters_stay_as_they_are(model: SentenceTransformer) -> None:
    for weight in model.backbone.parameters():
        weight.requires_grad_(False)
    head = Classify(TEXTS[:6], list("ababab"), SentenceEncoder(model).dimension)
    before = weights(model)
    train(model, head, steps=2, batch=4)
    assert torch.equal(before, weights(model))


def test_a_seed_gives_the_same_weights_again_and_another_does_not(model: SentenceTransformer) -> None:
    runs = [copy.deepcopy(model) for _ in range(3)]
    for one, seed in zip(runs, (0, 0, 1), strict=True):
        train(one, search(), steps=3, batch=4, seed=seed)
    assert torch.equal(weights(runs[0]), weights(runs[1])) and not torch.equal(weights(runs[0]), weights(runs[2]))


ELSEWHERE = """
import copy, sys
from elsewhere import ELSEWHERE, Elsewhere
from checkpoints import TEXTS
import torch
from stlib import SentenceEncoder, SentenceTransformer
from stlib.evidence.training import Classify, Grade, Search, train

model = SentenceTransformer.from_pretrained(sys.argv[1], pooling="mean")
classify = Classify(TEXTS[:6], ["a", "b"] * 3, width=model.dimension)
graded = Grade(TEXTS[:6], TEXTS[6:12], [0.0, 1, 2, 3, 4, 5])
tasks = {"search": (Search(TEXTS[:6], TEXTS[6:12]), 1.0), "grades": (graded, 0.5), "labels": (classify, 0.5)}

def trained(device, **more):
    own, many = copy.deepcopy((model, tasks))
    own.to(device)
    judge = lambda seen: float(SentenceEncoder(seen, device=device).encode(TEXTS[:3]).sum())
    history = train(own, many, steps=4, batch=4, accumulate=2, look_every=2, judge=judge, **more)
    assert next(own.parameters()).device == many["labels"][0].head.weight.device == torch.device(device)
    vectors = SentenceEncoder(own, device=device).encode(TEXTS)
    learned = torch.cat([weight.detach().cpu().flatten() for weight in own.parameters()])
    return learned, history, many["labels"][0].predict(vectors), torch.from_numpy(vectors)

class LeftBehind(Search):
    def loss(self, model, rows):
        return super().loss(model, rows) + (torch.ones(2) * next(model.parameters()).new_ones(2)).sum()

here = trained("cpu")
with Elsewhere():
    there = trained(ELSEWHERE)
    assert torch.equal(here[0], there[0]) and here[1].losses == there[1].losses and here[2] == there[2]
    assert torch.allclose(here[3], there[3], atol=1e-5)
    train(copy.deepcopy(model).to(ELSEWHERE), tasks, steps=1, batch=4, precision="bfloat16")
    try:
        train(model.to(ELSEWHERE), LeftBehind(TEXTS[:6], TEXTS[6:12]), steps=1, batch=4)
    except RuntimeError as error:
        assert "same device" in str(error)
        print("refused what was left behind")
"""


def test_everything_follows_the_model_to_its_device(folder: Path) -> None:
    """To weights equal to the last bit on a device that is not the processor (tests/support/elsewhere.py)."""
    support = str(Path(__file__).parents[1] / "support")
    path = os.pathsep.join(filter(None, [support, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE, str(folder)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "refused what was left behind" in run.stdout


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_it_learns_what_it_learns_here(model: SentenceTransformer) -> None:
    for module in model.modules():  # the generators of the two differ
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.backbone.config.attention_probs_dropout_prob = 0.0
    tasks = {"search": (search(), 1.0), "labels": (Classify(TEXTS[:6], list("ababab"), model.dimension), 0.5)}
    (here, many), (there, others) = copy.deepcopy((model, tasks)), copy.deepcopy((model, tasks))
    one = train(here, many, steps=4, batch=4).losses
    other = train(there.to("cuda"), others, steps=4, batch=4).losses
    assert one == pytest.approx(other, rel=1e-3)
    assert all(np.isfinite(train(there, others, steps=2, batch=4, precision="bfloat16").losses))


@pytest.mark.parametrize("shown", [True, False])
def test_a_bar_counts_the_steps_where_it_is_asked_for(
    shown: bool, model: SentenceTransformer, capsys: pytest.CaptureFixture[str]
) -> None:
    train(model, search(), steps=3, batch=2, show_progress=shown)
    assert ("3/3" in capsys.readouterr().err) == shown


def test_training_leaves_the_global_generator_and_the_mode_alone(model: SentenceTransformer) -> None:
    state = torch.get_rng_state()
    train(model.eval(), search(), steps=2, batch=4)
    assert torch.equal(state, torch.get_rng_state()) and not model.training


def test_batches_that_make_a_step_count_like_a_larger_one(model: SentenceTransformer) -> None:
    model.backbone.config.hidden_dropout_prob = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    task = Classify(TEXTS[:8], list("abababab"), SentenceEncoder(model).dimension)
    large, small = (copy.deepcopy((model, task)) for _ in range(2))
    one = train(*large, steps=1, batch=8, seed=3).losses
    other = train(*small, steps=1, batch=4, accumulate=2, seed=3).losses
    assert one == pytest.approx(other, rel=1e-3)


def test_bfloat16_computes_in_it_and_keeps_the_weights_in_float32(model: SentenceTransformer) -> None:
    exact, rough = copy.deepcopy(model), copy.deepcopy(model)
    one = train(exact, search(), steps=2, batch=4).losses
    other = train(rough, search(), steps=2, batch=4, precision="bfloat16").losses
    assert one != other and one == pytest.approx(other, rel=0.05)
    assert {weight.dtype for weight in rough.parameters()} == {torch.float32}


# -------------------------------------------------------------------------------------------- stopping and going on


def test_the_weights_that_scored_best_come_back(model: SentenceTransformer) -> None:
    seen: list[torch.Tensor] = []
    scores = iter([1.0, 3.0, 2.0, 0.0])

    def judge(trained: SentenceTransformer) -> float:
        assert not trained.training
        seen.append(weights(trained))
        return next(scores)

    history = train(model, search(), steps=8, batch=4, look_every=2, judge=judge)
    assert history.best == 4 and torch.equal(weights(model), seen[1])


def test_it_stops_after_so_many_looks_without_a_better_one(model: SentenceTransformer) -> None:
    history = train(model, search(), steps=50, batch=4, look_every=1, judge=lambda _: -len_of(model), patience=2)
    assert len(history.losses) == 3 and history.best == 1


_calls: dict[int, int] = {}


def len_of(model: SentenceTransformer) -> int:
    _calls[id(model)] = _calls.get(id(model), 0) + 1
    return _calls[id(model)]


def test_a_score_that_is_no_number_is_worse_than_any(model: SentenceTransformer) -> None:
    scores = [math.nan, 1.0, math.nan, 9.0, math.nan, 2.0]
    looks = iter(scores)
    history = train(model, search(), steps=6, batch=4, look_every=1, judge=lambda _: next(looks))
    assert history.best == 4 and [score for _, score in history.scores] == pytest.approx(scores, nan_ok=True)
    never = train(model, search(), steps=9, batch=4, look_every=1, judge=lambda _: math.nan, patience=2)
    assert never.best == 0 and len(never.losses) == 2


# -------------------------------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Search(["a"], ["b"]), "queries: training needs at least 2 rows"),
        (lambda: Search(["a", "b"], ["c"]), "one length, got queries 2, passages 1"),
        (lambda: Search(["a", "b"], ["c", "c"]), "at least 2 different passages"),
        (lambda: Grade(["a", "b"], ["c", "d"], [1.0, 1.0]), "scores: all are 1.0"),
        (lambda: Grade(["a", "b"], ["c", "d"], [1.0]), "scores 1"),
        (lambda: Grade(["a", "b"], ["c", "d"], [1.0, math.nan]), r"scores\[1\]: expected a number, got nan"),
        (lambda: Classify(["a", "b"], ["x", "x"], 4), "labels: all are 'x'"),
        (lambda: Classify(["a", "b"], ["x"], 4), "texts 2, labels 1"),
    ],
)
def test_data_that_teach_nothing_are_refused_before_training(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"batch": 1}, "batch"),
        ({"accumulate": 0}, "accumulate"),
        ({"precision": "float16"}, "precision"),
        ({"patience": 1}, "patience"),
    ],
)
def test_arguments_outside_what_is_allowed_are_refused(
    model: SentenceTransformer, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(model, search(), **{"steps": 1, **wrong})


def test_without_a_task_there_is_nothing_to_train(model: SentenceTransformer) -> None:
    with pytest.raises(ValueError, match="tasks: expected at least 1, got none"):
        train(model, {}, steps=1)


# ------------------------------------------------------------------------------------------------- the head travels


def test_the_head_travels_in_the_folder_and_sentence_transformers_loads_the_rest(
    model: SentenceTransformer, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer as Peer

    task = Classify(TEXTS[:6], list("ababab"), SentenceEncoder(model).dimension)
    train(model, task, steps=2, batch=4)
    model.save_pretrained(tmp_path / "two-tasks")
    save_head(tmp_path / "two-tasks", task)
    texts = TEXTS[:5]
    vectors = SentenceEncoder(str(tmp_path / "two-tasks"), truncation="ignore").encode(texts)
    np.testing.assert_allclose(Peer(str(tmp_path / "two-tasks"), device="cpu").encode(texts), vectors, atol=1e-5)
    head, labels = load_head(tmp_path / "two-tasks")
    with torch.no_grad():
        chosen = head(torch.from_numpy(vectors)).argmax(dim=1)
    assert [labels[number] for number in chosen] == task.predict(vectors)


def test_a_folder_without_a_head_or_with_a_damaged_one_says_so(model: SentenceTransformer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="classifier"):
        load_head(tmp_path)
    task = Classify(TEXTS[:4], list("abab"), 8)
    save_head(tmp_path, task)
    (tmp_path / "classifier" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="cannot read the classification head"):
        load_head(tmp_path)
