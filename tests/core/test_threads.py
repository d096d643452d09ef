"""Threads share an encoder, also that of a model in training, which stays in training."""

from __future__ import annotations

import copy
import functools
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import Small
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from stlib import SentenceEncoder, SentenceTransformer

SENTENCES = ["A dog barks.", "Un chien aboie.", "Stocks fell sharply on Monday after the report."]


def test_threads_may_share_an_encoder(encoder: Any) -> None:
    fresh = SentenceEncoder(encoder.model)
    results: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: fresh.encode(SENTENCES * 5)})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = encoder.encode(SENTENCES * 5)
    assert len(results) == 6 and all(np.abs(result - expected).max() < 1e-5 for result in results.values())


def test_threads_may_share_the_encoder_of_a_model_in_training(encoder: Any) -> None:
    model = SentenceTransformer.from_pretrained(encoder.model.folder).train()
    shared, expected, worst = SentenceEncoder(model, device="cpu"), encoder.encode(SENTENCES), []

    def work() -> None:
        worst.append(max(np.abs(shared.encode(SENTENCES) - expected).max() for _ in range(15)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(worst) == 4 and max(worst) < 1e-5 and model.training and model.backbone.model.encoder.training


def test_a_model_in_training_encodes_without_dropout_and_stays_in_training(encoder: Any) -> None:
    model = SentenceTransformer.from_pretrained(encoder.model.folder)
    model.train()
    model.backbone.model.embeddings.eval()
    vectors = SentenceEncoder(model, device="cpu").encode(SENTENCES)
    assert np.abs(vectors - encoder.encode(SENTENCES)).max() < 1e-5
    assert model.training and model.backbone.model.encoder.training and not model.backbone.model.embeddings.training


def _second_encoder(encoder: SentenceEncoder) -> Any:
    return SentenceEncoder(encoder.model, truncation="ignore", device="cpu").encode(TEXTS)


def _copies(encoder: SentenceEncoder) -> None:
    for twin in (copy.copy(encoder), copy.deepcopy(encoder)):
        assert all(module.training for module in twin.model.modules())
        twin.encode(TEXTS[0])


ACTIONS: dict[str, Callable[[SentenceEncoder], Any]] = {
    "another encoder of the model": _second_encoder,
    "copies": _copies,
    "other parameters": lambda encoder: encoder.set_params(max_length=4, truncation="error"),
    "another model": lambda encoder: setattr(encoder, "model", copy.deepcopy(encoder.model.eval())),
    "the end of training": lambda encoder: encoder.model.eval(),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_done_in_the_middle_of_encode_changes_neither_its_vectors_nor_the_training(
    small: Small, action: str, packed: bool
) -> None:
    encoder = SentenceEncoder(small("minilm"), truncation="ignore", device="cpu")
    encoder.packed = packed
    expected, model = encoder.encode(TEXTS), encoder.model.train()
    done: list[bool] = []

    def act(*_: Any) -> None:
        if not done:
            done.append(True)
            ACTIONS[action](encoder)

    model.projection.register_forward_pre_hook(act)
    if packed:
        np.testing.assert_array_equal(encoder.encode(TEXTS, batch_tokens=20), expected)
    else:  # from the middle of the network, too
        model.backbone.model.encoder.layer[0].register_forward_hook(act)
        np.testing.assert_allclose(encoder.encode(TEXTS, batch_tokens=20), expected, atol=1e-6)
    assert done and {module.training for module in model.modules()} == {action not in list(ACTIONS)[3:]}


class _Everything(nn.Module):
    """What a part may hold beside its modules: a list of them, a partial, a method of its own, a hook's counter."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.parts, self.again, self.own = [self.drop], functools.partial(_call, self.drop), self.twice
        self.linear = weight_norm(nn.Linear(32, 32))
        self.norm = nn.BatchNorm1d(32)

    def twice(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.drop(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(self.again(self.own(self.parts[0](x)))))


def _call(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = module(x)
    return result


def test_whatever_a_part_holds_is_taken_along_without_dropout(small: Small) -> None:
    model = SentenceTransformer.from_pretrained(small("minilm"))
    encoder = SentenceEncoder(model, truncation="ignore", device="cpu")
    part = _Everything().eval()
    model.projection.append(part)
    expected = encoder.encode(TEXTS)
    model.train()
    np.testing.assert_array_equal(encoder.encode(TEXTS), expected)
    with torch.no_grad():
        part.linear.parametrizations.weight.original0.mul_(-1)
    changed = encoder.encode(TEXTS)
    assert np.abs(changed - expected).max() > 0.1
    assert part.norm.num_batches_tracked == 0 and all(module.training for module in model.modules())
    np.testing.assert_array_equal(
        SentenceEncoder(model.eval(), truncation="ignore", device="cpu").encode(TEXTS), changed
    )


@pytest.mark.parametrize("way", ["wrapped", "in place"])
def test_a_compiled_network_in_training_gives_no_dropout(small: Small, way: str) -> None:
    encoder = SentenceEncoder(small("minilm"), truncation="ignore", device="cpu")
    expected, backbone = encoder.encode(TEXTS[:2]), encoder.model.backbone
    if way == "wrapped":
        backbone.model = torch.compile(backbone.model, backend="eager")
    else:
        backbone.model.compile(backend="eager")
    for packed in (True, False):
        encoder.packed = packed
        encoder.model.train()
        np.testing.assert_allclose(encoder.encode(TEXTS[:2]), expected, atol=1e-6)


def test_a_model_that_was_made_in_inference_mode_encodes_inside_and_outside(small: Small) -> None:
    with torch.inference_mode():
        encoder = SentenceEncoder(small("minilm"), truncation="ignore", device="cpu")
        inside = encoder.encode(TEXTS)
    np.testing.assert_array_equal(encoder.encode(TEXTS), inside)
    encoder.model.train()
    np.testing.assert_array_equal(encoder.encode(TEXTS), inside)


def test_an_interrupted_encode_leaves_the_model_in_training(small: Small) -> None:
    encoder = SentenceEncoder(small("minilm"), truncation="ignore", device="cpu")
    expected, model = encoder.encode(TEXTS), encoder.model.train()

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = model.projection.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(TEXTS)
    handle.remove()
    assert all(module.training for module in model.modules())
    np.testing.assert_array_equal(encoder.encode(TEXTS), expected)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orders=st.lists(st.lists(st.sampled_from(["encode", "plain", "pickle", "set", "flip"]), min_size=3, max_size=5),
                    min_size=2, max_size=3)
)  # fmt: skip
def test_threads_with_encoders_of_one_model_in_training(
    model: SentenceTransformer, expected: np.ndarray, orders: list[list[str]]
) -> None:
    worst: list[float] = []

    def work(order: list[str]) -> None:
        own = SentenceEncoder(model, truncation="ignore", device="cpu")
        for step in order:
            if step == "pickle":
                assert pickle.loads(pickle.dumps(own)).model.training
            elif step == "set":
                own.set_params(truncation="warn").set_params(truncation="ignore")
            elif step == "flip":
                model.train()  # a loop that trains says so again and again
            else:
                own.packed = step == "encode"
                worst.append(np.abs(own.encode(TEXTS) - expected).max())

    with ThreadPoolExecutor(len(orders)) as pool:
        list(pool.map(work, orders))
    assert max(worst, default=0) < 1e-5 and all(module.training for module in model.modules())


@pytest.fixture(scope="module")
def model(small: Small) -> SentenceTransformer:
    return SentenceTransformer.from_pretrained(small("minilm")).train()


@pytest.fixture(scope="module")
def expected(small: Small) -> np.ndarray:
    vectors: np.ndarray = SentenceEncoder(small("minilm"), truncation="ignore", device="cpu").encode(TEXTS)
    return vectors


def test_parameters_set_meanwhile_are_taken_whole(small: Small) -> None:
    model = SentenceTransformer.from_pretrained(small("minilm"))
    other = copy.deepcopy(model)
    other.pooling = ("cls", "max")
    encoder = SentenceEncoder(model, truncation="ignore", device="cpu")
    whole = [SentenceEncoder(one, truncation="ignore", device="cpu").encode(TEXTS) for one in (model, other)]
    until = threading.Event()

    def swap() -> None:
        while not until.is_set():
            encoder.model = other
            encoder.set_params(model=model)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        found = [encoder.encode(TEXTS) for _ in range(20)]
    finally:
        until.set()
        thread.join()
    for vectors in found:
        assert any(vectors.shape == one.shape and np.abs(vectors - one).max() < 1e-5 for one in whole)
