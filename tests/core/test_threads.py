"""Threads share an encoder, also that of a model in training, which stays in training."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

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


def test_a_model_does_not_go_back_to_training_while_another_thread_encodes(encoder: Any) -> None:
    model = SentenceTransformer.from_pretrained(encoder.model.folder).train()
    shared = SentenceEncoder(model, device="cpu")
    states_of, second_begins, in_training = shared._states_function(), threading.Event(), []

    def first_states(groups: Any) -> Any:
        second_begins.wait(0.3)  # in vain, where the second has to wait for the first
        return states_of(groups)

    def second_states(groups: Any) -> Any:
        second_begins.set()
        first.join()
        in_training.append(model.training)
        return states_of(groups)

    work = {"first": first_states, "second": second_states}
    shared._states_function = lambda: work[threading.current_thread().name]
    first, second = (threading.Thread(target=shared.encode, args=(SENTENCES,), name=name) for name in work)
    first.start()
    while model.training and first.is_alive():
        time.sleep(0.001)  # until the first is at work
    second.start()
    second.join()
    assert in_training == [False] and model.training
