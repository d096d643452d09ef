"""Controls for a sentence encoder: what its scores owe to shared words, to length, to its vocabulary or its shape."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stlib import Projection, SentenceEncoder, SentenceTransformer
from stlib.backbone import Backbone

Floats = NDArray[np.floating]
Scorer = Callable[[Sequence[str]], Floats]
"""Queries [q] -> their scores [q, p] with the texts that were indexed."""

# ------------------------------------------------------------------------------------------------ counting words


def bm25(queries: Sequence[str], texts: Sequence[str], *, stemmed: bool = True) -> Floats:
    """BM25 of each text for each query (Robertson and Zaragoza 2009), by `bm25s` as it is by default: [q, p] float32.

    English stop words are left out and words cut to their English stems, so it is at its best in English; a query
    without a known word scores 0 throughout.

    Args:
        stemmed: words count by their stems (Snowball), so that "arrays" finds "array"; else as they are spelled.
    """
    return bm25_index(texts, stemmed=stemmed)(queries)


def bm25_index(texts: Sequence[str], *, stemmed: bool = True) -> Scorer:
    """`bm25` in two steps: the texts are indexed once, then asked as often as one likes."""
    import bm25s

    stem = stemmer() if stemmed else None

    def words(given: Sequence[str]) -> list[list[str]]:
        return list(bm25s.tokenize(list(given), stemmer=stem, return_ids=False, show_progress=False))

    retriever, indexed = bm25s.BM25(), words(texts)
    if any(indexed):  # else stop words and punctuation throughout
        retriever.index(indexed, show_progress=False)
    known = retriever.vocab_dict if any(indexed) else {}

    def scores(queries: Sequence[str]) -> Floats:
        found = np.zeros((len(queries), len(texts)), np.float32)
        for row, query in zip(found, words(queries), strict=True):
            if any(word in known for word in query):
                row[:] = retriever.get_scores(query)
        return found

    return scores


def stemmer() -> Callable[[Sequence[str]], list[str]]:
    """Words in lower case -> their English stems, by the rules of Snowball (Porter 2001)."""
    import snowballstemmer

    cut: Callable[[Sequence[str]], list[str]] = snowballstemmer.stemmer("english").stemWords
    return cut


def tfidf(queries: Sequence[str], texts: Sequence[str]) -> Floats:
    """Cosine of the TF-IDF vectors of queries and texts, words weighted by how many texts have them: [q, p] float32."""
    return tfidf_index(texts)(queries)


def tfidf_index(texts: Sequence[str]) -> Scorer:
    """`tfidf` in two steps: the texts are indexed once, then asked as often as one likes."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = _words(texts)
    if not any(words):
        return lambda queries: np.zeros((len(queries), len(words)), np.float32)
    vectors = TfidfVectorizer(analyzer=list, dtype=np.float32)
    passages = vectors.fit_transform(words)
    return lambda queries: np.asarray((vectors.transform(_words(queries)) @ passages.T).toarray())


def tfidf_vectors(texts: Sequence[str]) -> Floats:
    """TF-IDF vectors of the texts, each word weighted by how many of them have it: unit vectors [n, words] float32."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = _words(texts)
    if not any(words):  # punctuation throughout
        return np.zeros((len(words), 1), np.float32)
    return np.asarray(TfidfVectorizer(analyzer=list, dtype=np.float32).fit_transform(words).toarray())


def tfidf_similarity(sentences1: Iterable[str], sentences2: Iterable[str]) -> Floats:
    """Cosine of the TF-IDF vectors of each pair, fitted on all of them: `[n]`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words1, words2 = _words(sentences1), _words(sentences2)
    if not any(words1 + words2):  # punctuation throughout
        return np.zeros(len(words1))
    vectors = TfidfVectorizer(analyzer=list).fit_transform(words1 + words2)
    first, second = vectors[: len(words1)], vectors[len(words1) :]
    return np.asarray(first.multiply(second).sum(axis=1), dtype=float).ravel()


def jaccard_similarity(sentences1: Iterable[str], sentences2: Iterable[str]) -> Floats:
    """Share of the words of each pair that are in both sentences: `[n]`, 0 where there are none."""
    pairs = [(set(a), set(b)) for a, b in zip(_words(sentences1), _words(sentences2), strict=True)]
    return np.array([len(a & b) / max(1, len(a | b)) for a, b in pairs])


def length_ratio(sentences1: Iterable[str], sentences2: Iterable[str]) -> Floats:
    """Words in the shorter sentence of each pair over words in the longer: `[n]`, 1 where both have none."""
    lengths = [(len(a), len(b)) for a, b in zip(_words(sentences1), _words(sentences2), strict=True)]
    return np.array([min(pair) / max(pair) if max(pair) else 1.0 for pair in lengths])


def _words(sentences: Iterable[str]) -> list[list[str]]:
    return [re.findall(r"\w+", sentence.lower()) for sentence in sentences]


# ------------------------------------------------------------------------------------------------ models without


def input_embeddings(encoder: SentenceEncoder, texts: Sequence[str], *, centre: bool = True) -> Floats:
    """The average of each text's input embeddings, special tokens left out: n texts -> unit vectors [n, H].

    A bag of words in the model's own vocabulary: what the layers add is the difference to it.

    Args:
        centre: take away the mean vector of these texts before scaling to unit length, which makes a stronger control:
            most of what all texts share is the direction of frequent words. Give queries and passages in one call.
    """
    table = encoder.model.backbone.encoder.get_input_embeddings().weight.detach().float().cpu().numpy()
    special = set(encoder.tokenizer.all_special_ids)
    ids = encoder.tokenizer(list(texts), add_special_tokens=True, truncation=True, max_length=encoder.max_length)[
        "input_ids"
    ]
    rows = [[token for token in row if token not in special] for row in ids]
    vectors = np.stack([table[row].mean(axis=0) if row else np.zeros(table.shape[1], np.float32) for row in rows])
    if centre:
        vectors = vectors - vectors.mean(axis=0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def random_weights(model: SentenceTransformer, seed: int = 0) -> SentenceTransformer:
    """The same architecture, tokenizer and pooling as `model`, its weights as the family initialises them.

    Shared words alone carry signal through random weights, so this control is not at chance.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blank = type(model.backbone.model)(copy.deepcopy(model.backbone.config)).eval()
        projection = [
            Projection(part.in_features, part.out_features, part.linear.bias is not None, part.activation)
            for part in model.projections
        ]
    return SentenceTransformer(
        Backbone(blank, model.backbone.pad_id), model.tokenizer, pooling=model.pooling, projection=projection,
        normalize=model.normalize, max_length=model.max_length,
    ).eval()  # fmt: skip


def untrained_bert(encoder: SentenceEncoder, seed: int = 0) -> SentenceEncoder:
    """A ruler for cost: BERT of the base size (12 layers, 768 wide), untrained, with `encoder`'s tokenizer and limit.

    Both then compute the same token ids, and how long a model takes does not depend on what it was trained for.
    """
    from transformers import BertConfig, BertModel

    model, limit = encoder.model, encoder.max_length
    config = BertConfig(vocab_size=model.backbone.config.vocab_size, max_position_embeddings=max(512, limit))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blank = BertModel(config, add_pooling_layer=False).eval()
    bert = SentenceTransformer(Backbone(blank, model.backbone.pad_id), model.tokenizer, max_length=limit).eval()
    device = next(model.parameters()).device
    return SentenceEncoder(bert, device=device, truncation="ignore")
