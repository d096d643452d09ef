"""What is written loads in sentence-transformers and here alike, and is there whole or not at all."""

from __future__ import annotations

import shutil
import stat
import warnings
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import (
    FAMILIES,
    HIDDEN,
    PROMPTS,
    TEXTS,
    Dense,
    edit_json,
    read_json,
)
from reference import (
    SAME,
    TOLERANCE,
    Small,
    assert_round_trip,
    st_model,
)
from transformers import AutoModel

from stlib import SentenceEncoder, SentenceTransformer, files

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("family", [name for name, facts in FAMILIES.items() if facts.st_is_right])
def test_a_saved_folder_gives_the_same_vectors_there_and_here(
    family: str, layout: str, small: Small, tmp_path: Path
) -> None:
    dense = [Dense(HIDDEN, 24, "tanh"), Dense(24, 16, bias=False)]
    path = checkpoints.wrap(small(family), tmp_path / "model", layout=layout, dense=dense, prompts=PROMPTS)
    encoder = SentenceEncoder(path)
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_a_saved_bart_comes_back_the_same(small: Small, tmp_path: Path) -> None:
    encoder = SentenceEncoder(small("bart"))
    with pytest.warns(UserWarning, match="sentence-transformers reads the decoder's states"):
        encoder.model.save_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(SentenceEncoder(tmp_path / "saved").encode(TEXTS), encoder.encode(TEXTS), atol=SAME)


@pytest.mark.parametrize("modes", [("max", "cls"), ("mean", "weightedmean", "lasttoken")])
def test_concatenated_poolings_are_written_in_their_order(modes: tuple[str, ...], small: Small, tmp_path: Path) -> None:
    encoder = SentenceEncoder(small("minilm"), pooling=modes)
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_a_fresh_projection_is_written_with_its_activation_spelt_out(small: Small, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="untrained"):
        encoder = SentenceEncoder(small("distilbert"), output_dim=8)
    encoder.model.save_pretrained(str(tmp_path / "saved"))  # a str is a folder as well
    (dense,) = [row for row in read_json(tmp_path / "saved" / "modules.json") if row["type"].endswith("Dense")]
    config = read_json(tmp_path / "saved" / dense["path"] / "config.json")
    assert config["activation_function"] == "torch.nn.modules.linear.Identity"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # saved is no longer fresh
        SentenceEncoder(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_without_normalisation_the_saved_folder_gives_raw_vectors_in_sentence_transformers(
    small: Small, tmp_path: Path
) -> None:
    encoder = SentenceEncoder(small("minilm"), normalize=False)
    encoder.model.save_pretrained(tmp_path / "saved")
    vectors = encoder.encode(TEXTS)
    np.testing.assert_allclose(st_model(tmp_path / "saved").encode(TEXTS), vectors, rtol=1e-5, atol=SAME)
    np.testing.assert_allclose(SentenceEncoder(tmp_path / "saved", normalize=False).encode(TEXTS), vectors, atol=SAME)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 0.01


@pytest.mark.parametrize("layout", ["old", "new"])
def test_limit_prompts_and_similarity_are_saved(layout: str, small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(
        small("minilm"), tmp_path / "model", layout=layout, prompts={"query": "query: "}, similarity="dot", limit=40
    )
    encoder = SentenceEncoder(path, max_length=12, truncation="ignore")
    encoder.model.save_pretrained(tmp_path / "saved")
    again, theirs = SentenceEncoder(tmp_path / "saved", truncation="ignore"), st_model(tmp_path / "saved")
    assert again.max_length == theirs.max_seq_length == 12
    assert read_json(tmp_path / "saved" / "tokenizer_config.json")["model_max_length"] == 12  # where release 6 looks
    assert again.model.prompts["query"] == theirs.prompts["query"] == "query: "
    assert theirs.similarity_fn_name == "dot"
    np.testing.assert_allclose(theirs.encode(TEXTS), encoder.encode(TEXTS), atol=SAME)
    np.testing.assert_allclose(again.encode(TEXTS), encoder.encode(TEXTS), atol=SAME)


def test_lower_casing_survives_saving(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small("roberta", "old"), tmp_path / "model"))
    edit_json(path / "sentence_bert_config.json", do_lower_case=True)
    encoder = SentenceEncoder(path)
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")
    assert np.abs(encoder.encode(TEXTS) - SentenceEncoder(small("roberta", "old")).encode(TEXTS)).max() > 1e-3


def test_a_default_prompt_survives_saving(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", prompts={"query": "query: "})
    edit_json(path / "config_sentence_transformers.json", default_prompt_name="query")
    encoder = SentenceEncoder(path)
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_a_saved_stella_states_its_direction_and_carries_no_code(stella: Path, tmp_path: Path) -> None:

    encoder = SentenceEncoder(stella, output_dim=24)
    encoder.model.save_pretrained(tmp_path / "saved")
    config = read_json(tmp_path / "saved" / "config.json")
    assert config["is_causal"] is False
    assert not list((tmp_path / "saved").rglob("*.py"))
    assert not any(
        b"auto_map" in content for name, content in contents(tmp_path / "saved").items() if name[-4:] == "json"
    )
    assert_round_trip(encoder, tmp_path / "saved")
    assert st_model(tmp_path / "saved").prompts["s2p_query"] == PROMPTS["s2p_query"]

    stock = AutoModel.from_pretrained(tmp_path / "saved").eval()
    ids = encoder.tokenizer("Bread rises")["input_ids"]
    with torch.no_grad():
        states = stock(input_ids=torch.tensor([ids])).last_hidden_state[0]
    np.testing.assert_allclose(states.numpy(), encoder.token_embeddings(["Bread rises"])[0], atol=TOLERANCE)


def test_a_causal_decoder_is_still_causal_after_saving(stella: Path, tmp_path: Path) -> None:
    encoder = SentenceEncoder(stella, attention="causal")
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_saving_over_a_folder_leaves_nothing_of_the_old_model(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("mpnet"), tmp_path / "model", dense=[Dense(HIDDEN, 12)], prompts=PROMPTS)
    SentenceEncoder(path).model.save_pretrained(tmp_path / "saved")
    encoder = SentenceEncoder(small("minilm"), pooling="cls")
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")
    encoder.model.save_pretrained(tmp_path / "fresh")
    assert contents(tmp_path / "saved").keys() == contents(tmp_path / "fresh").keys()


def test_saving_over_a_model_removes_no_file_that_was_not_written_here(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small("minilm"), tmp_path / "model"))
    own = ["LICENSE.txt", "train.py", "modeling_mine.py", "eval_results.json", "1_experiments/log.txt", "data/a/b.csv"]
    other = ["onnx/model.onnx", "tf_model.h5", "pytorch_model.bin", "model_of_yesterday.safetensors", "tokenizer.model"]
    for name in [*own, *other]:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    before = contents(path)
    encoder = SentenceEncoder(path, pooling="cls")
    with pytest.warns(
        UserWarning, match="model_of_yesterday.safetensors, onnx, pytorch_model.bin, tf_model.h5 were not"
    ):
        encoder.model.save_pretrained(path)
    after = contents(path)
    assert before.keys() <= after.keys() and {name: after[name] for name in [*own, *other]} == {
        name: before[name] for name in [*own, *other]
    }
    assert_round_trip(encoder, path)


def test_saving_again_removes_what_the_first_call_wrote_and_keeps_what_came_since(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12)])
    SentenceEncoder(path).model.save_pretrained(tmp_path / "saved")
    for name in ("notes.txt", "2_Dense/notes.txt", "runs/1/log.txt"):
        (tmp_path / "saved" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "saved" / name).write_text("mine")
    encoder = SentenceEncoder(small("minilm"))
    encoder.model.save_pretrained(tmp_path / "saved")
    mine = {name for name, content in contents(tmp_path / "saved").items() if content == b"mine"}
    assert mine == {"notes.txt", "2_Dense/notes.txt", "runs/1/log.txt"}
    assert not (tmp_path / "saved" / "2_Dense" / "model.safetensors").exists()
    assert_round_trip(encoder, tmp_path / "saved")


PROJECT = {"config.json": '{"debug": true}', "weights.safetensors": "w", "src/main.py": "code", "data/x.csv": "text"}


@pytest.mark.parametrize(
    "content",
    [
        {"notes.txt": "mine"},
        PROJECT,  # a config.json that names no type of model
        {"config.json": '{"model_type": "bert"}', "src/main.py": "code"},  # and one without weights
        {"config.json": "[]", "model.safetensors": "w"},
        {"modules.json": "[]", "model.safetensors": "w"},
        {"model.safetensors": "w", "src/main.py": "code"},
    ],
)
def test_a_folder_that_holds_no_model_is_refused_and_left_as_it_is(
    content: dict[str, str], small: Small, tmp_path: Path
) -> None:
    for name, text in content.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="holds something else than a model: give another name"):
        SentenceEncoder(small("minilm")).model.save_pretrained(tmp_path / "project")
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match="holds something else than a model"):
        SentenceEncoder(small("minilm")).model.save_pretrained(tmp_path / "project" / next(iter(content)))


@pytest.mark.parametrize("kind", ["head", "adapter", "limit"])
def test_what_would_be_read_as_part_of_the_new_model_is_refused_not_removed(
    kind: str, small: Small, tmp_path: Path
) -> None:
    dense = [Dense(HIDDEN, 12)] if kind == "head" else []
    path = checkpoints.wrap(small("bert"), tmp_path / "model", dense=dense)
    if kind == "adapter":
        (path / "adapter_config.json").write_text("{}")
    if kind == "limit":
        (path / "sentence_albert_config.json").write_text('{"max_seq_length": 7}')
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="holds what would be read as part of this model"):
        SentenceEncoder(small("minilm")).model.save_pretrained(path)
    assert contents(tmp_path) == before and [item.name for item in tmp_path.iterdir()] == ["model"]


def test_special_tokens_of_the_model_that_was_there_do_not_come_into_the_new_one(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small("bert"), tmp_path / "model"))
    assert read_json(path / "special_tokens_map.json")["cls_token"] == "[CLS]"
    (path / "added_tokens.json").write_text('{"river": 3}')
    encoder = SentenceEncoder(small("mpnet"))
    encoder.model.save_pretrained(path)
    again = SentenceEncoder(path)
    assert again.tokenizer.special_tokens_map == encoder.tokenizer.special_tokens_map
    assert again.tokenizer.get_vocab() == encoder.tokenizer.get_vocab()
    assert_round_trip(encoder, path)


def modes(folder: Path) -> dict[str, int]:
    return {item.name: stat.S_IMODE(item.lstat().st_mode) for item in [folder, *folder.iterdir()]}


@pytest.mark.parametrize("inside", [False, True])
def test_links_and_modes_are_kept(inside: bool, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(shutil.copytree(small("minilm"), tmp_path / "model"))
    (tmp_path / "shared").mkdir()
    for name in ("notes.txt", "vocab.txt"):
        (tmp_path / "shared" / name).write_text("shared")
    (path / "notes.txt").symlink_to("../shared/notes.txt")
    (path / "gone").symlink_to("nowhere")
    (path / "data").symlink_to("../shared")
    (path / "run.sh").write_text("#!/bin/sh")
    for name, mode in {"": 0o750, "run.sh": 0o751, "config.json": 0o640, "model.safetensors": 0o644}.items():
        (path / name).chmod(mode)
    weights = path / "model.safetensors"
    weights.rename(tmp_path / "shared" / "weights")
    weights.symlink_to("../shared/weights")  # as in the hub's cache: it serves others as well
    before, shared = modes(path), contents(tmp_path / "shared")
    encoder = SentenceEncoder(path, pooling="cls")
    monkeypatch.chdir(path if inside else tmp_path)
    encoder.model.save_pretrained("." if inside else path)
    after = modes(path)
    assert {name: after[name] for name in before if name != "model.safetensors"} == {
        name: before[name] for name in before if name != "model.safetensors"
    }
    assert after["model.safetensors"] == after["tokenizer.json"]  # no writer's private mode
    assert [item.is_symlink() for item in map(path.joinpath, ("notes.txt", "gone", "data"))] == [True] * 3
    assert contents(tmp_path / "shared") == shared
    assert_round_trip(encoder, path)


def test_saving_into_the_folder_that_we_are_in_leaves_us_there(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12)])
    (tmp_path / "saved").mkdir()
    monkeypatch.chdir(tmp_path / "saved")
    same = Path("..", "saved").stat().st_ino
    SentenceEncoder(path).model.save_pretrained(".")
    Path("notes.txt").write_text("mine")
    encoder = SentenceEncoder(small("minilm"))
    encoder.model.save_pretrained("")
    assert Path.cwd() == tmp_path / "saved" and Path().stat().st_ino == same
    assert_round_trip(encoder, tmp_path / "saved")
    encoder.model.save_pretrained(tmp_path / "fresh")
    assert contents(tmp_path / "saved").keys() == contents(tmp_path / "fresh").keys() | {"notes.txt"}
    assert not Path("2_Dense").exists() and not list(tmp_path.glob("*/.saving-*"))


def test_a_link_to_a_folder_stays_a_link(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small("minilm"), tmp_path / "model"))
    (tmp_path / "link").symlink_to(path, target_is_directory=True)
    encoder = SentenceEncoder(small("mpnet"))
    encoder.model.save_pretrained(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_round_trip(encoder, path)


def test_saving_works_without_the_exchange(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    for family in ("mpnet", "minilm"):
        encoder = SentenceEncoder(small(family))
        encoder.model.save_pretrained(tmp_path / "saved")
        assert_round_trip(encoder, tmp_path / "saved")
    assert [item.name for item in tmp_path.iterdir()] == ["saved"]


def test_a_model_can_be_saved_over_the_folder_it_came_from(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small("minilm"), tmp_path / "model"))
    encoder = SentenceEncoder(path, max_length=30, truncation="ignore")
    expected = encoder.encode(TEXTS)
    encoder.model.save_pretrained(path)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=SAME)
    assert_round_trip(encoder, path)


def break_writing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let `after` weight files be written in full and the next one fail half-way, as on a full disk."""
    import safetensors.torch
    import transformers.modeling_utils

    import stlib.checkpoint

    write, written = safetensors.torch.save_file, []

    def fail(tensors: Any, filename: Any, *args: Any, **kwargs: Any) -> None:
        if len(written) == after:
            Path(filename).write_bytes(b"half a file")
            raise OSError("No space left on device")
        written.append(filename)
        write(tensors, filename, *args, **kwargs)

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    monkeypatch.setattr(transformers.modeling_utils, "safe_save_file", fail)
    if hasattr(stlib.checkpoint, "save_file"):
        monkeypatch.setattr(stlib.checkpoint, "save_file", fail)


@pytest.mark.parametrize("after", [0, 1])
def test_writing_that_fails_half_way_leaves_the_last_good_folder_and_nothing_else(
    after: int, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12)])
    good = SentenceTransformer.from_pretrained(small("distilbert"))
    good.save_pretrained(tmp_path / "out" / "saved")
    before = contents(tmp_path / "out")
    model = SentenceTransformer.from_pretrained(path)
    break_writing(monkeypatch, after)
    for name in ("saved", "new"):
        with pytest.raises(OSError, match="No space left"):
            model.save_pretrained(tmp_path / "out" / name)
    assert contents(tmp_path / "out") == before
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["saved"]
