"""The fast path is held to the plain one, and gets out of the way of training, saving and listening in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import FAMILIES, TEXTS
from reference import Small, cosines, encoder_of
from texts import VARIED
from torch import Tensor, nn
from torch.nn import functional

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
    if not fast.operators_work(torch.float32, "cpu"):
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
    weight = fresh.model.backbone.model.encoder.layer[0].output.dense.weight
    version = weight._version
    weight.data.mul_(1.5)
    assert weight._version == version  # so that the versions alone would not tell
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
    monkeypatch.setattr(fast, "operators_work", lambda dtype, device: False)
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


# --- portions ------------------------------------------------------------------------------------------------------


def test_portions_are_alike_and_hold_every_text_once_and_in_order() -> None:
    groups = [torch.arange(start, start + rows * length).view(rows, length) for start, rows, length in
              ((0, 3, 40), (1000, 30, 7), (2000, 1, 90), (3000, 200, 1))]  # fmt: skip
    portions = list(fast._portions(groups, 100))
    for number, group in enumerate(groups):
        mine = [ids for portion in portions for which, ids in portion if which == number]
        assert torch.equal(torch.cat(mine), group)
    sizes = [sum(ids.numel() for _, ids in portion) for portion in portions]
    assert len(sizes) == 7 and max(sizes) <= 100 + 90 / 2  # 620 tokens, cut where texts end


def test_vectors_do_not_depend_on_the_size_of_portions(fresh: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fresh.encode(VARIED)
    monkeypatch.setattr(fast, "_AT_ONCE", 8)
    assert np.abs(fresh.encode(VARIED) - whole).max() < 1e-6


# --- 8 bits --------------------------------------------------------------------------------------------------------

needs_int8 = pytest.mark.skipif(
    not fast.operators_work(torch.int8, "cpu"), reason="this processor does not multiply in 8 bits"
)


def _round(x: Tensor) -> Tensor:
    """Each row to 127 steps on either side of zero, and back."""
    step = x.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
    return (x / step).round() * step


def _as_if_in_8_bits(module: nn.Module) -> None:
    """Let every linear layer round its weight and what comes in, and multiply in float32: what int8 should give."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.weight.data = _round(layer.weight.data)
            layer.register_forward_pre_hook(lambda _, inputs: (_round(inputs[0]), *inputs[1:]))


@needs_int8
def test_a_product_in_8_bits_is_the_product_of_the_rounded_numbers() -> None:
    torch.manual_seed(0)
    x, weight, bias, other = torch.randn(2, 5, 48), torch.randn(24, 48), torch.randn(24), torch.randn(2, 5, 24)
    x[0, 0], x[0, 1], x[1, 2] = 0, 1e4 * x[0, 1], 1e-6 * x[1, 2]  # rows of any size, each with a scale of its own
    exact = functional.linear(_round(x), _round(weight), bias)
    linear = fast.Quantised(weight, bias)
    torch.testing.assert_close(linear(x), exact, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(linear.gelu(x), functional.gelu(exact), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(linear.plus(x.clone(), other), exact + other, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(fast.Quantised(weight, None)(x), exact - bias, atol=1e-4, rtol=1e-5)


@needs_int8
@pytest.mark.parametrize("brief", [False, True])
def test_a_layer_in_8_bits_gives_the_states_of_rounded_products(
    brief: bool, fresh: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last digits where attention is in float32, else as near as its bfloat16 comes."""
    brief = brief and fast.operators_work(torch.bfloat16, "cpu")
    if not brief:
        monkeypatch.setattr(fast.Quantised, "brief", fast.Quantised.__call__)
    model = fresh.model.backbone.model
    model.encoder.layer = model.encoder.layer[:1]  # over all six, numbers on the edge of rounding would drift apart
    fresh.model.backbone.int8 = True
    quick = fresh.token_embeddings(VARIED)
    assert fresh._fast is not None and fresh._fast.int8
    _as_if_in_8_bits(model)
    similar = cosines(np.concatenate(quick), np.concatenate(fresh.token_embeddings(VARIED)))
    assert similar.min() > 0.999 and np.median(similar) > 1 - (3e-4 if brief else 1e-6)
    assert brief == bool(similar.max() < 1 - 1e-6)


@needs_int8
def test_an_encoder_in_8_bits_stays_close_to_float32(encoder: Any) -> None:
    quick = SentenceEncoder(encoder.model.folder, dtype="int8", truncation="ignore", device="cpu")
    similar = cosines(quick.encode(TEXTS), encoder.encode(TEXTS))
    assert quick._fast is not None and (quick._fast.path, quick._fast.int8, quick._fast.kept) == ("bert", True, [])
    assert 0.995 < similar.mean() < 1 - 1e-5


@needs_int8
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_multiplies_in_8_bits(family: str, small: Small) -> None:
    quick, exact = (encoder_of(family, small(family), dtype=dtype) for dtype in ("int8", "float32"))
    similar = cosines(quick.encode(TEXTS), exact.encode(TEXTS))
    assert quick._fast is not None and quick._fast.int8
    assert similar.min() > 0.98 and similar.max() < 1 - 1e-7


@needs_int8
def test_a_layer_that_8_bits_would_spoil_stays_in_bfloat16(encoder: Any) -> None:
    spoilt = SentenceEncoder(encoder.model.folder, dtype="int8", truncation="ignore", device="cpu")
    attention = spoilt.model.backbone.model.encoder.layer[2].attention
    with torch.no_grad():  # one number is huge and its weights are small: the same model, but not in 8 bits
        attention.self.value.weight[7] *= 1000
        attention.self.value.bias[7] *= 1000
        attention.output.dense.weight[:, 7] /= 1000
    assert cosines(spoilt.encode(TEXTS), encoder.encode(TEXTS)).mean() > 0.995
    assert spoilt._fast is not None and spoilt._fast.int8
    assert spoilt._fast.kept == ["encoder.layer.2.attention.output.dense"]


def test_where_8_bits_are_not_to_be_had_the_vectors_are_those_of_float32(
    encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = fast.operators_work
    monkeypatch.setattr(fast, "operators_work", lambda dtype, device: dtype != torch.int8 and works(dtype, device))
    plain = SentenceEncoder(encoder.model.folder, dtype="int8", truncation="ignore", device="cpu")
    np.testing.assert_array_equal(plain.encode(VARIED), encoder.encode(VARIED))
    assert plain._fast is not None and not plain._fast.int8


def test_a_model_in_8_bits_is_saved_and_trained_in_float32(small: Small, tmp_path: Path) -> None:
    model = SentenceTransformer.from_pretrained(small("minilm"), dtype="int8")
    before = SentenceEncoder(model).encode(TEXTS)
    model.save_pretrained(tmp_path / "int8")
    SentenceTransformer.from_pretrained(small("minilm")).save_pretrained(tmp_path / "float32")
    files = [(tmp_path / dtype / "model.safetensors").read_bytes() for dtype in ("int8", "float32")]
    assert files[0] == files[1]
    np.testing.assert_array_equal(SentenceEncoder(tmp_path / "int8", dtype="int8").encode(TEXTS), before)
    batch = model.tokenizer(TEXTS[:3], padding=True, return_tensors="pt")
    model(batch["input_ids"], batch["attention_mask"]).sum().backward()
    assert all(weight.dtype == torch.float32 for weight in model.parameters())


def test_an_unknown_type_is_refused_with_the_three_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"dtype='int4'.*float32.*bfloat16.*int8"):
        SentenceEncoder(dtype="int4")
