"""The head computes in float32: whatever the model is moved to, and whatever the surroundings ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import HIDDEN, TEXTS
from reference import cosines

from stlib import Projection, SentenceEncoder, SentenceTransformer

DTYPES = [torch.bfloat16, torch.float16, torch.float64]


@pytest.fixture
def model(wrapped: Path) -> SentenceTransformer:
    """With a Dense."""
    return SentenceTransformer.from_pretrained(wrapped)


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def vectors_of(model: SentenceTransformer) -> np.ndarray:
    vectors: np.ndarray = SentenceEncoder(model, truncation="ignore", device="cpu").encode(TEXTS)
    return vectors


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_of_any_type_gives_float32_through_its_projection(
    model: SentenceTransformer, dtype: torch.dtype
) -> None:
    exact = vectors_of(model)
    vectors = vectors_of(model.to(dtype))
    assert vectors.dtype == np.float32 and cosines(vectors, exact).min() > (1 - 1e-6 if dtype.itemsize > 2 else 0.999)
    ids = torch.tensor([[2, 5, 6, 3]])
    output = model(ids)
    output.sum().backward()
    assert output.dtype == torch.float32 and model.projections[0].linear.weight.grad is not None


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_projection_computes_in_float32_whatever_its_own_type_and_that_of_its_input(dtype: torch.dtype) -> None:
    projection, vectors = Projection(6, 4, activation="tanh"), torch.randn(3, 6)
    exact = projection(vectors)
    for given in (vectors, vectors.to(dtype)):
        assert projection.to(dtype)(given).dtype == torch.float32
        torch.testing.assert_close(projection(given), exact, atol=0.02, rtol=0.02)
    alone = Projection.truncation(6, 4)
    alone.linear.to(dtype)
    torch.testing.assert_close(alone(vectors), vectors[:, :4], atol=0, rtol=0)


def test_vectors_are_the_same_inside_autocast(model: SentenceTransformer) -> None:
    exact = vectors_of(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = SentenceEncoder(model, truncation="ignore", device="cpu")
        np.testing.assert_array_equal(inside.encode(TEXTS), exact)
        assert inside._fast is not None and inside._fast.path == "bert"  # tested, and found to agree
        inside.packed = False
        np.testing.assert_allclose(inside.encode(TEXTS), exact, atol=1e-6)
        assert model(torch.tensor([[2, 5, 6, 3]])).dtype == torch.float32
        given = torch.randn(2, HIDDEN)
        product = model.projections[0](given)
    torch.testing.assert_close(product, model.projections[0](given), atol=0, rtol=0)


@pytest.mark.usefixtures("in_float64")
def test_another_default_type_changes_nothing(wrapped: Path, model: SentenceTransformer) -> None:
    torch.set_default_dtype(torch.float32)
    exact, drawn = vectors_of(model), Projection.random(6, 4).linear.weight
    torch.set_default_dtype(torch.float64)
    again = SentenceTransformer.from_pretrained(wrapped)
    np.testing.assert_array_equal(vectors_of(again), exact)
    assert {weight.dtype for weight in again.parameters()} == {torch.float32}
    assert Projection(6, 4).linear.weight.dtype == torch.float32
    torch.testing.assert_close(Projection.random(6, 4).linear.weight, drawn, atol=0, rtol=0)
    assert again(torch.tensor([[2, 5, 3]])).dtype == torch.float32


@pytest.mark.usefixtures("in_float64")
def test_8_bits_under_another_default_type(wrapped: Path) -> None:
    inside = SentenceEncoder(wrapped, dtype="int8", truncation="ignore", device="cpu")
    vectors = inside.encode(TEXTS)
    torch.set_default_dtype(torch.float32)
    outside = SentenceEncoder(wrapped, dtype="int8", truncation="ignore", device="cpu")
    np.testing.assert_array_equal(vectors, outside.encode(TEXTS))
    assert inside._fast is not None and outside._fast is not None and inside._fast.int8 == outside._fast.int8


def test_a_device_without_numbers_is_refused_and_nothing_is_moved_to_it(model: SentenceTransformer) -> None:
    exact = vectors_of(model)
    for device in ("meta", torch.device("meta")):
        with pytest.raises(ValueError, match=r"device=.*meta.*not available"):
            SentenceEncoder(model, device=device)
    np.testing.assert_array_equal(vectors_of(model), exact)
    with pytest.raises(ValueError, match="meta"):
        SentenceEncoder(model.to("meta"))
