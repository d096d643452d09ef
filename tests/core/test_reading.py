"""Folders of sentence-transformers: both generations are read as they are meant, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import (
    HIDDEN,
    PROMPTS,
    TEXTS,
    Dense,
    edit_json,
    read_json,
)
from reference import (
    TOLERANCE,
    Small,
    st_model,
)

from stlib import POOLING_MODES, SentenceEncoder, SentenceTransformer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("modes", [("max", "mean"), ("lasttoken", "cls"), POOLING_MODES])
def test_concatenated_poolings_are_read_in_the_order_of_sentence_transformers(
    layout: str, modes: tuple[str, ...], small: Small, tmp_path: Path
) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", layout=layout, pooling=modes)
    encoder = SentenceEncoder(path)
    assert encoder.dimension == len(modes) * HIDDEN
    np.testing.assert_allclose(encoder.encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("mode", POOLING_MODES)
def test_each_pooling_mode_is_read(layout: str, mode: str, small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("distilbert"), tmp_path / "model", layout=layout, pooling=[mode])
    np.testing.assert_allclose(SentenceEncoder(path).encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_several_dense_modules_and_their_activations_are_read(layout: str, small: Small, tmp_path: Path) -> None:
    dense = [Dense(HIDDEN, 48, "tanh"), Dense(48, 24), Dense(24, 12, bias=False)]
    path = checkpoints.wrap(small("mpnet"), tmp_path / "model", layout=layout, dense=dense)
    encoder = SentenceEncoder(path)
    assert encoder.dimension == 12
    np.testing.assert_allclose(encoder.encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


def test_a_dense_without_a_stated_activation_is_tanh_as_in_sentence_transformers(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12)])
    config = read_json(path / "2_Dense" / "config.json")
    del config["activation_function"]
    checkpoints.write_json(path / "2_Dense" / "config.json", config)
    np.testing.assert_allclose(SentenceEncoder(path).encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_limit_prompts_and_pooling_come_from_the_folder(layout: str, small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(
        small("minilm"), tmp_path / "model", layout=layout, pooling=["max"], prompts=PROMPTS, limit=20, similarity="dot"
    )
    encoder = SentenceEncoder(path, truncation="ignore")
    assert encoder.max_length == 20
    assert dict(encoder.model.prompts) == PROMPTS
    theirs = st_model(path).encode(TEXTS, prompt_name="s2p_query")
    np.testing.assert_allclose(encoder.encode(TEXTS, prompt_name="s2p_query"), theirs, atol=TOLERANCE)


def test_the_pooling_asked_for_overrules_the_declared_one(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", pooling=["cls"])
    theirs = st_model(checkpoints.wrap(small("minilm"), tmp_path / "max", pooling=["max"])).encode(TEXTS)
    np.testing.assert_allclose(SentenceEncoder(path, pooling="max").encode(TEXTS), theirs, atol=TOLERANCE)
    assert np.abs(SentenceEncoder(path).encode(TEXTS) - theirs).max() > 0.01


def test_a_default_prompt_is_applied_as_sentence_transformers_does(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", prompts={"query": "query: "})
    edit_json(path / "config_sentence_transformers.json", default_prompt_name="query")
    np.testing.assert_allclose(SentenceEncoder(path).encode(TEXTS), st_model(path).encode(TEXTS), atol=TOLERANCE)


# What this package does not do must never be ignored in silence: either right, or an error that names it.


def right_or_refused(path: Path, named: str, **options: Any) -> None:
    try:
        vectors = SentenceEncoder(path, truncation="ignore").encode(TEXTS, **options)
    except ValueError as error:
        assert named in str(error)
    else:
        np.testing.assert_allclose(vectors, st_model(path).encode(TEXTS, **options), atol=TOLERANCE)


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_prompts_left_out_of_the_pooling_are_right(mode: str, small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", prompts=PROMPTS, pooling=[mode])
    edit_json(path / "1_Pooling" / "config.json", include_prompt=False)
    vectors = SentenceEncoder(path).encode(TEXTS, prompt_name="s2s_query")
    theirs = st_model(path).encode(TEXTS, prompt_name="s2s_query")
    np.testing.assert_allclose(vectors, theirs, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processing_kwargs", {"text": {"add_special_tokens": False}}),
        ("model_args", ["not", "a map"]),
        ("module_output_name", "sentence_embedding"),
        ("modality_config", {"text": {"method": "forward", "method_output_name": "pooler_output"}}),
        ("modality_config", {"text": {"method": "forward", "method_output_name": ["hidden_states", 1]}}),
        ("transformer_task", "fill-mask"),
    ],
)
def test_settings_that_would_give_other_states_are_refused(name: str, value: Any, small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", layout="new")
    edit_json(path / "sentence_bert_config.json", **{name: value})
    with pytest.raises(ValueError, match=rf"sentence_bert_config.json: {name}=.* not supported"):
        SentenceEncoder(path)


def test_the_declared_limit_holds_against_a_lower_one_of_the_tokenizer(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", limit=64)
    edit_json(path / "tokenizer_config.json", model_max_length=20)
    encoder, long = SentenceEncoder(path), " ".join(TEXTS)
    assert encoder.max_length == st_model(path).max_seq_length == 64
    np.testing.assert_allclose(encoder.encode(long), st_model(path).encode(long), atol=TOLERANCE)


def test_a_residual_around_a_dense_is_right_or_refused(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", layout="new", dense=[Dense(HIDDEN, HIDDEN)])
    edit_json(path / "2_Dense" / "config.json", use_residual=True)
    right_or_refused(path, "use_residual")


def test_a_dense_on_token_states_is_right_or_refused(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", layout="new", dense=[Dense(HIDDEN, 12)])
    names = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    edit_json(path / "2_Dense" / "config.json", **names)
    right_or_refused(path, "token_embeddings")


def test_normalising_before_a_dense_is_right_or_refused(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12, "tanh")])
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "9_Normalize"), ("Dense", "2_Dense")]
    kinds += [("Normalize", "4_Normalize")]
    checkpoints.write_modules(path, [(checkpoints.OLD_TYPES[kind], where) for kind, where in kinds])
    right_or_refused(path, "Normalize")


def test_an_unknown_module_is_an_error_that_names_it(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model")
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
def test_a_pooling_config_that_names_no_known_mode_is_an_error(config: Any, small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model")
    checkpoints.write_json(path / "1_Pooling" / "config.json", config)
    with pytest.raises(ValueError, match=r"1_Pooling|pooling"):
        SentenceEncoder(path)


# --- output_dim ----------------------------------------------------------------------------------------------------


def test_the_declared_dense_serves_its_own_size_and_no_other(small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model", dense=[Dense(HIDDEN, 12)])
    np.testing.assert_array_equal(
        SentenceEncoder(path, output_dim=12).encode(TEXTS), SentenceEncoder(path).encode(TEXTS)
    )
    with pytest.raises(ValueError, match=r"output_dim.*8.*\b12\b"):
        SentenceEncoder(path, output_dim=8)


@pytest.mark.parametrize(("family", "pooling", "width"), [("albert", None, 32), ("bart", ("mean", "max"), 64)])
def test_output_dim_without_heads_builds_an_untrained_projection_and_says_so(
    family: str, pooling: Any, width: int, small: Small
) -> None:
    with pytest.warns(UserWarning, match="untrained"):
        model = SentenceTransformer.from_pretrained(small(family), pooling=pooling, output_dim=8)
    shapes = [tuple(part.weight.shape) for part in model.modules() if isinstance(part, torch.nn.Linear)]
    assert (8, width) in shapes
    assert SentenceEncoder(model).dimension == 8


@pytest.mark.parametrize("output_dim", [0, -1, 2.5, "8", True])
def test_an_impossible_output_dim_is_refused(output_dim: Any, small: Small) -> None:
    with pytest.raises(ValueError, match="output_dim"):
        SentenceTransformer.from_pretrained(small("minilm"), output_dim=output_dim)


@pytest.mark.parametrize("key", ["tokenizer_args", "processor_kwargs", "config_args", "model_args"])
def test_arguments_that_the_folder_passes_on_are_refused_not_dropped(key: str, small: Small, tmp_path: Path) -> None:
    path = checkpoints.wrap(small("minilm"), tmp_path / "model")
    edit_json(path / "sentence_bert_config.json", **{key: {"trust_remote_code": True, "torch_dtype": "float32"}})
    SentenceEncoder(path)
    edit_json(path / "sentence_bert_config.json", **{key: {"truncation_side": "left"}})
    with pytest.raises(ValueError, match=rf"sentence_bert_config.json: {key}=.*truncation_side"):
        SentenceEncoder(path)
