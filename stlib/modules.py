"""What torch's modules leave open: a twin that computes without dropout, who listens in, products of one type."""

from __future__ import annotations

import contextlib
import copy
import functools
from types import MethodType
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.nn.modules import module as everywhere
from torch.nn.utils.parametrize import is_parametrized

_Module = TypeVar("_Module", bound=nn.Module)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_LINEAR = nn.Linear.forward  # torch's own


def in_evaluation(module: _Module) -> _Module:
    """A twin in eval mode that shares all but the modules themselves: weights, settings, hooks.

    Who computes with it leaves `training` alone, so that others may train, copy or encode with the same model
    meanwhile. Hooks are called with the twin's module.
    """
    twins: dict[nn.Module, Any] = {part: type(part).__new__(type(part)) for part in module.modules()}

    def ours(value: Any) -> Any:
        """`value` with twins in place of the modules that it leads to."""
        if isinstance(value, nn.Module):
            return twins.get(value, value)
        if isinstance(value, MethodType):
            return MethodType(value.__func__, ours(value.__self__))
        if isinstance(value, functools.partial):
            return functools.partial(value.func, *map(ours, value.args), **value.keywords)
        if type(value) in (list, tuple) and any(isinstance(item, nn.Module) for item in value):
            return type(value)(map(ours, value))
        return value

    for part, twin in reversed(twins.items()):  # a compiled module looks at what it holds when its state is set
        state = {
            # the lists that torch keeps are copied: what is hung on the twin is not hung on the module
            name: copy.copy(value) if name in _OF_EVERY_MODULE else ours(value)
            for name, value in (
                vars(part) if is_parametrized(part) else cast(dict[str, Any], part.__getstate__())
            ).items()
        }
        state["_modules"] = {name: ours(child) for name, child in part._modules.items()}
        twin.__setstate__(state | {"training": False})
    found: _Module = twins[module]
    return found


def is_listened_to(module: nn.Module) -> bool:
    """Whether someone listens in on the modules, or has put a forward of their own into one of them."""
    parts = list(module.modules())
    return (
        bool(everywhere._global_forward_hooks or everywhere._global_forward_pre_hooks)
        or any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in parts)
        or any(_is_patched(kind) for kind in {type(part) for part in parts})
    )


def _is_patched(kind: Any) -> bool:
    """Whether `forward` comes from elsewhere than the class that has it."""
    owner = next(each for each in kind.__mro__ if "forward" in vars(each))
    elsewhere = getattr(kind.forward, "__module__", None) != owner.__module__
    return elsewhere or (kind is nn.Linear and kind.forward is not _LINEAR)


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A context in which products keep the type of what is multiplied."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else contextlib.nullcontext()
