"""Small checkpoints with random weights, in the public layout of each family, for tests.

Names of files, keys of weights, keys of configs, ids of special tokens and the kind of tokenizer are those of the
published checkpoints (named beside each builder); only the sizes are small. Everything is seeded and takes
milliseconds, so a test that damages a folder builds its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    T5EncoderModel,
)

HIDDEN = 32
TEXTS = [
    "The ferry leaves the island at nine.",
    "At nine o'clock the boat departs.",
    "A gardener waters the tomatoes every evening, even when rain is expected before the morning.",
    "Tomatoes",
    "The court postponed its decision on the appeal until the second week of March.",
    "She plays the cello in a small orchestra.",
    "Bread rises because yeast makes gas.",
    "The new bridge carries 40,000 cars a day!",
    "Snow closed the mountain pass, and the lorries waited in the valley for two days and two nights.",
    "Why is the printer out of paper?",
    "Café owners in Málaga say business is good.",
    "He did not lock the door.",
]
"""What vocabularies are made of and what tests encode; of different lengths, so that a batch needs padding."""

PROMPTS = {
    "s2p_query": "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: ",
    "s2s_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
}


# --- tokenizers: (tokenizer.json, tokenizer_config.json, special tokens by name, files beside them) ----------------


@dataclass(frozen=True)
class TokenizerFiles:
    """What a checkpoint's folder says of its tokenizer."""

    tokenizer: Tokenizer
    config: dict[str, Any]
    special: dict[str, str]
    extra: dict[str, str]

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / "tokenizer.json"))
        write_json(folder / "tokenizer_config.json", {**self.special, **self.config})
        write_json(folder / "special_tokens_map.json", self.special)
        for name, text in self.extra.items():
            (folder / name).write_text(text, encoding="utf-8")


def _words() -> list[str]:
    pieces = pre_tokenizers.BertPreTokenizer()
    normal = normalizers.BertNormalizer(lowercase=True)
    words = {word for text in TEXTS for word, _ in pieces.pre_tokenize_str(normal.normalize_str(text))}
    # One word in three is left out, so that some words are cut into pieces.
    return [word for index, word in enumerate(sorted(words)) if len(word) > 1 and index % 3]


def _characters(cased: bool) -> list[str]:
    characters = set("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'-") | set("".join(TEXTS) if cased else "")
    return sorted(characters - {" "})


def _word_piece(first: Sequence[str], last: Sequence[str], cls: str, sep: str, unk: str) -> Tokenizer:
    characters = _characters(cased=False)
    tokens = [*first, *_words(), *characters, *("##" + character for character in characters), *last]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unk))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    second_type = int(cls == "[CLS]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:{second_type} {sep}:{second_type}",
        special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
    )
    return tokenizer


def _vocab_txt(tokenizer: Tokenizer) -> str:
    return "".join(token + "\n" for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))


def bert_tokenizer(tokenizer_class: str = "BertTokenizer") -> TokenizerFiles:
    """bert-base-uncased's: [PAD] 0, [unused…], [UNK] 100, [CLS] 101, [SEP] 102, [MASK] 103, then words."""
    first = ["[PAD]", *(f"[unused{index}]" for index in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = _word_piece(first, [], "[CLS]", "[SEP]", "[UNK]")
    special = {name + "_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    tokenizer.add_special_tokens(list(special.values()))
    config = {
        "do_lower_case": True,
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "tokenizer_class": tokenizer_class,
        "model_max_length": 512,
    }
    return TokenizerFiles(tokenizer, config, special, {"vocab.txt": _vocab_txt(tokenizer)})


def mpnet_tokenizer() -> TokenizerFiles:
    """all-mpnet-base-v2's: WordPiece between <s> and </s>, pad id 1, [UNK] from BERT's list, <mask> at the end."""
    first = ["<s>", "<pad>", "</s>", "<unk>", *(f"[unused{index}]" for index in range(100)), "[UNK]"]
    tokenizer = _word_piece(first, ["<mask>"], "<s>", "</s>", "[UNK]")
    special = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "[UNK]",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "[UNK]"])
    config = {
        "do_lower_case": True,
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "tokenizer_class": "MPNetTokenizer",
        "model_max_length": 512,
    }
    return TokenizerFiles(tokenizer, config, special, {"vocab.txt": _vocab_txt(tokenizer)})


def _byte_bpe(
    first: Sequence[str], last: Sequence[str], normalizer: normalizers.Normalizer | None, split: str = ""
) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if split:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=len(first) + 256 + 150,
        special_tokens=list(first),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(list(last))
    return tokenizer


def _bpe_files(tokenizer: Tokenizer) -> dict[str, str]:
    model = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return {
        "vocab.json": json.dumps(model["vocab"], ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *merges]) + "\n",
    }


def _put_inside_model(tokenizer: Tokenizer, tokens: Iterable[str]) -> Tokenizer:
    """Special tokens at the end of the vocabulary itself, as RoBERTa's <mask> is, not only in the added ones."""
    state = json.loads(tokenizer.to_str())
    for token in tokens:
        state["model"]["vocab"][token] = tokenizer.token_to_id(token)
    return Tokenizer.from_str(json.dumps(state))


def roberta_tokenizer(tokenizer_class: str = "RobertaTokenizer", limit: int = 512) -> TokenizerFiles:
    """roberta-base's and bart-base's: byte BPE, <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> last."""
    tokenizer = _byte_bpe(["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"], None)
    tokenizer = _put_inside_model(tokenizer, ["<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    special = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    config = {"add_prefix_space": False, "tokenizer_class": tokenizer_class, "model_max_length": limit}
    return TokenizerFiles(tokenizer, config, special, _bpe_files(tokenizer))


def _unigram(first: Sequence[str], last: Sequence[str], unk: str, lowercase: bool) -> Tokenizer:
    words = sorted({word.lower() if lowercase else word for text in TEXTS for word in text.split()})
    pieces = ["▁" + word.strip(".,!?") for index, word in enumerate(words) if index % 3]
    characters = _characters(cased=not lowercase)
    scored = [(token, 0.0) for token in first]
    scored += [("▁", -4.0)]
    scored += [(piece, -3.0 - 0.01 * index) for index, piece in enumerate(dict.fromkeys(pieces))]
    scored += [(character, -6.0 - 0.01 * index) for index, character in enumerate(characters)]
    scored += [(token, 0.0) for token in last]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=list(first).index(unk), byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


def xlm_roberta_tokenizer() -> TokenizerFiles:
    """xlm-roberta-base's: Unigram, <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> last."""
    tokenizer = _unigram(["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"], "<unk>", lowercase=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return TokenizerFiles(tokenizer, {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}, special, {})


def albert_tokenizer() -> TokenizerFiles:
    """albert-base-v2's: Unigram on lower-cased text, <pad> 0, <unk> 1, [CLS] 2, [SEP] 3, [MASK] 4."""
    tokenizer = _unigram(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], [], "<unk>", lowercase=True)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    special = {
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "sep_token": "[SEP]",
        "cls_token": "[CLS]",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "[MASK]",
    }
    tokenizer.add_special_tokens(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    config = {
        "do_lower_case": True,
        "keep_accents": False,
        "tokenizer_class": "AlbertTokenizer",
        "model_max_length": 512,
    }
    return TokenizerFiles(tokenizer, config, special, {})


def t5_tokenizer() -> TokenizerFiles:
    """t5-base's: Unigram, <pad> 0, </s> 1, <unk> 2, no first token, </s> appended, 100 sentinels at the end."""
    sentinels = [f"<extra_id_{index}>" for index in range(99, -1, -1)]
    tokenizer = _unigram(["<pad>", "</s>", "<unk>"], sentinels, "<unk>", lowercase=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", *sentinels])
    config = {"extra_ids": 100, "tokenizer_class": "T5Tokenizer", "model_max_length": 512}
    return TokenizerFiles(tokenizer, config, special, {})


def modernbert_tokenizer() -> TokenizerFiles:
    """ModernBERT-base's: byte BPE, NFC, special tokens after the vocabulary."""
    added = ["<|endoftext|>", "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokenizer = _byte_bpe([], added, normalizers.NFC())
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    special = {name + "_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 8192,
        "clean_up_tokenization_spaces": True,
    }
    return TokenizerFiles(tokenizer, config, special, {})


QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen_tokenizer(append_eos: bool) -> TokenizerFiles:
    """Qwen2's byte BPE, pad = <|endoftext|>; stella's appends that token, which is its EOS as well, to each text."""
    tokenizer = _byte_bpe([], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC(), QWEN_SPLIT)
    if append_eos:
        eos = tokenizer.token_to_id("<|endoftext|>")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A:0 <|endoftext|>:0",
            pair="$A:0 <|endoftext|>:0 $B:1 <|endoftext|>:1",
            special_tokens=[("<|endoftext|>", eos)],
        )
    else:
        tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    special = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    config: dict[str, Any] = {
        "add_prefix_space": False,
        "bos_token": None,
        "unk_token": None,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "errors": "replace",
        "model_max_length": 32768,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
    }
    if append_eos:
        config |= {
            "add_eos_token": True,
            "auto_map": {"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", "tokenization_qwen.Qwen2TokenizerFast"]},
        }
    return TokenizerFiles(tokenizer, config, special, _bpe_files(tokenizer))


# --- families ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """One family: how its public folder is built, and the facts that tests assert of it.

    `positions` is the number of tokens it can take (None: no table of positions), `st_is_right` whether
    sentence-transformers computes its vectors as they should be.
    """

    tokenizer: Callable[[], TokenizerFiles]
    config: dict[str, Any]
    model: Any  # an AutoModel class whose state dict carries the public checkpoint's keys
    drop: tuple[str, ...] = ()  # beginnings of keys that the public checkpoint does not carry
    rename: tuple[tuple[str, str], ...] = ()
    positions: int | None = None
    st_is_right: bool = True


_BERT: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.1,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": 2 * HIDDEN,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
    "use_cache": True,
}
_ROBERTA = _BERT | {
    "bos_token_id": 0,
    "eos_token_id": 2,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 514,
    "pad_token_id": 1,
    "type_vocab_size": 1,
}
_T5: dict[str, Any] = {
    "d_ff": 2 * HIDDEN,
    "d_kv": 8,
    "d_model": HIDDEN,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "feed_forward_proj": "relu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
    "n_positions": 512,
    "num_heads": 4,
    "num_layers": 2,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_num_buckets": 32,
    "use_cache": True,
}
_QWEN2: dict[str, Any] = {
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": 2 * HIDDEN,
    "max_position_embeddings": 131072,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.42.3",
    "use_cache": True,
    "use_sliding_window": False,
}

FAMILIES: dict[str, Family] = {
    # sentence-transformers/all-MiniLM-L6-v2: the bare encoder, with a buffer that newer code no longer has
    "minilm": Family(
        bert_tokenizer,
        _BERT | {"architectures": ["BertModel"], "transformers_version": "4.8.2"},
        AutoModel,
        positions=512,
    ),
    # google-bert/bert-base-uncased: prefix, pre-training heads, LayerNorm.gamma and beta
    "bert": Family(
        bert_tokenizer,
        _BERT | {"architectures": ["BertForMaskedLM"], "transformers_version": "4.6.0.dev0"},
        AutoModelForMaskedLM,
        rename=(("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")),
        positions=512,
    ),
    # microsoft/mpnet-base, sentence-transformers/all-mpnet-base-v2
    "mpnet": Family(
        mpnet_tokenizer,
        _BERT
        | {
            "architectures": ["MPNetForMaskedLM"],
            "bos_token_id": 0,
            "eos_token_id": 2,
            "layer_norm_eps": 1e-05,
            "max_position_embeddings": 514,
            "model_type": "mpnet",
            "pad_token_id": 1,
            "relative_attention_num_buckets": 32,
        },
        AutoModelForMaskedLM,
        positions=512,
    ),
    # distilbert/distilbert-base-uncased
    "distilbert": Family(
        lambda: bert_tokenizer("DistilBertTokenizer"),
        {
            "activation": "gelu",
            "architectures": ["DistilBertForMaskedLM"],
            "attention_dropout": 0.1,
            "dim": HIDDEN,
            "dropout": 0.1,
            "hidden_dim": 2 * HIDDEN,
            "initializer_range": 0.02,
            "max_position_embeddings": 512,
            "model_type": "distilbert",
            "n_heads": 4,
            "n_layers": 2,
            "pad_token_id": 0,
            "qa_dropout": 0.1,
            "seq_classif_dropout": 0.2,
            "sinusoidal_pos_embds": False,
            "tie_weights_": True,
            "transformers_version": "4.10.0.dev0",
        },
        AutoModelForMaskedLM,
        positions=512,
    ),
    # FacebookAI/roberta-base
    "roberta": Family(
        roberta_tokenizer,
        _ROBERTA | {"architectures": ["RobertaForMaskedLM"], "model_type": "roberta"},
        AutoModelForMaskedLM,
        positions=512,
    ),
    # FacebookAI/xlm-roberta-base
    "xlm-roberta": Family(
        xlm_roberta_tokenizer,
        _ROBERTA | {"architectures": ["XLMRobertaForMaskedLM"], "model_type": "xlm-roberta", "output_past": True},
        AutoModelForMaskedLM,
        positions=512,
    ),
    # albert/albert-base-v2
    "albert": Family(
        albert_tokenizer,
        _BERT
        | {
            "architectures": ["AlbertForMaskedLM"],
            "attention_probs_dropout_prob": 0,
            "bos_token_id": 2,
            "classifier_dropout_prob": 0.1,
            "down_scale_factor": 1,
            "embedding_size": 16,
            "eos_token_id": 3,
            "gap_size": 0,
            "hidden_act": "gelu_new",
            "hidden_dropout_prob": 0,
            "inner_group_num": 1,
            "model_type": "albert",
            "net_structure_type": 0,
            "num_hidden_groups": 1,
            "num_memory_blocks": 0,
        },
        AutoModelForMaskedLM,
        positions=512,
    ),
    # facebook/bart-base: encoder and decoder
    "bart": Family(
        lambda: roberta_tokenizer("BartTokenizer", 1024),
        {
            "activation_dropout": 0.1,
            "activation_function": "gelu",
            "architectures": ["BartModel"],
            "attention_dropout": 0.1,
            "bos_token_id": 0,
            "classifier_dropout": 0.0,
            "d_model": HIDDEN,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 2 * HIDDEN,
            "decoder_layerdrop": 0.0,
            "decoder_layers": 2,
            "decoder_start_token_id": 2,
            "dropout": 0.1,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 2 * HIDDEN,
            "encoder_layerdrop": 0.0,
            "encoder_layers": 2,
            "eos_token_id": 2,
            "forced_eos_token_id": 2,
            "init_std": 0.02,
            "is_encoder_decoder": True,
            "max_position_embeddings": 1024,
            "model_type": "bart",
            "normalize_before": False,
            "num_hidden_layers": 2,
            "pad_token_id": 1,
            "scale_embedding": False,
            "use_cache": True,
        },
        AutoModel,
        drop=("encoder.embed_tokens", "decoder.embed_tokens"),
        positions=1024,
        st_is_right=False,
    ),
    # google-t5/t5-base: encoder and decoder
    "t5": Family(
        t5_tokenizer,
        _T5 | {"architectures": ["T5ForConditionalGeneration"]},
        AutoModelForSeq2SeqLM,
        drop=("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"),
    ),
    # sentence-transformers/sentence-t5-base: the encoder alone
    "t5-encoder": Family(
        t5_tokenizer,
        _T5 | {"architectures": ["T5EncoderModel"], "is_encoder_decoder": False, "use_cache": False},
        T5EncoderModel,
        drop=("encoder.embed_tokens",),
    ),
    # answerdotai/ModernBERT-base: global and local layers, no table of positions
    "modernbert": Family(
        modernbert_tokenizer,
        {
            "architectures": ["ModernBertForMaskedLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "classifier_activation": "gelu",
            "classifier_bias": False,
            "classifier_pooling": "mean",
            "decoder_bias": True,
            "embedding_dropout": 0.0,
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160000.0,
            "gradient_checkpointing": False,
            "hidden_activation": "gelu",
            "hidden_size": HIDDEN,
            "initializer_cutoff_factor": 2.0,
            "initializer_range": 0.02,
            "intermediate_size": 48,
            "layer_norm_eps": 1e-05,
            "local_attention": 8,
            "local_rope_theta": 10000.0,
            "max_position_embeddings": 8192,
            "mlp_bias": False,
            "mlp_dropout": 0.0,
            "model_type": "modernbert",
            "norm_bias": False,
            "norm_eps": 1e-05,
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "position_embedding_type": "absolute",
            "tie_word_embeddings": True,
        },
        AutoModelForMaskedLM,
    ),
    # Qwen/Qwen2-0.5B: causal, and meant to be
    "qwen2": Family(
        lambda: qwen_tokenizer(append_eos=False),
        _QWEN2 | {"architectures": ["Qwen2ForCausalLM"]},
        AutoModelForCausalLM,
    ),
    # NovaSearch/stella_en_1.5B_v5: both directions by code of its own, which must not run
    "stella": Family(
        lambda: qwen_tokenizer(append_eos=True),
        _QWEN2
        | {
            "architectures": ["Qwen2ForCausalLM"],
            "auto_map": {
                "AutoModel": "modeling_qwen.Qwen2Model",
                "AutoModelForCausalLM": "modeling_qwen.Qwen2ForCausalLM",
                "AutoModelForSequenceClassification": "modeling_qwen.Qwen2ForSequenceClassification",
            },
        },
        AutoModelForCausalLM,
        drop=("lm_head",),
        st_is_right=False,
    ),
}

STELLA_SIZES = (8, 16, 24, 48)
STELLA_DEFAULT_SIZE = 16


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Fill all weights with seeded values large enough that tokens and directions make a visible difference."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                embedding = "embed" in name or name.endswith(("shared.weight", "wte.weight"))
                parameter.copy_(noise if embedding else noise * 1.5 / parameter.shape[-1] ** 0.5)
            else:
                is_scale = name.endswith("weight")
                parameter.copy_(is_scale + 0.1 * noise)


def canary_code(canary: Path) -> str:
    """Python that leaves a file behind when it is imported."""
    return f"from pathlib import Path\n\nPath({str(canary)!r}).write_text('executed')\n"


def build(family: str, folder: str | Path, *, seed: int = 0, canary: Path | None = None) -> Path:
    """Write the plain checkpoint of `family` (config, weights, tokenizer; no sentence-transformers files).

    `canary`: for stella, the file that its remote code would make if anything ran it.
    """
    facts, folder = FAMILIES[family], Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = facts.tokenizer()
    files.save(folder)
    config = {**facts.config, "vocab_size": files.tokenizer.get_vocab_size(with_added_tokens=True)}
    if "Qwen2" in config["architectures"][0]:
        config |= {name: files.tokenizer.token_to_id("<|endoftext|>") for name in ("bos_token_id", "eos_token_id")}
    if family == "modernbert":
        for name in ("cls", "sep", "pad"):
            config[f"{name}_token_id"] = files.tokenizer.token_to_id(f"[{name.upper()}]")
        config |= {"bos_token_id": config["cls_token_id"], "eos_token_id": config["sep_token_id"]}
    write_json(folder / "config.json", config)
    save_weights(folder, public_weights(family, folder, seed))
    if family == "stella":
        canary = canary or folder / "remote_code_was_executed"
        for name in ("modeling_qwen.py", "tokenization_qwen.py"):
            (folder / name).write_text(canary_code(canary), encoding="utf-8")
    return folder


def public_weights(family: str, folder: Path, seed: int) -> dict[str, Tensor]:
    """Random weights under the keys that the published checkpoint uses."""
    facts = FAMILIES[family]
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    make = facts.model if facts.model is T5EncoderModel else facts.model.from_config
    model: PreTrainedModel = make(config)
    randomise(model, seed)
    weights = {}
    seen: set[int] = set()
    # Of two keys that share a tensor, the published files carry the one on the side of the embeddings.
    for key, tensor in sorted(model.state_dict().items(), key=lambda item: "embed" not in item[0]):
        if key.startswith(facts.drop or ("\0",)) or tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        for new, old in facts.rename:
            key = key.replace(new, old)
        weights[key] = tensor.clone().contiguous()
    if family == "minilm":
        weights["embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
    return weights


# --- sentence-transformers folders ---------------------------------------------------------------------------------

OLD_TYPES = {name: f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Dense", "Normalize")}
NEW_TYPES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}
OLD_POOLING_KEYS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
ACTIVATIONS = {"identity": "torch.nn.modules.linear.Identity", "tanh": "torch.nn.modules.activation.Tanh"}


@dataclass(frozen=True)
class Dense:
    """A Dense module to write: sizes, activation ("identity", "tanh", or the text to write), which weight files."""

    in_features: int
    out_features: int
    activation: str = "identity"
    bias: bool = True
    files: tuple[str, ...] = ("model.safetensors",)
    seed: int = 0

    def weights(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1000 * self.out_features + self.in_features + self.seed)
        weight = torch.randn(self.out_features, self.in_features, generator=generator) / self.in_features**0.5
        weights = {"linear.weight": weight}
        if self.bias:
            weights["linear.bias"] = 0.1 * torch.randn(self.out_features, generator=generator)
        return weights

    def save(self, folder: Path, layout: str = "old") -> None:
        config: dict[str, Any] = {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias,
            "activation_function": ACTIVATIONS.get(self.activation, self.activation),
        }
        if layout == "new":
            config |= {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
        write_json(folder / "config.json", config)
        for name in self.files:
            save_weights(folder, self.weights(), name)


def wrap(
    plain: Path,
    folder: str | Path,
    *,
    layout: str = "old",
    pooling: Sequence[str] = ("mean",),
    dense: Sequence[Dense] = (),
    normalize: bool = True,
    prompts: dict[str, str] | None = None,
    limit: int | None = 64,
    similarity: str | None = None,
    width: int = HIDDEN,
) -> Path:
    """Copy a plain checkpoint into a sentence-transformers folder, of the `old` or the `new` (6) layout.

    The old layout keeps the limit in sentence_bert_config.json and lists a Normalize folder that does not exist, as
    all-MiniLM-L6-v2 does; the new one keeps the limit in the tokenizer's model_max_length.
    """
    folder = Path(folder)
    shutil.copytree(plain, folder)
    types = OLD_TYPES if layout == "old" else NEW_TYPES
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modules += [("Dense", f"{index}_Dense") for index in range(2, 2 + len(dense))]
    modules += [("Normalize", f"{len(modules)}_Normalize")] if normalize else []
    write_modules(folder, [(types[kind], path) for kind, path in modules])
    if layout == "old":
        config: dict[str, Any] = {"word_embedding_dimension": width}
        config |= {key: mode in pooling for mode, key in OLD_POOLING_KEYS.items()}
        write_json(folder / "1_Pooling" / "config.json", config | {"include_prompt": True})
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": limit, "do_lower_case": False})
    else:
        mode = pooling[0] if len(pooling) == 1 else list(pooling)
        config = {"embedding_dimension": width, "pooling_mode": mode, "include_prompt": True}
        write_json(folder / "1_Pooling" / "config.json", config)
        text = {"method": "forward", "method_output_name": "last_hidden_state"}
        write_json(
            folder / "sentence_bert_config.json",
            {
                "transformer_task": "feature-extraction",
                "modality_config": {"text": text},
                "module_output_name": "token_embeddings",
            },
        )
        if limit is not None:
            edit_json(folder / "tokenizer_config.json", model_max_length=limit)
        if normalize:
            names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
            write_json(folder / modules[-1][1] / "config.json", names)
    for index, module in enumerate(dense, start=2):
        module.save(folder / f"{index}_Dense", layout)
    versions = {"sentence_transformers": "2.0.0" if layout == "old" else "6.2.0"}
    settings: dict[str, Any] = {"__version__": versions}
    if layout == "new":
        settings["model_type"] = "SentenceTransformer"
    if prompts is not None or layout == "new":
        settings |= {"prompts": prompts or {}, "default_prompt_name": None}
    if similarity is not None or layout == "new":
        settings["similarity_fn_name"] = similarity or "cosine"
    write_json(folder / "config_sentence_transformers.json", settings)
    return folder


def build_stella(folder: str | Path, *, seed: int = 0, canary: Path | None = None) -> Path:
    """The whole folder of stella_en_1.5B_v5, small: remote code, prompts, a head for each size, no Normalize."""
    folder = build("stella", folder, seed=seed, canary=canary)
    default = f"2_Dense_{STELLA_DEFAULT_SIZE}"
    types = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", default)]
    write_modules(folder, [(OLD_TYPES[kind], path) for kind, path in types])
    pooling: dict[str, Any] = {"word_embedding_dimension": HIDDEN}
    pooling |= {key: mode == "mean" for mode, key in OLD_POOLING_KEYS.items()}
    write_json(folder / "1_Pooling" / "config.json", pooling | {"include_prompt": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    both = ("model.safetensors", "pytorch_model.bin")
    for size in STELLA_SIZES:
        Dense(HIDDEN, size, files=both).save(folder / f"2_Dense_{size}")
    Dense(HIDDEN, STELLA_SIZES[-1], files=both).save(folder / "2_Dense")  # a plain name beside them: the largest again
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "3.0.1", "transformers": "4.42.3", "pytorch": "2.3.1"},
            "prompts": PROMPTS,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )
    return folder


def as_hub_cache(folder: Path, cache: Path, name: str = "someone/model") -> Path:
    """Lay `folder` out as the hub's cache does and return the snapshot, in which every file is a link out to a blob."""
    repository = cache / ("models--" + name.replace("/", "--"))
    revision = "0123456789abcdef0123456789abcdef01234567"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / revision
    blobs.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    for number, file in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        blob, link = blobs / f"{number:064x}", snapshot / file.relative_to(folder)
        shutil.copyfile(file, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


# --- files ---------------------------------------------------------------------------------------------------------


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def edit_json(path: Path, **changes: Any) -> None:
    write_json(path, read_json(path) | changes)


def write_modules(folder: Path, modules: Sequence[tuple[str, str]]) -> None:
    """modules.json from (type, path) in order."""
    rows = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (kind, path) in enumerate(modules)]
    write_json(folder / "modules.json", rows)


def save_weights(folder: Path, weights: dict[str, Tensor], name: str = "model.safetensors") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if name.endswith(".safetensors"):
        save_file(weights, folder / name, metadata={"format": "pt"})
    else:
        torch.save(weights, folder / name)
