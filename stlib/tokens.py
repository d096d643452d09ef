"""Texts into token ids: cut where they are too long, grouped by length. Nothing is ever padded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stlib.files import as_value_error, warn

TRUNCATION = ("warn", "error", "ignore")
# Texts are turned into ids this many at a time: the tokenizer's own objects are fifty times as large as the ids.
_TEXTS_AT_ONCE = 2048
FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")


def load_tokenizer(folder: Path, *, lower_case: bool = False) -> Any:
    """The Hugging Face tokenizer in a model's folder. No code in it is run.

    Args:
        lower_case: lower each text before anything else is done to it.

    Raises:
        ValueError: the folder holds no tokenizer, or one that cannot be read.
    """
    from transformers import AutoTokenizer

    found = [name for name in FILES if (folder / name).is_file()]
    if not found:  # transformers would make up an empty one
        raise ValueError(f"{folder} holds no tokenizer: none of {', '.join(FILES)}")
    with as_value_error(f"{folder}: its tokenizer, {found[0]} cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if lower_case and "Lowercase()" not in str(tokenizer.backend_tokenizer.normalizer):  # there already, once saved
        from tokenizers.normalizers import Lowercase, Sequence

        usual = tokenizer.backend_tokenizer.normalizer
        tokenizer.backend_tokenizer.normalizer = Sequence([Lowercase(), *([usual] if usual else [])])
    return tokenizer


def save_tokenizer(tokenizer: Any, folder: Path, max_length: int) -> None:
    """Write the tokenizer with its limit; fixed truncation and padding would overrule that limit and are left out."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.init_kwargs.pop("auto_map", None)  # a saved model needs no code of its own
    _without_limits(getattr(tokenizer, "backend_tokenizer", None))
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(folder)


def _without_limits(rust: Any) -> Any:
    """What does a tokenizer's work in Rust, set to neither cut nor pad; `None` where there is only Python."""
    if not hasattr(rust, "encode_batch_fast"):
        return None
    rust.no_truncation()
    rust.no_padding()
    return rust


def _settings(tokenizer: Any) -> list[Any]:
    """What changes when the tokenizer does, as far as that is quickly read: of its vocabulary, the size."""
    rust = getattr(tokenizer, "backend_tokenizer", None)
    parts = [getattr(rust, name, None) for name in ("normalizer", "pre_tokenizer", "post_processor")]
    special = getattr(rust, "encode_special_tokens", None)
    return [rust, len(tokenizer), special, *(part and part.__getstate__() for part in parts)]


class BareTokenizer:
    """Texts -> token ids, special tokens included, nothing padded, cut only where it is told to.

    It works on a copy: the tokenizer itself may come with limits of its own (MiniLM's cuts and pads to 128), and keeps
    those that its last caller asked for.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self._settings = tokenizer, _settings(tokenizer)
        self._rust = _without_limits(copy.deepcopy(getattr(tokenizer, "backend_tokenizer", None)))
        if self._rust is not None:
            self._rust.encode_special_tokens = tokenizer.backend_tokenizer.encode_special_tokens  # copies forget it
            special = self._rust.encode("a").special_tokens_mask
        else:
            special = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
        self._before = special.index(0) if 0 in special else len(special)  # how many stand before and after a text
        self._after = sum(special[self._before :])

    def is_current(self, tokenizer: Any) -> bool:
        """Whether that is the tokenizer that was copied, and still as it was."""
        return tokenizer is self._tokenizer and _settings(tokenizer) == self._settings

    def identity(self) -> str:
        """All that decides the ids, and nothing that the tokenizer's last caller asked for."""
        words = self._rust.to_str() if self._rust is not None else sorted(self._tokenizer.get_vocab().items())
        special = getattr(self._rust, "encode_special_tokens", None)
        return f"{type(self._tokenizer).__name__} {self._tokenizer.truncation_side} {special} {words}"

    def whole(self, texts: list[str]) -> Iterator[np.ndarray]:
        """All ids of each text: int32 [T]."""
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            chunk = texts[start : start + _TEXTS_AT_ONCE]
            if self._rust is not None:
                rows = [encoding.ids for encoding in self._rust.encode_batch_fast(chunk)]
            else:
                rows = self._tokenizer(chunk, truncation=False)["input_ids"]
            yield from (np.asarray(row, dtype=np.int32) for row in rows)

    def cut(
        self, texts: list[str], limit: int, truncation: str, *, vocabulary: int | None = None, prompt: int = 0
    ) -> list[np.ndarray]:
        """Ids of each text, at most `limit` of them: int32 [T]. The first `prompt` of them are not cut.

        Raises:
            ValueError: a text has more, and `truncation` is "error"; or an id that is not below `vocabulary`, for a
                tokenizer may know more tokens than the model has embeddings for.
        """
        ids = list(self.whole(texts))
        longer = [index for index, row in enumerate(ids) if len(row) > limit]
        if longer and truncation == "error":
            first = f"sentences[{longer[0]}] has {len(ids[longer[0]])} tokens"
            raise ValueError(f"{first}, more than max_length={limit}; so have {len(longer)} of {len(texts)} texts")
        if longer and truncation == "warn":
            warn(f"{len(longer)} of {len(texts)} texts were truncated to {limit} tokens")
        for index in longer:
            ids[index] = self._cut(ids[index], limit, max(self._before, prompt))
        for index, row in enumerate(ids) if vocabulary and len(self._tokenizer) > vocabulary else ():
            if row.max(initial=0) >= vocabulary:
                raise ValueError(
                    f"sentences[{index}] holds token id {row.max()}, but the model has {vocabulary} embeddings"
                )
        return ids

    def _cut(self, ids: np.ndarray, limit: int, before: int) -> np.ndarray:
        """[T] -> [limit], as the tokenizer itself would: on its side of the text; special tokens stay if they fit."""
        room, end = limit - before - self._after, len(ids) - self._after
        if room < 0:
            return ids[:limit]
        start = end - room if self._tokenizer.truncation_side == "left" else before
        return np.concatenate([ids[:before], ids[start : start + room], ids[end:]])

    def prompt_length(self, prompt: str, limit: int) -> int:
        """How many tokens of a text belong to the prompt before it: all of its own but a closing special one.

        Raises:
            ValueError: they leave no room for a text in `limit`.
        """
        (ids,) = self.whole([prompt])
        length = len(ids) - bool(len(ids) and ids[-1] in self._tokenizer.all_special_ids)
        if length + self._after >= limit:
            raise ValueError(
                f"prompt has {length} tokens, which leaves none of max_length={limit} to a text; and as prompts are "
                "left out of this model's vectors (include_prompt=False), all would be alike"
            )
        return length


def batches(ids: list[np.ndarray], budget: int) -> Iterator[list[list[int]]]:
    """Batches of up to `budget` tokens, or one longer text: lists of groups, the row numbers of texts of equal length.

    Longest first, so that memory that does not suffice is noticed at once. Texts without a token are left out.
    """
    groups: dict[int, list[int]] = {}
    room = budget
    for row in sorted(range(len(ids)), key=lambda row: -len(ids[row])):
        length = len(ids[row])
        if room < length and groups:
            yield list(groups.values())
            groups, room = {}, budget
        if length:
            groups.setdefault(length, []).append(row)
            room -= length
    if groups:
        yield list(groups.values())
