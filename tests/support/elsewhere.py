"""A second device to compute on where there is no GPU: what lies there is held, and worked on, in this memory.

As on a GPU, an operation on tensors of two devices is an error, and so is an array made of a tensor that was not
brought back. Values are real, so a training there can be compared with one on the processor. What it cannot show is a
GPU's own: kernels, rounding, memory, and autocast, which casts nothing on an unknown device.

Importing this gives torch a device `elsewhere` for as long as the process lives, so tests do it in one of their own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

_BETWEEN = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("elsewhere", _Backend())
ELSEWHERE, HERE = torch.device("elsewhere", 0), torch.device("cpu")


class _There(torch.Tensor):
    """Says that it lies elsewhere; `held` has its values."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> _There:
        like = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.size(), device=ELSEWHERE, **like)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """Within this, tensors can be made on the device, and brought there and back."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [one for one in tree.tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there = [one for one in given if isinstance(one, _There)]
    if there and func not in _BETWEEN and any(one.dim() for one in given if not isinstance(one, _There)):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")
    asked = kwargs.get("device")
    if asked is not None:
        stays = asked.type == "elsewhere"
    else:  # `copy_` ends where its first argument lies
        stays = isinstance(given[0], _There) if func in _BETWEEN else bool(there)
    args, kwargs = tree.tree_map_only(_There, lambda one: one.held, (args, kwargs))
    if asked is not None:
        kwargs = kwargs | {"device": HERE}
    out = func(*args, **kwargs)
    if not stays:
        return out
    known = {id(one.held): one for one in there}  # what is changed in place stays itself
    return tree.tree_map_only(torch.Tensor, lambda one: known[id(one)] if id(one) in known else _There(one), out)


def _empty(
    size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
) -> Any:
    return _There(torch.empty_strided(size, stride, dtype=dtype, device=HERE))


def _copy(source: Any, target: Any, non_blocking: bool = False) -> Any:
    getattr(target, "held", target).copy_(getattr(source, "held", source))
    return target


# What torch.tensor(…, device=…) and new_tensor call, past any mode.
_kernels = torch.library.Library("aten", "IMPL")
_kernels.impl("empty_strided", _empty, "PrivateUse1")
_kernels.impl("_copy_from", _copy, "PrivateUse1")
_autocast = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
_autocast.fallback(torch.library.fallthrough_kernel)
