"""The projection's four origins, each with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stlib import Projection


def test_applies_weight_bias_and_activation() -> None:
    projection = Projection(2, 1, activation="tanh")
    with torch.no_grad():
        projection.linear.weight.copy_(torch.tensor([[2.0, -1.0]]))
        projection.linear.bias.fill_(0.5)
    assert projection(torch.tensor([[1.0, 3.0]])).item() == pytest.approx(np.tanh(2 - 3 + 0.5), abs=1e-6)


def test_random_is_seeded_keeps_lengths_on_average_and_has_no_bias() -> None:
    first, again, other = (
        Projection.random(300, 200, seed=1),
        Projection.random(300, 200, seed=1),
        Projection.random(300, 200, seed=2),
    )
    assert torch.equal(first.linear.weight, again.linear.weight)
    assert not torch.equal(first.linear.weight, other.linear.weight)
    assert first.linear.bias is None
    vectors = torch.randn(500, 300, generator=torch.Generator().manual_seed(0))
    ratio = first(vectors).detach().norm(dim=1).square() / vectors.norm(dim=1).square()
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)  # 0.1 a vector (Johnson and Lindenstrauss), over 500
    assert float(ratio.std()) == pytest.approx((2 / 200) ** 0.5, rel=0.25)


def test_pca_finds_the_axis_of_greatest_variance_and_centres() -> None:
    rng = np.random.default_rng(0)
    axis = np.array([3.0, 4.0]) / 5
    samples = rng.normal(size=(500, 1)) * axis * 10 + rng.normal(size=(500, 2)) * 0.1 + [100.0, -50.0]
    projection = Projection.from_pca(samples, 1)
    assert abs(projection.linear.weight.detach().numpy()[0] @ axis) == pytest.approx(1, abs=1e-4)
    projected = projection(torch.tensor(samples, dtype=torch.float32)).detach()
    assert float(projected.mean()) == pytest.approx(0, abs=1e-3)
    whitened = Projection.from_pca(torch.tensor(samples), 2, whiten=True)(torch.tensor(samples, dtype=torch.float32))
    assert whitened.std(dim=0).tolist() == pytest.approx([1, 1], abs=0.01)


def test_truncation_keeps_the_first_coordinates_exactly() -> None:
    vectors = torch.randn(4, 10)
    assert torch.equal(Projection.truncation(10, 3)(vectors), vectors[:, :3])


def test_constructors_do_not_consume_the_global_generator() -> None:
    state = torch.get_rng_state()
    Projection.random(8, 4, seed=1)
    Projection.truncation(8, 4)
    Projection.from_pca(np.random.default_rng(0).normal(size=(20, 8)), 4)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Projection(0, 3), "in_features"),
        (lambda: Projection(3, -1), "out_features"),
        (lambda: Projection(3, 2.5), "out_features"),  # type: ignore[arg-type]
        (lambda: Projection(3, 2, activation="os.system"), "tanh"),
        (lambda: Projection.truncation(3, 4), "cannot add"),
        (lambda: Projection.from_pca(np.zeros((5, 8)), 6), "min"),
        (lambda: Projection.from_pca(np.full((9, 8), np.nan), 2), "finite"),
    ],
)
def test_bad_arguments_are_errors_that_name_them(call: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()  # type: ignore[operator]


def test_numbers_of_numpy_and_tensors_of_half_size_are_taken() -> None:
    torch.testing.assert_close(
        Projection.random(3, 2, seed=np.int64(5)).linear.weight, Projection.random(3, 2, seed=5).linear.weight
    )
    samples = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    axes = Projection.from_pca(samples, 2).linear.weight
    torch.testing.assert_close(axes, Projection.from_pca(samples.float(), 2).linear.weight)
    assert (Projection.from_pca(np.ones((5, 3)), 2, whiten=True).linear.weight == 0).all()


def test_whitening_leaves_axes_without_variance_at_zero():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 5))
    projected = Projection.from_pca(flat, 5, whiten=True)(torch.tensor(flat, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(projected.std(axis=0, ddof=1), [1, 1, 1, 0, 0], atol=1e-3)
