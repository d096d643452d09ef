"""What scikit-learn asks of an estimator that transforms, without importing scikit-learn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np


class Parameter:
    """An attribute that is an argument of the constructor; to set it is to give another."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, estimator: Any, owner: type | None = None) -> Any:
        return self if estimator is None else estimator._params[self._name]

    def __set__(self, estimator: Any, value: Any) -> None:
        estimator._become(**{self._name: value})


class Estimator:
    """For a class that turns n texts into n vectors by `encode`.

    Its constructor's arguments lie in `_params`; `_become` takes others, all of them or none; what it has made of them
    and could make again lies in `_made`, which copies share and which is not pickled.
    """

    _params: dict[str, Any]
    _made: dict[str, Any]
    _become: Callable[..., None]
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
        """Change constructor arguments: all of them, or none where one is refused."""
        unknown = sorted(set(params) - set(self._params))
        if unknown:
            raise ValueError(f"unknown parameters {unknown}: allowed are {list(self._params)}")
        self._become(**params)
        return self

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": {}}

    def __repr__(self) -> str:
        plain = (str, int, tuple, os.PathLike, type(None))
        shown = {
            name: repr(value) if isinstance(value, plain) else type(value).__name__
            for name, value in self._params.items()
        }
        return f"{type(self).__name__}({', '.join(map('='.join, shown.items()))})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(string=True, one_d_array=True, two_d_array=False),
            requires_fit=False,
        )
