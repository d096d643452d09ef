"""What identifies a model: everything that decides its vectors, and nothing else."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import torch

from stlib.backbone import Backbone
from stlib.model import SentenceTransformer

# Of a config: what changes no vector.
_WITHOUT_EFFECT = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}


def identity(model: SentenceTransformer | Backbone, more: Sequence[Any] = ()) -> str:
    """SHA-256, in hexadecimal, of the model as it is in memory, and of what `more` tells of its use.

    Of a backbone alone it is that of its token states.
    The weights and their types; each module with its numbers (the activation of a Dense, the epsilon of a norm), as it
    prints them; the config; and how vectors are made of states. Neither where it was loaded from nor whether it is in
    training.
    """
    backbone = model if isinstance(model, Backbone) else model.backbone
    config = {name: value for name, value in backbone.config.to_dict().items() if value is not None}
    told: list[Any] = [repr(model), sorted((name, config[name]) for name in config.keys() - _WITHOUT_EFFECT)]
    told += [] if isinstance(model, Backbone) else [model.pooling, model.normalize, model.include_prompt]
    told += [backbone.causal, backbone.int8, backbone.pad_id, *more]
    digest = hashlib.sha256(repr(told).encode("utf-8", "surrogatepass"))
    for name, weight in itertools.chain(model.named_parameters(), model.named_buffers()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
