"""The trials of lesson 04 on vectors whose truth is known: each comes out either way, or says that it was not tried."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import checkpoints
import numpy as np
import pytest
import torch

from stlib import SentenceEncoder
from stlib.evidence.claims import Claim
from stlib.evidence.experiments import normalisation
from stlib.evidence.passages import Passages
from stlib.evidence.vectors import unit

COUNT = 900
"""So many that a point more or less is told apart even where all queries agree."""


def passages(texts: list[str]) -> Passages:
    """Each text answers itself."""
    count = len(texts)
    own = [{number} for number in range(count)]
    return Passages(
        queries=texts, texts=texts, relevant=own, grades=[{number: 2.0} for number in range(count)],
        labels=[""] * count, query_labels=[""] * count, names=texts, attrs={"has_label": False},
    )  # fmt: skip


POOL = passages([str(number) for number in range(COUNT)])


def raw(spread: float, width: int = 24, noise: float = 0.8, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Queries near their own passages, whose lengths differ by `spread` (of the logarithm)."""
    rng = np.random.default_rng(0)
    directions = unit(rng.standard_normal((count, width)))
    near = unit(directions + noise * unit(rng.standard_normal((count, width))))
    lengths = np.exp(spread * rng.standard_normal((count, 1)))
    return near.astype(np.float32), (directions * lengths).astype(np.float32)


def verdict(claim: str, estimate: object) -> str:
    return Claim.decide(claim, estimate).verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(("spread", "expected"), [(0.0, "does not hold"), (0.8, "holds")])
def test_dot_products_and_distances_lose_where_lengths_differ(spread: float, expected: str) -> None:
    found = normalisation.by_metric(*raw(spread), POOL)
    assert verdict("dot-suffers-without-norm", found["cosine"] - found["dot product"]) == expected
    assert verdict("euclid-suffers-without-norm", found["cosine"] - found["Euclidean distance"]) == expected


def test_cosine_does_not_see_the_length_of_either_side() -> None:
    found = [normalisation.by_metric(*raw(spread), POOL)["cosine"].value for spread in (0.0, 0.8)]
    assert found[0] == found[1]


def test_distance_goes_by_the_length_of_the_queries_and_ends_as_a_dot_product() -> None:
    queries, texts = raw(0.5)
    short, long = normalisation.queries_stretched(queries, texts, POOL, [0.3, 1e4])
    assert short.value < long.value
    assert long.value == normalisation.by_metric(queries, texts, POOL)["dot product"].value


@pytest.mark.parametrize(("spread", "expected"), [(0.0, "does not hold"), (0.6, "holds")])
def test_hubs_come_with_lengths_that_differ(spread: float, expected: str) -> None:
    estimate = normalisation.more_hubs_by_dot(raw(spread, count=600)[1])
    assert estimate is not None and verdict("dot-makes-hubs", estimate) == expected


def test_hubs_are_not_counted_in_a_small_pool() -> None:
    assert normalisation.more_hubs_by_dot(raw(0.5, count=200)[1]) is None


def test_lengths_of_texts_matter_less_in_pools_of_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, texts = raw(0.8)
    by_length = np.argsort(np.argsort(np.linalg.norm(texts, axis=1)))
    monkeypatch.setattr(normalisation, "raw_vectors", lambda encoder, passages: (queries, texts))
    monkeypatch.setattr(normalisation, "tokens", lambda encoder, texts: by_length)
    found = normalisation.in_fifths(None, POOL)  # type: ignore[arg-type]
    assert found["pools of one length"].value < found["pools of all lengths"].value / 2
    assert found["pools of one length"].units == COUNT


# ---------------------------------------------------------------------------------------------------------- few bytes


def test_int8_is_within_half_a_step_and_cuts_what_lies_beyond() -> None:
    vectors = raw(0.0)[1]
    scale = normalisation.int8_scale(vectors)
    codes = normalisation.int8(vectors, scale)
    assert codes.dtype == np.int8 and np.abs(codes).max() == 127
    assert (np.abs(codes * scale - vectors) <= scale / 2 + 1e-7).all()
    assert (normalisation.int8(10 * vectors, scale) == np.where(vectors > 0, 127, -127))[np.abs(codes) > 20].all()


def test_a_dimension_of_zeros_is_stored_as_zeros() -> None:
    vectors = np.zeros((3, 2), dtype=np.float32)
    assert (normalisation.int8(vectors, normalisation.int8_scale(vectors)) == 0).all()


@pytest.mark.parametrize(("width", "expected"), [(8, "holds"), (512, "does not hold")])
def test_bits_cost_where_they_are_few(width: int, expected: str) -> None:
    found = normalisation.by_precision(*raw(0.0, width), POOL)
    assert verdict("bits-cost-quality", -normalisation.loss_in(found, "bits")) == expected
    assert verdict("int8-loses-nothing", normalisation.loss_in(found, "int8")) == "holds"


def test_int8_loses_where_one_vector_sets_the_scale_for_all() -> None:
    queries, texts = raw(0.0, noise=1.5)
    texts[0] *= 2000
    found = normalisation.by_precision(queries, texts, POOL)
    assert verdict("int8-loses-nothing", normalisation.loss_in(found, "int8")) == "does not hold"


def test_rescoring_mends_bits_with_candidates_enough_and_not_with_few() -> None:
    queries, texts = raw(0.0, 16)
    exact = normalisation.by_precision(queries, texts, POOL)["float32"]
    assert verdict("rescoring-mends-bits", normalisation.rescored(queries, texts, POOL, COUNT) - exact) == "holds"
    assert verdict("rescoring-mends-bits", normalisation.rescored(queries, texts, POOL, 10) - exact) == "does not hold"


def test_signs_rank_as_the_hamming_distance_does() -> None:
    vectors = raw(0.0)[1]
    signs, bits = normalisation.signs(vectors), np.packbits(vectors > 0, axis=1)
    differ = np.bitwise_count(bits ^ bits[0]).sum(axis=1)
    assert (signs @ signs[0] == vectors.shape[1] - 2 * differ.astype(int)).all()


def test_the_share_of_neighbours_is_whole_for_the_same_vectors_and_grows_with_candidates() -> None:
    vectors = raw(0.0, 16)[1]
    assert normalisation.shared(vectors, vectors) == 100
    few, many = (normalisation.shared(vectors, normalisation.signs(vectors), count) for count in (10, 60))
    assert few < many < 100


def test_normalising_last_is_better_where_much_is_cut() -> None:
    queries, texts = raw(0.3, 64)
    found = normalisation.orders(queries, texts, POOL, [8, 64])
    first, last = found["normalise, then cut"], found["cut, then normalise"]
    assert (last[0] - first[0]).interval()[0] > 0
    assert (last[1] - first[1]).value == 0


# ---------------------------------------------------------------------------------------------------------- precision


def test_errors_do_not_depend_on_the_length_but_at_the_ends_of_the_range() -> None:
    vectors = raw(0.0)[1]
    error = {size: normalisation.product_error(vectors * size, torch.float16) for size in (1e-5, 0.1, 10.0, 1e6)}
    assert error[10.0] == pytest.approx(error[0.1], rel=0.1)
    assert error[1e-5] > 10 * error[0.1]
    assert np.isnan(error[1e6])
    assert np.isnan(normalisation.product_error(vectors * 1000, torch.float16, products_too=True))
    assert normalisation.product_error(vectors * 1e6, torch.bfloat16) < 0.01


# -------------------------------------------------------------------------------------------------------- of a model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    folder: Path = checkpoints.build("bert", tmp_path_factory.mktemp("models") / "tiny")
    return SentenceEncoder(folder, truncation="ignore")


def test_raw_vectors_have_the_direction_of_the_encoders_and_lengths_of_their_own(tiny: SentenceEncoder) -> None:
    found = normalisation.raw(tiny, checkpoints.TEXTS)
    assert np.allclose(unit(found), tiny.encode(checkpoints.TEXTS), atol=1e-5)
    assert np.ptp(np.linalg.norm(found, axis=1)) > 1e-3


@pytest.mark.parametrize(
    ("sign", "noise", "expected"), [(-1, 0.1, "holds"), (1, 0.1, "holds"), (1, 50, "does not hold")]
)
def test_the_norm_follows_the_length_in_either_direction_or_not(
    monkeypatch: pytest.MonkeyPatch, sign: int, noise: float, expected: str
) -> None:
    counts, rng = np.arange(5, 5 + COUNT), np.random.default_rng(0)
    norms = 20 + sign * counts / COUNT + noise * rng.random(COUNT)
    monkeypatch.setattr(normalisation, "raw", lambda encoder, texts: norms[:, None])
    encoder = SimpleNamespace(token_counts=lambda texts: counts, max_length=10_000)
    estimate = normalisation.norm_and_length(encoder, POOL)  # type: ignore[arg-type]
    assert estimate is not None and verdict("norm-follows-length", estimate) == expected


def test_norm_and_length_are_not_compared_where_all_texts_are_equally_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalisation, "raw", lambda encoder, texts: raw(0.5)[1])
    encoder = SimpleNamespace(token_counts=lambda texts: [7] * COUNT, max_length=512)
    assert normalisation.norm_and_length(encoder, POOL) is None  # type: ignore[arg-type]


def test_texts_grow_only_where_they_are_long_enough(tiny: SentenceEncoder) -> None:
    text = " ".join(checkpoints.TEXTS)
    grown = normalisation.growing(tiny, [text, "Tomatoes", text.lower()])
    assert list(grown) == list(normalisation.WORDS) and all(lengths.shape == (2,) for lengths in grown.values())
    assert normalisation.growing(tiny, ["Tomatoes"]) == {}


def test_the_reference_holds_plain_numbers(tiny: SentenceEncoder) -> None:
    texts = [f"{' '.join(checkpoints.TEXTS[number % 12 :])} {number}" for number in range(220)]
    found = normalisation.reference(SimpleNamespace(encoder=tiny, passages=passages(texts)))  # type: ignore[arg-type]
    assert found["most_often"]["cosine"] >= 10
    assert all(isinstance(value, float | int) for group in found.values() for value in group.values())
