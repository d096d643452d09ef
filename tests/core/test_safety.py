"""A folder is data: nothing in it runs, and nothing that it names is read from elsewhere.

Each hostile folder carries a canary: a file that would exist if anything from the folder had been executed.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import (
    NEW_TYPES,
    OLD_TYPES,
    TEXTS,
    edit_json,
    write_modules,
)
from safetensors.torch import load_file, save_file

from stlib import SentenceEncoder, SentenceTransformer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training
REFUSED = (ValueError, OSError)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


class Payload:
    """Unpickles into a call that leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {self.canary}",)


def test_the_payload_of_these_tests_does_fire_when_it_is_unpickled(canary: Path, tmp_path: Path) -> None:
    torch.save({"linear.weight": Payload(canary)}, tmp_path / "file.bin")
    torch.load(tmp_path / "file.bin", weights_only=False)
    assert canary.exists()


def test_the_good_folder_loads(folder: Path) -> None:
    assert SentenceEncoder(folder).encode("Snow").shape == (12,)


# --- code ----------------------------------------------------------------------------------------------------------


def test_remote_code_is_never_run(tmp_path: Path, canary: Path) -> None:
    path = checkpoints.build_stella(tmp_path / "model", canary=canary)
    before = set(sys.modules)
    encoder = SentenceEncoder(path)
    encoder.encode(TEXTS)
    encoder.model.save_pretrained(tmp_path / "saved")
    SentenceEncoder(tmp_path / "saved").encode(TEXTS)
    assert not canary.exists()
    assert not any("modeling_qwen" in name and "transformers.models" not in name for name in set(sys.modules) - before)


def test_an_architecture_that_exists_only_as_remote_code_is_refused(folder: Path, canary: Path) -> None:
    (folder / "modeling_new.py").write_text(checkpoints.canary_code(canary))
    (folder / "configuration_new.py").write_text(checkpoints.canary_code(canary))
    auto_map = {"AutoConfig": "configuration_new.NewConfig", "AutoModel": "modeling_new.NewModel"}
    edit_json(folder / "config.json", model_type="new", auto_map=auto_map)
    with pytest.raises(REFUSED, match=r"'new'.*remote code is never run"):
        SentenceEncoder(folder)
    assert not canary.exists()


def test_a_tokenizer_with_remote_code_runs_none_of_it(folder: Path, canary: Path) -> None:
    (folder / "tokenization_new.py").write_text(checkpoints.canary_code(canary))
    auto_map = {"AutoTokenizer": ["tokenization_new.NewTokenizer", None]}
    edit_json(folder / "tokenizer_config.json", auto_map=auto_map, tokenizer_class="NewTokenizer")
    try:
        SentenceEncoder(folder).encode("Snow")
    except REFUSED as error:
        assert "okenizer" in str(error)
    assert not canary.exists()


def test_a_folder_cannot_switch_remote_code_on_for_itself(tmp_path: Path, canary: Path) -> None:
    path = checkpoints.build_stella(tmp_path / "model", canary=canary)
    names = ("config.json", "tokenizer_config.json", "sentence_bert_config.json", "config_sentence_transformers.json")
    for name in names:
        switches = {"trust_remote_code": True, "model_args": {"trust_remote_code": True}}
        edit_json(path / name, **switches, config_args={"trust_remote_code": True})
    SentenceEncoder(path).encode(TEXTS)
    assert not canary.exists()


def test_a_kernel_that_a_config_names_is_not_fetched(folder: Path, wrapped: Path) -> None:
    edit_json(folder / "config.json", attn_implementation="someone/kernel", _attn_implementation="someone/kernel")
    np.testing.assert_array_equal(SentenceEncoder(folder).encode(TEXTS), SentenceEncoder(wrapped).encode(TEXTS))


def test_an_adapter_is_refused_rather_than_left_out(folder: Path) -> None:
    content = {"base_model_name_or_path": "someone/else", "peft_type": "LORA"}
    checkpoints.write_json(folder / "adapter_config.json", content)
    with pytest.raises(ValueError, match="adapter"):
        SentenceEncoder(folder)


def test_there_is_no_switch_for_remote_code(folder: Path) -> None:
    for load in (SentenceTransformer.from_pretrained, SentenceEncoder):
        with pytest.raises(TypeError, match="trust_remote_code"):
            load(folder, trust_remote_code=True)


@pytest.mark.parametrize("where", ["", "2_Dense"])
@pytest.mark.parametrize("old_pickle", [False, True])
def test_a_pickle_with_a_payload_is_refused_and_does_not_fire(
    where: str, old_pickle: bool, folder: Path, canary: Path
) -> None:
    (folder / where / "model.safetensors").unlink()
    target = folder / where / "pytorch_model.bin"
    content = {"linear.weight": Payload(canary), "embeddings.word_embeddings.weight": Payload(canary)}
    torch.save(content, target, _use_new_zipfile_serialization=not old_pickle)
    with pytest.raises(REFUSED, match=r"pytorch_model.bin"):
        SentenceEncoder(folder)
    assert not canary.exists()


def test_a_bare_pickle_is_refused_and_does_not_fire(folder: Path, canary: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").unlink()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(canary), protocol=2))
    with pytest.raises(REFUSED, match=r"pytorch_model.bin"):
        SentenceEncoder(folder)
    assert not canary.exists()


def test_an_honest_bin_file_of_the_backbone_is_read(folder: Path, wrapped: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    checkpoints.save_weights(folder, weights, "pytorch_model.bin")
    np.testing.assert_array_equal(SentenceEncoder(folder).encode(TEXTS), SentenceEncoder(wrapped).encode(TEXTS))


def test_a_hostile_bin_beside_safetensors_is_not_opened(folder: Path, wrapped: Path, canary: Path) -> None:
    for where in ("", "2_Dense"):
        torch.save({"linear.weight": Payload(canary)}, folder / where / "pytorch_model.bin")
    np.testing.assert_array_equal(SentenceEncoder(folder).encode(TEXTS), SentenceEncoder(wrapped).encode(TEXTS))
    assert not canary.exists()


@pytest.mark.parametrize(
    "activation",
    [
        "os.system",
        "canary_module.Activation",
        "torch.nn.modules.activation.NoSuchThing",
        "torch.load",
        "torch.nn.Linear",
        "builtins.eval",
        "",
        7,
        None,
    ],
)
def test_an_activation_outside_the_allow_list_is_refused(
    activation: Any, folder: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "canary_module.py").write_text(checkpoints.canary_code(canary))
    monkeypatch.syspath_prepend(folder)
    edit_json(folder / "2_Dense" / "config.json", activation_function=activation)
    with pytest.raises(ValueError, match=r"activation.*" + re.escape(str(activation))):
        SentenceEncoder(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    "kind",
    [
        "canary_module.Transformer",
        "os.system",
        "sentence_transformers.models.WeightedLayerPooling",
        "sentence_transformers.models.Dense.Dense.Dense",
        "custom_st.Dense",
        "Dense",
        7,
        None,
    ],
)
def test_a_module_type_outside_the_allow_list_is_refused(
    kind: Any, folder: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "canary_module.py").write_text(checkpoints.canary_code(canary))
    monkeypatch.syspath_prepend(folder)
    modules = [(OLD_TYPES["Transformer"], ""), (OLD_TYPES["Pooling"], "1_Pooling"), (kind, "2_Dense")]
    write_modules(folder, modules)
    with pytest.raises(ValueError, match=re.escape(str(kind))):
        SentenceEncoder(folder)
    assert not canary.exists()


# --- paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("types", [OLD_TYPES, NEW_TYPES])
@pytest.mark.parametrize("kind", ["Transformer", "Pooling", "Dense", "Normalize"])
@pytest.mark.parametrize(
    "escape", ["absolute", "../outside", "inside/../../outside", "..", "..\\outside", "C:\\outside"]
)
def test_a_path_that_leaves_the_folder_is_refused(
    types: dict[str, str], kind: str, escape: str, folder: Path, wrapped: Path, tmp_path: Path
) -> None:
    outside = Path(shutil.copytree(wrapped, tmp_path / "outside"))  # a good model: only the path is wrong
    path = str(outside) if escape == "absolute" else escape
    rows = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize")]
    write_modules(folder, [(types[name], path if name == kind else where) for name, where in rows])
    with pytest.raises(ValueError, match=r"path|modules.json"):
        SentenceEncoder(folder)


def test_an_index_of_shards_that_leaves_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    keys = load_file(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(keys, "../outside.safetensors")}
    checkpoints.write_json(folder / "model.safetensors.index.json", index)
    with pytest.raises(REFUSED, match=r"outside|index"):
        SentenceEncoder(folder)


def test_a_tokenizer_config_cannot_point_to_files_elsewhere(folder: Path, wrapped: Path, tmp_path: Path) -> None:
    other = checkpoints.build("roberta", tmp_path / "other")
    paths = {"tokenizer_file": str(other / "tokenizer.json"), "vocab_file": str(other / "vocab.json")}
    edit_json(folder / "tokenizer_config.json", **paths)
    np.testing.assert_array_equal(SentenceEncoder(folder).encode(TEXTS), SentenceEncoder(wrapped).encode(TEXTS))


def test_an_honest_set_of_shards_loads(folder: Path, wrapped: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {key: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, key in enumerate(weights)}
    for name in set(names.values()):
        checkpoints.save_weights(folder, {key: weights[key] for key in weights if names[key] == name}, name)
    checkpoints.write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": names})
    np.testing.assert_array_equal(SentenceEncoder(folder).encode(TEXTS), SentenceEncoder(wrapped).encode(TEXTS))


def test_a_folder_of_the_hubs_cache_loads_although_every_file_is_a_link_out_of_it(
    folder: Path, wrapped: Path, tmp_path: Path
) -> None:
    snapshot = checkpoints.as_hub_cache(folder, tmp_path / "cache")
    links = [path for path in snapshot.rglob("*") if path.is_file()]
    assert links
    assert all(path.is_symlink() and snapshot not in path.resolve().parents for path in links)
    np.testing.assert_array_equal(SentenceEncoder(snapshot).encode(TEXTS), SentenceEncoder(wrapped).encode(TEXTS))


def test_a_stella_in_the_hubs_cache_finds_all_its_heads(tmp_path: Path) -> None:
    path = checkpoints.build_stella(tmp_path / "model")
    snapshot = checkpoints.as_hub_cache(path, tmp_path / "cache")
    for size in (None, *checkpoints.STELLA_SIZES):
        expected = SentenceEncoder(path, output_dim=size).encode(TEXTS[:2])
        np.testing.assert_array_equal(SentenceEncoder(snapshot, output_dim=size).encode(TEXTS[:2]), expected)


def test_a_config_cannot_name_another_file_of_weights(folder: Path, wrapped: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({key: value * 2 for key, value in weights.items()}, folder / "evil.safetensors", {"format": "pt"})
    edit_json(folder / "config.json", transformers_weights="evil.safetensors")
    np.testing.assert_allclose(SentenceEncoder(folder).encode(TEXTS), SentenceEncoder(wrapped).encode(TEXTS), atol=1e-6)
