"""Small models and data of words without sense, to be compared."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkpoints import Dense, build, wrap

from stlib.review import warm

WORDS = (
    "river",
    "bank",
    "rate",
    "change",
    "bridge",
    "cost",
    "dog",
    "bark",
    "hound",
    "cat",
    "mat",
    "street",
    "fair",
    "rain",
)
PROMPTS = {"query": "find: ", "document": "text: ", "sts": "like: "}


def _sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, size=int(rng.integers(4, 12))))


@pytest.fixture(autouse=True)
def one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reviews use the server of warm processes that runs for all tests, and do not start their own."""
    if warm.ADDRESS in os.environ:
        monkeypatch.setattr(warm, "server", lambda environment: contextlib.nullcontext())


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """p.csv (passages with a source), pairs.csv and s.csv, of words without sense."""
    folder, rng = tmp_path_factory.mktemp("secret data"), np.random.default_rng(0)
    texts = list(dict.fromkeys(_sentence(rng) for _ in range(90)))[:80]
    rows = {"query": [" ".join(text.split()[: 2 + n % 3]) + f" {n}" for n, text in enumerate(texts)], "text": texts}
    pd.DataFrame(rows | {"source": ["wiki" if n % 2 else "mail" for n in range(80)]}).to_csv(folder / "p.csv")
    other = [" ".join(text.split()[: n % 4 + 1]) for n, text in enumerate(texts)]
    pairs = {"sentence1": texts, "sentence2": other, "score": [n % 4 for n in range(80)]}
    pd.DataFrame(pairs).to_csv(folder / "pairs.csv")
    pd.DataFrame({"text": texts, "label": [text.split()[0] < "h" for text in texts]}).to_csv(folder / "s.csv")
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a and b: small models, b with prompts and a head of 8."""
    folder = tmp_path_factory.mktemp("secret models")
    wrap(build("bert", folder / "plain"), folder / "a")
    wrap(build("bert", folder / "other", seed=1), folder / "b", dense=[Dense(32, 8)], prompts=PROMPTS)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all comparisons of this run, and none of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STLIB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield
