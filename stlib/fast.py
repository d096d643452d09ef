"""The fast path on a processor: weights packed for oneDNN, activations fused, no padding, no mask; on request 8 bits.

Private operators of torch do the packed products, so everything here is tested before it is used: the operators on
this machine, and the states of the packed model against the plain one. Where a test fails the plain path runs.
Weights are copied into oneDNN's layout; the model itself is untouched, so training and saving go on as before, and a
model that was trained, loaded into or rebuilt since is packed anew.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stlib.backbone import Backbone
from stlib.linear import LinearMap, Packed, Quantised, operators_work
from stlib.modules import in_evaluation, without_autocast

# Packing keeps a second copy of the linear weights; beyond this many bytes of them the copy costs more than it gains.
_LARGEST = 2 * 2**30
# A linear layer whose output 8 bits would move by more than this share of its length stays in bfloat16.
_ROUGH = 0.05
# Attention over so few tokens is cheapest as two products with a softmax over rows filled up to whole vectors.
_SHORT, _VECTOR = 48, 16
# What GELU gives lies above this (its minimum is -0.16997).
_LOWEST_GELU = -0.17
# So many tokens a thread go through the model together: what lies between two products then stays near the core, and
# memory is used again rather than asked for anew. Their number is filled up to a multiple, or products of ever new
# sizes would leave gaps of ever new sizes in memory, which then grows with the number of texts.
_AT_ONCE, _EVEN = 1024, 16


# Groups of texts, each of one length: token ids [b, T], …, nothing padded -> token states [b, T, H], …
StatesOf = Callable[[Sequence[Tensor]], list[Tensor]]


class FastBackbone:
    """Groups of token ids [b, T] -> token states [b, T, H]: what `backbone` gives, sooner where that can be.

    Attributes:
        path: the way taken: "bert" (packed and fused), "packed" (any family) or "plain" (the backbone itself).
        int8: whether linear layers multiply in 8 bits: where the backbone asks for it and this processor can.
        kept: names of the linear layers that are in bfloat16 all the same, because 8 bits would spoil them.
    """

    def __init__(self, backbone: Backbone) -> None:
        _keep_memory()
        self._packed = _fingerprint(backbone)
        self._twin = in_evaluation(backbone)  # keeps the weights, so that no other can come to lie in their place
        with without_autocast(torch.device("cpu")):
            self.path, self.int8, self.kept, self._states_of = _fastest(self._twin)

    def __call__(self, groups: Sequence[Tensor]) -> list[Tensor]:
        return self._states_of(groups)

    def is_current(self, backbone: Backbone) -> bool:
        """Whether this is the model that was packed, and still as it was."""
        return _fingerprint(backbone) == self._packed


def _fastest(backbone: Backbone) -> tuple[str, bool, list[str], StatesOf]:
    """The first way that can be built and agrees with the plain one."""
    linear = {name: layer for name, layer in backbone.encoder.named_modules() if type(layer) is nn.Linear}
    for int8 in (True, False) if backbone.int8 else (False,):
        if not linear or not _can_pack(list(linear.values()), int8):
            continue
        rough = _rough_weights(backbone, linear.values()) if int8 else None
        for path, build in (("bert", _bert), ("packed", _packed_copy)):
            try:
                states_of = _in_portions(build(backbone.encoder, functools.partial(_map_of, rough=rough)))
                if _agrees(states_of, backbone, int8):
                    return path, int8, [name for name in linear if linear[name].weight in (rough or ())], states_of
            except (AttributeError, RuntimeError, TypeError, ValueError):
                continue  # another release, another structure: the next path, in the end the plain one
    return "plain", False, [], lambda groups: [backbone(input_ids) for input_ids in groups]


def _fingerprint(backbone: Backbone) -> list[Any]:
    """What changes when the model does.

    A weight's version counts the writes that autograd sees. It misses those through `.data`, as averaging of weights
    and older optimisers do them: without the sum over some entries of each weight, vectors would go on being those of
    the model as it was. A write to a single row may still slip through, and so may a number in a layer or in the
    config (`LayerNorm.eps`): whoever changes those makes a new encoder.
    """
    encoder = backbone.encoder
    weights = [
        (weight.data_ptr(), _version(weight), weight.detach().reshape(-1)[:: max(1, weight.numel() // 16)].sum().item())
        for weight in itertools.chain(encoder.parameters(), encoder.buffers())
    ]
    modules: list[Any] = [backbone, *encoder.modules()]
    return [
        weights,
        modules,
        {type(module): type(module).forward for module in modules},
        backbone.int8,
        backbone.pad_id,
    ]


def _version(weight: Tensor) -> int:
    return 0 if weight.is_inference() else weight._version  # what inference mode has made counts no writes


# ------------------------------------------------------------------------------------------------ what can be relied on


def _keep_memory() -> None:
    """Lets freed memory be used again. Else glibc may hand it back after each product and fetch it anew, page by page,
    which took up to a third of the time in int8. It keeps as much as the largest block freed so far, 32 MB at most."""
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _can_pack(layers: Sequence[nn.Linear], int8: bool) -> bool:
    weight = layers[0].weight
    dtype = torch.int8 if int8 else weight.dtype
    size = sum(layer.weight.numel() for layer in layers) * dtype.itemsize
    known = weight.dtype == torch.float32 if int8 else True
    return known and size <= _LARGEST and operators_work(dtype, weight.device.type)


def _probe(backbone: Backbone) -> list[Tensor]:
    """Token ids in two groups, [3, 9] and [2, 4]."""
    ids = torch.arange(3 * 9 + 2 * 4) * 7919 % backbone.vocabulary
    ids[4] = backbone.pad_id  # a text may spell it out, and some families count positions around it
    return [ids[:27].view(3, 9), ids[27:].view(2, 4)]


@torch.no_grad()
def _agrees(states_of: StatesOf, backbone: Backbone, int8: bool) -> bool:
    """Whether states equal the plain path's, as far as rounding lets them."""
    groups = _probe(backbone)
    plain = torch.cat([backbone(input_ids).flatten(0, 1) for input_ids in groups])
    fast = torch.cat([states.flatten(0, 1) for states in states_of(groups)])
    if plain.dtype == torch.float32 and not int8:
        return torch.allclose(plain, fast, atol=2e-5 * float(plain.abs().max()), rtol=1e-4)
    # in bfloat16 the two round at different places: both are as near to the exact states
    cosines = functional.cosine_similarity(plain.float(), fast.float(), dim=-1)
    return bool(cosines.mean() > 0.98 if int8 else cosines.min() > 0.999)


@torch.no_grad()
def _rough_weights(backbone: Backbone, layers: Collection[nn.Linear]) -> set[Tensor]:
    """Those that 8 bits would spoil: a few numbers in their input are so large that the others round to nothing."""
    rough: set[Tensor] = set()

    def compare(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        exact = output if layer.bias is None else output - layer.bias
        if (Quantised(layer.weight, None)(inputs[0]) - exact).norm() > _ROUGH * exact.norm():
            rough.add(layer.weight)

    hooks = [layer.register_forward_hook(compare) for layer in layers]
    try:
        for input_ids in _probe(backbone):
            backbone(input_ids)
    finally:
        for hook in hooks:
            hook.remove()
    return rough


# ------------------------------------------------------------------------------------------------ models


MapOf = Callable[..., LinearMap]


def _map_of(*layers: nn.Linear, rough: Collection[Tensor] | None = None) -> LinearMap:
    """The layers side by side as one map; in 8 bits unless `rough` is None or has a weight of theirs."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    if rough is None:
        return Packed(weight, bias)
    if any(layer.weight in rough for layer in layers):
        return Packed(weight.bfloat16() if operators_work(torch.bfloat16, "cpu") else weight, bias)
    return Quantised(weight, bias)


class _MappedLinear(nn.Module):
    """Stands in for `nn.Linear` in a copy of the model."""

    def __init__(self, linear: nn.Linear, mapped: LinearMap) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias  # some families look at them
        self._mapped = mapped

    def forward(self, x: Tensor) -> Tensor:
        return self._mapped(x)


def _packed_copy(encoder: nn.Module, map_of: MapOf = _map_of) -> StatesOf:
    """Any family: a twin whose linear layers are packed."""
    twin = in_evaluation(encoder)
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, _MappedLinear(child, map_of(child)))
    return lambda groups: [twin(input_ids=ids, attention_mask=None).last_hidden_state for ids in groups]


def _bert(encoder: Any, map_of: MapOf = _map_of) -> StatesOf:
    """BERT and families built alike (RoBERTa, XLM-R): query, key, value in one product; GELU and residual fused.

    A product does not care which text a token is from, so groups of all lengths go through it together; only attention
    is computed group by group.
    """
    layers = [_BertLayer(layer, encoder.config, map_of) for layer in encoder.encoder.layer]
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
        # the rows added are computed along and belong to nobody
        states = functional.pad(states, (0, 0, 0, -len(states) % _EVEN))
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

    def __init__(self, layer: Any, config: Any, map_of: MapOf) -> None:
        attention, output = layer.attention.self, layer.attention.output
        parts = (attention.query, attention.key, attention.value)
        if config.hidden_act != "gelu" or any(type(part) is not nn.Linear for part in parts):
            raise ValueError("another layer than BERT's")
        self._heads: int = attention.num_attention_heads
        self._qkv, self._out = map_of(*parts), map_of(output.dense)
        self._up, self._down = map_of(layer.intermediate.dense), map_of(layer.output.dense)
        self._attention_norm, self._output_norm = output.LayerNorm, layer.output.LayerNorm
        self._nothing = torch.zeros_like(torch.cat([part.bias for part in parts]))

    def __call__(self, states: Tensor, shapes: Sequence[torch.Size]) -> Tensor:
        """[N, H] -> [N, H], the tokens of groups of the shapes [b, T] one after another."""
        context = torch.zeros_like(states)
        for part, place, shape in zip(
            _split(self._qkv.brief(states), shapes), _split(context, shapes), shapes, strict=True
        ):
            place.view(*shape, self._heads, -1).copy_(self._attend(part, shape).transpose(1, 2))
        states = self._attention_norm(self._out.plus(context, states))
        return self._output_norm(self._down.plus(self._up.gelu(states), states, _LOWEST_GELU))

    def _attend(self, qkv: Tensor, shape: torch.Size) -> Tensor:
        """Attention within each text of one group: [b * T, 3 H] -> [b, heads, T, H / heads]"""
        if shape[1] > _SHORT and qkv.dtype == torch.float32:  # in bfloat16 products are quicker than the fused kernel
            query, key, value = qkv.view(*shape, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            return functional.scaled_dot_product_attention(query, key, value)
        # one pass over the memory sorts by heads and divides the query by the root of its length
        nothing = self._nothing.to(qkv.dtype)
        query, key, value = torch._transform_bias_rescale_qkv(qkv.view(*shape, -1), nothing, self._heads)
        return _softmax(query @ key.transpose(-1, -2)) @ value


def _softmax(scores: Tensor) -> Tensor:
    """Over the last axis. torch takes rows shorter than a vector register number by number, at ten times the cost."""
    length = scores.shape[-1]
    if length > _SHORT:
        return scores.softmax(dim=-1)
    filled = functional.pad(scores, (0, -length % _VECTOR), value=-torch.inf)
    return filled.softmax(dim=-1, dtype=torch.float32)[..., :length].to(scores.dtype)


# ------------------------------------------------------------------------------------------------ portions


def _in_portions(states_of: StatesOf) -> StatesOf:
    """The same, but for so many tokens at a time as are quickest together."""

    def portioned(groups: Sequence[Tensor]) -> list[Tensor]:
        found: list[list[Tensor]] = [[] for _ in groups]
        for portion in _portions(groups, _AT_ONCE * torch.get_num_threads()):
            for (number, _), states in zip(portion, states_of([ids for _, ids in portion]), strict=True):
                found[number].append(states)
        return [torch.cat(pieces) for pieces in found]

    return portioned


def _portions(groups: Sequence[Tensor], limit: int) -> Iterator[list[tuple[int, Tensor]]]:
    """Equal portions of up to about `limit` tokens: the number of a group, and ids [rows, T] of some of its texts."""
    total = sum(ids.numel() for ids in groups)
    share = room = total / max(1, math.ceil(total / limit))
    portion: list[tuple[int, Tensor]] = []
    for number, ids in enumerate(groups):
        length = max(1, ids.shape[1])
        while len(ids):
            if portion and room < length / 2:
                yield portion
                portion, room = [], room + share
            rows = max(1, round(room / length))
            portion.append((number, ids[:rows]))
            room -= portion[-1][1].numel()
            ids = ids[rows:]
    if portion:
        yield portion
