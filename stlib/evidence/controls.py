"""Controls for a sentence encoder: what is left of its score without its training, or without its layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from stlib.backbone import Backbone
from stlib.encoder import SentenceEncoder
from stlib.model import SentenceTransformer
from stlib.projection import Projection


def random_weights(model: SentenceTransformer, seed: int = 0) -> SentenceTransformer:
    """The same architecture, tokenizer and pooling as `model`, its weights as the family initialises them.

    Shared words alone carry signal through random weights, so this control is not at chance.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blank = type(model.backbone.model)(copy.deepcopy(model.backbone.config)).eval()
        projection = [
            Projection(part.in_features, part.out_features, part.linear.bias is not None, part.activation)
            for part in model.projections
        ]
    return SentenceTransformer(
        Backbone(blank, model.backbone.pad_id), model.tokenizer, pooling=model.pooling, projection=projection,
        normalize=model.normalize, max_length=model.max_length,
    ).eval()  # fmt: skip


def input_embeddings(encoder: SentenceEncoder, sentences: Sequence[str]) -> np.ndarray:
    """The average of each text's input embeddings, special tokens left out: n texts -> unit vectors [n, H].

    A bag of words in the model's own vocabulary: what the layers add is the difference to it.
    """
    table = encoder.model.backbone.encoder.get_input_embeddings().weight.detach().float().cpu().numpy()
    special = set(encoder.tokenizer.all_special_ids)
    ids = encoder.tokenizer(list(sentences), add_special_tokens=True, truncation=True, max_length=encoder.max_length)[
        "input_ids"
    ]
    rows = [[token for token in row if token not in special] for row in ids]
    vectors = np.stack([table[row].mean(axis=0) if row else np.zeros(table.shape[1], np.float32) for row in rows])
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def untrained_bert(encoder: SentenceEncoder, seed: int = 0) -> SentenceEncoder:
    """A ruler for cost: BERT of the base size (12 layers, 768 wide), untrained, with `encoder`'s tokenizer and limit.

    Both then compute the same token ids, and how long a model takes does not depend on what it was trained for.
    """
    from transformers import BertConfig, BertModel

    model, limit = encoder.model, encoder.max_length
    config = BertConfig(vocab_size=model.backbone.config.vocab_size, max_position_embeddings=max(512, limit))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blank = BertModel(config, add_pooling_layer=False).eval()
    bert = SentenceTransformer(Backbone(blank, model.backbone.pad_id), model.tokenizer, max_length=limit).eval()
    device = next(model.parameters()).device
    return SentenceEncoder(bert, device=device, truncation="ignore")
