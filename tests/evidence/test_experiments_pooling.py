"""The trials of lesson 02: on vectors whose truth is known they go either way; on a small model they do their work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pandas as pd
import pytest
import torch

from stlib import POOLING_MODES, SentenceEncoder, pool
from stlib.evidence.claims import Claim
from stlib.evidence.estimate import Estimate
from stlib.evidence.experiments import pooling
from stlib.evidence.passages import Passages
from stlib.evidence.vectors import unit

COUNT, WIDTH = 60, 24


def noise(seed: int, count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def a_pool(queries: Sequence[str], texts: Sequence[str]) -> Passages:
    own: list[set[int]] = [{number} for number in range(len(queries))]
    grades = [{number: 2.0} for number in range(len(queries))]
    blank = [""] * len(texts)
    attrs = {"name": "made up", "rows": len(texts), "used": len(texts), "stand_in": False, "has_label": False}
    return Passages(list(queries), list(texts), own, grades, blank, blank, blank, {}, attrs)


PASSAGES = a_pool([f"query {n}" for n in range(COUNT)], [f"text {n}" for n in range(COUNT)])


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Pooled vectors by text and mode; modes that are not named get those of "other"."""

    def give(**by_mode: dict[str, np.ndarray]) -> Any:
        def pooled(encoder: Any, texts: Sequence[str], modes: Sequence[str] = POOLING_MODES) -> dict[str, np.ndarray]:
            return {mode: np.stack([by_mode.get(mode, by_mode["other"])[text] for text in texts]) for mode in modes}

        monkeypatch.setattr(pooling, "pooled", pooled)
        return None  # no encoder is asked

    return give


def paired(error: float, seed: int = 0, common: float = 0.0) -> dict[str, np.ndarray]:
    """Vectors of queries and their passages, `error` apart, of many lengths, all of them moved by a common vector."""
    one = noise(seed)
    other = (one + error * noise(seed + 100)) * np.exp(noise(seed + 200)[:, :1])
    shift = common * noise(999, 1)[0]
    vectors = {f"query {n}": row + shift for n, row in enumerate(one)}
    return vectors | {f"text {n}": row + shift for n, row in enumerate(other)}


@pytest.mark.parametrize(("mean", "cls", "verdict"), [(0.3, 4.0, "holds"), (4.0, 0.3, "does not hold")])
def test_mean_beats_cls_only_where_it_finds_more(given: Any, mean: float, cls: float, verdict: str) -> None:
    encoder = given(mean=paired(mean), cls=paired(cls), other=paired(2.0))
    assert Claim.decide("mean-beats-cls", pooling.mean_minus_cls(encoder, PASSAGES)).verdict == verdict


@pytest.mark.parametrize(("best", "verdict"), [("mean", "holds"), ("max", "does not hold")])
def test_a_rival_that_finds_more_is_noticed_whichever_it_is(given: Any, best: str, verdict: str) -> None:
    encoder = given(**{best: paired(0.3)}, other=paired(4.0))
    against = pooling.rivals_minus_mean(encoder, PASSAGES)
    assert set(against) == {"cls", "max", "weightedmean", "lasttoken"}
    claim = Claim.decide("no-other-mode-beats-mean", against)
    assert claim.verdict == verdict and (best == "mean" or claim.note == best)


@pytest.mark.parametrize(("mean", "cls", "verdict"), [(3.0, 0.5, "holds"), (0.0, 3.0, "does not hold")])
def test_topics_are_judged_by_neighbours(given: Any, mean: float, cls: float, verdict: str) -> None:
    centres, labels = noise(7, 4), [n % 4 for n in range(COUNT)]

    def around(strength: float, seed: int) -> dict[str, np.ndarray]:
        return {f"s{n}": strength * centres[n % 4] + row for n, row in enumerate(noise(seed))}

    encoder = given(mean=around(mean, 1), cls=around(cls, 2), other=around(0, 3))
    sentences = pd.DataFrame({"text": [f"s{n}" for n in range(COUNT)], "label": labels})
    found = pooling.topics(encoder, sentences)
    assert found is not None and set(found) == set(POOLING_MODES)
    assert Claim.decide("mean-generalises", found["mean"] - found["cls"]).verdict == verdict
    assert pooling.topics(encoder, sentences[["text"]]) is None


def test_pairs_added_for_the_sake_of_pooling_are_left_out(given: Any) -> None:
    anchors = [f"a{n}" for n in (1, 2, 3, 85, 106)]
    rows = [(f"{a}", f"{a} {grade}", float(grade), a) for a in anchors for grade in (0, 5)]
    frame = pd.DataFrame(rows, columns=["sentence1", "sentence2", "score", "anchor"])
    vectors = {}
    for anchor, row in zip(anchors, noise(4, len(anchors)), strict=True):
        close, far = row, -row
        if anchor in ("a85", "a106"):  # the wrong way round
            close, far = far, close
        vectors |= {anchor: row, f"{anchor} 5": close, f"{anchor} 0": far}
    encoder = given(other=vectors)
    for name, value, units in (("built-in", 100.0, 3), ("mine.csv", 60.0, 5)):
        frame.attrs = {"name": name, "has_anchor": True, "seed": 0, "rows": 10, "used": 10}
        found = pooling.pairs(encoder, frame)["mean"]
        assert (round(found.value), found.units) == (value, units)


def test_thirds_hold_every_query_once_from_few_tokens_to_many() -> None:
    counts = np.array([5, 9, 7, 3, 8, 4, 6, 30, 20])
    parts = pooling.in_thirds(Estimate.of(counts, "query"), counts)
    assert list(parts) == ["3 to 5", "6 to 8", "9 to 30"]
    assert [part.value for part in parts.values()] == [4, 7, pytest.approx(59 / 3)]


def test_a_common_direction_is_taken_out(given: Any) -> None:
    encoder = given(cls=paired(1.2, common=2.0), mean=paired(1.2), other=paired(1.2))
    for mode, verdict in (("cls", "holds"), ("mean", "does not hold")):
        found = pooling.common_direction(encoder, PASSAGES, mode)
        assert Claim.decide("common-direction-hurts-cls", found).verdict == verdict
    lengths = pooling.common_length(encoder, PASSAGES.texts)
    assert lengths["cls"] > 0.6 and lengths["mean"] < 0.3


# ------------------------------------------------------------------------------------------------- on a small model

TEXTS = checkpoints.TEXTS
SMALL = a_pool(TEXTS, TEXTS[1:] + TEXTS[:1])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    folder = checkpoints.build("bert", tmp_path_factory.mktemp("bert") / "model")
    with pytest.warns(UserWarning, match="left out"):  # the head that predicts words
        return SentenceEncoder(folder, device="cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))


def test_the_mean_over_all_cells_counts_the_padding_of_its_batch(small: SentenceEncoder) -> None:
    found = pooling.over_all_cells(small, TEXTS, rows=4)
    for start in range(0, len(TEXTS), 4):
        batch = small.tokenizer(TEXTS[start : start + 4], padding=True, return_tensors="pt")
        with torch.no_grad():
            states = small.model.backbone(batch["input_ids"], batch["attention_mask"])
        np.testing.assert_allclose(found[start : start + 4], states.mean(dim=1), atol=1e-5)
    right = pooling.pooled(small, TEXTS, ["mean"])["mean"]
    alone = pooling.over_all_cells(small, TEXTS, rows=1)
    np.testing.assert_allclose(alone, right, atol=1e-5)  # nothing is padded
    assert np.abs(found - right).max() > 0.01


def test_the_forgotten_mask_is_compared_in_one_pool(small: SentenceEncoder) -> None:
    found = pooling.forgotten_mask(small, SMALL, most=8)
    assert list(found) == ["mean", "cls", "mean over all cells"]
    assert (found["mean"] - found["mean over all cells"]).units == 8
    parts = pooling.by_length(small, SMALL, most=8)
    assert [sum(part.units for part in thirds.values()) for thirds in parts.values()] == [len(TEXTS), 8]


def test_the_last_layer_is_what_is_pooled_and_the_first_token_is_nothing_before_the_first(
    small: SentenceEncoder,
) -> None:
    layers = pooling._layers(small, TEXTS)
    right = pooling.pooled(small, TEXTS, ["mean", "cls"])
    for mode in right:
        assert layers[mode].shape[1:] == right[mode].shape
        np.testing.assert_allclose(unit(layers[mode][-1]), unit(right[mode]), atol=1e-4)
    assert np.ptp(layers["cls"][0], axis=0).max() < 1e-5  # [CLS] is the same in every text
    found = pooling.by_layer(small, SMALL)
    assert len(found["mean"]) == len(found["cls"]) == len(layers["mean"])


def test_the_tokenizers_own_tokens_are_left_out(small: SentenceEncoder) -> None:
    found = pooling.words_only(small, SMALL)
    queries, texts = (unit(pooling.pooled(small, side, ["mean"])["mean"]) for side in (SMALL.queries, SMALL.texts))
    assert found["all tokens"]["mean"].value == pytest.approx(
        pooling.ranking(queries, texts, SMALL.relevant).value, abs=0.1
    )
    states = torch.from_numpy(small.token_embeddings([TEXTS[0]])[0])[None]
    mask = pooling._own(small, TEXTS[0])
    assert mask.tolist()[0] == [0, *[1] * (states.shape[1] - 2), 0]
    assert torch.equal(pool(states, mask, "cls")[0], states[0, 1])


@pytest.mark.parametrize(("alike", "within"), [(True, 1.0), (False, 0.0)])
def test_agreement_tells_tokens_that_agree_from_tokens_that_do_not(
    small: SentenceEncoder, monkeypatch: pytest.MonkeyPatch, alike: bool, within: float
) -> None:
    def states(texts: Sequence[str]) -> list[np.ndarray]:
        own = [np.random.default_rng(row).standard_normal((1 if alike else 100, 2000)) for row in range(len(texts))]
        return [np.resize(one, (count, 2000)) for one, count in zip(own, small.token_counts(texts), strict=True)]

    monkeypatch.setattr(small, "token_embeddings", states)
    found = pooling.agreement(small, TEXTS)
    assert found["one text"].value == pytest.approx(within, abs=0.02)
    assert found["two texts"].value == pytest.approx(0, abs=0.02)


def test_each_mode_has_its_share_of_the_time(small: SentenceEncoder) -> None:
    shares = pooling.share_of_time(small, TEXTS, repeats=2)
    assert set(shares) == set(POOLING_MODES) and all(np.isfinite(share) and share > 0 for share in shares.values())
