"""Small tokenizers in the public layout of each family, for the small checkpoints of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

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


# --- vocabularies: one word in three is left out, so that some words are cut into pieces ------------------------------


def _word_piece(first: Sequence[str], last: Sequence[str], unk: str) -> Tokenizer:
    """BERT's: lower-cased words and pieces, between the special tokens `first` and `last`."""
    normalizer, split = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = {word for text in TEXTS for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text))}
    words = {word for index, word in enumerate(sorted(words)) if len(word) > 1 and index % 3}
    characters = sorted("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'-")
    tokens = [*first, *sorted(words), *characters, *("##" + character for character in characters), *last]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unk))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    return tokenizer


def _byte_pairs(first: Sequence[str], last: Sequence[str], split: str = "") -> Tokenizer:
    """GPT-2's: bytes and merges; `first` begins the vocabulary, `last` is added after it."""
    tokenizer = Tokenizer(models.BPE())
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
    cut = [pre_tokenizers.Split(Regex(split), behavior="isolated")] if split else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cut, bytes_of])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(first) + 406, special_tokens=list(first), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(list(last))
    return tokenizer


def _unigram(first: Sequence[str], last: Sequence[str], lowercase: bool = False) -> Tokenizer:
    """SentencePiece's: words that carry their space, between the special tokens `first` and `last`."""
    words = sorted({word.lower() if lowercase else word for text in TEXTS for word in text.split()})
    pieces = dict.fromkeys("▁" + word.strip(".,!?") for index, word in enumerate(words) if index % 3)
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'-") | set("" if lowercase else "".join(TEXTS))
    scored = [(token, 0.0) for token in first] + [("▁", -4.0)]
    scored += [(piece, -3 - 0.01 * index) for index, piece in enumerate(pieces)]
    scored += [(letter, -6 - 0.01 * index) for index, letter in enumerate(sorted(letters - {" "}))]
    scored += [(token, 0.0) for token in last]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=list(first).index("<unk>"), byte_fallback=False))
    spaces = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


# --- tokenizers: what is published of each beside its vocabulary -----------------------------------------------------

_BRACKETS = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
_ANGLES = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>",
           "pad_token": "<pad>", "mask_token": "<mask>"}  # fmt: skip
_SENTINELS = [f"<extra_id_{index}>" for index in range(99, -1, -1)]
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Tokens:
    """A tokenizer as its files give it: the vocabulary, what stands around a text, special tokens, settings."""

    vocabulary: Callable[[], Tokenizer]
    around: str  # "[CLS] $A [SEP]"
    special: dict[str, str]
    config: dict[str, Any]

    def save(self, folder: Path) -> Tokenizer:
        """Write tokenizer.json and the files that stand beside it."""
        tokenizer = self.vocabulary()
        named = {word: tokenizer.token_to_id(word) for word in self.around.split() if word != "$A"}
        if self.config["tokenizer_class"] in ("RobertaTokenizer", "BartTokenizer"):
            tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        elif named:
            tokenizer.post_processor = processors.TemplateProcessing(
                single=self.around, special_tokens=[*named.items()]
            )
        else:
            tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
        tokenizer.add_special_tokens(sorted(set(self.special.values()), key=tokenizer.token_to_id))
        tokenizer.save(str(folder / "tokenizer.json"))
        _write_json(folder / "tokenizer_config.json", {"model_max_length": 512, **self.special, **self.config})
        _write_json(folder / "special_tokens_map.json", self.special)
        model = json.loads(tokenizer.to_str())["model"]
        if model["type"] == "WordPiece":
            (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in model["vocab"]), encoding="utf-8")
        if model["type"] == "BPE" and self.config["tokenizer_class"] != "PreTrainedTokenizerFast":
            _write_json(folder / "vocab.json", model["vocab"])
            merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
            (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
        return tokenizer


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def _bert_tokens(kind: str) -> Tokens:
    first = ["[PAD]", *(f"[unused{index}]" for index in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = lambda: _word_piece(first, [], "[UNK]")  # noqa: E731
    return Tokens(vocabulary, "[CLS] $A [SEP]", _BRACKETS, {"do_lower_case": True, "tokenizer_class": kind})


def _mpnet_vocabulary() -> Tokenizer:
    """[UNK] is BERT's, <unk> is there beside it."""
    first = ["<s>", "<pad>", "</s>", "<unk>", *(f"[unused{index}]" for index in range(100)), "[UNK]"]
    return _word_piece(first, ["<mask>"], "[UNK]")


def _roberta_vocabulary() -> Tokenizer:
    """<mask> stands at the end of the vocabulary itself, not only among the added tokens."""
    tokenizer = _byte_pairs(["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"])
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"]["<mask>"] = tokenizer.token_to_id("<mask>")
    return Tokenizer.from_str(json.dumps(state))


def _albert_vocabulary() -> Tokenizer:
    tokenizer = _unigram(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], [], lowercase=True)
    steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD()]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.StripAccents(), normalizers.Lowercase()])
    return tokenizer


def _composed(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _qwen_tokens(end: str, **config: Any) -> Tokens:
    """Pad = EOS = <|endoftext|>; stella appends it to each text."""
    added = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = lambda: _composed(_byte_pairs([], added, _QWEN_SPLIT))  # noqa: E731
    special = {"eos_token": added[0], "pad_token": added[0]}
    usual = {"add_prefix_space": False, "bos_token": None, "unk_token": None, "additional_special_tokens": added[1:],
             "errors": "replace", "model_max_length": 32768, "tokenizer_class": "Qwen2Tokenizer"}  # fmt: skip
    return Tokens(vocabulary, f"$A {end}", special, usual | config)


_BART = {"tokenizer_class": "BartTokenizer", "model_max_length": 1024}
_MODERN = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"],
           "model_max_length": 8192}  # fmt: skip
_MODERN_ADDED = ["<|endoftext|>", "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
_ALBERT_SPECIAL = {"bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "pad_token": "<pad>"}
TOKENS = {
    "bert": _bert_tokens("BertTokenizer"),
    "distilbert": _bert_tokens("DistilBertTokenizer"),
    "mpnet": Tokens(
        _mpnet_vocabulary,
        "<s> $A </s>",
        _ANGLES | {"unk_token": "[UNK]"},
        {"do_lower_case": True, "tokenizer_class": "MPNetTokenizer"},
    ),
    "roberta": Tokens(_roberta_vocabulary, "<s> $A </s>", _ANGLES, {"tokenizer_class": "RobertaTokenizer"}),
    "bart": Tokens(_roberta_vocabulary, "<s> $A </s>", _ANGLES, _BART),
    "xlm-roberta": Tokens(
        lambda: _unigram(["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"]),
        "<s> $A </s>",
        _ANGLES,
        {"tokenizer_class": "XLMRobertaTokenizer"},
    ),
    "albert": Tokens(
        _albert_vocabulary,
        "[CLS] $A [SEP]",
        _BRACKETS | _ALBERT_SPECIAL,
        {"do_lower_case": True, "keep_accents": False, "tokenizer_class": "AlbertTokenizer"},
    ),
    "t5": Tokens(
        lambda: _unigram(["<pad>", "</s>", "<unk>"], _SENTINELS),
        "$A </s>",
        {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        {"extra_ids": 100, "tokenizer_class": "T5Tokenizer"},
    ),
    "modernbert": Tokens(lambda: _composed(_byte_pairs([], _MODERN_ADDED)), "[CLS] $A [SEP]", _BRACKETS, _MODERN),
    "qwen2": _qwen_tokens(""),
    "stella": _qwen_tokens(
        "<|endoftext|>",
        add_eos_token=True,
        auto_map={"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", "tokenization_qwen.Qwen2TokenizerFast"]},
    ),
}
