"""The fast path is held to the plain one, and gets out of the way of training, saving and listening in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from texts import VARIED

from stlib import SentenceEncoder, SentenceTransformer, fast


@pytest.fixture()
def fresh(encoder: Any) -> SentenceEncoder:
    return SentenceEncoder(SentenceTransformer.from_pretrained(encoder.model.folder), truncation="ignore", device="cpu")


def _plain(encoder: SentenceEncoder) -> np.ndarray:
    twin = SentenceEncoder(encoder.model, truncation="ignore")
    twin.packed = False
    vectors: np.ndarray = twin.encode(VARIED)
    return vectors


@pytest.mark.parametrize("builder", [fast._bert, fast._packed_copy])
def test_each_path_gives_the_plain_states(encoder: Any, builder: Any) -> None:
    if not fast._operators_work(torch.float32, "cpu"):
        pytest.skip("this build has no packed products")
    groups = [
        torch.tensor([[101, *range(2000 + row, 2000 + row + length), 102] for row in range(4)]) for length in (5, 1, 9)
    ]
    with torch.no_grad():
        for states, ids in zip(builder(encoder.model.backbone.encoder)(groups), groups, strict=True):
            torch.testing.assert_close(states, encoder.model.backbone(ids), atol=2e-5, rtol=1e-4)


def test_fast_vectors_equal_plain_ones(fresh: SentenceEncoder) -> None:
    assert np.abs(fresh.encode(VARIED) - _plain(fresh)).max() < 1e-6


def test_a_trained_model_is_packed_anew(fresh: SentenceEncoder) -> None:
    before = fresh.encode(VARIED)
    optimizer = torch.optim.SGD(fresh.model.parameters(), lr=0.05)
    batch = fresh.tokenizer(VARIED[3:9], padding=True, return_tensors="pt")
    (fresh.model(batch["input_ids"], batch["attention_mask"]).sum() * 10).backward()
    optimizer.step()
    after = fresh.encode(VARIED)
    assert np.abs(after - before).max() > 1e-4
    assert np.abs(after - _plain(fresh)).max() < 1e-5


def test_a_write_behind_autograds_back_is_noticed(fresh: SentenceEncoder) -> None:
    fresh.encode(VARIED)
    fresh.model.backbone.model.encoder.layer[0].output.dense.weight.data.mul_(1.5)
    assert np.abs(fresh.encode(VARIED) - _plain(fresh)).max() < 1e-5


def test_a_layer_taken_away_is_noticed(fresh: SentenceEncoder) -> None:
    fresh.encode(VARIED)
    fresh.model.backbone.model.encoder.layer = fresh.model.backbone.model.encoder.layer[:3]
    assert np.abs(fresh.encode(VARIED) - _plain(fresh)).max() < 1e-5


def test_hooks_are_called(fresh: SentenceEncoder) -> None:
    fresh.encode("warm")
    seen: list[int] = []
    fresh.model.backbone.model.encoder.layer[2].register_forward_hook(lambda *_: seen.append(1))
    fresh.encode("listen")
    assert seen


def test_packing_leaves_the_model_trainable_and_its_weights_unchanged(fresh: SentenceEncoder) -> None:
    before = {name: value.clone() for name, value in fresh.model.state_dict().items()}
    fresh.encode(VARIED)
    after = fresh.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert all(weight.requires_grad for weight in fresh.model.parameters())


def test_without_the_operators_the_plain_path_runs(fresh: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_operators_work", lambda dtype, device: False)
    vectors = fresh.encode(VARIED)
    assert fresh._fast is not None and fresh._fast.path == "plain"
    np.testing.assert_array_equal(vectors, _plain(fresh))


def test_a_path_that_disagrees_is_not_taken(fresh: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fast, "_bert", lambda encoder: lambda groups: [fresh.model.backbone(ids) + 0.01 for ids in groups]
    )
    monkeypatch.setattr(fast, "_packed_copy", lambda encoder: (_ for _ in ()).throw(RuntimeError("another structure")))
    fresh.encode("text")
    assert fresh._fast is not None and fresh._fast.path == "plain"
