"""Folders of sentence-transformers: both generations are read, and what is written loads there and here alike."""

from __future__ import annotations

import functools
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import FAMILIES, HIDDEN, PROMPTS, TEXTS, Dense, edit_json, read_json

from stlib import POOLING_MODES, Projection, SentenceEncoder, SentenceTransformer, files

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training
SAME = 1e-6
TOLERANCE = 1e-5
Folder = Callable[[str], Path]


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    @functools.cache
    def get(family: str) -> Path:
        return checkpoints.build(family, tmp_path_factory.mktemp(family) / "model")

    return get


@pytest.fixture(scope="session")
def stella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.build_stella(tmp_path_factory.mktemp("stella") / "model")


def st_model(path: Path) -> Any:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    return sentence_transformers.SentenceTransformer(str(path), device="cpu", local_files_only=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_round_trip(encoder: SentenceEncoder, saved: Path) -> None:
    """The saved folder gives the encoder's vectors in sentence-transformers and back here."""
    vectors = encoder.encode(TEXTS)
    again = SentenceEncoder(saved)
    np.testing.assert_allclose(st_model(saved).encode(TEXTS), vectors, atol=SAME)
    np.testing.assert_allclose(again.encode(TEXTS), vectors, atol=SAME)
    assert again.dimension == encoder.dimension
    assert again.max_length == encoder.max_length
    assert dict(again.model.prompts) == dict(encoder.model.prompts)


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("modes", [("max", "mean"), ("lasttoken", "cls"), POOLING_MODES])
def test_concatenated_poolings_are_read_in_the_order_of_sentence_transformers(
    layout: str, modes: tuple[str, ...], plain: Folder, tmp_path: Path
) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", layout=layout, pooling=modes)
    encoder = SentenceEncoder(path)
    assert encoder.dimension == len(modes) * HIDDEN
    np.testing.assert_allclose(encoder.encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("mode", POOLING_MODES)
def test_each_pooling_mode_is_read(layout: str, mode: str, plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("distilbert"), tmp_path / "model", layout=layout, pooling=[mode])
    np.testing.assert_allclose(SentenceEncoder(path).encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_several_dense_modules_and_their_activations_are_read(layout: str, plain: Folder, tmp_path: Path) -> None:
    dense = [Dense(HIDDEN, 48, "tanh"), Dense(48, 24), Dense(24, 12, bias=False)]
    path = checkpoints.wrap(plain("mpnet"), tmp_path / "model", layout=layout, dense=dense)
    encoder = SentenceEncoder(path)
    assert encoder.dimension == 12
    np.testing.assert_allclose(encoder.encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


def test_a_dense_without_a_stated_activation_is_tanh_as_in_sentence_transformers(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12)])
    config = read_json(path / "2_Dense" / "config.json")
    del config["activation_function"]
    checkpoints.write_json(path / "2_Dense" / "config.json", config)
    np.testing.assert_allclose(SentenceEncoder(path).encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_limit_prompts_and_pooling_come_from_the_folder(layout: str, plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(
        plain("minilm"), tmp_path / "model", layout=layout, pooling=["max"], prompts=PROMPTS, limit=20, similarity="dot"
    )
    encoder = SentenceEncoder(path, truncation="ignore")
    assert encoder.max_length == 20
    assert dict(encoder.model.prompts) == PROMPTS
    theirs = st_model(path).encode(TEXTS, prompt_name="s2p_query")
    np.testing.assert_allclose(encoder.encode(TEXTS, prompt_name="s2p_query"), theirs, atol=TOLERANCE)


def test_the_pooling_asked_for_overrules_the_declared_one(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", pooling=["cls"])
    theirs = st_model(checkpoints.wrap(plain("minilm"), tmp_path / "max", pooling=["max"])).encode(TEXTS)
    np.testing.assert_allclose(SentenceEncoder(path, pooling="max").encode(TEXTS), theirs, atol=TOLERANCE)
    assert np.abs(SentenceEncoder(path).encode(TEXTS) - theirs).max() > 0.01


def test_a_default_prompt_is_applied_as_sentence_transformers_does(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", prompts={"query": "query: "})
    edit_json(path / "config_sentence_transformers.json", default_prompt_name="query")
    np.testing.assert_allclose(SentenceEncoder(path).encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


# What this package does not do must never be ignored in silence: either right, or an error that names it.


def right_or_refused(path: Path, named: str, **options: Any) -> None:
    try:
        vectors = SentenceEncoder(path).encode(TEXTS, **options)
    except ValueError as error:
        assert named in str(error)
    else:
        np.testing.assert_allclose(vectors, st_model(path).encode(TEXTS, **options), atol=TOLERANCE)


def test_prompts_left_out_of_the_pooling_are_right_or_refused(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", prompts=PROMPTS)
    edit_json(path / "1_Pooling" / "config.json", include_prompt=False)
    right_or_refused(path, "include_prompt", prompt_name="s2s_query")


def test_a_residual_around_a_dense_is_right_or_refused(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", layout="new", dense=[Dense(HIDDEN, HIDDEN)])
    edit_json(path / "2_Dense" / "config.json", use_residual=True)
    right_or_refused(path, "use_residual")


def test_a_dense_on_token_states_is_right_or_refused(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", layout="new", dense=[Dense(HIDDEN, 12)])
    names = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    edit_json(path / "2_Dense" / "config.json", **names)
    right_or_refused(path, "token_embeddings")


def test_normalising_before_a_dense_is_right_or_refused(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12, "tanh")])
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "9_Normalize"), ("Dense", "2_Dense")]
    kinds += [("Normalize", "4_Normalize")]
    checkpoints.write_modules(path, [(checkpoints.OLD_TYPES[kind], where) for kind, where in kinds])
    right_or_refused(path, "Normalize")


def test_an_unknown_module_is_an_error_that_names_it(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model")
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modules = [(checkpoints.OLD_TYPES[kind], where) for kind, where in kinds]
    checkpoints.write_modules(path, [*modules, ("sentence_transformers.models.LSTM", "2_LSTM")])
    with pytest.raises(ValueError, match="LSTM"):
        SentenceEncoder(path)


@pytest.mark.parametrize(
    "config",
    [
        {"embedding_dimension": HIDDEN, "pooling_mode": "attention"},
        {"embedding_dimension": HIDDEN, "pooling_mode": []},
        {"embedding_dimension": HIDDEN, "pooling_mode": ["mean", "median"]},
        {"embedding_dimension": HIDDEN, "pooling_mode": 3},
        {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": False, "pooling_mode_cls_token": False},
        {"word_embedding_dimension": HIDDEN, "pooling_mode_median_tokens": True},
        {"word_embedding_dimension": HIDDEN},
    ],
)
def test_a_pooling_config_that_names_no_known_mode_is_an_error(config: Any, plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model")
    checkpoints.write_json(path / "1_Pooling" / "config.json", config)
    with pytest.raises(ValueError, match=r"1_Pooling|pooling"):
        SentenceEncoder(path)


# --- output_dim ----------------------------------------------------------------------------------------------------


def test_the_declared_dense_serves_its_own_size_and_no_other(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12)])
    np.testing.assert_array_equal(
        SentenceEncoder(path, output_dim=12).encode(TEXTS), SentenceEncoder(path).encode(TEXTS)
    )
    with pytest.raises(ValueError, match=r"output_dim.*8.*\b12\b"):
        SentenceEncoder(path, output_dim=8)


@pytest.mark.parametrize(("family", "pooling", "width"), [("albert", None, 32), ("bart", ("mean", "max"), 64)])
def test_output_dim_without_heads_builds_an_untrained_projection_and_says_so(
    family: str, pooling: Any, width: int, plain: Folder
) -> None:
    with pytest.warns(UserWarning, match="untrained"):
        model = SentenceTransformer.from_pretrained(plain(family), pooling=pooling, output_dim=8)
    shapes = [tuple(part.weight.shape) for part in model.modules() if isinstance(part, torch.nn.Linear)]
    assert (8, width) in shapes
    assert SentenceEncoder(model).dimension == 8


@pytest.mark.parametrize("output_dim", [0, -1, 2.5, "8", True])
def test_an_impossible_output_dim_is_refused(output_dim: Any, plain: Folder) -> None:
    with pytest.raises(ValueError, match="output_dim"):
        SentenceTransformer.from_pretrained(plain("minilm"), output_dim=output_dim)


# --- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("family", [name for name, facts in FAMILIES.items() if facts.st_is_right])
def test_a_saved_folder_gives_the_same_vectors_there_and_here(
    family: str, layout: str, plain: Folder, tmp_path: Path
) -> None:
    dense = [Dense(HIDDEN, 24, "tanh"), Dense(24, 16, bias=False)]
    path = checkpoints.wrap(plain(family), tmp_path / "model", layout=layout, dense=dense, prompts=PROMPTS)
    encoder = SentenceEncoder(path)
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_a_saved_bart_comes_back_the_same(plain: Folder, tmp_path: Path) -> None:
    encoder = SentenceEncoder(plain("bart"))
    encoder.model.save_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(SentenceEncoder(tmp_path / "saved").encode(TEXTS), encoder.encode(TEXTS), atol=SAME)


@pytest.mark.parametrize("modes", [("max", "cls"), ("mean", "weightedmean", "lasttoken")])
def test_concatenated_poolings_are_written_in_their_order(
    modes: tuple[str, ...], plain: Folder, tmp_path: Path
) -> None:
    encoder = SentenceEncoder(plain("minilm"), pooling=modes)
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_a_fresh_projection_is_written_with_its_activation_spelt_out(plain: Folder, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="untrained"):
        encoder = SentenceEncoder(plain("distilbert"), output_dim=8)
    encoder.model.save_pretrained(str(tmp_path / "saved"))  # a str is a folder as well
    (dense,) = [row for row in read_json(tmp_path / "saved" / "modules.json") if row["type"].endswith("Dense")]
    config = read_json(tmp_path / "saved" / dense["path"] / "config.json")
    assert config["activation_function"] == "torch.nn.modules.linear.Identity"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # saved is no longer fresh
        SentenceEncoder(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_without_normalisation_the_saved_folder_gives_raw_vectors_in_sentence_transformers(
    plain: Folder, tmp_path: Path
) -> None:
    encoder = SentenceEncoder(plain("minilm"), normalize=False)
    encoder.model.save_pretrained(tmp_path / "saved")
    vectors = encoder.encode(TEXTS)
    np.testing.assert_allclose(st_model(tmp_path / "saved").encode(TEXTS), vectors, rtol=1e-5, atol=SAME)
    np.testing.assert_allclose(SentenceEncoder(tmp_path / "saved", normalize=False).encode(TEXTS), vectors, atol=SAME)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 0.01


@pytest.mark.parametrize("layout", ["old", "new"])
def test_limit_prompts_and_similarity_are_saved(layout: str, plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(
        plain("minilm"), tmp_path / "model", layout=layout, prompts={"query": "query: "}, similarity="dot", limit=40
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


def test_a_default_prompt_survives_saving(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", prompts={"query": "query: "})
    edit_json(path / "config_sentence_transformers.json", default_prompt_name="query")
    encoder = SentenceEncoder(path)
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_a_saved_stella_states_its_direction_and_carries_no_code(stella: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

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


def test_saving_over_a_folder_leaves_nothing_of_the_old_model(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("mpnet"), tmp_path / "model", dense=[Dense(HIDDEN, 12)], prompts=PROMPTS)
    SentenceEncoder(path).model.save_pretrained(tmp_path / "saved")
    encoder = SentenceEncoder(plain("minilm"), pooling="cls")
    encoder.model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")
    encoder.model.save_pretrained(tmp_path / "fresh")
    assert contents(tmp_path / "saved").keys() == contents(tmp_path / "fresh").keys()


def test_saving_over_a_folder_keeps_what_is_no_part_of_a_checkpoint(plain: Folder, tmp_path: Path) -> None:
    path = Path(shutil.copytree(plain("minilm"), tmp_path / "model"))
    own = ["LICENSE.txt", "notes.txt", "requirements.txt", "train.py", "eval_results.json", "1_experiments/log.txt"]
    stale = ["onnx/model.onnx", "tf_model.h5", "2_Dense_256/config.json", "pytorch_model.bin"]
    for name in [*own, *stale]:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("{}")
    SentenceEncoder(plain("minilm")).model.save_pretrained(path)
    kept = {name for name in [*own, *stale] if (path / name).exists()}
    assert kept == set(own)


def test_a_link_to_a_folder_stays_a_link(plain: Folder, tmp_path: Path) -> None:
    path = Path(shutil.copytree(plain("minilm"), tmp_path / "model"))
    (tmp_path / "link").symlink_to(path, target_is_directory=True)
    encoder = SentenceEncoder(plain("mpnet"))
    encoder.model.save_pretrained(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_round_trip(encoder, path)


def test_a_folder_is_exchanged_in_one_step_where_the_system_can(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        place.mkdir()
        (place / place.name).touch()
    if not files._exchanged(one, other):
        pytest.skip("this system or file system cannot exchange two folders")
    assert (one / "other").exists() and (other / "one").exists()


def test_saving_works_without_the_exchange(plain: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    for family in ("mpnet", "minilm"):
        encoder = SentenceEncoder(plain(family))
        encoder.model.save_pretrained(tmp_path / "saved")
        assert_round_trip(encoder, tmp_path / "saved")
    assert [item.name for item in tmp_path.iterdir()] == ["saved"]


@pytest.mark.parametrize("key", ["tokenizer_args", "processor_kwargs", "config_args", "model_args"])
def test_arguments_that_the_folder_passes_on_are_refused_not_dropped(key: str, plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model")
    edit_json(path / "sentence_bert_config.json", **{key: {"trust_remote_code": True, "torch_dtype": "float32"}})
    SentenceEncoder(path)
    edit_json(path / "sentence_bert_config.json", **{key: {"truncation_side": "left"}})
    with pytest.raises(ValueError, match=rf"sentence_bert_config.json: {key}=.*truncation_side"):
        SentenceEncoder(path)


def test_texts_are_cut_on_the_side_that_the_tokenizer_names(plain: Folder, tmp_path: Path) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", limit=12)
    edit_json(path / "tokenizer_config.json", truncation_side="left")
    encoder = SentenceEncoder(path, truncation="ignore")
    long = " ".join(TEXTS)
    np.testing.assert_allclose(encoder.encode([long]), st_model(path).encode([long]), atol=1e-5)
    edit_json(path / "tokenizer_config.json", truncation_side="right")
    assert np.abs(SentenceEncoder(path, truncation="ignore").encode([long]) - encoder.encode([long])).max() > 1e-3


@pytest.mark.parametrize("name", ["someone/model", "model", "sentence-transformers/model"])
def test_a_model_is_found_in_the_cache_by_its_name(
    name: str, plain: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.as_hub_cache(plain("minilm"), tmp_path, name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = SentenceEncoder(name.removeprefix("sentence-transformers/"))
    np.testing.assert_allclose(encoder.encode(TEXTS), SentenceEncoder(plain("minilm")).encode(TEXTS), atol=SAME)
    assert encoder.model.source == name.removeprefix("sentence-transformers/")


def test_a_model_can_be_saved_over_the_folder_it_came_from(plain: Folder, tmp_path: Path) -> None:
    path = Path(shutil.copytree(plain("minilm"), tmp_path / "model"))
    encoder = SentenceEncoder(path, max_length=30)
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
    after: int, plain: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints.wrap(plain("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12)])
    good = SentenceTransformer.from_pretrained(plain("distilbert"))
    good.save_pretrained(tmp_path / "out" / "saved")
    before = contents(tmp_path / "out")
    model = SentenceTransformer.from_pretrained(path)
    break_writing(monkeypatch, after)
    for name in ("saved", "new"):
        with pytest.raises(OSError, match="No space left"):
            model.save_pretrained(tmp_path / "out" / name)
    assert contents(tmp_path / "out") == before
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["saved"]


# --- training ------------------------------------------------------------------------------------------------------


def tokens(model: SentenceTransformer, texts: list[str]) -> dict[str, torch.Tensor]:
    batch = model.tokenizer(texts, padding=True, return_tensors="pt")
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


@pytest.mark.parametrize("family", ["minilm", "distilbert", "qwen2"])
def test_a_model_trained_for_a_few_steps_learns_saves_and_loads(family: str, plain: Folder, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="untrained"):
        model = SentenceTransformer.from_pretrained(plain(family), output_dim=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    left, right = tokens(model, TEXTS[::2]), tokens(model, TEXTS[1::2])
    target = torch.linspace(-0.5, 1, len(TEXTS) // 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    model.train()
    for _ in range(15):
        loss = ((model(**left) * model(**right)).sum(1) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    assert losses[-1] < 0.5 * losses[0]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(value.shape[0] == 8 for name, value in before.items() if name in changed)  # the projection
    assert any("layer" in name for name in changed)  # and the backbone below it

    encoder = SentenceEncoder(model)
    with torch.no_grad():
        direct = model(**left).numpy()
    np.testing.assert_allclose(encoder.encode(TEXTS[::2]), direct, atol=TOLERANCE)
    model.save_pretrained(tmp_path / "saved")
    assert_round_trip(encoder, tmp_path / "saved")


def test_vectors_follow_the_weights_when_they_change(plain: Folder) -> None:
    """An encoder that keeps packed copies of the weights must not serve the old ones after a step."""
    model = SentenceTransformer.from_pretrained(plain("minilm"))
    encoder = SentenceEncoder(model)
    before = encoder.encode(TEXTS)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
    model.eval()
    with torch.no_grad():
        direct = model(**tokens(model, TEXTS)).numpy()
    assert np.abs(direct - before).max() > 1e-3
    np.testing.assert_allclose(encoder.encode(TEXTS), direct, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["random", "truncation", "from_pca"])
def test_each_projection_is_saved_and_loads_there_and_here(kind: str, plain: Folder, tmp_path: Path) -> None:
    raw = SentenceEncoder(plain("minilm"), normalize=False).encode(TEXTS)
    make: dict[str, Callable[[], Projection]] = {
        "random": lambda: Projection.random(HIDDEN, 8, seed=3),
        "truncation": lambda: Projection.truncation(HIDDEN, 8),
        "from_pca": lambda: Projection.from_pca(raw, 8),
    }
    projection = make[kind]()
    model = SentenceTransformer.from_pretrained(plain("minilm"))
    model.projection = torch.nn.Sequential(projection)
    model.save_pretrained(tmp_path / "saved")
    with torch.no_grad():
        expected = torch.nn.functional.normalize(projection(torch.from_numpy(raw)), dim=1).numpy()
    np.testing.assert_allclose(SentenceEncoder(model).encode(TEXTS), expected, atol=TOLERANCE)
    assert_round_trip(SentenceEncoder(model), tmp_path / "saved")
