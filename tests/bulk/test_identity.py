"""What identifies a model is everything that decides its vectors, and nothing else: only then is a run resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch

from stlib import Projection, SentenceEncoder
from stlib.bulk import encode_files


@pytest.fixture(scope="module")
def dense(tmp_path_factory: Any) -> Path:
    place = tmp_path_factory.mktemp("identity")
    heads = [checkpoints.Dense(checkpoints.HIDDEN, 8, "tanh")]
    return checkpoints.wrap(checkpoints.build("minilm", place / "plain"), place / "model", dense=heads)


def _encoder(folder: Path, **options: Any) -> SentenceEncoder:
    return SentenceEncoder(folder, truncation="ignore", device="cpu", **options)


def _activation(encoder: SentenceEncoder) -> None:
    other = Projection(checkpoints.HIDDEN, 8, activation="gelu")
    other.load_state_dict(encoder.model.projections[0].state_dict())
    encoder.model.projection[0] = other


def _heads(encoder: SentenceEncoder) -> None:
    encoder.model.backbone.config.num_attention_heads //= 2


def _epsilon(encoder: SentenceEncoder) -> None:
    encoder.model.backbone.model.embeddings.LayerNorm.eps *= 10


def _weight(encoder: SentenceEncoder) -> None:
    with torch.no_grad():
        encoder.model.backbone.model.embeddings.word_embeddings.weight[-1, -1] += 1


def _side(encoder: SentenceEncoder) -> None:
    encoder.tokenizer.truncation_side = "left"


def _lower_case(encoder: SentenceEncoder) -> None:
    encoder.tokenizer.backend_tokenizer.normalizer = None


def _special_tokens(encoder: SentenceEncoder) -> None:
    encoder.tokenizer.backend_tokenizer.encode_special_tokens = True


CHANGES: dict[str, Callable[[SentenceEncoder], Any]] = {
    "the activation of a Dense": _activation,
    "how many heads": _heads,
    "a constant of a layer": _epsilon,
    "one number of a weight": _weight,
    "the type": lambda encoder: encoder.model.to(torch.bfloat16),
    "8 bits": lambda encoder: setattr(encoder.model.backbone, "int8", True),
    "pooling": lambda encoder: setattr(encoder.model, "pooling", ("cls",)),
    "the length": lambda encoder: setattr(encoder.model, "normalize", False),
    "the encoder's limit": lambda encoder: setattr(encoder, "max_length", 5),
    "the side that is cut": _side,
    "the tokenizer": _lower_case,
    "special tokens that are spelt out": _special_tokens,
    "whether the prompt counts": lambda encoder: setattr(encoder.model, "include_prompt", False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_the_vectors_identifies_the_model(dense: Path, change: str) -> None:
    encoder = _encoder(dense)
    before = encoder.identity()
    CHANGES[change](encoder)
    assert encoder.identity() != before


def test_neither_the_place_nor_the_last_caller_of_the_tokenizer_identifies_a_model(dense: Path, tmp_path: Path) -> None:
    before = _encoder(dense).identity()
    elsewhere = _encoder(Path(shutil.copytree(dense, tmp_path / "elsewhere")))
    elsewhere.tokenizer(["text", "a longer text"], padding=True, truncation=True, max_length=3)
    elsewhere.encode("text")
    elsewhere.model.train()
    assert elsewhere.identity() == before
    elsewhere.model.eval().save_pretrained(tmp_path / "saved")
    assert _encoder(tmp_path / "saved").encode("text").tolist() == elsewhere.encode("text").tolist()


def test_encoders_with_limits_of_their_own_are_told_apart_though_they_share_a_model(dense: Path) -> None:
    model = _encoder(dense).model
    identities = {SentenceEncoder(model, max_length=limit, device="cpu").identity() for limit in (4, 5, None)}
    assert len(identities) == 3


def test_a_run_is_not_resumed_with_another_activation(dense: Path, tmp_path: Path, shards: Path) -> None:
    first, other = _encoder(dense), _encoder(dense)
    _activation(other)
    encode_files(shards, "text", tmp_path / "out", encoder=first)
    (tmp_path / "out" / "a.parquet").unlink()
    with pytest.raises(ValueError, match="of another model"):
        encode_files(shards, "text", tmp_path / "out", encoder=other)
