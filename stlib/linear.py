"""Linear maps for the fast path: packed for oneDNN, or in 8 bits, and whether they are right on this machine."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional


class Packed:
    """A linear map whose weight lies in oneDNN's layout, and whose type is the weight's whatever comes in."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._dtype = weight.dtype
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self._bias = None if bias is None else bias.detach().to(weight.dtype, copy=True)

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        rows = x.to(self._dtype)
        return torch.ops.mkldnn._linear_pointwise(rows, self._weight, self._bias, activation, [], "none").to(x.dtype)

    brief = __call__

    def gelu(self, x: Tensor) -> Tensor:
        return self(x, "gelu")

    def plus(self, x: Tensor, other: Tensor, lowest: float = -math.inf) -> Tensor:
        rows, other = x.to(self._dtype), other.to(self._dtype)
        return torch.ops.mkldnn._linear_pointwise.binary(rows, other, self._weight, self._bias, "add").to(x.dtype)


class Quantised:
    """A linear map in 8 bits: a scale for each output of the weight, one for each token that comes in.

    Sums are exact; what is lost is lost in rounding. The operator knows one scale for all tokens, so it gets 1, and the
    tokens' own are multiplied in afterwards.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._scale = weight.detach().abs().amax(dim=1).clamp(min=1e-30) / 127
        whole = (weight.detach() / self._scale.unsqueeze(1)).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._half_up = weight.new_full(weight.shape[1:], 128.5)  # 128 is zero; cutting off the fraction then rounds
        self._bias = weight.new_zeros(len(weight)) if bias is None else bias.detach().clone()
        self._brief_bias = self._bias.to(torch.bfloat16 if operators_work(torch.bfloat16, "cpu") else torch.float32)

    def _product(
        self, x: Tensor, dtype: torch.dtype = torch.float32, lowest: float = -math.inf, into: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """[..., in] -> products [..., out] of whole numbers, and how much one of them is worth [..., 1].

        `lowest`: what no number in x lies below, where that is known. `into`: memory for the scaled numbers.
        """
        smallest = x.amin(-1, keepdim=True) if math.isinf(lowest) else x.new_tensor(lowest)
        largest = torch.maximum(x.amax(-1, keepdim=True), -smallest).clamp_(min=1e-30)
        # from 1 to 255 around 128; by way of 16 bits: torch turns float32 into uint8 number by number
        whole = torch.addcmul(self._half_up, x, 127 / largest, out=into).to(torch.int16).to(torch.uint8)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, 128, self._weight, self._scale, self._zeros, None, 1.0, 0, dtype, "none", [], "none"
        )
        return product, (largest / 127).to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        product, worth = self._product(x)
        return torch.addcmul(self._bias, product, worth, out=product)

    def brief(self, x: Tensor) -> Tensor:
        """In bfloat16 where the processor has it: what comes next is cheaper there."""
        product, worth = self._product(x, self._brief_bias.dtype)
        return torch.addcmul(self._brief_bias, product, worth, out=product)

    def gelu(self, x: Tensor) -> Tensor:
        return torch.ops.aten.gelu_(self(x))

    def plus(self, x: Tensor, other: Tensor, lowest: float = -math.inf) -> Tensor:
        """The map of x, which is used up, and `other` added."""
        product, worth = self._product(x, lowest=lowest, into=x)
        return torch.addcmul(other, product, worth, out=product).add_(self._bias)


LinearMap = Packed | Quantised


@functools.cache
def operators_work(dtype: torch.dtype, device: str) -> bool:
    """Whether this build and this processor have packed products in that type, and they are right."""
    known = dtype in (torch.float32, torch.bfloat16, torch.int8)
    if device != "cpu" or not known or not torch.backends.mkldnn.is_available():
        return False
    # whole numbers up to 127, which every type holds exactly; the first row asks for the largest sum
    draw = functools.partial(torch.randint, -127, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    x, weight, other = draw((4, 64)), draw((32, 64)), draw((4, 32))
    x[0], weight[0], x[:, 0], weight[:, 0] = 127, 127, 127, 127
    plain = x @ weight.T
    close = functools.partial(torch.allclose, atol=1e-2, rtol=1e-2)
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        # without these instructions sums overflow, or run in a loop that is a thousand times as slow
        if dtype == torch.int8 and not torch.cpu._is_vnni_supported():
            return False
        packed = Quantised(weight, None) if dtype == torch.int8 else Packed(weight.to(dtype), None)
        right = close(packed(x), plain) and close(packed.gelu(x), functional.gelu(plain))
        right = right and close(packed.brief(x).float(), plain)
        return right and close(packed.plus(x, other), plain + other)
    except (AttributeError, RuntimeError):
        return False
