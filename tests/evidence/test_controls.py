"""The controls know nothing of meaning: what each of them does see, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, build

from stlib import SentenceEncoder
from stlib.evidence.controls import (
    bm25,
    input_embeddings,
    jaccard_similarity,
    length_ratio,
    random_weights,
    tfidf,
    tfidf_similarity,
    tfidf_vectors,
    untrained_bert,
)

PASSAGES = ["The dog sleeps on the warm sofa.", "Bread rises in the oven.", "A dog and another dog chase the cat."]
QUERIES = ["Does bread rise in an oven?", "sleeping DOG on a sofa", "?!", "quantum"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    return SentenceEncoder(build("minilm", tmp_path_factory.mktemp("controls") / "tiny"), device="cpu")


# ------------------------------------------------------------------------------------------------ counting words


@pytest.mark.parametrize("score", [bm25, tfidf])
def test_shared_words_rank_the_passages(score: object) -> None:
    scores = score(QUERIES, PASSAGES)  # type: ignore[operator]
    assert scores.shape == (4, 3) and scores.dtype == np.float32
    assert scores[0].argmax() == 1 and scores[1].argmax() == 0, "whatever their case"
    assert (scores[2:] == 0).all(), "a query of no word, or of none that is known"
    assert scores[1, 1] == 0 < scores[1, 2] < scores[1, 0]


@pytest.mark.parametrize("score", [bm25, tfidf])
def test_texts_without_words_score_nothing(score: object) -> None:
    for texts in (["", "?!"], ["...", "!"]):
        assert score(["any words"], texts).tolist() == [[0.0, 0.0]]  # type: ignore[operator]


def test_bm25_follows_its_formula() -> None:
    """Lucene's weights, k1 = 1.5, b = 0.75: one query word, two texts of two and four words, one occurrence in each."""
    texts = ["apple pear", "apple plum cherry grape"]
    idf = np.log(1 + (2 - 2 + 0.5) / (2 + 0.5))
    expected = [idf / (1 + 1.5 * (1 - 0.75 + 0.75 * length / 3)) for length in (2, 4)]
    np.testing.assert_allclose(bm25(["apple"], texts)[0], expected, rtol=1e-5)


def test_bm25_knows_the_forms_of_a_word_unless_it_is_told_not_to() -> None:
    texts = ["sorting arrays", "an array, sorted", "a generalisation"]
    assert (bm25(["sort an array"], texts)[0] > 0).tolist() == [True, True, False]
    spelled = bm25(["sort an array", "arrays"], texts, stemmed=False)
    assert (spelled > 0).tolist() == [[False, True, False], [True, False, False]]


def test_tfidf_is_a_cosine_and_rare_words_weigh_more() -> None:
    scores = tfidf(PASSAGES, PASSAGES)
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-6)
    common, rare = tfidf(["dog", "oven"], ["dog cat", "oven cat", "dog"])[:, [0, 1]].diagonal()
    assert rare > common


def test_tfidf_vectors_are_of_unit_length_and_give_the_similarity() -> None:
    vectors = tfidf_vectors(PASSAGES)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors @ vectors.T, tfidf(PASSAGES, PASSAGES), atol=1e-6)
    assert (tfidf_vectors(["!", "?"]) == 0).all()


def test_pairs_are_compared_by_words_alone() -> None:
    one = ["A dog runs.", "a DOG runs", "!", "a b c d"]
    other = ["A dog runs!", "No bread", "?", "a b x y"]
    assert jaccard_similarity(one, other).tolist() == [1, 0, 0, 2 / 6]
    assert length_ratio(one, other).tolist() == [1, 2 / 3, 1, 1]
    similarity = tfidf_similarity(one, other)
    assert similarity[0] == pytest.approx(1) and similarity[1] == similarity[2] == 0 and 0 < similarity[3] < 1
    assert tfidf_similarity(["!"], ["?"]).tolist() == [0]


# ------------------------------------------------------------------------------------------------ models without


def test_input_embeddings_are_bags_of_words(encoder: SentenceEncoder) -> None:
    texts = ["the dog sleeps", "sleeps the dog", "bread rises"]
    vectors = input_embeddings(encoder, texts, centre=False)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert vectors[0] @ vectors[2] < 0.999
    table = encoder.model.backbone.encoder.get_input_embeddings().weight.detach().numpy()
    ids = encoder.tokenizer("bread rises", add_special_tokens=False)["input_ids"]
    mean = table[ids].mean(axis=0)
    np.testing.assert_allclose(vectors[2], mean / np.linalg.norm(mean), atol=1e-5)


def test_centred_input_embeddings_lose_what_all_texts_share(encoder: SentenceEncoder) -> None:
    plain, centred = (input_embeddings(encoder, TEXTS, centre=centre) for centre in (False, True))
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1, atol=1e-5)
    assert np.linalg.norm(centred.mean(axis=0)) < np.linalg.norm(plain.mean(axis=0)) / 2
    np.testing.assert_array_equal(centred, input_embeddings(encoder, TEXTS))


def test_a_text_without_tokens_is_finite(encoder: SentenceEncoder) -> None:
    vectors = input_embeddings(encoder, ["", "the dog"], centre=False)
    assert (vectors[0] == 0).all() and np.isfinite(input_embeddings(encoder, ["", ""])).all()


def _weights(model: torch.nn.Module) -> Sequence[torch.Tensor]:
    return [weight for name, weight in model.named_parameters() if weight.dim() == 2]


def test_random_weights_keep_all_but_the_weights(encoder: SentenceEncoder) -> None:
    state = torch.random.get_rng_state()
    blank, again, other = (random_weights(encoder.model, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state), "nobody else's random numbers are used up"
    shapes = [[weight.shape for weight in _weights(model)] for model in (blank, encoder.model)]
    assert shapes[0] == shapes[1] and blank.tokenizer is encoder.tokenizer
    assert all(torch.equal(a, b) for a, b in zip(_weights(blank), _weights(again), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(_weights(blank), _weights(encoder.model), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(_weights(blank), _weights(other), strict=True))
    vectors = SentenceEncoder(blank, device="cpu").encode(TEXTS[:3])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_ruler_for_cost_computes_the_same_tokens(encoder: SentenceEncoder) -> None:
    ruler = untrained_bert(encoder)
    assert ruler.token_counts(TEXTS) == encoder.token_counts(TEXTS) and ruler.max_length == encoder.max_length
    assert ruler.dimension == 768 and len(ruler.model.backbone.encoder.encoder.layer) == 12
