"""What scikit-learn asks of an estimator that transforms, without importing scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


class Estimator:
    """For a class that keeps its constructor's arguments in `_params` and turns n texts into n vectors by `encode`."""

    _params: dict[str, Any]
    encode: Callable[..., Any]

    def fit(self, X: Any = None, y: Any = None) -> Any:
        """Nothing to learn. Returns self."""
        return self

    def transform(self, X: Iterable[str]) -> np.ndarray:
        """`encode`, under the name that scikit-learn uses: n texts -> [n, D]."""
        vectors: np.ndarray = self.encode([X] if isinstance(X, str) else X)
        return vectors

    def fit_transform(self, X: Iterable[str], y: Any = None) -> np.ndarray:
        return self.transform(X)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, as they were given."""
        return dict(self._params)

    def set_params(self, **params: Any) -> Any:
        """Change constructor arguments: becomes what a new object with them is, or stays as it was."""
        unknown = sorted(set(params) - set(self._params))
        if unknown:
            raise ValueError(f"unknown parameters {unknown}: allowed are {list(self._params)}")
        if params:
            self.__dict__ = type(self)(**{**self._params, **params}).__dict__
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(string=True, one_d_array=True, two_d_array=False),
            requires_fit=False,
        )
