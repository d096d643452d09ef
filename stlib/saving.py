"""A model put in the place of another: what stands in its folder and was not written here is neither lost nor read.

Programs share such a folder (weights in other formats, code, results), and transformers reads more files than we write.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from stlib.checkpoint import read_layout
from stlib.files import read_json, replace_folder, warn, write_json

# What transformers reads beside the files that we write, and takes for more than they say.
_TOKENIZER_PARTS = ("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt")
# The same model in other files. They are not ours to remove, and who reads them gets what was there before.
_OTHER_WEIGHTS = re.compile(
    r"(model|pytorch_model)\S*\.(safetensors|bin)|tf_model\.h5|flax_model\.msgpack|rust_model\.ot|onnx|openvino"
)
_WRITTEN = "stlib_files"  # the key in config_sentence_transformers.json under which the files that we wrote are named


def replace_model(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a model and put it in place of the one in `folder`: whole or not at all.

    Of what is there, files of the same names are replaced, those that an earlier call wrote and this one does not are
    removed, and everything else is kept. A link to a folder stays a link: what it points to is replaced.

    Raises:
        ValueError: `folder` holds something else than a model, or what would be kept would be read as part of this one.
    """
    folder = Path(os.path.realpath(folder.expanduser()))
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or _is_model(folder))):
        raise ValueError(f"folder={str(folder)!r} is there and holds something else than a model: give another name")
    stale = _written(folder)
    meant: dict[str, Any] = {}

    def fill_and_note(fresh: Path) -> None:
        fill(fresh)
        file = fresh / "config_sentence_transformers.json"
        config = read_json(file) if file.exists() else {}
        _replace_token_names(folder, fresh)
        names = {path.relative_to(fresh).as_posix() for path in fresh.rglob("*")} | {file.name}
        write_json(file, config | {_WRITTEN: sorted(names)})
        parts = any((folder / name).exists() for name in _TOKENIZER_PARTS)
        meant.update(names=names, parts=parts, read=_as_read(fresh, parts))

    def check(fresh: Path) -> None:
        kept = sorted(item.name for item in fresh.iterdir() if item.name not in meant["names"])
        first = [name for name in ("adapter_config.json", "model.safetensors") if name in kept]
        if first or not _is_read_as(fresh, meant["parts"], meant["read"]):
            found = ", ".join(first or kept)
            raise ValueError(f"{folder} holds what would be read as part of this model ({found}): give another name")
        if old := [name for name in kept if _OTHER_WEIGHTS.fullmatch(name)]:
            warn(f"{folder}: {', '.join(old)} were not written by stlib and are kept, with the weights that they hold")

    replace_folder(folder, fill_and_note, stale=stale, check=check, key="config.json")


def _replace_token_names(folder: Path, fresh: Path) -> None:
    """Say anew what other programs have said of the special tokens in files that we do not write otherwise."""
    said = read_json(fresh / "tokenizer_config.json") if (fresh / "tokenizer_config.json").exists() else {}
    tokens = {name: token for name, token in said.items() if name.endswith("_token")}
    for name, content in (("special_tokens_map.json", tokens), ("added_tokens.json", {})):
        if (folder / name).exists() and not (fresh / name).exists():
            write_json(fresh / name, content)


def _is_model(folder: Path) -> bool:
    """Whether there is a config.json that names a type of model, and weights beside it."""
    try:
        place = read_layout(folder).transformer
        config = read_json(place / "config.json")
    except ValueError:
        return False
    return "model_type" in config and any(
        _OTHER_WEIGHTS.fullmatch(item.name) and item.suffix in (".safetensors", ".bin") for item in place.iterdir()
    )


def _written(folder: Path) -> list[str]:
    """The names of the files and folders that an earlier call wrote there, unless another program did since."""
    try:
        names = read_json(folder / "config_sentence_transformers.json").get(_WRITTEN, [])
    except ValueError:
        return []
    names = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [name for name in names if PurePosixPath(name).parts and not {"..", "/"} & {*PurePosixPath(name).parts}]


def _is_read_as(folder: Path, tokenizer: bool, meant: tuple[Any, ...]) -> bool:
    try:
        return _as_read(folder, tokenizer) == meant
    except Exception:  # whatever is kept keeps it from being read
        return False


def _as_read(folder: Path, tokenizer: bool) -> tuple[Any, ...]:
    """What decides the vectors beside the weights; the tokenizer as well, where that is asked."""
    found: tuple[Any, ...] = (read_layout(folder),)
    if tokenizer:
        from transformers import AutoTokenizer

        words = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        rust = getattr(words, "backend_tokenizer", None)
        found += (rust.to_str() if rust else words.get_vocab(), words.special_tokens_map, words.padding_side)
    return found
