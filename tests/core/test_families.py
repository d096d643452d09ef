"""Every backbone the design names gives the vectors it should, whatever the batch, from its own public layout."""

from __future__ import annotations

import functools
import inspect
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import FAMILIES, HIDDEN, PROMPTS, STELLA_DEFAULT_SIZE, STELLA_SIZES, TEXTS, Dense
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, T5EncoderModel

from stlib import SentenceEncoder, SentenceTransformer, fast

pytestmark = pytest.mark.filterwarnings("ignore:.*does not use were left out")  # heads of pre-training
TOLERANCE = 1e-5
FAST_PATH = dict.fromkeys(["minilm", "bert", "roberta", "xlm-roberta"], "bert")  # the others are packed as they are
LONG = " ".join(TEXTS * 12)  # beyond 1024 tokens in every vocabulary here
Folder = Callable[..., Path]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """`folder(family)` is the plain checkpoint, `folder(family, layout)` the same in sentence-transformers' files."""

    @functools.cache
    def get(family: str, layout: str = "plain") -> Path:
        root = tmp_path_factory.mktemp(f"{family}-{layout}")
        if layout == "plain":
            return checkpoints.build(family, root / "model")
        dense = [Dense(HIDDEN, 24, "tanh"), Dense(24, 16, bias=False)]
        prompts = {"query": "query: "}
        return checkpoints.wrap(get(family), root / "model", layout=layout, dense=dense, prompts=prompts)

    return get


@pytest.fixture(scope="session")
def stella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.build_stella(tmp_path_factory.mktemp("stella") / "model")


def bare_encoder(path: Path, bidirectional: bool) -> torch.nn.Module:
    """The part of a plain transformers model that encodes, loaded without this package."""
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    if bidirectional:
        config.is_causal = False
    if config.model_type == "t5":
        model = T5EncoderModel.from_pretrained(path, config=config)
    else:
        model = AutoModel.from_pretrained(path, config=config, trust_remote_code=False)
    return (model.get_encoder() if config.is_encoder_decoder and config.model_type != "t5" else model).eval()


def reference(
    path: Path, texts: Sequence[str] = TEXTS, *, bidirectional: bool = False, limit: int = 512, normalize: bool = True
) -> np.ndarray:
    """Mean of the token states by transformers alone: one text at a time, nothing padded, no mask."""
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    model = bare_encoder(path, bidirectional)
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=limit)["input_ids"]])
        with torch.no_grad():
            row = model(input_ids=ids).last_hidden_state[0].mean(0)
        rows.append(row / row.norm() if normalize else row)
    return torch.stack(rows).numpy()


def head(path: Path, vectors: np.ndarray, name: str) -> np.ndarray:
    """A folder's Dense without activation, then unit length."""
    weights = load_file(path / name / "model.safetensors")
    projected = vectors @ weights["linear.weight"].numpy().T + weights["linear.bias"].numpy()
    return projected / np.linalg.norm(projected, axis=1, keepdims=True)


def st_encode(path: Path, texts: Sequence[str] = TEXTS, **options: object) -> np.ndarray:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(path), device="cpu", local_files_only=True)
    return model.encode(list(texts), **options)


def encoder_of(family: str, path: Path, **options: object) -> SentenceEncoder:
    """Plain stella says neither pooling nor direction; the others need nothing."""
    if family == "stella":
        options.setdefault("attention", "bidirectional")
    return SentenceEncoder(path, **options)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# --- vectors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_fast_path_is_taken_and_gives_the_plain_vectors(family: str, dtype: str, folder: Folder) -> None:
    if not fast._operators_work(getattr(torch, dtype), "cpu"):
        pytest.skip(f"this processor has no packed products in {dtype}")
    encoder = encoder_of(family, folder(family), dtype=dtype)
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
def test_a_plain_folder_gives_the_vectors_of_transformers_one_text_at_a_time(family: str, folder: Folder) -> None:
    path = folder(family)
    encoder = encoder_of(family, path)
    expected = reference(path, bidirectional=family == "stella")
    assert encoder.dimension == HIDDEN
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("family", [name for name, facts in FAMILIES.items() if facts.st_is_right])
def test_a_wrapped_folder_gives_the_vectors_of_sentence_transformers(family: str, layout: str, folder: Folder) -> None:
    path = folder(family, layout)
    encoder = SentenceEncoder(path)
    assert encoder.dimension == 16
    assert encoder.max_length == 64
    np.testing.assert_allclose(encoder.encode(TEXTS), st_encode(path), atol=TOLERANCE)
    prompted = st_encode(path, prompt_name="query")
    np.testing.assert_allclose(encoder.encode(TEXTS, prompt_name="query"), prompted, atol=TOLERANCE)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_bart_is_its_encoder_where_sentence_transformers_takes_the_decoder(layout: str, folder: Folder) -> None:
    path = folder("bart", layout)
    states = reference(path, normalize=False)
    for name in ("2_Dense", "3_Dense"):
        weights = load_file(path / name / "model.safetensors")
        states = states @ weights["linear.weight"].numpy().T + (weights["linear.bias"].numpy() if name[0] == "2" else 0)
        states = np.tanh(states) if name[0] == "2" else states
    expected = states / np.linalg.norm(states, axis=1, keepdims=True)
    np.testing.assert_allclose(SentenceEncoder(path).encode(TEXTS), expected, atol=TOLERANCE)
    assert cosines(st_encode(path), expected).min() < 0.99


def test_lower_casing_by_the_sentence_transformers_config_is_obeyed(folder: Folder, tmp_path: Path) -> None:
    path = Path(shutil.copytree(folder("roberta", "old"), tmp_path / "model"))
    checkpoints.edit_json(path / "sentence_bert_config.json", do_lower_case=True)
    vectors = SentenceEncoder(path).encode(TEXTS)
    np.testing.assert_allclose(vectors, st_encode(path), atol=TOLERANCE)
    assert np.abs(vectors - SentenceEncoder(folder("roberta", "old")).encode(TEXTS)).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_do_not_depend_on_batch_order_or_mates(family: str, folder: Folder) -> None:
    encoder = encoder_of(family, folder(family))
    vectors = encoder.encode(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1])[::-1], vectors, atol=TOLERANCE)
    np.testing.assert_allclose(np.stack([encoder.encode(text) for text in TEXTS]), vectors, atol=TOLERANCE)
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_tokens=1), vectors, atol=TOLERANCE)
    np.testing.assert_allclose(encoder.encode(TEXTS * 3, batch_tokens=10_000)[12:24], vectors, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_empty_and_blank_texts_are_finite_and_leave_their_mates_alone(family: str, folder: Folder) -> None:
    encoder = encoder_of(family, folder(family))
    vectors = encoder.encode(["", TEXTS[0], "  \n\t "])
    assert np.isfinite(vectors).all()
    norms = np.linalg.norm(vectors, axis=1)
    assert all(norm == 0 or abs(norm - 1) < TOLERANCE for norm in norms)
    np.testing.assert_allclose(vectors[1], encoder.encode(TEXTS[0]), atol=TOLERANCE)
    np.testing.assert_allclose(encoder.encode(""), vectors[0], atol=TOLERANCE)


# --- the model: ids and mask in, vectors out -----------------------------------------------------------------------


def padded(model: SentenceTransformer, texts: Sequence[str], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of one batch, padded with the real pad id on the side asked for."""
    rows = [model.tokenizer(text)["input_ids"] for text in texts]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), model.tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        cells = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[i, cells] = torch.tensor(row)
        mask[i, cells] = 1
    return ids, mask


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_equals_its_rows_alone_whatever_the_side_and_the_cells(
    family: str, side: str, folder: Folder
) -> None:
    attention = "bidirectional" if family == "stella" else "auto"
    model = SentenceTransformer.from_pretrained(folder(family), attention=attention).eval()
    ids, mask = padded(model, TEXTS, side)
    with torch.no_grad():
        together = model(ids, mask)
        odd_cells = model(torch.where(mask == 1, ids, -100), mask)  # the mask decides, not what stands in padded cells
        alone = torch.cat([model(row[keep.bool()][None]) for row, keep in zip(ids, mask, strict=True)])
    torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(odd_cells, alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", ["minilm", "albert", "bart", "roberta", "stella"])
def test_a_tokenizer_that_says_pad_left_changes_nothing(family: str, folder: Folder, tmp_path: Path) -> None:
    path = Path(shutil.copytree(folder(family), tmp_path / "model"))
    checkpoints.edit_json(path / "tokenizer_config.json", padding_side="left")
    vectors = encoder_of(family, path).encode(TEXTS, batch_tokens=1000)
    np.testing.assert_allclose(vectors, encoder_of(family, folder(family)).encode(TEXTS), atol=TOLERANCE)


def test_padding_and_truncation_baked_into_the_tokenizer_are_cleared(folder: Folder, tmp_path: Path) -> None:
    path = Path(shutil.copytree(folder("minilm", "old"), tmp_path / "model"))
    side = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    checkpoints.edit_json(
        path / "tokenizer.json",
        truncation={"max_length": 12, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        padding={"strategy": {"Fixed": 12}, **side},
    )
    encoder, clean = SentenceEncoder(path), SentenceEncoder(folder("minilm", "old"))
    assert encoder.token_counts(TEXTS) == clean.token_counts(TEXTS)
    assert max(encoder.token_counts(TEXTS)) > 12
    np.testing.assert_allclose(encoder.encode(TEXTS), clean.encode(TEXTS), atol=TOLERANCE)
    assert [len(states) for states in encoder.token_embeddings(TEXTS)] == clean.token_counts(TEXTS)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_backbone_is_given_only_what_its_forward_names(
    family: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = "bidirectional" if family == "stella" else "auto"
    model = SentenceTransformer.from_pretrained(folder(family), attention=attention)
    backbone_class = type(bare_encoder(folder(family), bidirectional=False))
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
def test_a_text_beyond_the_last_position_is_truncated_with_a_warning(family: str, folder: Folder) -> None:
    path, positions = folder(family), FAMILIES[family].positions
    encoder = SentenceEncoder(path, max_length=positions)
    assert encoder.token_counts([LONG])[0] > positions
    with pytest.warns(UserWarning, match=rf"\b1 of 2\b.*\b{positions}\b"):
        vectors = encoder.encode([LONG, TEXTS[0]])
    np.testing.assert_allclose(vectors, reference(path, [LONG, TEXTS[0]], limit=positions), atol=TOLERANCE)
    with pytest.raises(ValueError, match=rf"max_length.*{positions}"):
        SentenceEncoder(path, max_length=positions + 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_limit_below_one_is_refused(family: str, folder: Folder) -> None:
    with pytest.raises(ValueError, match="max_length"):
        encoder_of(family, folder(family), max_length=0)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "mpnet"])
@pytest.mark.parametrize("declared", [514, 100_000])
def test_a_declared_limit_above_the_usable_positions_does_not_crash(
    family: str, declared: int, folder: Folder, tmp_path: Path
) -> None:
    path = checkpoints.wrap(folder(family), tmp_path / "model", limit=declared)
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
    family: str, key: str, folder: Folder, tmp_path: Path
) -> None:
    path = without(folder(family), tmp_path / "model", key)
    name = r"(shared|embed_tokens)\.weight" if key == "shared.weight" else re.escape(".".join(key.split(".")[-2:]))
    with pytest.raises(ValueError, match=name):
        encoder_of(family, path)


@pytest.mark.parametrize(("family", "unused"), [("minilm", "pooler."), ("bart", "decoder."), ("t5", "decoder.")])
def test_weights_that_the_encoder_does_not_use_may_be_missing(
    family: str, unused: str, folder: Folder, tmp_path: Path
) -> None:
    path = without(folder(family), tmp_path / "model", unused)
    np.testing.assert_array_equal(SentenceEncoder(path).encode(TEXTS), SentenceEncoder(folder(family)).encode(TEXTS))


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_stays_close_and_gives_float32(family: str, folder: Folder) -> None:
    vectors = encoder_of(family, folder(family), dtype="bfloat16").encode(TEXTS)
    assert vectors.dtype == np.float32
    assert cosines(vectors, encoder_of(family, folder(family)).encode(TEXTS)).min() > 0.99


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
def test_float16_is_refused_and_the_message_lists_what_is_allowed(family: str, folder: Folder) -> None:
    with pytest.raises(ValueError, match=r"dtype.*float16.*(float32.*bfloat16|bfloat16.*float32)"):
        encoder_of(family, folder(family), dtype="float16")


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


def test_a_decoder_with_remote_code_and_no_word_of_pooling_asks_for_the_direction(folder: Folder) -> None:
    with pytest.raises(ValueError, match="attention="):
        SentenceEncoder(folder("stella"))


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
def test_a_decoder_without_remote_code_stays_causal(layout: str, folder: Folder) -> None:
    path = folder("qwen2", layout)
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
def test_an_unknown_attention_is_refused_with_the_ones_that_exist(attention: object, folder: Folder) -> None:
    with pytest.raises(ValueError, match=r"auto.*bidirectional.*causal"):
        SentenceEncoder(folder("minilm"), attention=attention)
