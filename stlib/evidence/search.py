"""`python -m stlib search FOLDER_OR_FILE`: type a query, see what is found and why.

A folder of .md, .rst and .txt files is cut at its headings and into chunks; a table gives a passage a row. Chunks are
encoded once and kept in the cache, each under the hash of its words: when files change, only what is new is encoded.
Vectors and BM25 each rank all chunks, and the two ranks are fused. The search is exact: one product of matrices.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stlib import hub
from stlib.checks import positive_integer
from stlib.encoder import SentenceEncoder
from stlib.evidence.controls import bm25_index, stemmer
from stlib.evidence.estimate import Floats
from stlib.evidence.sections import sections
from stlib.evidence.vectors import cache_folder
from stlib.files import in_place_of
from stlib.tables import SUFFIXES, read_texts

CHUNK_WORDS, OVERLAP = 120, 30
FUSION = 60
"""Of reciprocal rank fusion: how little the first ranks differ (Cormack et al. 2009)."""
AT_ONCE = 1024
"""Chunks that are encoded and kept at a time: what a kill can cost."""


@dataclass(frozen=True)
class Found:
    """One passage: where it stands, how near it is, and its words that the query has too, in some form."""

    rank: int
    name: str
    cosine: float
    bm25: float
    words: list[str]
    text: str


def chunks(source: str | Path, column: str = "text") -> Iterator[tuple[str, str]]:
    """Name and text of each passage of a folder, or of a column of a table.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: nothing to search in, or something in a file is wrong.
    """
    path = Path(source)
    if path.is_dir():
        for section in sections(path, sys.maxsize):
            words, title = section.text.split(), " > ".join(section.titles)
            for start in range(0, max(1, len(words) - OVERLAP), CHUNK_WORDS - OVERLAP):
                yield f"{section.file}#{title}", " ".join(words[start : start + CHUNK_WORDS])
        return
    if not path.is_file():
        raise FileNotFoundError(f"no such file or folder: {source}")
    row = 1
    for texts in read_texts(path, column):
        for text in texts:
            yield f"{path.name}#{row}", text
            row += 1


class Index:
    """Passages that can be asked. ValueError: fewer than two of them."""

    def __init__(self, encoder: SentenceEncoder, passages: Iterable[tuple[str, str]]) -> None:
        pairs = [(name, text) for name, text in passages if text.strip()]
        if len(pairs) < 2:
            raise ValueError(
                f"expected at least 2 passages with text in {', '.join(SUFFIXES)} or a folder, got {len(pairs)}"
            )
        self.names, self.texts = [name for name, _ in pairs], [text for _, text in pairs]
        self.encoder = encoder
        self.vectors = kept_vectors(encoder, self.texts)
        self._bm25 = bm25_index(self.texts)

    def search(self, query: str, k: int = 5) -> list[Found]:
        """The k best by the sum of 1 / (60 + rank) over vectors and BM25. ValueError: k is below 1."""
        positive_integer("k", k)
        cosine = self.vectors @ self.encoder.encode(query)
        words = self._bm25([query])[0]
        score = 1 / (FUSION + _ranks(cosine)) + np.where(words > 0, 1 / (FUSION + _ranks(words)), 0)
        asked = set(_stems(query).values())
        found = []
        for rank, row in enumerate(np.argsort(-score, kind="stable")[:k].tolist(), 1):
            same = [word for word, stem in _stems(self.texts[row]).items() if stem in asked]
            found.append(Found(rank, self.names[row], float(cosine[row]), float(words[row]), same, self.texts[row]))
        return found


def _stems(text: str) -> dict[str, str]:
    """Each word of a text, in the order in which they come, and its stem, by which BM25 knows it."""
    words = list(dict.fromkeys(re.findall(r"\w+", text.lower())))
    return dict(zip(words, stemmer()(words), strict=True))


def _ranks(scores: Floats) -> Floats:
    """1 for the highest."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks


def kept_vectors(encoder: SentenceEncoder, texts: Sequence[str]) -> Floats:
    """Vectors [n, D], of which only those are computed that the cache does not have under the words of their text."""
    recipe = f"{encoder.identity()} {encoder.model.prompt()}"
    file = cache_folder() / "search" / f"{hashlib.sha256(recipe.encode()).hexdigest()[:32]}.npz"
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32] for text in texts]
    known: dict[str, Floats] = {}
    with contextlib.suppress(Exception), np.load(file, allow_pickle=False) as saved:  # not there, or damaged
        known = dict(zip(saved["keys"].tolist(), saved["vectors"], strict=True))
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    for start in range(0, len(new), AT_ONCE):
        part = list(new)[start : start + AT_ONCE]
        known |= dict(zip(part, encoder.encode([new[key] for key in part]), strict=True))
        with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to stop
            file.parent.mkdir(parents=True, exist_ok=True)
            with in_place_of(file) as fresh:
                np.savez(fresh, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
    return np.stack([known[key] for key in keys])


# -------------------------------------------------------------------------------------------------------- the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=f"a folder of .md, .rst and .txt files, or a file: {', '.join(SUFFIXES)}")
    parser.add_argument("--column", default="text", help="of a table, the column to search in (text)")
    parser.add_argument("--model", default=hub.DEFAULT_MODEL, help="a hub name or a folder (%(default)s)")
    parser.add_argument("--query", action="append", default=[], help="ask this and end; may be given more than once")
    parser.add_argument("--top", type=int, default=5, help="how many to show (5)")
    parser.add_argument("--json", action="store_true", help="a line of JSON a query, for pipes")


def main(args: argparse.Namespace) -> int:
    """0 when all is answered, 2 when there is nothing to search in."""
    try:
        if args.top < 1:
            raise ValueError(f"--top: expected at least 1, got {args.top}")
        passages = list(chunks(args.source, args.column))
        index = Index(SentenceEncoder(args.model, truncation="ignore"), passages)
    except (ValueError, OSError) as error:
        print(f"search: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{len(index.texts):,} passages", file=sys.stderr)
    prompt, limit = index.encoder.model.prompt(), index.encoder.max_length
    if long := sum(n > limit for n in index.encoder.token_counts([prompt + text for text in index.texts])):
        told = f"{long:,} of {len(index.texts):,} passages are longer than the {limit} tokens that the model reads"
        print(f"warning: {told}; what lies beyond is found by its words alone", file=sys.stderr)
    for query in args.query or _typed():
        found = index.search(query.encode("utf-8", "replace").decode(), args.top)  # a byte that is no text is a "?"
        if args.json:
            print(json.dumps({"query": query, "found": [asdict(one) for one in found]}, ensure_ascii=False), flush=True)
        else:
            print("\n".join(map(_shown, found)), flush=True)
    return 0


def _typed() -> Iterator[str]:
    """Lines from the keyboard or a pipe, until an empty one."""
    while True:
        if sys.stdin.isatty():
            print("query> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line


def _shown(one: Found) -> str:
    snippet = one.text if len(one.text) <= 160 else one.text[:159].rstrip() + "…"
    words = f"  words: {', '.join(one.words[:8])}" if one.words else ""
    return f"{one.rank}. {one.name}  cosine {one.cosine:.2f}, BM25 {one.bm25:.1f}{words}\n   {snippet}"
