"""A folder is data: nothing in it runs, and what is wrong with it is one clear error that names the place.

Each hostile folder carries a canary: a file that would exist if anything from the folder had been executed.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import HIDDEN, NEW_TYPES, OLD_TYPES, STELLA_DEFAULT_SIZE, TEXTS, Dense, edit_json, write_modules
from safetensors.torch import load_file, save_file

from stlib import SentenceEncoder, SentenceTransformer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training
REFUSED = (ValueError, OSError)


@pytest.fixture(scope="session")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good folder: MiniLM's layout and a Dense of 12."""
    root = tmp_path_factory.mktemp("safety")
    plain = checkpoints.build("minilm", root / "plain")
    return checkpoints.wrap(plain, root / "model", dense=[Dense(HIDDEN, 12)])


@pytest.fixture
def folder(wrapped: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(wrapped, tmp_path / "model"))


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
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(canary)))
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


# --- damaged files -------------------------------------------------------------------------------------------------


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def scribble(file: Path) -> None:
    file.write_bytes(b"\xff\x00 this is neither JSON nor weights \x00" * 20)


def huge_header(file: Path) -> None:
    file.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def pointer(file: Path) -> None:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 90868376\n")


@pytest.mark.parametrize("damage", [cut, empty, scribble, huge_header, pointer])
@pytest.mark.parametrize("file", ["model.safetensors", "2_Dense/model.safetensors"])
def test_damaged_weights_are_one_error_that_names_the_file(
    file: str, damage: Callable[[Path], None], folder: Path
) -> None:
    damage(folder / file)
    with pytest.raises(REFUSED, match=re.escape(Path(file).name)) as caught:
        SentenceEncoder(folder)
    if "/" in file:
        assert "2_Dense" in str(caught.value)


JSON_FILES = [
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


@pytest.mark.parametrize("damage", [cut, empty, scribble])
@pytest.mark.parametrize("file", JSON_FILES)
def test_damaged_json_is_one_error_that_names_the_file(file: str, damage: Callable[[Path], None], folder: Path) -> None:
    damage(folder / file)
    with pytest.raises(REFUSED, match=re.escape(Path(file).name)):
        SentenceEncoder(folder)


@pytest.mark.parametrize("content", [[], 3, "text", None])
@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json", "2_Dense/config.json", "config.json"])
def test_json_of_another_shape_is_an_error_that_names_the_file(file: str, content: Any, folder: Path) -> None:
    checkpoints.write_json(folder / file, content)
    with pytest.raises(REFUSED, match=re.escape(Path(file).name)):
        SentenceEncoder(folder)


@pytest.mark.parametrize(
    "file",
    ["config.json", "1_Pooling/config.json", "2_Dense/config.json", "model.safetensors", "2_Dense/model.safetensors"],
)
def test_a_missing_file_is_an_error_that_names_it(file: str, folder: Path) -> None:
    (folder / file).unlink()
    with pytest.raises(REFUSED, match=re.escape(Path(file).name)):
        SentenceEncoder(folder)


def test_a_missing_tokenizer_is_an_error_that_says_so(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (folder / name).unlink()
    with pytest.raises(REFUSED, match="okenizer"):
        SentenceEncoder(folder)


@pytest.mark.parametrize("what", ["missing", "empty folder", "file"])
def test_what_is_no_model_folder_is_an_error_that_names_it(what: str, tmp_path: Path) -> None:
    path = tmp_path / "no-model-here"
    if what == "empty folder":
        path.mkdir()
    elif what == "file":
        path.write_text("text")
    with pytest.raises(REFUSED, match="no-model-here"):
        SentenceEncoder(path)


# --- values --------------------------------------------------------------------------------------------------------


def change(folder: Path, key: str, value: Any) -> None:
    weights = load_file(folder / "model.safetensors")
    if value is None:
        del weights[key]
    else:
        weights[key] = value(weights[key]) if callable(value) else value
    checkpoints.save_weights(folder, weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("where", "key"),
    [("", "encoder.layer.1.output.dense.weight"), ("2_Dense", "linear.weight"), ("2_Dense", "linear.bias")],
)
def test_weights_that_are_not_finite_are_named(where: str, key: str, value: float, folder: Path) -> None:
    def spoil(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[3] = value
        return tensor

    change(folder / where, key, spoil)
    with pytest.raises(ValueError, match=re.escape(key)):
        SentenceEncoder(folder)


@pytest.mark.parametrize(
    ("where", "key", "shape"),
    [
        ("", "encoder.layer.0.attention.self.key.weight", (HIDDEN, HIDDEN + 1)),
        ("", "embeddings.word_embeddings.weight", (7, HIDDEN)),
        ("2_Dense", "linear.weight", (12, HIDDEN + 1)),
        ("2_Dense", "linear.weight", (HIDDEN, 12)),
        ("2_Dense", "linear.bias", (13,)),
    ],
)
def test_a_weight_of_the_wrong_shape_is_named(where: str, key: str, shape: tuple[int, ...], folder: Path) -> None:
    change(folder / where, key, torch.zeros(shape))
    with pytest.raises(REFUSED, match=re.escape(key)):
        SentenceEncoder(folder)


@pytest.mark.parametrize("key", ["linear.weight", "linear.bias"])
def test_a_missing_weight_of_a_dense_is_named(key: str, folder: Path) -> None:
    change(folder / "2_Dense", key, None)
    with pytest.raises(ValueError, match=re.escape(key)):
        SentenceEncoder(folder)


def test_an_unexpected_weight_of_a_dense_is_named(folder: Path) -> None:
    change(folder / "2_Dense", "residual.weight", torch.zeros(12, HIDDEN))
    with pytest.raises(ValueError, match=re.escape("residual.weight")):
        SentenceEncoder(folder)


def test_an_unexpected_weight_in_the_encoders_own_layers_is_named(folder: Path) -> None:
    """Heads of pre-training are expected company; a layer that the config does not count is not."""
    extra = "encoder.layer.2.output.dense.weight"
    change(folder, extra, torch.zeros(HIDDEN, 2 * HIDDEN))
    with pytest.raises(ValueError, match=re.escape(extra)):
        SentenceEncoder(folder)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("2_Dense/config.json", {"in_features": HIDDEN + 1}),
        ("2_Dense/config.json", {"out_features": 13}),
        ("2_Dense/config.json", {"out_features": "12; import os"}),
        ("2_Dense/config.json", {"in_features": -1}),
        ("2_Dense/config.json", {"bias": False}),
        ("sentence_bert_config.json", {"max_seq_length": 0}),
        ("sentence_bert_config.json", {"max_seq_length": "many"}),
        ("config_sentence_transformers.json", {"prompts": ["query: "]}),
        ("config_sentence_transformers.json", {"prompts": {"query": 3}}),
    ],
)
def test_configs_that_contradict_the_model_or_make_no_sense_are_refused(
    file: str, changes: dict[str, Any], folder: Path
) -> None:
    edit_json(folder / file, **changes)
    with pytest.raises(ValueError, match=r"|".join(re.escape(word) for word in (*changes, file, "linear."))):
        SentenceEncoder(folder)


def test_a_head_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = checkpoints.build_stella(tmp_path / "model")
    edit_json(path / "2_Dense_24" / "config.json", out_features=8)
    with pytest.raises(ValueError, match=r"2_Dense_24|output_dim=24"):
        SentenceEncoder(path, output_dim=24)


def test_a_head_that_claims_to_be_huge_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = checkpoints.build_stella(tmp_path / "model")
    edit_json(path / f"2_Dense_{STELLA_DEFAULT_SIZE}" / "config.json", in_features=3_000_000, out_features=3_000_000)
    with pytest.raises(ValueError, match=r"2_Dense_\d+: weights .* 3000000"):
        SentenceEncoder(path)


def test_a_config_cannot_name_another_file_of_weights(folder: Path, wrapped: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({key: value * 2 for key, value in weights.items()}, folder / "evil.safetensors", {"format": "pt"})
    edit_json(folder / "config.json", transformers_weights="evil.safetensors")
    np.testing.assert_allclose(SentenceEncoder(folder).encode(TEXTS), SentenceEncoder(wrapped).encode(TEXTS), atol=1e-6)


def test_a_zip_that_only_looks_like_torchs_is_refused(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "2_Dense" / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"nothing")
    with pytest.raises(REFUSED, match=r"pytorch_model.bin"):
        SentenceEncoder(folder)
