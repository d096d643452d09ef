"""What is wrong with a folder is one clear error that names the place."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from checkpoints import (
    HIDDEN,
    STELLA_DEFAULT_SIZE,
    edit_json,
)
from safetensors.torch import load_file

from stlib import SentenceEncoder

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training
REFUSED = (ValueError, OSError)


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
        ("config_sentence_transformers.json", {"default_prompt_name": []}),
        ("2_Dense/config.json", {"out_features": []}),
        ("config.json", {"is_causal": "yes"}),
        ("config.json", {"is_causal": 1}),
    ],
)
def test_configs_that_contradict_the_model_or_make_no_sense_are_refused(
    file: str, changes: dict[str, Any], folder: Path
) -> None:
    edit_json(folder / file, **changes)
    with pytest.raises(ValueError, match=r"|".join(re.escape(word) for word in (*changes, file, "linear."))):
        SentenceEncoder(folder)


def test_half_a_character_in_a_prompt_is_refused(folder: Path) -> None:
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "\\ud800"}}')
    with pytest.raises(ValueError, match=r"config_sentence_transformers.json: prompts"):
        SentenceEncoder(folder)


def test_json_too_deep_to_read_is_refused_by_name(folder: Path) -> None:
    (folder / "modules.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"modules.json cannot be read"):
        SentenceEncoder(folder)


def test_a_link_that_leads_nowhere_is_no_folder_without_modules(folder: Path) -> None:
    (folder / "modules.json").unlink()
    (folder / "modules.json").symlink_to(folder / "gone.json")
    with pytest.raises(ValueError, match=r"modules.json is missing"):
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


def test_a_zip_that_only_looks_like_torchs_is_refused(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "2_Dense" / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"nothing")
    with pytest.raises(REFUSED, match=r"pytorch_model.bin"):
        SentenceEncoder(folder)
