"""Vectors are those of the model and the tokenizer as they are now, and whoever listens in is heard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS
from reference import Small
from torch import nn

from stlib import SentenceEncoder, SentenceTransformer
from stlib.backbone import Backbone
from stlib.evidence.controls import random_weights


@pytest.fixture
def warm(small: Small) -> SentenceEncoder:
    """An encoder that has packed its weights and copied its tokenizer."""
    encoder = SentenceEncoder(small("minilm"), truncation="ignore", device="cpu")
    encoder.encode(TEXTS)
    return encoder


def anew(model: SentenceTransformer) -> np.ndarray:
    """What an encoder gives that has nothing to remember."""
    vectors: np.ndarray = SentenceEncoder(model, truncation="ignore", device="cpu").encode(TEXTS)
    return vectors


# ------------------------------------------------------------------------------------------------ another model


def test_another_model_is_the_one_that_encodes(warm: SentenceEncoder) -> None:
    before, other = warm.encode(TEXTS), random_weights(warm.model, seed=1)
    warm.model = other
    np.testing.assert_array_equal(warm.encode(TEXTS), anew(other))
    assert np.abs(warm.encode(TEXTS) - before).max() > 0.01
    assert warm.get_params()["model"] is other and warm.set_params(truncation="warn").model is other


def test_what_is_no_model_cannot_take_its_place(warm: SentenceEncoder) -> None:
    model = warm.model
    with pytest.raises(ValueError, match="model must be"):
        warm.model = 7
    assert warm.model is model


@pytest.mark.parametrize("family", ["minilm", "mpnet"])  # packed and fused; packed
def test_another_backbone_in_the_model_is_the_one_that_encodes(small: Small, family: str) -> None:
    encoder = SentenceEncoder(small(family), truncation="ignore", device="cpu")
    before = encoder.encode(TEXTS)
    encoder.model.backbone = random_weights(encoder.model, seed=1).backbone
    np.testing.assert_array_equal(encoder.encode(TEXTS), anew(encoder.model))
    assert np.abs(encoder.encode(TEXTS) - before).max() > 0.01


def test_a_wider_network_in_the_backbone_is_the_one_that_encodes(warm: SentenceEncoder) -> None:
    config = warm.model.backbone.config
    wider = type(config)(**{**config.to_dict(), "hidden_size": 48, "max_position_embeddings": 40})
    warm.model.backbone.model = type(warm.model.backbone.model)(wider).eval()
    warm.model.max_length = 40
    np.testing.assert_array_equal(warm.encode(TEXTS), anew(warm.model))
    assert warm.dimension == 48 and warm.model.backbone.positions == 40


def test_a_switch_to_8_bits_is_noticed(warm: SentenceEncoder) -> None:
    warm.model.backbone.int8 = True
    np.testing.assert_array_equal(warm.encode(TEXTS), anew(warm.model))


def test_a_weight_that_does_not_lie_in_one_piece_is_read_and_watched(warm: SentenceEncoder) -> None:
    dense = warm.model.backbone.model.encoder.layer[0].output.dense
    expected = warm.encode(TEXTS)
    dense.weight = nn.Parameter(dense.weight.detach().T.contiguous().T)
    assert not dense.weight.is_contiguous()
    np.testing.assert_allclose(warm.encode(TEXTS), expected, atol=1e-6)
    dense.weight.data.mul_(1.5)
    np.testing.assert_array_equal(warm.encode(TEXTS), anew(warm.model))


# ------------------------------------------------------------------------------------------------ the tokenizer


def _keep_case(rust: Any) -> None:
    rust.normalizer = None


def _one_special_token(rust: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    rust.post_processor = TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 2)])


def _whole_lines(rust: Any) -> None:
    from tokenizers.pre_tokenizers import CharDelimiterSplit

    rust.pre_tokenizer = CharDelimiterSplit("\n")


def _spell_out_special_tokens(rust: Any) -> None:
    rust.encode_special_tokens = True


@pytest.mark.parametrize("change", [_keep_case, _one_special_token, _whole_lines, _spell_out_special_tokens])
def test_a_tokenizer_changed_in_place_is_noticed(warm: SentenceEncoder, change: Any) -> None:
    texts = [*TEXTS, "A [SEP] In UPPER case"]
    before = warm.encode(texts)
    change(warm.tokenizer.backend_tokenizer)
    after = warm.encode(texts)
    expected = SentenceEncoder(warm.model, truncation="ignore", device="cpu").encode(texts)
    np.testing.assert_array_equal(after, expected)
    assert np.abs(after - before).max() > 1e-4


# ------------------------------------------------------------------------------------------------ listening in


def test_a_hook_on_all_modules_is_called(warm: SentenceEncoder) -> None:
    seen: list[type] = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        warm.encode(TEXTS)
    finally:
        handle.remove()
    assert nn.Linear in seen


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """`nn.Linear.forward` is somebody else's, who halves its results and counts its calls."""
    calls: list[int] = []
    forward = nn.Linear.forward

    def counting(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return forward(self, x) / 2

    monkeypatch.setattr(nn.Linear, "forward", counting)
    yield calls


def test_a_patched_linear_layer_is_called(warm: SentenceEncoder, patched: list[int]) -> None:
    patched_vectors = warm.encode(TEXTS)
    assert patched
    twin = SentenceEncoder(warm.model, truncation="ignore", device="cpu")
    twin.packed = False
    np.testing.assert_array_equal(patched_vectors, twin.encode(TEXTS))


def test_a_forward_that_was_put_on_one_layer_is_called(warm: SentenceEncoder) -> None:
    layer, calls = warm.model.backbone.model.encoder.layer[1].output.dense, []
    forward = layer.forward
    layer.forward = lambda x: calls.append(1) or forward(x)
    warm.encode(TEXTS)
    assert calls


def test_a_model_in_training_tells_those_who_listen_in_and_has_no_dropout(warm: SentenceEncoder) -> None:
    expected, layer, calls = warm.encode(TEXTS), warm.model.backbone.model.encoder.layer[1], []
    layer.attention.forward = layer.attention.forward  # bound to the layer that is in training
    layer.register_forward_hook(lambda module, *_: calls.append(module.training))
    warm.model.train()
    np.testing.assert_allclose(warm.encode(TEXTS), expected, atol=1e-6)
    assert calls and not any(calls) and warm.model.training and layer.training


def test_a_backbone_in_training_is_looked_at_without_being_changed(warm: SentenceEncoder) -> None:
    network = warm.model.backbone.model.train()
    network.encoder.layer[0].eval()  # frozen, as in fine-tuning of the upper layers
    before = [module.training for module in network.modules()]
    backbone = Backbone(network, warm.model.backbone.pad_id)
    assert not backbone.causal and [module.training for module in network.modules()] == before
