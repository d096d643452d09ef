"""The checkpoint of a training: a kill loses nothing, the same call goes on, and that of another run is refused."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import TEXTS
from small_training import search, weights

from stlib import SentenceTransformer
from stlib.evidence.training import Classify, Search, train

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_that_goes_on_from_its_checkpoint_ends_as_if_never_stopped(
    model: SentenceTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = copy.deepcopy(model), copy.deepcopy(model)
    expected = train(whole, search(), steps=6, batch=4, look_every=2)
    steps = 0
    plain = Search.loss

    def stop(task: Search, *arguments: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise KeyboardInterrupt
        return plain(task, *arguments)

    monkeypatch.setattr(Search, "loss", stop)
    with pytest.raises(KeyboardInterrupt):
        train(cut, search(), steps=6, batch=4, look_every=2, checkpoint=tmp_path / "run.pt")
    fresh = copy.deepcopy(model)
    history = train(fresh, search(), steps=6, batch=4, look_every=2, checkpoint=tmp_path / "run.pt")
    assert torch.equal(weights(fresh), weights(whole)) and history.losses == pytest.approx(expected.losses)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


KILLED = """
import sys, torch
from checkpoints import TEXTS
from stlib import SentenceTransformer
from stlib.evidence.training import Search, train
torch.set_num_threads(1)
model = SentenceTransformer.from_pretrained(sys.argv[1], pooling="mean")
print("begins", flush=True)
train(model, Search(TEXTS[:6], TEXTS[6:12]), steps=100_000, batch=4, look_every=1, checkpoint=sys.argv[2])
"""


def test_a_kill_leaves_a_whole_checkpoint(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "support")}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(folder), str(path)], env=environment, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)  # in the middle of one of the writes, more likely than not
    process.send_signal(signal.SIGKILL)
    process.communicate()
    saved = torch.load(path, weights_only=True)
    assert saved["step"] == len(saved["losses"]) >= 1


def test_the_same_call_on_a_run_that_is_over_gives_it_back(model: SentenceTransformer, tmp_path: Path) -> None:
    """Also where it stopped early, and more steps go on from there."""
    settings: dict[str, Any] = {"batch": 4, "look_every": 1, "checkpoint": tmp_path / "run.pt"}
    scores = iter([3.0, 2.0, 1.0, 0.0])
    once, again, longer = (copy.deepcopy(model) for _ in range(3))
    first = train(once, search(), steps=50, judge=lambda _: next(scores), patience=2, **settings)
    assert len(first.losses) == 3
    second = train(again, search(), steps=50, judge=lambda _: pytest.fail("judged"), patience=2, **settings)
    assert second == first and torch.equal(weights(once), weights(again))
    assert len(train(longer, search(), steps=4, **settings).losses) == 4
    with pytest.raises(ValueError, match=r"steps=3: checkpoint='.*run.pt' has done 4 already"):
        train(model, search(), steps=3, **settings)


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": Search(TEXTS[6:12], TEXTS[:6])},
        {"tasks": {"search": (search(), 0.5)}},
        {"tasks": {"search": (search(), 1.0), "labels": (Classify(TEXTS[:4], list("abab"), 32), 1.0)}},
        {"seed": 1},
        {"batch": 3},
        {"rate": 1e-2},
        {"accumulate": 2},
        {"start": 0.5},
        {"max_length": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_checkpoint_of_another_run_is_refused(
    model: SentenceTransformer, tmp_path: Path, change: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"tasks": search(), "steps": 1, "batch": 4, "checkpoint": tmp_path / "run.pt"}
    train(copy.deepcopy(model), **settings)
    with torch.no_grad():
        next(model.parameters()).mul_(change.pop("start", 1))
    model.max_length = change.pop("max_length", model.max_length)
    before = weights(model)
    with pytest.raises(ValueError, match=r"run.pt' is of a run on other start weights, tasks or settings"):
        train(model, **settings | change)
    assert torch.equal(before, weights(model))


def test_a_head_that_starts_elsewhere_makes_another_run(model: SentenceTransformer, tmp_path: Path) -> None:
    heads = [Classify(TEXTS[:4], list("abab"), model.dimension, seed) for seed in (0, 0, 1)]
    for head in heads[:2]:
        train(copy.deepcopy(model), head, steps=1, batch=4, checkpoint=tmp_path / "run.pt")
    assert torch.equal(heads[0].head.weight, heads[1].head.weight)
    with pytest.raises(ValueError, match="other start weights"):
        train(model, heads[2], steps=1, batch=4, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize("what", ["empty", "half", "text", "list", "older", "folder"])
def test_what_is_no_checkpoint_is_refused_before_any_work(
    model: SentenceTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "run.pt"
    train(copy.deepcopy(model), search(), steps=1, batch=4, checkpoint=path)
    saved, content = torch.load(path, weights_only=True), path.read_bytes()
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "older":  # than the mark
        torch.save({name: value for name, value in saved.items() if name != "mark"}, path)
    elif what == "list":
        torch.save([1, 2], path)
    else:
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "text": b"not a checkpoint"}[what])
    monkeypatch.setattr(Search, "loss", lambda *_: pytest.fail("begun"))
    with pytest.raises(ValueError, match=r"checkpoint='.*run.pt' is (empty, damaged|of a run on other|no file)"):
        train(model, search(), steps=1, batch=4, checkpoint=path)
