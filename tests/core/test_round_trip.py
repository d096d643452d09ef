"""Whatever a model is made of, its folder gives it back: the same vectors, and the same identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import HIDDEN, TEXTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import Small

from stlib import POOLING_MODES, Projection, SentenceEncoder, SentenceTransformer
from stlib.projection import ACTIVATIONS


@pytest.fixture(scope="module")
def base(small: Small) -> SentenceTransformer:
    return SentenceTransformer.from_pretrained(small("minilm"))


HEADS = st.lists(
    st.tuples(st.integers(1, 40), st.booleans(), st.sampled_from(sorted(ACTIVATIONS))), min_size=0, max_size=3
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    modes=st.lists(st.sampled_from(POOLING_MODES), min_size=1, max_size=3, unique=True),
    heads=HEADS,
    prompts=st.dictionaries(NAMES, NAMES, max_size=3),
    usage=st.fixed_dictionaries(
        {"normalize": st.booleans(), "include_prompt": st.booleans(), "max_length": st.integers(20, 512)}
    ),
    training=st.booleans(),
    transposed=st.booleans(),
)
def test_a_saved_model_is_the_model(
    base: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory, modes: list[str],
    heads: list[tuple[int, bool, str]], prompts: dict[str, str], usage: dict[str, Any], training: bool,
    transposed: bool,
) -> None:  # fmt: skip
    width, parts = HIDDEN * len(modes), []
    for size, bias, activation in heads:
        parts.append(Projection(width, size, bias, activation))
        width = size
    model = SentenceTransformer(base.backbone, base.tokenizer, pooling=tuple(modes), projection=parts).train(training)
    for name, value in (usage | {"prompts": prompts, "default_prompt_name": next(iter(prompts), None)}).items():
        setattr(model, name, value)
    if transposed and parts:
        parts[0].linear.weight = torch.nn.Parameter(parts[0].linear.weight.detach().T.contiguous().T)
    folder: Path = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder)
    again = SentenceTransformer.from_pretrained(folder, normalize=model.normalize)
    assert all(module.training == training for module in model.modules())
    for name in ("pooling", "prompts", "default_prompt_name", "include_prompt", "max_length", "dimension"):
        assert getattr(again, name) == getattr(model, name), name
    before, after = (SentenceEncoder(one, truncation="ignore", device="cpu") for one in (model, again))
    size = np.abs(before.encode(TEXTS)).max()  # a weight that lies otherwise in memory is added up in another order
    np.testing.assert_allclose(after.encode(TEXTS), before.encode(TEXTS), rtol=0, atol=3e-6 * size * transposed)
    assert after.identity() == before.identity()
    base.train(False)


def test_one_projection_needs_no_list(base: SentenceTransformer) -> None:
    head = Projection(HIDDEN, 4)
    alone, listed = (SentenceTransformer(base.backbone, base.tokenizer, projection=given) for given in (head, [head]))
    assert alone.projections == listed.projections == [head] and alone.dimension == 4
