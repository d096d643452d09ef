"""stella, and which way a decoder looks: the direction that its folder states, implies, or leaves to the reader."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import (
    HIDDEN,
    PROMPTS,
    STELLA_DEFAULT_SIZE,
    STELLA_SIZES,
    TEXTS,
    Dense,
)
from reference import (
    TOLERANCE,
    Small,
    cosines,
    encoder_of,
    head,
    padded,
    reference,
    st_encode,
)
from transformers import AutoTokenizer

from stlib import SentenceEncoder, SentenceTransformer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training


# --- stella --------------------------------------------------------------------------------------------------------


def test_stella_looks_both_ways_through_the_head_that_modules_json_names(stella: Path) -> None:
    expected = reference(stella, bidirectional=True, normalize=False)
    expected = head(stella, expected, f"2_Dense_{STELLA_DEFAULT_SIZE}")
    np.testing.assert_allclose(SentenceEncoder(stella).encode(TEXTS), expected, atol=TOLERANCE)
    both = SentenceEncoder(stella, attention="bidirectional").encode(TEXTS)
    np.testing.assert_allclose(both, expected, atol=TOLERANCE)
    assert not (stella / "remote_code_was_executed").exists()


@pytest.mark.parametrize("size", STELLA_SIZES)
def test_stella_takes_the_head_of_the_size_asked_for(stella: Path, size: int) -> None:
    encoder = SentenceEncoder(stella, output_dim=size)
    expected = head(stella, reference(stella, bidirectional=True, normalize=False), f"2_Dense_{size}")
    assert encoder.dimension == size
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=TOLERANCE)


def test_a_size_that_stella_has_no_head_for_is_an_error_that_lists_the_sizes(stella: Path) -> None:
    with pytest.raises(ValueError, match=r"\b8\b.*\b16\b.*\b24\b.*\b48\b"):
        SentenceEncoder(stella, output_dim=32)


def test_causal_is_to_be_had_and_differs(stella: Path) -> None:
    causal = SentenceEncoder(stella, attention="causal").encode(TEXTS)
    expected = head(stella, reference(stella, normalize=False), f"2_Dense_{STELLA_DEFAULT_SIZE}")
    np.testing.assert_allclose(causal, expected, atol=TOLERANCE)
    assert cosines(causal, SentenceEncoder(stella).encode(TEXTS)).max() < 0.99


@pytest.mark.parametrize(("attention", "sees_the_end"), [("auto", True), ("bidirectional", True), ("causal", False)])
def test_the_first_token_sees_the_last_one_only_in_both_directions(
    stella: Path, attention: str, sees_the_end: bool
) -> None:
    encoder = SentenceEncoder(stella, attention=attention)
    a, b = encoder.token_embeddings(["The boat departs.", "The boat departs!"])
    assert len(a) == len(b)
    if sees_the_end:
        assert np.abs(a[0] - b[0]).max() > 1e-3
    else:
        np.testing.assert_allclose(a[0], b[0], atol=TOLERANCE)


def test_the_direction_holds_in_a_padded_batch(stella: Path) -> None:
    model = SentenceTransformer.from_pretrained(stella)
    ids, mask = padded(model, ["Snow closed the mountain pass", "Snow"], "right")
    with torch.no_grad():
        together, alone = model(ids, mask), model(ids[1:, : int(mask[1].sum())])
    torch.testing.assert_close(together[1:], alone, atol=TOLERANCE, rtol=0)


def test_stock_loading_and_sentence_transformers_give_other_vectors_and_say_nothing(stella: Path) -> None:
    right = SentenceEncoder(stella).encode(TEXTS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        theirs = st_encode(stella)
        stock = reference(stella, normalize=False)
    assert cosines(theirs, right).max() < 0.99
    assert cosines(head(stella, stock, f"2_Dense_{STELLA_DEFAULT_SIZE}"), right).max() < 0.99
    assert not any(re.search("causal|direction", str(warning.message)) for warning in caught)


def test_stella_is_normalised_though_its_folder_lists_no_such_module(stella: Path) -> None:
    norms = np.linalg.norm(SentenceEncoder(stella).encode(TEXTS), axis=1)
    np.testing.assert_allclose(norms, 1, atol=TOLERANCE)
    raw = np.linalg.norm(SentenceEncoder(stella, normalize=False).encode(TEXTS), axis=1)
    assert np.abs(raw - 1).max() > 0.01


def test_stellas_prompts_are_put_before_the_text(stella: Path) -> None:
    encoder = SentenceEncoder(stella)
    assert dict(encoder.model.prompts) == PROMPTS
    for name, prompt in PROMPTS.items():
        by_hand = encoder.encode([prompt + text for text in TEXTS])
        np.testing.assert_allclose(encoder.encode(TEXTS, prompt_name=name), by_hand, atol=TOLERANCE)
        np.testing.assert_allclose(encoder.encode(TEXTS, prompt=prompt), by_hand, atol=TOLERANCE)
    with pytest.raises(ValueError, match=r"s2p_query.*s2s_query"):
        encoder.encode(TEXTS, prompt_name="no such prompt")


def test_an_empty_text_is_stellas_end_token(stella: Path) -> None:
    encoder = SentenceEncoder(stella)
    assert encoder.token_counts(["", "Snow"])[0] == 1
    assert np.linalg.norm(encoder.encode("")) == pytest.approx(1, abs=TOLERANCE)


def test_the_mask_counts_the_appended_eos_although_it_is_the_pad_token(stella: Path) -> None:
    encoder = SentenceEncoder(stella)
    tokenizer = AutoTokenizer.from_pretrained(stella, trust_remote_code=False)
    lengths = [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    assert encoder.token_counts(TEXTS) == lengths
    assert [len(states) for states in encoder.token_embeddings(TEXTS)] == lengths


@pytest.mark.parametrize("family", ["stella", "minilm"])
def test_float16_is_refused_and_the_message_lists_what_is_allowed(family: str, small: Small) -> None:
    with pytest.raises(ValueError, match=r"dtype.*float16.*(float32.*bfloat16|bfloat16.*float32)"):
        encoder_of(family, small(family), dtype="float16")


def test_a_head_with_only_a_bin_file_is_read(stella: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(stella, tmp_path / "model"))
    (path / "2_Dense_24" / "model.safetensors").unlink()
    expected = SentenceEncoder(stella, output_dim=24).encode(TEXTS)
    np.testing.assert_array_equal(SentenceEncoder(path, output_dim=24).encode(TEXTS), expected)


def test_safetensors_come_before_bin(stella: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(stella, tmp_path / "model"))
    Dense(HIDDEN, 24, files=("pytorch_model.bin",), seed=1).save(path / "2_Dense_24")
    expected = SentenceEncoder(stella, output_dim=24).encode(TEXTS)
    np.testing.assert_array_equal(SentenceEncoder(path, output_dim=24).encode(TEXTS), expected)


# --- the rule for attention="auto" ---------------------------------------------------------------------------------


def test_a_decoder_with_remote_code_and_no_word_of_pooling_asks_for_the_direction(small: Small) -> None:
    with pytest.raises(ValueError, match="attention="):
        SentenceEncoder(small("stella"))


def test_a_decoder_with_remote_code_and_last_token_pooling_asks_for_the_direction(stella: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(stella, tmp_path / "model"))
    changes = {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
    checkpoints.edit_json(path / "1_Pooling" / "config.json", **changes)
    with pytest.raises(ValueError, match="attention="):
        SentenceEncoder(path)
    with pytest.raises(ValueError, match="attention="):
        SentenceEncoder(path, pooling="mean")  # the reader's wish is no evidence of how the model was trained
    assert SentenceEncoder(path, attention="causal").encode("Snow").shape == (STELLA_DEFAULT_SIZE,)


@pytest.mark.parametrize("layout", ["plain", "old", "new"])
def test_a_decoder_without_remote_code_stays_causal(layout: str, small: Small) -> None:
    path = small("qwen2", layout)
    auto, causal = (SentenceEncoder(path, attention=a).encode(TEXTS) for a in ("auto", "causal"))
    np.testing.assert_array_equal(auto, causal)
    assert cosines(SentenceEncoder(path, attention="bidirectional").encode(TEXTS), causal).min() < 0.99


@pytest.mark.parametrize("is_causal", [True, False])
def test_the_direction_that_a_config_states_is_obeyed(is_causal: bool, stella: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(stella, tmp_path / "model"))
    checkpoints.edit_json(path / "config.json", is_causal=is_causal)
    expected = SentenceEncoder(stella, attention="causal" if is_causal else "bidirectional").encode(TEXTS)
    np.testing.assert_array_equal(SentenceEncoder(path).encode(TEXTS), expected)


@pytest.mark.parametrize("attention", ["both", "", None, True])
def test_an_unknown_attention_is_refused_with_the_ones_that_exist(attention: object, small: Small) -> None:
    with pytest.raises(ValueError, match=r"auto.*bidirectional.*causal"):
        SentenceEncoder(small("minilm"), attention=attention)
