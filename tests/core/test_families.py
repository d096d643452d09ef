"""Every backbone the design names gives the vectors it should, whatever the batch, from its own public layout."""

from __future__ import annotations

import functools
import inspect
import re
import shutil
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import (
    FAMILIES,
    HIDDEN,
    TEXTS,
)
from reference import (
    TOLERANCE,
    Small,
    bare_encoder,
    cosines,
    encoder_of,
    padded,
    reference,
    st_encode,
)
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from stlib import SentenceEncoder, SentenceTransformer, fast

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training
FAST_PATH = dict.fromkeys(["minilm", "bert", "roberta", "xlm-roberta"], "bert")  # the others are packed as they are
LONG = " ".join(TEXTS * 12)  # beyond 1024 tokens in every vocabulary here


# --- vectors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_fast_path_is_taken_and_gives_the_plain_vectors(family: str, dtype: str, small: Small) -> None:
    if not fast.operators_work(getattr(torch, dtype), "cpu"):
        pytest.skip(f"this processor has no packed products in {dtype}")
    encoder = encoder_of(family, small(family), dtype=dtype)
    pad = encoder.tokenizer.pad_token or "[PAD]"  # a text may spell it out, and RoBERTa counts positions around it
    texts = [*TEXTS, f"Bread {pad} rises because {pad}{pad} yeast makes gas"]
    quick = encoder.encode(texts)
    assert encoder._fast is not None and encoder._fast.path == FAST_PATH.get(family, "packed")
    encoder.packed = False
    plain = encoder.encode(texts)
    if dtype == "float32":
        np.testing.assert_allclose(quick, plain, atol=TOLERANCE)
    else:  # the two round at different places
        assert (quick * plain).sum(1).min() > 0.999


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_folder_gives_the_vectors_of_transformers_one_text_at_a_time(family: str, small: Small) -> None:
    path = small(family)
    encoder = encoder_of(family, path)
    expected = reference(path, bidirectional=family == "stella")
    assert encoder.dimension == HIDDEN
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("family", [name for name, facts in FAMILIES.items() if facts.st_is_right])
def test_a_wrapped_folder_gives_the_vectors_of_sentence_transformers(family: str, layout: str, small: Small) -> None:
    path = small(family, layout)
    encoder = SentenceEncoder(path)
    assert encoder.dimension == 16
    assert encoder.max_length == 64
    np.testing.assert_allclose(encoder.encode(TEXTS), st_encode(path), atol=TOLERANCE)
    prompted = st_encode(path, prompt_name="query")
    np.testing.assert_allclose(encoder.encode(TEXTS, prompt_name="query"), prompted, atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_bart_is_its_encoder_where_sentence_transformers_takes_the_decoder(layout: str, small: Small) -> None:
    path = small("bart", layout)
    states = reference(path, normalize=False)
    for name in ("2_Dense", "3_Dense"):
        weights = load_file(path / name / "model.safetensors")
        states = states @ weights["linear.weight"].numpy().T + (weights["linear.bias"].numpy() if name[0] == "2" else 0)
        states = np.tanh(states) if name[0] == "2" else states
    expected = states / np.linalg.norm(states, axis=1, keepdims=True)
    np.testing.assert_allclose(SentenceEncoder(path).encode(TEXTS), expected, atol=TOLERANCE)
    assert cosines(st_encode(path), expected).min() < 0.99


def test_lower_casing_by_the_sentence_transformers_config_is_obeyed(small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small("roberta", "old"), tmp_path / "model"))
    checkpoints.edit_json(path / "sentence_bert_config.json", do_lower_case=True)
    vectors = SentenceEncoder(path).encode(TEXTS)
    np.testing.assert_allclose(vectors, st_encode(path), atol=TOLERANCE)
    assert np.abs(vectors - SentenceEncoder(small("roberta", "old")).encode(TEXTS)).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_do_not_depend_on_batch_order_or_mates(family: str, small: Small) -> None:
    encoder = encoder_of(family, small(family))
    vectors = encoder.encode(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1])[::-1], vectors, atol=TOLERANCE)
    np.testing.assert_allclose(np.stack([encoder.encode(text) for text in TEXTS]), vectors, atol=TOLERANCE)
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_tokens=1), vectors, atol=TOLERANCE)
    np.testing.assert_allclose(encoder.encode(TEXTS * 3, batch_tokens=10_000)[12:24], vectors, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_empty_and_blank_texts_are_finite_and_leave_their_mates_alone(family: str, small: Small) -> None:
    encoder = encoder_of(family, small(family))
    vectors = encoder.encode(["", TEXTS[0], "  \n\t "])
    assert np.isfinite(vectors).all()
    norms = np.linalg.norm(vectors, axis=1)
    assert all(norm == 0 or abs(norm - 1) < TOLERANCE for norm in norms)
    np.testing.assert_allclose(vectors[1], encoder.encode(TEXTS[0]), atol=TOLERANCE)
    np.testing.assert_allclose(encoder.encode(""), vectors[0], atol=TOLERANCE)


# --- the model: ids and mask in, vectors out -----------------------------------------------------------------------


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_equals_its_rows_alone_whatever_the_side_and_the_cells(
    family: str, side: str, small: Small
) -> None:
    attention = "bidirectional" if family == "stella" else "auto"
    model = SentenceTransformer.from_pretrained(small(family), attention=attention).eval()
    ids, mask = padded(model, TEXTS, side)
    with torch.no_grad():
        together = model(ids, mask)
        odd_cells = model(torch.where(mask == 1, ids, -100), mask)  # the mask decides, not what stands in padded cells
        alone = torch.cat([model(row[keep.bool()][None]) for row, keep in zip(ids, mask, strict=True)])
    torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(odd_cells, alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", ["minilm", "albert", "bart", "roberta", "stella"])
def test_a_tokenizer_that_says_pad_left_changes_nothing(family: str, small: Small, tmp_path: Path) -> None:
    path = Path(shutil.copytree(small(family), tmp_path / "model"))
    checkpoints.edit_json(path / "tokenizer_config.json", padding_side="left")
    vectors = encoder_of(family, path).encode(TEXTS, batch_tokens=1000)
    np.testing.assert_allclose(vectors, encoder_of(family, small(family)).encode(TEXTS), atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_backbone_is_given_only_what_its_forward_names(
    family: str, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = "bidirectional" if family == "stella" else "auto"
    model = SentenceTransformer.from_pretrained(small(family), attention=attention)
    backbone_class = type(bare_encoder(small(family), bidirectional=False))
    forward, given = backbone_class.forward, []

    @functools.wraps(forward)
    def spy(self: torch.nn.Module, *args: object, **kwargs: object) -> object:
        given.append(set(kwargs))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(backbone_class, "forward", spy)
    model(*padded(model, TEXTS[:3], "right"))
    named = {name for name, p in inspect.signature(forward).parameters.items() if p.kind is not p.VAR_KEYWORD}
    assert given
    assert set().union(*given) <= named


# --- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [name for name, facts in FAMILIES.items() if facts.positions])
def test_a_text_beyond_the_last_position_is_truncated_with_a_warning(family: str, small: Small) -> None:
    path, positions = small(family), FAMILIES[family].positions
    encoder = SentenceEncoder(path, max_length=positions)
    assert encoder.token_counts([LONG])[0] > positions
    with pytest.warns(UserWarning, match=rf"\b1 of 2\b.*\b{positions}\b"):
        vectors = encoder.encode([LONG, TEXTS[0]])
    np.testing.assert_allclose(vectors, reference(path, [LONG, TEXTS[0]], limit=positions), atol=TOLERANCE)
    with pytest.raises(ValueError, match=rf"max_length.*{positions}"):
        SentenceEncoder(path, max_length=positions + 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_limit_below_one_is_refused(family: str, small: Small) -> None:
    with pytest.raises(ValueError, match="max_length"):
        encoder_of(family, small(family), max_length=0)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "mpnet"])
@pytest.mark.parametrize("declared", [514, 100_000])
def test_a_declared_limit_above_the_usable_positions_does_not_crash(
    family: str, declared: int, small: Small, tmp_path: Path
) -> None:
    path = checkpoints.wrap(small(family), tmp_path / "model", limit=declared)
    encoder = SentenceEncoder(path, truncation="ignore")
    assert encoder.max_length == 512
    assert np.isfinite(encoder.encode(LONG)).all()


# --- weights -------------------------------------------------------------------------------------------------------


def without(path: Path, copy: Path, beginning: str) -> Path:
    """A copy of the folder that lacks the weights whose key begins so."""
    shutil.copytree(path, copy)
    weights = load_file(copy / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith(beginning)}
    assert len(kept) < len(weights)
    checkpoints.save_weights(copy, kept)
    return copy


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("minilm", "encoder.layer.1.attention.self.query.weight"),
        ("mpnet", "mpnet.encoder.layer.0.output.dense.bias"),
        ("distilbert", "distilbert.transformer.layer.1.ffn.lin1.weight"),
        ("roberta", "roberta.embeddings.word_embeddings.weight"),
        ("albert", "albert.encoder.embedding_hidden_mapping_in.weight"),
        ("bart", "encoder.layers.1.fc1.weight"),
        ("bart", "shared.weight"),
        ("t5", "encoder.block.0.layer.0.SelfAttention.q.weight"),
        ("t5", "shared.weight"),
        ("t5-encoder", "encoder.final_layer_norm.weight"),
        ("modernbert", "model.layers.1.attn.Wqkv.weight"),
        ("stella", "model.layers.1.mlp.up_proj.weight"),
    ],
)
def test_a_missing_weight_of_the_encoder_is_an_error_that_names_it(
    family: str, key: str, small: Small, tmp_path: Path
) -> None:
    path = without(small(family), tmp_path / "model", key)
    name = r"(shared|embed_tokens)\.weight" if key == "shared.weight" else re.escape(".".join(key.split(".")[-2:]))
    with pytest.raises(ValueError, match=name):
        encoder_of(family, path)


@pytest.mark.parametrize(("family", "unused"), [("minilm", "pooler."), ("bart", "decoder."), ("t5", "decoder.")])
def test_weights_that_the_encoder_does_not_use_may_be_missing(
    family: str, unused: str, small: Small, tmp_path: Path
) -> None:
    path = without(small(family), tmp_path / "model", unused)
    np.testing.assert_array_equal(SentenceEncoder(path).encode(TEXTS), SentenceEncoder(small(family)).encode(TEXTS))


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_stays_close_and_gives_float32(family: str, small: Small) -> None:
    vectors = encoder_of(family, small(family), dtype="bfloat16").encode(TEXTS)
    assert vectors.dtype == np.float32
    assert cosines(vectors, encoder_of(family, small(family)).encode(TEXTS)).min() > 0.99


ODD = {
    "mobilebert": {
        "embedding_size": 16,
        "intra_bottleneck_size": 16,
        "true_hidden_size": 16,
        "num_feedforward_networks": 1,
    },
    "big_bird": {
        "attention_type": "block_sparse",
        "block_size": 4,
        "num_random_blocks": 1,
        "max_position_embeddings": 256,
    },
    "ibert": {"max_position_embeddings": 66, "pad_token_id": 1},
    "bert": {"return_dict": False},
}


@pytest.mark.parametrize("family", ODD)
def test_configs_that_lack_or_change_what_others_have(family: str, small: Small, tmp_path: Path) -> None:
    """A missing end token, attention that changes with the texts that came before, embeddings of another class."""
    shape = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    vocabulary = checkpoints.read_json(small("minilm") / "config.json")["vocab_size"]
    config = AutoConfig.for_model(family, vocab_size=vocabulary, **shape | ODD[family])
    path = Path(shutil.copytree(small("minilm"), tmp_path / "model"))
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(path)
    checkpoints.edit_json(path / "config.json", **ODD[family])
    encoder, plain = SentenceEncoder(path, truncation="ignore"), SentenceEncoder(path, truncation="ignore")
    plain.packed = False
    texts = [" ".join(TEXTS), "short"]
    first, after = plain.encode(texts[0]), plain.encode([texts[1], texts[0]])[1]
    np.testing.assert_allclose(first, after, atol=TOLERANCE)
    np.testing.assert_allclose(encoder.encode(texts), plain.encode(texts), atol=TOLERANCE)
