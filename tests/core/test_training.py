"""A model is trainable: it learns, is saved with what it learned, and the encoder follows its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import (
    HIDDEN,
    TEXTS,
)
from reference import (
    TOLERANCE,
    Small,
    assert_round_trip,
)

from stlib import Projection, SentenceEncoder, SentenceTransformer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training


def tokens(model: SentenceTransformer, texts: list[str]) -> dict[str, torch.Tensor]:
    batch = model.tokenizer(texts, padding=True, return_tensors="pt")
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


@pytest.mark.parametrize("family", ["minilm", "distilbert", "qwen2"])
def test_a_model_trained_for_a_few_steps_learns_saves_and_loads(family: str, small: Small, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="untrained"):
        model = SentenceTransformer.from_pretrained(small(family), output_dim=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    left, right = tokens(model, TEXTS[::2]), tokens(model, TEXTS[1::2])
    target = torch.linspace(-0.5, 1, len(TEXTS) // 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    model.train()
    for _ in range(15):
        loss = ((model(**left) * model(**right)).sum(1) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    assert losses[-1] < 0.5 * losses[0]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(value.shape[0] == 8 for name, value in before.items() if name in changed)  # the projection
    assert any("layer" in name for name in changed)  # and the backbone below it

    encoder = SentenceEncoder(model)
    with torch.no_grad():
        direct = model(**left).numpy()
    np.testing.assert_allclose(encoder.encode(TEXTS[::2]), direct, atol=TOLERANCE)
    model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_vectors_follow_the_weights_when_they_change(small: Small) -> None:
    """An encoder that keeps packed copies of the weights must not serve the old ones after a step."""
    model = SentenceTransformer.from_pretrained(small("minilm"))
    encoder = SentenceEncoder(model)
    before = encoder.encode(TEXTS)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
    model.eval()
    with torch.no_grad():
        direct = model(**tokens(model, TEXTS)).numpy()
    assert np.abs(direct - before).max() > 1e-3
    np.testing.assert_allclose(encoder.encode(TEXTS), direct, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["random", "truncation", "from_pca"])
def test_each_projection_is_saved_and_loads_there_and_here(kind: str, small: Small, tmp_path: Path) -> None:
    raw = SentenceEncoder(small("minilm"), normalize=False).encode(TEXTS)
    make: dict[str, Callable[[], Projection]] = {
        "random": lambda: Projection.random(HIDDEN, 8, seed=3),
        "truncation": lambda: Projection.truncation(HIDDEN, 8),
        "from_pca": lambda: Projection.from_pca(raw, 8),
    }
    projection = make[kind]()
    model = SentenceTransformer.from_pretrained(small("minilm"))
    model.projection = torch.nn.Sequential(projection)
    model.save_pretrained(tmp_path / "saved")
    with torch.no_grad():
        expected = torch.nn.functional.normalize(projection(torch.from_numpy(raw)), dim=1).numpy()
    np.testing.assert_allclose(SentenceEncoder(model).encode(TEXTS), expected, atol=TOLERANCE)
    assert_round_trip(SentenceEncoder(model), tmp_path / "saved")
