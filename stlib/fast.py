"""The fast path on a processor: linear weights packed for oneDNN, activations fused, no padding and no mask.

Three private operators of torch do the packed products, so everything here is tested before it is used: the operators
on this machine, and the states of the packed model against the plain one. Where a test fails the plain path runs.
Weights are copied into oneDNN's layout; the model itself is untouched, so training and saving go on as before, and a
model that was trained, loaded into or rebuilt since is packed anew. What autograd does not count, a write through
`.data`, is noticed where it touches one of some entries spread over each weight: whoever writes a single row that way
makes a new encoder.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stlib.backbone import Backbone

# Packing keeps a second copy of the linear weights; beyond this many bytes of them the copy costs more than it gains.
_LARGEST = 2 * 2**30
# Attention over so few tokens is cheapest as two products with a softmax over rows filled up to whole vectors.
_SHORT, _VECTOR = 48, 16
# From so many tokens on, a batch is filled up to a multiple of so many: products of ever new sizes would leave gaps of
# ever new sizes in memory, which then grows with the number of texts.
_EVEN = 1024, 128


# Groups of texts, each of one length: token ids [b, T], …, nothing padded -> token states [b, T, H], …
StatesOf = Callable[[Sequence[Tensor]], list[Tensor]]


class FastBackbone:
    """Groups of token ids [b, T] -> token states [b, T, H]: what `backbone` gives, sooner where that can be.

    `path` names the way taken: "bert" (packed and fused), "packed" (any family) or "plain" (the backbone itself).
    """

    def __init__(self, backbone: Backbone) -> None:
        self._encoder = backbone.encoder
        self._fingerprint = _fingerprint(self._encoder)
        self.path, self._states_of = _fastest(backbone)

    def __call__(self, groups: Sequence[Tensor]) -> list[Tensor]:
        return self._states_of(groups)

    def is_current(self) -> bool:
        """Whether the model is still the one that was packed."""
        return _fingerprint(self._encoder) == self._fingerprint


def _fastest(backbone: Backbone) -> tuple[str, StatesOf]:
    """The first path that can be built and agrees with the plain one."""
    encoder = backbone.encoder
    linear = [module.weight for module in encoder.modules() if type(module) is nn.Linear]
    size = sum(weight.numel() * weight.element_size() for weight in linear)
    if linear and size <= _LARGEST and _operators_work(linear[0].dtype, linear[0].device.type):
        for path, build in (("bert", _bert), ("packed", _packed_copy)):
            try:
                states_of = build(encoder)
                if _agrees(states_of, backbone):
                    return path, states_of
            except (AttributeError, RuntimeError, TypeError, ValueError):
                continue  # another release, another structure: the next path, in the end the plain one
    return "plain", lambda groups: [backbone(input_ids) for input_ids in groups]


def has_hooks(module: nn.Module) -> bool:
    """Whether someone listens in on the model, which only the plain path would tell."""
    return any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def _fingerprint(encoder: nn.Module) -> list[Any]:
    # The version counter misses writes through `.data`; some entries of each weight are compared as well.
    weights = [
        (weight.data_ptr(), weight._version, weight.detach().view(-1)[:: max(1, weight.numel() // 16)].sum().item())
        for weight in encoder.parameters()
    ]
    return [weights, [id(module) for module in encoder.modules()]]


@functools.cache
def _operators_work(dtype: torch.dtype, device: str) -> bool:
    """Whether this build and this processor have the packed product, and it is right."""
    if device != "cpu" or dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        generator = torch.Generator().manual_seed(0)
        x, weight, other = (torch.randn(shape, generator=generator).to(dtype) for shape in ((4, 16), (16, 16), (4, 16)))
        packed = Packed(weight, None)
        plain = x.float() @ weight.float().T
        close = functools.partial(torch.allclose, atol=1e-4 if dtype == torch.float32 else 0.1, rtol=1e-2)
        return (
            close(packed(x).float(), plain)
            and close(packed(x, "gelu").float(), functional.gelu(plain))
            and close(packed.plus(x, other).float(), plain + other.float())
        )
    except (AttributeError, RuntimeError):
        return False


@torch.no_grad()
def _agrees(states_of: StatesOf, backbone: Backbone) -> bool:
    """Whether states equal the plain path's, as far as rounding lets them."""
    ids = torch.arange(3 * 9 + 2 * 4) * 7919 % backbone.vocabulary
    ids[4] = backbone.pad_id  # a text may spell it out, and some families count positions around it
    groups = [ids[:27].view(3, 9), ids[27:].view(2, 4)]
    plain = torch.cat([backbone(input_ids).flatten(0, 1) for input_ids in groups])
    fast = torch.cat([states.flatten(0, 1) for states in states_of(groups)])
    if plain.dtype == torch.float32:
        return torch.allclose(plain, fast, atol=2e-5 * float(plain.abs().max()), rtol=1e-4)
    # in bfloat16 the two round at different places: both are as near to the exact states
    return bool(functional.cosine_similarity(plain.float(), fast.float(), dim=-1).min() > 0.999)


class Packed:
    """A linear map [..., in] -> [..., out] whose weight lies in oneDNN's layout."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self._bias = None if bias is None else bias.detach().clone()

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, activation, [], "none")
        return product

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The product plus `other`, in one go."""
        total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._weight, self._bias, "add")
        return total


class _PackedLinear(nn.Module):
    """Stands in for `nn.Linear` in a copy of the model."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias  # some families look at them
        self._packed = Packed(linear.weight, linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self._packed(x)


def _packed_copy(encoder: nn.Module) -> StatesOf:
    """Any family: a copy that shares everything but its linear layers, which are packed."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    twin = copy.deepcopy(encoder, shared)
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, _PackedLinear(child))
    return lambda groups: [twin(input_ids=ids, attention_mask=None).last_hidden_state for ids in groups]


def _bert(encoder: Any) -> StatesOf:
    """BERT and families built alike (RoBERTa, XLM-R): query, key, value in one product; GELU and residual fused.

    A product does not care which text a token is from, so groups of all lengths go through it together; only attention
    is computed group by group.
    """
    layers = [_BertLayer(layer, encoder.config) for layer in encoder.encoder.layer]

    embeddings = encoder.embeddings
    padding = getattr(embeddings.position_embeddings, "padding_idx", None)

    def positions(ids: Tensor) -> Tensor:
        """BERT counts from zero; RoBERTa and its kin from the padding id upwards, around each padding token."""
        if padding is None:
            return torch.arange(ids.shape[1]).expand_as(ids)
        keep = (ids != padding).long()
        return keep.cumsum(dim=1) * keep + padding

    def states_of(groups: Sequence[Tensor]) -> list[Tensor]:
        shapes = [ids.shape for ids in groups]
        ids = torch.cat([ids.flatten() for ids in groups]).unsqueeze(0)
        places = torch.cat([positions(group).flatten() for group in groups]).unsqueeze(0)
        states = embeddings(input_ids=ids, position_ids=places, token_type_ids=torch.zeros_like(ids))[0]
        if len(states) >= _EVEN[0]:  # the rows added are computed along and belong to nobody
            states = functional.pad(states, (0, 0, 0, -len(states) % _EVEN[1]))
        for layer in layers:
            states = layer(states, shapes)
        parts = _split(states, shapes)
        return [part.view(*shape, -1) for part, shape in zip(parts, shapes, strict=True)]

    return states_of


def _split(rows: Tensor, shapes: Sequence[torch.Size]) -> Sequence[Tensor]:
    """The rows of each group, without those that were added at the end."""
    sizes = [shape.numel() for shape in shapes]
    parts: Sequence[Tensor] = rows[: sum(sizes)].split(sizes)
    return parts


class _BertLayer:
    """One layer in the original's order (Vaswani et al. 2017, normalisation last), over the tokens of all groups."""

    def __init__(self, layer: Any, config: Any) -> None:
        attention, output = layer.attention.self, layer.attention.output
        parts = (attention.query, attention.key, attention.value)
        if config.hidden_act != "gelu" or any(type(part) is not nn.Linear for part in parts):
            raise ValueError("another layer than BERT's")
        self._heads: int = attention.num_attention_heads
        self._qkv = Packed(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))
        self._out = Packed(output.dense.weight, output.dense.bias)
        self._up = Packed(layer.intermediate.dense.weight, layer.intermediate.dense.bias)
        self._down = Packed(layer.output.dense.weight, layer.output.dense.bias)
        self._attention_norm, self._output_norm = output.LayerNorm, layer.output.LayerNorm

    def __call__(self, states: Tensor, shapes: Sequence[torch.Size]) -> Tensor:
        """[N, H] -> [N, H], the tokens of groups of the shapes [b, T] one after another."""
        context = torch.zeros_like(states)
        for part, place, shape in zip(_split(self._qkv(states), shapes), _split(context, shapes), shapes, strict=True):
            place.view(*shape, self._heads, -1).copy_(self._attend(part, shape).transpose(1, 2))
        states = self._attention_norm(self._out.plus(context, states))
        return self._output_norm(self._down.plus(self._up(states, "gelu"), states))

    def _attend(self, qkv: Tensor, shape: torch.Size) -> Tensor:
        """Attention within each text of one group: [b * T, 3 H] -> [b, heads, T, H / heads]"""
        query, key, value = qkv.view(*shape, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        if shape[1] > _SHORT and qkv.dtype == torch.float32:
            return functional.scaled_dot_product_attention(query, key, value)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # in bfloat16 quicker than the fused kernel
        return _softmax(scores) @ value


def _softmax(scores: Tensor) -> Tensor:
    """Over the last axis. torch takes rows shorter than a vector register number by number, at ten times the cost."""
    length = scores.shape[-1]
    if length > _SHORT:
        return scores.softmax(dim=-1)
    filled = functional.pad(scores, (0, -length % _VECTOR), value=-torch.inf)
    return filled.softmax(dim=-1, dtype=torch.float32)[..., :length].to(scores.dtype)
