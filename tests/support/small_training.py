"""What tests of training share: six queries with their passages, and all weights of a model in one row."""

from __future__ import annotations

import torch
from checkpoints import TEXTS

from stlib import SentenceTransformer
from stlib.evidence.training import Search


def search() -> Search:
    return Search(TEXTS[:6], TEXTS[6:12])


def weights(model: SentenceTransformer) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])
