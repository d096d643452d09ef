"""Everything wrong in the arguments is refused before any work is done, and the error names it."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stlib import SentenceEncoder

SENTENCES = ["A dog barks.", "Un chien aboie.", "Stocks fell sharply on Monday after the report."]


class _NoForward(torch.nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a forward pass was started")


@pytest.mark.parametrize(
    ("sentences", "error", "named"),
    [
        (None, TypeError, "NoneType"),
        (3, TypeError, "int"),
        (b"bytes", TypeError, "bytes"),
        ({"a": "b"}, TypeError, "dict"),
        (pd.DataFrame({"text": SENTENCES}), TypeError, "DataFrame"),
        (np.array([SENTENCES]), TypeError, "2 dimensions"),
        (np.array("text"), TypeError, "0 dimensions"),
        (["fine"] * 70 + [None], TypeError, r"sentences\[70\].*NoneType"),
        (["fine", float("nan")], TypeError, r"sentences\[1\].*float"),
        (pd.Series(["fine", np.nan]), TypeError, r"sentences\[1\].*float"),
        (["fine", b"bytes"], TypeError, r"sentences\[1\].*bytes"),
        (["fine", ["nested"]], TypeError, r"sentences\[1\].*list"),
        ([("a", "pair")], TypeError, r"sentences\[0\].*tuple"),
        (["fine", {"text": "x"}], TypeError, r"sentences\[1\].*dict"),
        (np.array([1.0, 2.0]), TypeError, r"sentences\[0\].*float"),
        (["fine", "lone \ud800 surrogate"], ValueError, r"sentences\[1\].*surrogate"),
        ("\udfff", ValueError, r"sentences\[0\].*surrogate"),
        (UserDict(a="text"), TypeError, "UserDict"),
    ],
)
def test_bad_input_is_refused_before_any_forward_pass(
    encoder: Any, monkeypatch: pytest.MonkeyPatch, sentences: Any, error: type[Exception], named: str
) -> None:
    monkeypatch.setattr(SentenceEncoder, "_states_function", lambda *_: _NoForward())
    for method in (encoder.encode, encoder.token_embeddings, encoder.token_counts):
        with pytest.raises(error, match=named):
            method(sentences)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"pooling": "average"}, "weightedmean"),
        ({"pooling": ()}, "weightedmean"),
        ({"truncation": "silent"}, "ignore"),
        ({"attention": "sideways"}, "bidirectional"),
        ({"dtype": "float16"}, "bfloat16"),
        ({"output_dim": 0}, "at least 1"),
        ({"output_dim": 1.5}, "output_dim"),
        ({"output_dim": True}, "output_dim"),
        ({"max_length": 0}, "max_length=0.*1 to 512"),
        ({"max_length": 1.5}, "max_length=1.5.*1 to 512"),
        ({"device": "nonsense"}, "device='nonsense'"),
        ({"revision": "abc"}, "revision='abc'.*folder"),
        ({"max_length": 513}, "1 to 512"),
        ({"max_length": "long"}, "max_length"),
        ({"attention": "causal"}, "both directions"),
        ({"model": 7}, "model"),
    ],
)
def test_bad_arguments_are_refused_at_construction(encoder: Any, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SentenceEncoder(**{"model": encoder.model.folder, **arguments})


def test_choices_that_the_given_model_has_made_are_refused(encoder: Any) -> None:
    with pytest.raises(ValueError, match="pooling, dtype"):
        SentenceEncoder(encoder.model, pooling="cls", dtype="bfloat16")


def test_a_prompt_with_a_lone_surrogate_is_refused(encoder: Any) -> None:
    with pytest.raises(ValueError, match="prompt holds a lone surrogate"):
        encoder.encode(SENTENCES, prompt="\ud800")


def test_bad_batch_budget(encoder: Any) -> None:
    with pytest.raises(ValueError, match="batch_tokens"):
        encoder.encode(SENTENCES, batch_tokens=0)
