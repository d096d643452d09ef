"""The examples in the docstrings run as they are printed."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import stlib
from stlib.evidence import Estimate, scores

SOURCE = Path(stlib.__file__).parent
WITH_EXAMPLES = [path for path in sorted(SOURCE.rglob("*.py")) if "\n        >>> " in path.read_text(encoding="utf-8")]


def _module(path: Path) -> ModuleType:
    return importlib.import_module(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_give_what_they_say(path: Path) -> None:
    result = doctest.testmod(_module(path), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0 and result.failed == 0


PUBLIC = [stlib.pool, stlib.Projection, stlib.SentenceEncoder, Estimate, scores.ranking]


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_what_people_begin_with_has_an_example(thing: object) -> None:
    assert ">>> " in (thing.__doc__ or "")
