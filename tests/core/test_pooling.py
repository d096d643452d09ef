"""Each pooling mode against values computed by hand, with padding on either side and without."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stlib import POOLING_MODES, pool

# Three tokens of width 2; by hand: sum [9, 0], max [5, 4], weighted sum 1*[1, -4] + 2*[3, 0] + 3*[5, 4] = [22, 8]
TOKENS = torch.tensor([[1.0, -4.0], [3.0, 0.0], [5.0, 4.0]])
BY_HAND = {
    "cls": [1.0, -4.0],
    "mean": [3.0, 0.0],
    "max": [5.0, 4.0],
    "mean_sqrt_len_tokens": [9 / math.sqrt(3), 0.0],
    "weightedmean": [22 / 6, 8 / 6],
    "lasttoken": [5.0, 4.0],
}
JUNK = torch.full((2, 2), 99.0)


@pytest.mark.parametrize("junk", [JUNK, JUNK * float("nan"), JUNK * float("inf")], ids=["numbers", "nan", "inf"])
@pytest.mark.parametrize("padding", ["none", "left", "right", "both"])
@pytest.mark.parametrize("mode", POOLING_MODES)
def test_mode_gives_the_value_computed_by_hand_whatever_the_padding(
    mode: str, padding: str, junk: torch.Tensor
) -> None:
    left, right = padding in ("left", "both"), padding in ("right", "both")
    states = torch.cat([junk] * left + [TOKENS] + [junk] * right)[None]
    mask = torch.tensor([[0, 0] * left + [1, 1, 1] + [0, 0] * right])
    torch.testing.assert_close(pool(states, mask, mode), torch.tensor([BY_HAND[mode]]))


def test_every_mode_was_computed_by_hand() -> None:
    assert set(BY_HAND) == set(POOLING_MODES)


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_no_mask_counts_every_token(mode: str) -> None:
    torch.testing.assert_close(pool(TOKENS[None], None, mode), torch.tensor([BY_HAND[mode]]))


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_empty_mask_gives_zeros(mode: str) -> None:
    states = torch.stack([TOKENS, TOKENS * float("nan")])
    pooled = pool(states, torch.tensor([[1, 1, 1], [0, 0, 0]]), mode)
    assert pooled[1].tolist() == [0.0, 0.0]
    assert pooled[0].tolist() == pytest.approx(BY_HAND[mode])
    assert pool(torch.zeros(2, 0, 5), torch.zeros(2, 0), mode).tolist() == [[0.0] * 5] * 2


def test_several_modes_are_concatenated_in_the_order_given() -> None:
    pooled = pool(TOKENS[None], None, ("lasttoken", "cls"))
    assert pooled.tolist() == [[5.0, 4.0, 1.0, -4.0]]


@pytest.mark.parametrize("mode", ["mean", "weightedmean", "mean_sqrt_len_tokens"])
def test_half_precision_accumulates_in_float32(mode: str) -> None:
    # 4096 + 1 is not a bfloat16 number: summed in bfloat16, the ones would vanish one by one
    states = torch.ones(1, 4097, 1, dtype=torch.bfloat16)
    expected = 4097**0.5 if mode == "mean_sqrt_len_tokens" else 1.0
    pooled = pool(states, None, mode)
    assert pooled.dtype == torch.bfloat16
    assert float(pooled) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_gradients_reach_the_kept_tokens_alone(mode: str) -> None:
    states = torch.randn(2, 4, 3, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 0]])
    pool(states, mask, mode).sum().backward()
    assert states.grad is not None and torch.isfinite(states.grad).all()
    assert (states.grad[mask == 0] == 0).all() and states.grad.abs().sum() > 0


@pytest.mark.parametrize("mode", ["average", "", (), ("mean", "sum"), None, 3])
def test_unknown_mode_is_an_error_that_lists_the_modes(mode: object) -> None:
    with pytest.raises(ValueError, match="mean_sqrt_len_tokens"):
        pool(TOKENS[None], None, mode)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match="attention_mask"):
        pool(TOKENS[None], torch.ones(1, 4))
    with pytest.raises(ValueError, match="token_states"):
        pool(TOKENS, torch.ones(1, 3))
    with pytest.raises(ValueError, match="token_states"):
        pool(torch.ones(1, 3, 2, dtype=torch.long), torch.ones(1, 3))


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(POOLING_MODES),
    length=st.integers(1, 6),
    left=st.integers(0, 3),
    right=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_padding_never_changes_the_result(mode: str, length: int, left: int, right: int, seed: int) -> None:
    states = torch.randn(1, left + length + right, 4, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(1, left + length + right, dtype=torch.long)
    mask[:, left : left + length] = 1
    torch.testing.assert_close(pool(states, mask, mode), pool(states[:, left : left + length], None, mode))


def test_agrees_with_sentence_transformers_on_ragged_masks() -> None:
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling

    states = torch.randn(5, 7, 8, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([7, 1, 3, 5, 2])
    right = (torch.arange(7) < lengths[:, None]).long()
    for mask in (right, right.flip(1)):
        for mode in POOLING_MODES:
            features = {"token_embeddings": states, "attention_mask": mask}
            theirs = Pooling(8, pooling_mode=mode)(features)["sentence_embedding"]
            torch.testing.assert_close(pool(states, mask, mode), theirs, atol=1e-6, rtol=1e-6)
