"""The folder format of sentence-transformers, read and written.

A folder is data: what its JSON names is looked up in short lists, paths stay inside, and no code in it is run.
Both generations are read: `sentence_transformers.models.*` (up to 5) and `sentence_transformers.base.modules.*` (6).
"""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch

from stlib.checks import positive_integer, text
from stlib.files import as_value_error, read_json, write_json
from stlib.pooling import pooling_modes
from stlib.projection import ACTIVATIONS, Projection

# The old pooling keys, in the order in which sentence-transformers concatenates them.
_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_MODULE_TYPE = re.compile(
    r"sentence_transformers\.(models|base\.modules\.\w+|sentence_transformer\.modules\.\w+)"
    r"\.(?P<name>Transformer|Pooling|Dense|Normalize)"
)
# Where sentence_bert_config.json passes arguments on to transformers, and those that change no vector.
_PASSED_ON = ("model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs", "config_kwargs",
              "processing_kwargs")  # fmt: skip
_WITHOUT_EFFECT = {"trust_remote_code", "torch_dtype", "dtype", "attn_implementation", "device_map", "use_cache",
                   "use_fast", "use_safetensors", "low_cpu_mem_usage", "local_files_only"}  # fmt: skip


# What sentence-transformers 6 writes there of a model that turns texts into token states.
_AS_USUAL = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}


@dataclasses.dataclass
class Layout:
    """What a folder says about everything but the backbone's weights."""

    transformer: Path
    pooling: tuple[str, ...] | None = None
    include_prompt: bool = True
    dense: list[Path] = dataclasses.field(default_factory=list)
    heads: dict[int, Path] = dataclasses.field(default_factory=dict)
    normalize: bool = False
    max_length: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = dataclasses.field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity: str = "cosine"


def read_layout(folder: Path) -> Layout:
    """What the folder declares. A folder without modules.json is a plain Hugging Face model that declares nothing.

    Raises:
        ValueError: a module, activation or pooling mode outside the lists, a path that leaves the folder, JSON that
            cannot be read.
    """
    layout = Layout(transformer=folder)
    if (folder / "modules.json").is_symlink() or (folder / "modules.json").exists():  # a link may lead nowhere
        _read_modules(folder, layout)
    for file in (layout.transformer / "config.json", layout.transformer / "tokenizer_config.json"):
        if file.exists():
            read_json(file)  # transformers reads these for itself, but its errors do not name them
    for place in sorted(folder.glob("[0-9]*_Dense*")):  # a plain `2_Dense` gives way to `2_Dense_{n}` of the same size
        if (place / "config.json").is_file() and isinstance(size := _declared_size(place), int):
            layout.heads[size] = place
    _read_limit(layout)
    _read_prompts(folder, layout)
    return layout


def _read_modules(folder: Path, layout: Layout) -> None:
    file = folder / "modules.json"
    names = []
    for module in read_json(file, list):
        kind = module.get("type") if isinstance(module, dict) else module
        known = _MODULE_TYPE.fullmatch(kind) if isinstance(kind, str) else None
        if known is None:
            raise ValueError(f"{file}: module type {kind!r} is not known, only Transformer, Pooling, Dense, Normalize")
        place = inside(folder, module.get("path", ""))
        names.append(known["name"])
        if names[-1] == "Transformer":
            layout.transformer = place
        elif names[-1] == "Pooling":
            layout.pooling, layout.include_prompt = _read_pooling(place / "config.json")
        elif names[-1] == "Dense":
            layout.dense.append(place)
        else:
            layout.normalize = True
    if not re.fullmatch("Transformer( Pooling)?( Dense)*( Normalize)*", " ".join(names)):
        raise ValueError(f"{file}: modules in the order {names}; known: Transformer, Pooling, Dense …, Normalize")


def _read_pooling(file: Path) -> tuple[tuple[str, ...], bool]:
    config = read_json(file)
    modes = [_POOLING_KEYS.get(key, key) for key in config if key.startswith("pooling_mode_") and config[key]]
    modes.sort(key=[*_POOLING_KEYS.values(), *modes].index)
    with as_value_error(f"{file} names no pooling that is known"):
        return pooling_modes(config.get("pooling_mode", modes)), bool(config.get("include_prompt", True))


def _declared_size(place: Path) -> Any:
    return read_json(place / "config.json").get("out_features")


def _read_limit(layout: Layout) -> None:
    file = next(iter(sorted(layout.transformer.glob("sentence_*_config.json"))), None)  # bert, roberta, …
    if file is None:
        return
    config = read_json(file)
    layout.max_length, layout.lower_case = config.get("max_seq_length"), bool(config.get("do_lower_case", False))
    if layout.max_length is not None:
        positive_integer(f"{file}: max_seq_length", layout.max_length)
    # to leave any of these out would give other vectors, silently
    for key in _PASSED_ON:
        found = config.get(key) or {}
        if isinstance(found, dict):
            found = {name: value for name, value in found.items() if name not in _WITHOUT_EFFECT}
        if found:
            raise ValueError(
                f"{file}: {key}={found} is not supported: write it into config.json or tokenizer_config.json"
            )
    for key, only in _AS_USUAL.items():
        if config.get(key, only) != only:
            raise ValueError(f"{file}: {key}={config[key]!r} is not supported, only {only!r}")


def _read_prompts(folder: Path, layout: Layout) -> None:
    file = folder / "config_sentence_transformers.json"
    config = read_json(file) if file.exists() else {}
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    with as_value_error(f"{file}: prompts must map names to texts"):
        prompts = {name: text(name, value) for name, value in prompts.items()}
    if default is not None and default not in list(prompts):
        raise ValueError(f"{file}: default_prompt_name={default!r} is none of the prompts {list(prompts)}")
    layout.prompts, layout.default_prompt_name = prompts, default
    layout.similarity = config.get("similarity_fn_name") or "cosine"


def inside(folder: Path, path: object) -> Path:
    """`folder / path`, a plain relative path. It is judged by its text: files in the hub's cache are links."""
    if not isinstance(path, str):
        raise ValueError(f"{folder / 'modules.json'}: path {path!r} must be a string")
    for flavour in (PurePosixPath(path), PureWindowsPath(path)):
        if flavour.is_absolute() or flavour.drive or flavour.root or ".." in flavour.parts or path.startswith("~"):
            raise ValueError(f"{folder / 'modules.json'}: path {path!r} leaves the folder")
    return folder / path


def trained_heads(layout: Layout) -> dict[int, list[Path]]:
    """The Dense modules that lead to each size for which the folder has trained ones: size -> folders, in order."""
    heads = {size: [place] for size, place in layout.heads.items() if place not in layout.dense}
    if layout.dense:
        heads[positive_integer(f"{layout.dense[-1]}: out_features", _declared_size(layout.dense[-1]))] = layout.dense
    return heads


def read_projection(place: Path) -> Projection:
    """One Dense module. Safetensors first; a `.bin` is read with `weights_only=True` alone.

    Raises:
        ValueError: an activation that is not allowed; weights missing, spare, misshapen, damaged or not finite.
    """
    file = place / "config.json"
    config = read_json(file)
    stated = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    activation = next((name for name, module in ACTIVATIONS.items() if stated in _import_paths(module)), None)
    if activation is None:  # looked up, never imported
        raise ValueError(f"{file}: activation_function={stated!r} is not allowed; allowed are {tuple(ACTIVATIONS)}")
    for key, only in (("use_residual", False), ("module_input_name", "sentence_embedding"),
                      ("module_output_name", "sentence_embedding")):  # fmt: skip
        if config.get(key) not in (None, only):
            raise ValueError(f"{file}: {key}={config[key]!r} is not supported, only {only!r}")
    width = positive_integer(f"{file}: in_features", config.get("in_features"))
    size = positive_integer(f"{file}: out_features", config.get("out_features"))
    expected = {"linear.weight": (size, width)} | ({"linear.bias": (size,)} if config.get("bias", True) else {})
    weights = _read_weights(place)
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:  # before anything of that size is made
        raise ValueError(f"{place}: weights {found} where config.json asks for {expected}")
    damaged = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if damaged:
        raise ValueError(f"{place}: weights that are not finite: {', '.join(damaged)}")
    projection = Projection(width, size, "linear.bias" in expected, activation)
    projection.load_state_dict(weights)
    return projection


def _import_paths(module: type) -> tuple[str, str]:
    """How a folder may spell an activation; the first is how sentence-transformers writes it."""
    return f"{module.__module__}.{module.__name__}", f"torch.nn.{module.__name__}"


def _read_weights(place: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    pickled = functools.partial(torch.load, map_location="cpu", weights_only=True)
    for name, load in (("model.safetensors", load_file), ("pytorch_model.bin", pickled)):
        if (place / name).is_file():
            with as_value_error(f"{place / name} cannot be read"):
                return {str(key): value.float() for key, value in load(place / name).items()}
    raise ValueError(f"{place} holds neither model.safetensors nor pytorch_model.bin")


def write_layout(folder: Path, layout: Layout, projections: list[Projection], width: int) -> None:
    """Write everything but the backbone and the tokenizer, with the module names that every release can load."""
    kinds = ["Transformer", "Pooling", *["Dense"] * len(projections), *(["Normalize"] if layout.normalize else [])]
    places = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], start=1))]
    modules = [
        {"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, place) in enumerate(zip(kinds, places, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    for place in places[1:]:
        (folder / place).mkdir()
    modes = layout.pooling or ("mean",)
    pooling: dict[str, Any] = {"word_embedding_dimension": width, "include_prompt": layout.include_prompt}
    if modes == tuple(mode for mode in _POOLING_KEYS.values() if mode in modes):
        pooling |= {key: mode in modes for key, mode in _POOLING_KEYS.items()}
    else:
        pooling |= {"pooling_mode": list(modes)}  # the old keys have an order of their own
    write_json(folder / "1_Pooling" / "config.json", pooling)
    for place, projection in zip(places[2:], projections, strict=False):
        _write_projection(folder / place, projection)
    limits = {"max_seq_length": layout.max_length, "do_lower_case": layout.lower_case}
    write_json(folder / "sentence_bert_config.json", limits)
    prompts = {"prompts": layout.prompts, "default_prompt_name": layout.default_prompt_name}
    write_json(folder / "config_sentence_transformers.json", prompts | {"similarity_fn_name": layout.similarity})


def _write_projection(place: Path, projection: Projection) -> None:
    from safetensors.torch import save_file

    config = {
        "in_features": projection.in_features,
        "out_features": projection.out_features,
        "bias": projection.linear.bias is not None,
        # written out: sentence-transformers takes Tanh where nothing is said
        "activation_function": _import_paths(ACTIVATIONS[projection.activation])[0],
    }
    write_json(place / "config.json", config)
    weights = {name: value.detach().cpu().contiguous() for name, value in projection.state_dict().items()}
    save_file(weights, place / "model.safetensors")
