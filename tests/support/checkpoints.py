"""Small checkpoints with random weights, in the public layout of each family, for tests.

Names of files, keys of weights, ids of special tokens and the kind of tokenizer are those of the published checkpoints
(named beside each family); only the sizes are small. What a config leaves out is transformers' default, which is the
published value. Everything is seeded and takes milliseconds, so a test that damages a folder builds its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    T5EncoderModel,
)
from vocabularies import TEXTS as TEXTS
from vocabularies import TOKENS

HIDDEN = 32
PROMPTS = {
    "s2p_query": "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: ",
    "s2s_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
}
STELLA_SIZES = (8, 16, 24, 48)
STELLA_DEFAULT_SIZE = 16
CANARY = "remote_code_was_executed"

# --- families --------------------------------------------------------------------------------------------------------

_SIZES = {"hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "num_attention_heads": 4, "num_hidden_layers": 2}
_BERT = _SIZES | {"model_type": "bert"}
# positions count from the padding, so that the first two are lost
_ROBERTA = _SIZES | {"layer_norm_eps": 1e-5, "max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1}
_DISTILBERT = {"dim": HIDDEN, "hidden_dim": 2 * HIDDEN, "n_heads": 4, "n_layers": 2, "model_type": "distilbert"}
_BART_MODEL = {"d_model": HIDDEN, "num_hidden_layers": 2, "is_encoder_decoder": True, "model_type": "bart"}
for _part in ("encoder", "decoder"):
    _BART_MODEL |= {f"{_part}_layers": 2, f"{_part}_attention_heads": 4, f"{_part}_ffn_dim": 2 * HIDDEN}
_T5 = {"d_ff": 2 * HIDDEN, "d_kv": 8, "d_model": HIDDEN, "num_heads": 4, "num_layers": 2, "model_type": "t5",
       "decoder_start_token_id": 0}  # fmt: skip
_MODERNBERT = _SIZES | {"model_type": "modernbert", "num_hidden_layers": 3, "local_attention": 8}
_MODERNBERT |= {"intermediate_size": 48, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0}
_QWEN = _SIZES | {"model_type": "qwen2", "num_key_value_heads": 2, "max_position_embeddings": 131072,
                  "rope_theta": 1000000.0, "sliding_window": 131072, "use_sliding_window": False, "use_cache": True,
                  "tie_word_embeddings": False, "torch_dtype": "float32"}  # fmt: skip
_CODE = {"AutoModel": "modeling_qwen.Qwen2Model", "AutoModelForCausalLM": "modeling_qwen.Qwen2ForCausalLM"}
_COPIES = ("encoder.embed_tokens", "decoder.embed_tokens")
_ENDS = {f"{name}_token_id": "<|endoftext|>" for name in ("bos", "eos")}


@dataclass(frozen=True)
class Family:
    """One family: how its public folder is built, and the facts that tests assert of it."""

    tokens: str  # which of `vocabularies.TOKENS`
    config: dict[str, Any]
    model: Any = AutoModelForMaskedLM  # a class whose state dict carries the public checkpoint's keys
    drop: tuple[str, ...] = ("\0",)  # beginnings of keys that the public checkpoint does not carry
    rename: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)  # token ids that the config names: key -> token
    positions: int | None = None  # how many tokens it can take; None: it has no table of positions
    st_is_right: bool = True  # whether sentence-transformers computes its vectors as they should be


FAMILIES: dict[str, Family] = {
    # sentence-transformers/all-MiniLM-L6-v2: the bare encoder, with a buffer that newer code no longer has
    "minilm": Family("bert", _BERT, AutoModel, positions=512),
    # google-bert/bert-base-uncased: prefix, pre-training heads, LayerNorm.gamma and beta
    "bert": Family(
        "bert",
        _BERT | {"architectures": ["BertForMaskedLM"]},
        rename={"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"},
        positions=512,
    ),
    # microsoft/mpnet-base, sentence-transformers/all-mpnet-base-v2: relative positions beside the absolute ones
    "mpnet": Family("mpnet", _ROBERTA | {"model_type": "mpnet"}, positions=512),
    # distilbert/distilbert-base-uncased
    "distilbert": Family("distilbert", _DISTILBERT, positions=512),
    # FacebookAI/roberta-base
    "roberta": Family("roberta", _ROBERTA | {"model_type": "roberta"}, positions=512),
    # FacebookAI/xlm-roberta-base
    "xlm-roberta": Family("xlm-roberta", _ROBERTA | {"model_type": "xlm-roberta"}, positions=512),
    # albert/albert-base-v2: layers that share their weights, embeddings narrower than the states
    "albert": Family("albert", _SIZES | {"model_type": "albert", "embedding_size": 16}, positions=512),
    # facebook/bart-base: encoder and decoder
    "bart": Family("bart", _BART_MODEL, AutoModel, drop=_COPIES, positions=1024, st_is_right=False),
    # google-t5/t5-base: encoder and decoder
    "t5": Family("t5", _T5 | {"is_encoder_decoder": True}, AutoModelForSeq2SeqLM, drop=(*_COPIES, "lm_head")),
    # sentence-transformers/sentence-t5-base: the encoder alone
    "t5-encoder": Family(
        "t5", _T5 | {"is_encoder_decoder": False, "use_cache": False}, T5EncoderModel, drop=("encoder.embed_tokens",)
    ),
    # answerdotai/ModernBERT-base: global and local layers, no table of positions
    "modernbert": Family(
        "modernbert",
        _MODERNBERT,
        ids={
            "cls_token_id": "[CLS]",
            "sep_token_id": "[SEP]",
            "pad_token_id": "[PAD]",
            "eos_token_id": "[SEP]",
            "bos_token_id": "[CLS]",
        },
    ),
    # Qwen/Qwen2-0.5B: causal, and meant to be
    "qwen2": Family("qwen2", _QWEN | {"architectures": ["Qwen2ForCausalLM"]}, AutoModelForCausalLM, ids=_ENDS),
    # NovaSearch/stella_en_1.5B_v5: both directions by code of its own, which must not run
    "stella": Family(
        "stella",
        _QWEN | {"architectures": ["Qwen2ForCausalLM"], "auto_map": _CODE},
        AutoModelForCausalLM,
        drop=("lm_head",),
        ids=_ENDS,
        st_is_right=False,
    ),
}


def build(family: str, folder: str | Path, *, seed: int = 0, canary: Path | None = None) -> Path:
    """Write the plain checkpoint of `family` (config, weights, tokenizer; no sentence-transformers files).

    `canary`: for stella, the file that its remote code would make if anything ran it.
    """
    facts, folder = FAMILIES[family], Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = TOKENS[facts.tokens].save(folder)
    ids = {key: tokenizer.token_to_id(token) for key, token in facts.ids.items()}
    write_json(folder / "config.json", {**facts.config, **ids, "vocab_size": tokenizer.get_vocab_size()})
    save_weights(folder, _public_weights(family, folder, seed))
    if family == "stella":
        for name in ("modeling_qwen.py", "tokenization_qwen.py"):
            (folder / name).write_text(canary_code(canary or folder / CANARY), encoding="utf-8")
    return folder


def canary_code(canary: Path) -> str:
    """Python that leaves a file behind when it is imported."""
    return f"from pathlib import Path\n\nPath({str(canary)!r}).write_text('executed')\n"


def _public_weights(family: str, folder: Path, seed: int) -> dict[str, Tensor]:
    """Random weights under the keys that the published checkpoint uses."""
    facts = FAMILIES[family]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model = facts.model(config) if facts.model is T5EncoderModel else facts.model.from_config(config)
    randomise(model, seed)
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    # Of two keys that share a tensor, the published files carry the one on the side of the embeddings.
    for key, tensor in sorted(model.state_dict().items(), key=lambda item: "embed" not in item[0]):
        if key.startswith(facts.drop) or tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        for new, old in facts.rename.items():
            key = key.replace(new, old)
        weights[key] = tensor.clone().contiguous()
    if family == "minilm":
        weights["embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
    return weights


@torch.no_grad()
def randomise(module: torch.nn.Module, seed: int) -> None:
    """Fill all weights with seeded values large enough that tokens and directions make a visible difference."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            parameter.copy_(name.endswith("weight") + 0.1 * noise)
        elif "embed" in name or name.endswith("shared.weight"):
            parameter.copy_(noise)
        else:
            parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)


# --- sentence-transformers folders -----------------------------------------------------------------------------------

OLD_TYPES = {name: f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Dense", "Normalize")}
NEW_TYPES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}
_OLD_POOLING_KEYS = {
    mode: f"pooling_mode_{mode}{suffix}"
    for suffix, modes in {"_token": ["cls"], "_tokens": ["mean", "max", "weightedmean"],
                          "": ["mean_sqrt_len_tokens", "lasttoken"]}.items()
    for mode in modes
}  # fmt: skip
_IN_OUT = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}


@dataclass(frozen=True)
class Dense:
    """A Dense module to write: sizes, activation ("identity" or "tanh"), which weight files."""

    in_features: int
    out_features: int
    activation: str = "identity"
    bias: bool = True
    files: tuple[str, ...] = ("model.safetensors",)
    seed: int = 0

    def save(self, folder: Path, layout: str = "old") -> None:
        path = {"identity": "linear.Identity", "tanh": "activation.Tanh"}[self.activation]
        config = {"in_features": self.in_features, "out_features": self.out_features, "bias": self.bias,
                  "activation_function": f"torch.nn.modules.{path}"}  # fmt: skip
        write_json(folder / "config.json", config | (_IN_OUT if layout == "new" else {}))
        generator = torch.Generator().manual_seed(1000 * self.out_features + self.in_features + self.seed)
        weight = torch.randn(self.out_features, self.in_features, generator=generator) / self.in_features**0.5
        bias = {"linear.bias": 0.1 * torch.randn(self.out_features, generator=generator)} if self.bias else {}
        for name in self.files:
            save_weights(folder, {"linear.weight": weight, **bias}, name)


def wrap(
    plain: Path,
    folder: str | Path,
    *,
    layout: str = "old",
    pooling: Sequence[str] = ("mean",),
    dense: Sequence[Dense] = (),
    normalize: bool = True,
    prompts: dict[str, str] | None = None,
    limit: int = 64,
    similarity: str | None = None,
) -> Path:
    """Copy a plain checkpoint into a sentence-transformers folder, of the `old` or the `new` (6) layout.

    The old layout keeps the limit in sentence_bert_config.json and lists a Normalize folder that does not exist, as
    all-MiniLM-L6-v2 does; the new one keeps the limit in the tokenizer's model_max_length.
    """
    folder = Path(shutil.copytree(plain, folder))
    kinds = ["Transformer", "Pooling", *["Dense"] * len(dense), *["Normalize"] * normalize]
    places = ["", *(f"{index}_{kind}" for index, kind in enumerate(kinds[1:], start=1))]
    types = OLD_TYPES if layout == "old" else NEW_TYPES
    write_modules(folder, [(types[kind], place) for kind, place in zip(kinds, places, strict=True)])
    for place, module in zip(places[2:], dense, strict=False):
        module.save(folder / place, layout)
    settings: dict[str, Any] = {"prompts": prompts, "default_prompt_name": None} if prompts else {}
    settings |= {"similarity_fn_name": similarity} if similarity else {}
    if layout == "old":
        modes = {key: mode in pooling for mode, key in _OLD_POOLING_KEYS.items()}
        pooled = {"word_embedding_dimension": HIDDEN, **modes}
        limits: dict[str, Any] = {"max_seq_length": limit, "do_lower_case": False}
        settings = {"__version__": {"sentence_transformers": "2.0.0"}} | settings
    else:
        pooled = {"embedding_dimension": HIDDEN, "pooling_mode": pooling[0] if len(pooling) == 1 else list(pooling)}
        text = {"method": "forward", "method_output_name": "last_hidden_state"}
        limits = {"transformer_task": "feature-extraction", "modality_config": {"text": text},
                  "module_output_name": "token_embeddings"}  # fmt: skip
        edit_json(folder / "tokenizer_config.json", model_max_length=limit)
        if normalize:
            write_json(folder / places[-1] / "config.json", _IN_OUT)
        usual = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
        about = {"__version__": {"sentence_transformers": "6.2.0"}, "model_type": "SentenceTransformer"}
        settings = about | usual | settings
    write_json(folder / "1_Pooling" / "config.json", pooled | {"include_prompt": True})
    write_json(folder / "sentence_bert_config.json", limits)
    write_json(folder / "config_sentence_transformers.json", settings)
    return folder


def build_stella(folder: str | Path, *, seed: int = 0, canary: Path | None = None) -> Path:
    """The whole folder of stella_en_1.5B_v5, small: remote code, prompts, a head for each size, no Normalize."""
    folder = Path(folder)
    plain = build("stella", folder.with_name(f"{folder.name}-plain"), seed=seed, canary=canary or folder / CANARY)
    wrap(plain, folder, normalize=False, prompts=PROMPTS, limit=512)
    shutil.rmtree(plain)
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", f"2_Dense_{STELLA_DEFAULT_SIZE}")]
    write_modules(folder, [(OLD_TYPES[kind], place) for kind, place in kinds])
    heads = {f"2_Dense_{size}": size for size in STELLA_SIZES}
    for place, size in (heads | {"2_Dense": STELLA_SIZES[-1]}).items():  # a plain name beside them: the largest again
        Dense(HIDDEN, size, files=("model.safetensors", "pytorch_model.bin")).save(folder / place)
    return folder


def as_hub_cache(folder: Path, cache: Path, name: str = "someone/model") -> Path:
    """Lay `folder` out as the hub's cache does and return the snapshot, in which every file is a link out to a blob."""
    repository = cache / ("models--" + name.replace("/", "--"))
    revision = "0123456789abcdef0123456789abcdef01234567"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / revision
    blobs.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    for number, file in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        blob, link = blobs / f"{number:064x}", snapshot / file.relative_to(folder)
        shutil.copyfile(file, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


# --- files -----------------------------------------------------------------------------------------------------------


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def edit_json(path: Path, **changes: Any) -> None:
    write_json(path, read_json(path) | changes)


def write_modules(folder: Path, modules: Sequence[tuple[str, str]]) -> None:
    """modules.json from (type, path) in order."""
    rows = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (kind, path) in enumerate(modules)]
    write_json(folder / "modules.json", rows)


def save_weights(folder: Path, weights: dict[str, Tensor], name: str = "model.safetensors") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if name.endswith(".safetensors"):
        save_file(weights, folder / name, metadata={"format": "pt"})
    else:
        torch.save(weights, folder / name)
