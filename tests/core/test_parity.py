"""The real model against sentence-transformers on the same folder: every mode, token states, and the default."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from texts import VARIED

from stlib import POOLING_MODES, pool

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def their_states(peer: Any) -> list[torch.Tensor]:
    """sentence-transformers' own token states, computed once."""
    states: list[torch.Tensor] = peer.encode(VARIED, output_value="token_embeddings")
    return states


def test_default_vectors(encoder: Any, peer: Any) -> None:
    assert np.abs(encoder.encode(VARIED) - peer.encode(VARIED)).max() < TOLERANCE


def test_token_states(encoder: Any, their_states: list[torch.Tensor]) -> None:
    ours = encoder.token_embeddings(VARIED)
    assert [len(states) for states in ours] == [len(states) for states in their_states]
    for mine, theirs in zip(ours, their_states, strict=True):
        assert np.abs(mine - theirs.cpu().numpy()).max() < TOLERANCE


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_each_pooling_mode(mode: str, encoder: Any, their_states: list[torch.Tensor]) -> None:
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling

    theirs_pool = Pooling(encoder.model.backbone.width, pooling_mode=mode)
    for mine, theirs in zip(encoder.token_embeddings(VARIED), their_states, strict=True):
        states = theirs.cpu()[None]
        wanted = theirs_pool({"token_embeddings": states, "attention_mask": torch.ones(states.shape[:2])})[
            "sentence_embedding"
        ]
        got = pool(torch.from_numpy(mine)[None], None, mode)
        scale = wanted.norm()
        assert float((got / scale - wanted / scale).abs().max()) < TOLERANCE


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_encoder_with_each_mode(mode: str, encoder: Any, peer: Any) -> None:
    from stlib import SentenceEncoder

    ours = SentenceEncoder(encoder.model.folder, pooling=mode, truncation="ignore", device="cpu").encode(VARIED)
    stock = peer[1].pooling_mode
    peer[1].pooling_mode = mode
    try:
        assert np.abs(ours - peer.encode(VARIED)).max() < TOLERANCE
    finally:
        peer[1].pooling_mode = stock


def test_bfloat16_is_as_near_as_its_rounding(encoder: Any) -> None:
    from stlib import SentenceEncoder
    from stlib.evidence.corpora import load_pairs

    half = SentenceEncoder(dtype="bfloat16", truncation="ignore", device="cpu")
    texts = [text for text in VARIED if text.strip()]
    ours = half.encode(texts)
    assert (ours * encoder.encode(texts)).sum(axis=1).min() > 0.998
    sentences = load_pairs()["sentence2"].tolist()[:200]
    assert (half.encode(sentences) * encoder.encode(sentences)).sum(axis=1).mean() > 0.9999
    assert ours.dtype == np.float32


def test_saved_folder_gives_the_same_vectors_in_both_libraries(encoder: Any, tmp_path: Any) -> None:
    from sentence_transformers import SentenceTransformer as Peer

    from stlib import SentenceEncoder

    encoder.model.save_pretrained(tmp_path / "model")
    before = encoder.encode(VARIED)
    back = SentenceEncoder(tmp_path / "model", truncation="ignore", device="cpu")
    assert np.abs(back.encode(VARIED) - before).max() < 1e-6
    assert back.max_length == 256
    assert np.abs(Peer(str(tmp_path / "model"), device="cpu").encode(VARIED) - before).max() < 1e-6
