"""Any Hugging Face encoder behind one face: token ids in, token states out.

What differs between families is read off the model itself rather than listed by name: which inputs its forward
names, how many positions it has, whether it attends in both directions, and which part of it encodes.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stlib.files import as_value_error, read_json, warn
from stlib.modules import in_evaluation

ATTENTION = ("auto", "bidirectional", "causal")
#: What a backbone's weights may be kept in: the name that `dtype` takes -> torch's type. With int8 they stay float32,
#: for training and saving, and the fast path makes 8 bits of them.
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float32}


class Backbone(nn.Module):
    """Token ids [B, T] -> token states [B, T, H].

    Attributes:
        model: the Hugging Face model as it is saved. One of another family goes into a `Backbone` of its own.
        pad_id: the token id that stands in padded cells.
        causal: true where a token sees only what stands before it.
        int8: the fast path is to multiply in 8 bits.
    """

    def __init__(self, model: Any, pad_id: int) -> None:
        super().__init__()
        self.model = model
        self.pad_id = pad_id
        # transformers 5 swallows what it does not know in **kwargs, so only what the forward names is passed
        self.accepts = set(inspect.signature(self.encoder.forward).parameters)
        self.causal = _is_causal(self)
        self.int8 = False

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def encoder(self) -> Any:
        """The part that encodes, a Hugging Face model: of BART, `last_hidden_state` would be the decoder's."""
        return _encoding_part(self.model)

    @property
    def width(self) -> int:
        """H, from the config."""
        return int(self.config.hidden_size)

    @property
    def positions(self) -> int | None:
        """How many tokens fit, or `None` where positions are relative."""
        return _usable_positions(self.encoder)

    @property
    def vocabulary(self) -> int:
        """How many token ids the model has embeddings for."""
        return len(self.encoder.get_input_embeddings().weight)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """[B, T], [B, T] -> [B, T, H], in the weights' type. States of masked cells mean nothing."""
        if attention_mask is None:
            return self._run(input_ids, None)
        keep = attention_mask != 0
        # Families with absolute positions count from the left edge, so the tokens of a row are moved there first.
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
        ids = input_ids.gather(1, order).masked_fill(~keep.gather(1, order), self.pad_id)
        states = self._run(ids, keep.gather(1, order).long())
        back = order.argsort(dim=1).unsqueeze(-1).expand_as(states)
        return states.gather(1, back)

    def _run(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        without_cache = {"use_cache": False} if "use_cache" in self.accepts else {}
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **without_cache)
        states: Tensor = output.last_hidden_state
        return states

    def save(self, folder: Path) -> None:
        """Write config and weights. The saved model needs no code of its own, and must not ask others to run any."""
        if hasattr(self.config, "auto_map"):
            del self.config.auto_map
        with _quiet():
            self.model.save_pretrained(folder, safe_serialization=True)


def _encoding_part(model: Any) -> Any:
    return model.get_encoder() if model.config.is_encoder_decoder else model


def _usable_positions(encoder: nn.Module) -> int | None:
    """How many tokens fit: RoBERTa and its kin count positions from the padding id upwards, so some are lost."""
    limit: int | None = getattr(encoder.config, "max_position_embeddings", None)
    if limit is None or limit < 1:
        return None
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limit = min(limit, len(module.weight) - int(module.padding_idx) - 1)
    return limit


@torch.no_grad()
def _is_causal(backbone: Backbone) -> bool:
    """Whether the last token of a text leaves the state of its first unchanged, alone and in a padded batch.

    Raises:
        ValueError: the two disagree, so that a text's vector would depend on its batch mates.
    """
    backbone = in_evaluation(backbone)
    # Three rows in one batch: a text, the same with another last token, and a longer one that forces padding.
    spare = [token for token in range(3, 12) if token != backbone.pad_id]
    short, changed, longer = spare[:4], [*spare[:3], spare[4]], spare[:6]
    padding = [backbone.pad_id] * 2
    batch = torch.tensor([short + padding, changed + padding, longer], device=next(backbone.model.parameters()).device)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [1] * 6], device=batch.device)
    padded = backbone(batch, mask)[:2, 0].float()
    alone = backbone(batch[:2, :4])[:, 0].float()
    answers = {bool((first - second).abs().max() <= 1e-6) for first, second in (padded, alone)}
    if len(answers) > 1:
        raise ValueError(
            f"this {backbone.config.model_type} model attends in another direction when padded than when alone"
        )
    return answers.pop()


def load_backbone(
    folder: Path, *, pad_id: int | None, attention: str = "auto", dtype: str = "float32", declares_mean: bool = False
) -> Backbone:
    """Load the model in `folder`, without remote code, and prove that it attends in the direction asked for.

    Args:
        folder: holds config.json and weights in the Hugging Face layout.
        pad_id: the tokenizer's padding id; the config's is taken where the tokenizer has none.
        attention: "auto" obeys `config.is_causal` where it is there; a decoder whose folder points to remote code
            and declares mean pooling is bidirectional (stella); a decoder without remote code stays causal.
        declares_mean: the folder's pooling is mean.

    Raises:
        ValueError: a folder that does not hold a whole, finite model that transformers knows; an `attention` that
            the model cannot have, or that "auto" cannot tell.
    """
    config = _load_config(folder)
    stated = getattr(config, "is_causal", None)
    if stated not in (None, True, False) or (isinstance(stated, int) and not isinstance(stated, bool)):
        raise ValueError(f"{folder / 'config.json'}: is_causal must be true or false, got {stated!r}")
    in_doubt = attention == "auto" and stated is None and bool(getattr(config, "auto_map", None))
    causal = {"bidirectional": False, "causal": True}.get(attention, False if in_doubt and declares_mean else stated)
    if causal is False or stated is not None:
        config.is_causal = causal  # must stand in the config object before the model is made: later, padding undoes it
    model = _load_model(folder, config, DTYPES[dtype])
    stand_ins = (pad_id, *(getattr(config, name, None) for name in ("pad_token_id", "eos_token_id")))
    backbone = Backbone(model, next((token for token in stand_ins if isinstance(token, int)), 0))
    if causal is None and in_doubt and backbone.causal:
        raise ValueError(
            f"{folder} holds a decoder that is meant to run with its own code, which is never run, and nothing in "
            'it tells the direction of attention: say attention="bidirectional" or attention="causal"'
        )
    if causal is not None and backbone.causal != causal:
        raise ValueError(
            f'attention="{"causal" if causal else "bidirectional"}" is not available for {folder}: this '
            f"{config.model_type} model attends {'causally' if backbone.causal else 'in both directions'}"
        )
    backbone.int8 = dtype == "int8"
    return backbone


def _load_config(folder: Path) -> Any:
    from transformers import CONFIG_MAPPING, AutoConfig

    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} holds no config.json: not a model folder")
    if (folder / "adapter_config.json").exists():
        raise ValueError(f"{folder} holds an adapter (adapter_config.json), not a whole model: merge it into its base")
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type is not None and model_type not in CONFIG_MAPPING:
        raise ValueError(f"{folder}: transformers has no model_type {model_type!r}, and remote code is never run")
    with as_value_error(f"{folder}: config.json cannot be read"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    config._attn_implementation = None  # a folder could name a kernel on the hub here, which is code
    config.transformers_weights = None  # nor may it name another file of weights than the one that is checked
    config.return_dict = True
    if hasattr(config, "use_cache"):
        config.use_cache = False
    if getattr(config, "attention_type", None) == "block_sparse":
        config.attention_type = "original_full"  # BigBird changes to it for good at the first text that is short
    return config


def _load_model(folder: Path, config: Any, dtype: torch.dtype) -> nn.Module:
    """The model with every weight of its encoder from the file, finite and of the right shape, in eval mode."""
    from transformers import AutoModel, AutoModelForTextEncoding
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES as TEXT_ENCODERS

    # T5 has a class for its encoder alone, which reads whole checkpoints too; other families load whole.
    encoder_only = TEXT_ENCODERS.get(config.model_type, "").endswith("EncoderModel")
    loader = AutoModelForTextEncoding if encoder_only else AutoModel
    with as_value_error(f"{folder}: {_weights_file(folder)} cannot be read"), _quiet():
        model, report = loader.from_pretrained(
            folder, config=config, dtype=dtype, output_loading_info=True, local_files_only=True,
            trust_remote_code=False, weights_only=True, ignore_mismatched_sizes=True,  # judged below, by name
        )  # fmt: skip
    _judge(model, report, folder)
    return model.eval()


def _weights_file(folder: Path) -> str:
    """The file that transformers will read the weights from: safetensors first; shards must lie beside their index."""
    names = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
    found = next((name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise ValueError(f"{folder} holds no weights: neither model.safetensors nor pytorch_model.bin")
    if found.endswith(".json"):
        with as_value_error(f"{folder}: {found} cannot be read"):
            shards = {str(shard) for shard in read_json(folder / found)["weight_map"].values()}
        outside = sorted(shard for shard in shards if shard in (".", "..") or "/" in shard or "\\" in shard)
        if outside:
            raise ValueError(f"{folder / found}: shard {outside[0]!r} does not lie beside it")
    return found


def _judge(model: Any, report: dict[str, Any], folder: Path) -> None:
    """Refuse what would be silently random or silently left out; an unused pooler or head may be missing or spare."""
    encoder = _encoding_part(model)
    prefix = next((f"{name}." for name, module in model.named_modules() if module is encoder and name), "")
    kept = {prefix + name.split(".")[0] for name, _ in encoder.named_children()} - {prefix + "pooler"}

    def belongs(key: str) -> bool:
        key = key.removeprefix(f"{model.base_model_prefix}.")
        return any(key == name or key.startswith(f"{name}.") for name in kept) and not key.endswith("position_ids")

    mismatched = [str(item[0] if isinstance(item, (tuple, list)) else item) for item in report["mismatched_keys"]]
    # the sum is a quick test that never passes a NaN; where it fails (it may overflow) each entry is looked at
    broken = [
        name
        for name, weight in model.named_parameters()
        if not torch.isfinite(weight.detach().sum()) and not torch.isfinite(weight).all()
    ]
    faults = {
        "weights of another shape than config.json says": sorted(mismatched),
        "weights missing": sorted(filter(belongs, report["missing_keys"])),
        "weights that config.json has no place for": sorted(filter(belongs, report["unexpected_keys"])),
        "weights that are not finite": broken,
    }
    found = [f"{what}: {_some(keys)}" for what, keys in faults.items() if keys]
    if found:
        raise ValueError(f"{folder} does not hold a whole model; {'; '.join(found)}")
    if any(key.startswith("pooler.") for key in report["missing_keys"]):
        model.pooler = None  # never used here; kept, it would be saved with random weights
    spare = sorted(key for key in report["unexpected_keys"] if not belongs(key) and not key.endswith("position_ids"))
    if spare:
        warn(f"{folder.name}: weights that the encoder does not use were left out: {_some(spare)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bars and tables: what matters in them is judged and raised here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
