"""What transformers and sentence-transformers give on a checkpoint without this package, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, T5EncoderModel

from stlib import SentenceEncoder, SentenceTransformer

TOLERANCE = 1e-5
SAME = 1e-6
#: `small(family)` is the folder of a small checkpoint, see conftest.py
Small = Callable[..., Path]


def bare_encoder(path: Path, bidirectional: bool) -> torch.nn.Module:
    """The part of a plain transformers model that encodes, loaded without this package."""
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    if bidirectional:
        config.is_causal = False
    if config.model_type == "t5":
        model = T5EncoderModel.from_pretrained(path, config=config)
    else:
        model = AutoModel.from_pretrained(path, config=config, trust_remote_code=False)
    return (model.get_encoder() if config.is_encoder_decoder and config.model_type != "t5" else model).eval()


def reference(
    path: Path, texts: Sequence[str] = TEXTS, *, bidirectional: bool = False, limit: int = 512, normalize: bool = True
) -> np.ndarray:
    """Mean of the token states by transformers alone: one text at a time, nothing padded, no mask."""
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    model = bare_encoder(path, bidirectional)
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=limit)["input_ids"]])
        with torch.no_grad():
            row = model(input_ids=ids).last_hidden_state[0].mean(0)
        rows.append(row / row.norm() if normalize else row)
    return torch.stack(rows).numpy()


def head(path: Path, vectors: np.ndarray, name: str) -> np.ndarray:
    """A folder's Dense without activation, then unit length."""
    weights = load_file(path / name / "model.safetensors")
    projected = vectors @ weights["linear.weight"].numpy().T + weights["linear.bias"].numpy()
    return projected / np.linalg.norm(projected, axis=1, keepdims=True)


def st_model(path: Path) -> Any:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    return sentence_transformers.SentenceTransformer(str(path), device="cpu", local_files_only=True)


def st_encode(path: Path, texts: Sequence[str] = TEXTS, **options: object) -> np.ndarray:
    return st_model(path).encode(list(texts), **options)


def encoder_of(family: str, path: Path, **options: object) -> SentenceEncoder:
    """Plain stella says neither pooling nor direction; the others need nothing."""
    if family == "stella":
        options.setdefault("attention", "bidirectional")
    return SentenceEncoder(path, **options)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def padded(model: SentenceTransformer, texts: Sequence[str], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of one batch, padded with the real pad id on the side asked for."""
    rows = [model.tokenizer(text)["input_ids"] for text in texts]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), model.tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        cells = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[i, cells] = torch.tensor(row)
        mask[i, cells] = 1
    return ids, mask


def assert_round_trip(encoder: SentenceEncoder, saved: Path) -> None:
    """The saved folder gives the encoder's vectors in sentence-transformers and back here."""
    vectors = encoder.encode(TEXTS)
    again = SentenceEncoder(saved, truncation=encoder.truncation)
    np.testing.assert_allclose(st_model(saved).encode(TEXTS), vectors, atol=SAME)
    np.testing.assert_allclose(again.encode(TEXTS), vectors, atol=SAME)
    assert again.dimension == encoder.dimension
    assert again.max_length == encoder.max_length
    assert dict(again.model.prompts) == dict(encoder.model.prompts)
