"""One linear map from the pooled vector to the output: random, from PCA, by truncation, or learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stlib.checks import positive_integer
from stlib.modules import without_autocast

#: Activations that a projection may carry: our name -> torch's module. Nothing else is ever looked up by name.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
}


class _Linear(nn.Linear):
    """In float32, whatever types come in or the weights were moved to, and whatever autocast asks for."""

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x.device):
            return functional.linear(x.float(), self.weight.float(), None if self.bias is None else self.bias.float())


class Projection(nn.Module):
    """A linear map and an activation, in float32: [..., in_features] -> [..., out_features].

    Parameters are `linear.weight` [out, in] and `linear.bias` [out], as in sentence-transformers' `Dense`.
    The plain constructor is torch's own random initialisation, to be trained.

    Raises:
        ValueError: a size below 1, or an activation that is not in `ACTIVATIONS`.

    Example:
        >>> vectors = torch.tensor([[3.0, 4.0, 12.0]])
        >>> Projection.truncation(3, 2)(vectors).tolist()
        [[3.0, 4.0]]
        >>> Projection.random(3, 2, seed=0)(vectors).shape
        torch.Size([1, 2])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, activation: str = "identity") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is not allowed: use one of {tuple(ACTIVATIONS)}")
        self.in_features = positive_integer("in_features", in_features)
        self.out_features = positive_integer("out_features", out_features)
        self.activation = activation
        self.linear = _Linear(self.in_features, self.out_features, bias=bias, dtype=torch.float32)
        self._activate = ACTIVATIONS[activation]()

    def forward(self, vectors: Tensor) -> Tensor:
        projected: Tensor = self._activate(self.linear(vectors))
        return projected

    @classmethod
    def random(cls, in_features: int, out_features: int, seed: int = 0) -> Projection:
        """Gaussian entries of variance 1 / out_features, no bias.

        Squared lengths are kept in expectation, with a relative error of about sqrt(2 / out_features)
        (Johnson and Lindenstrauss 1984).
        """
        projection = cls._blank(in_features, out_features, bias=False)
        generator = torch.Generator().manual_seed(int(seed))
        entries = torch.randn(out_features, in_features, generator=generator, dtype=torch.float32)
        return projection._with(entries / out_features**0.5)

    @classmethod
    def from_pca(cls, embeddings: Any, out_features: int, whiten: bool = False) -> Projection:
        """The first principal axes of `embeddings` [n, in]; the bias subtracts their mean (scikit-learn's `PCA`).

        Args:
            embeddings: array or tensor [n, in_features], not the texts on which the result is judged.
            out_features: at most min(n, in_features).
            whiten: divide each axis by its standard deviation; axes along which nothing varies give 0.

        Raises:
            ValueError: more components than samples or features, or values that are not finite.
        """
        import numpy as np
        from sklearn.decomposition import PCA

        samples = np.asarray(
            embeddings.detach().cpu().double() if isinstance(embeddings, Tensor) else embeddings, dtype=np.float64
        )
        if samples.ndim != 2 or not np.isfinite(samples).all():
            raise ValueError(f"embeddings must be finite [n, in_features], got shape {samples.shape}")
        if positive_integer("out_features", out_features) > min(samples.shape):
            raise ValueError(f"out_features={out_features} exceeds min(n, in_features) = {min(samples.shape)}")
        pca = PCA(out_features, svd_solver="full").fit(samples)
        spread = np.sqrt(pca.explained_variance_)[:, None] if whiten else np.ones((out_features, 1))
        spread[spread <= 1e-6 * spread[0]] = np.inf  # an axis along which nothing varies is left at 0, not blown up
        axes = pca.components_ / spread
        weight = torch.from_numpy(axes)
        projection = cls._blank(samples.shape[1], out_features, bias=True)
        return projection._with(weight, -weight @ torch.from_numpy(pca.mean_))

    @classmethod
    def truncation(cls, in_features: int, out_features: int) -> Projection:
        """Keep the first `out_features` coordinates, exactly. No bias; `out_features` at most `in_features`."""
        if positive_integer("out_features", out_features) > positive_integer("in_features", in_features):
            raise ValueError(
                f"out_features={out_features} exceeds in_features={in_features}: truncation cannot add coordinates"
            )
        return cls._blank(in_features, out_features, bias=False)._with(torch.eye(out_features, in_features))

    @classmethod
    def _blank(cls, in_features: int, out_features: int, bias: bool) -> Projection:
        """To be filled at once, so torch's own random initialisation leaves no trace in the global generator."""
        with torch.random.fork_rng(devices=[]):
            return cls(in_features, out_features, bias)

    @torch.no_grad()
    def _with(self, weight: Tensor, bias: Tensor | None = None) -> Projection:
        self.linear.weight.copy_(weight)
        if bias is not None:
            self.linear.bias.copy_(bias)
        return self

    def extra_repr(self) -> str:
        return f"{self.in_features} -> {self.out_features}, {self.activation}"
