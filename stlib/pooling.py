"""From token states to one vector a text: the six pooling modes of sentence-transformers.

Every mode goes by the attention mask alone, so left padding, right padding and no padding agree.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: One mode, or several that are concatenated in the order given.
Pooling = str | tuple[str, ...]

POOLING_MODES = ("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def pooling_modes(pooling: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """The modes named by `pooling`, as a tuple.

    Raises:
        ValueError: `pooling` is empty or names a mode that does not exist; the message lists those that do.
    """
    modes = (pooling,) if isinstance(pooling, str) else tuple(pooling) if isinstance(pooling, (tuple, list)) else ()
    if not modes or any(mode not in POOLING_MODES for mode in modes):
        raise ValueError(f"pooling={pooling!r} is not allowed: use one of {POOLING_MODES}, or a tuple of them")
    return modes


def pool(token_states: Tensor, attention_mask: Tensor | None, mode: Pooling = "mean", *, skip: int = 0) -> Tensor:
    """Pool token states [B, T, H] under a mask [B, T] into text vectors [B, H].

    Args:
        token_states: floating point, [B, T, H].
        attention_mask: [B, T], non-zero where a token counts; `None` counts all of them. What stands in masked
            cells does not matter, not even NaN.
        mode: one of `POOLING_MODES`, or a tuple of m modes, concatenated in that order to [B, m * H].
        skip: how many tokens at the start of each text, a prompt's, are left out. `weightedmean` counts them all the
            same, so that those after them keep their weights, as in sentence-transformers.

    Returns:
        [B, H] in the type of `token_states`; sums accumulate in float32 (float64 for float64 input).
        A row with an empty mask gives zeros.

    Raises:
        ValueError: an unknown mode, or shapes that do not fit.

    The modes are those of sentence-transformers' `Pooling`; `weightedmean` weighs the i-th token by i (SGPT,
    Muennighoff 2022), `mean_sqrt_len_tokens` divides the sum by the root of the count.

    Example:
        >>> states = torch.tensor([[[1.0, 0.0], [3.0, 8.0], [9.0, 9.0]]])
        >>> mask = torch.tensor([[1, 1, 0]])
        >>> pool(states, mask)
        tensor([[2., 4.]])
        >>> pool(states, mask, ("cls", "max"))
        tensor([[1., 0., 3., 8.]])
    """
    modes = pooling_modes(mode)
    if token_states.ndim != 3 or not token_states.is_floating_point():
        raise ValueError(
            f"token_states must be floating point [B, T, H], got {token_states.dtype} {tuple(token_states.shape)}"
        )
    if attention_mask is None:
        attention_mask = torch.ones(token_states.shape[:2], dtype=torch.bool, device=token_states.device)
    elif attention_mask.shape != token_states.shape[:2]:
        raise ValueError(
            f"attention_mask must be [B, T] = {tuple(token_states.shape[:2])}, got {tuple(attention_mask.shape)}"
        )
    if token_states.shape[1] == 0:
        return token_states.new_zeros(token_states.shape[0], len(modes) * token_states.shape[2])
    pooled = [_pool_one(token_states, attention_mask != 0, name, skip) for name in modes]
    return torch.cat(pooled, dim=-1).to(token_states.dtype)


def _pool_one(token_states: Tensor, keep: Tensor, mode: str, skip: int) -> Tensor:
    """One mode over the tokens where `keep` is true, but for the first `skip`. [B, T, H], [B, T] -> [B, H]"""
    rank = keep.cumsum(dim=1)  # the i-th kept token has rank i, wherever the padding stands
    last = rank[:, -1:]  # [B, 1]
    keep, count = keep & (rank > skip), (last - skip).clamp(min=0)
    if mode in ("cls", "lasttoken"):
        chosen = keep & (rank == (skip + 1 if mode == "cls" else last))
        position = chosen.int().argmax(dim=1)[:, None, None].expand(-1, 1, token_states.shape[2])
        return token_states.gather(1, position).squeeze(1).masked_fill(count == 0, 0.0)
    precise = torch.promote_types(token_states.dtype, torch.float32)
    masked = ~keep.unsqueeze(-1)
    if mode == "max":
        return token_states.masked_fill(masked, float("-inf")).amax(dim=1).masked_fill(count == 0, 0.0)
    # filled rather than multiplied: zero times NaN is NaN
    states = token_states.masked_fill(masked, 0.0)
    if mode == "weightedmean":
        weights = (rank * keep).to(precise)
        total = (states.to(precise) * weights.unsqueeze(-1)).sum(dim=1)
        return total / weights.sum(dim=1, keepdim=True).clamp(min=1)
    total = states.sum(dim=1, dtype=precise)
    divisor = count.clamp(min=1).to(precise)
    return total / (divisor if mode == "mean" else divisor.sqrt())
