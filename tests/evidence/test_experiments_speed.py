"""The trials of lesson 07 on a small random model. No test depends on how fast this machine is."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import checkpoints
import numpy as np
import pandas as pd
import pytest
import torch

from stlib import SentenceEncoder
from stlib.evidence.claims import Claim
from stlib.evidence.experiments import speed
from stlib.evidence.passages import from_table
from stlib.fast import FastBackbone
from stlib.linear import operators_work

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["one", "two words", "three words here", "and four words now"] * 3


class Given(SimpleNamespace):
    """As a `Study`, each its own: what was found for one is kept."""

    __hash__ = object.__hash__


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("speed") / "bert"
    checkpoints.wrap(checkpoints.build("bert", folder.with_name("plain")), folder)
    frame = pd.DataFrame({"query": ["one", "two", "three"], "text": TEXTS[:3]})
    passages = from_table(frame, {"name": "three", "stand_in": False, "sha256": "", "used": 3})
    return Given(
        model=folder, encoder=SentenceEncoder(folder, truncation="ignore", device="cpu"), seed=0, passages=passages,
        sentences=pd.DataFrame({"text": TEXTS}),
    )  # fmt: skip


def test_all_ways_give_the_same_vectors(study: Any) -> None:
    bare = speed.plain(study.encoder)
    assert not bare.packed and study.encoder.packed
    apart = speed.BucketByBucket(study.model, truncation="ignore", device="cpu")
    for vectors in (bare.encode(TEXTS), apart.encode(TEXTS), speed.padded(bare, TEXTS, batch=5)):
        assert np.abs(vectors - study.encoder.encode(TEXTS)).max() < 1e-5


def test_bucket_by_bucket_no_product_takes_tokens_of_two_lengths(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    states_of = FastBackbone.__call__

    def listened(self: FastBackbone, groups: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        taken.append(len(groups))
        return states_of(self, groups)

    monkeypatch.setattr(FastBackbone, "__call__", listened)
    for encoder in (study.encoder, speed.BucketByBucket(study.model, truncation="ignore", device="cpu")):
        encoder.encode(TEXTS)
    lengths = len(set(study.encoder.token_counts(TEXTS)))
    assert taken == [lengths, *[1] * lengths]


def test_padding_is_what_lies_between_a_text_and_the_longest_of_its_batch() -> None:
    assert speed.padding([1, 3, 2, 2], batch=2) == pytest.approx(20)
    assert speed.padding([5] * 7, batch=3) == 0


def test_processes_are_the_units(study: Any) -> None:
    found = speed.measured(study, processes=2)
    assert list(found) == ["share", "buckets", "weights", "together", "bfloat16", "packing"]
    assert found["buckets"] is not None and (found["buckets"].units, found["buckets"].unit) == (2, "process")
    assert (found["share"] is None) == (found["packing"] is None)
    assert speed.measured(study, processes=2) is found, "measured once"


def test_what_a_process_lacks_is_not_estimated() -> None:
    found = speed.over([{"buckets": 0.30, "packing": 0.7}, {"buckets": 0.34}, {"buckets": 0.32}])
    assert found["packing"] is None and "no packed products" in speed.note(found["packing"])
    assert found["buckets"] is not None and not speed.note(found["buckets"])
    assert Claim.decide("buckets-pay", found["buckets"]).verdict == "holds"
    assert speed.Factor(found["buckets"]).value == pytest.approx(np.exp(0.32))


def test_precision_is_judged_by_recall(study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    lost = speed.lost(study, "float32")
    assert lost is not None and lost.value == 0
    in_bfloat16 = speed.lost(study, "bfloat16")
    assert in_bfloat16 is not None and in_bfloat16.units == 3


def test_precisions_do_not_share_vectors_in_the_cache(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    for number, dtype in enumerate(("float32", "bfloat16", "int8"), 1):
        speed._vectors(SentenceEncoder(study.model, dtype=dtype, device="cpu"), TEXTS[1:], TEXTS, dtype)
        assert len(list((tmp_path / "vectors").glob("*.npz"))) == number


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_the_benchmark_measures_the_peak_of_each_type_that_there_is(dtype: str) -> None:
    spec = importlib.util.spec_from_file_location("speed_benchmark", ROOT / "benchmarks" / "speed.py")
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    found = benchmark._peak(dtype, rounds=1)
    assert found is None if not operators_work(getattr(torch, dtype), "cpu") else found > 0
