"""The trial of training: sides that share nothing, a head that starts as the probe, a record that can be read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stlib.evidence.experiments import training as trial
from stlib.evidence.passages import Passages
from stlib.evidence.records import measurement
from stlib.evidence.scores import split_groups


def passages(n: int = 60, links: int = 20) -> Passages:
    """Each query has its own passage; the first `links` passages hang together in pairs."""
    grades = [{row: 2.0} | ({row ^ 1: 1.0} if row < links else {}) for row in range(n)]
    labels = ["even" if row % 2 == 0 else "odd" for row in range(n)]
    return Passages(
        [f"query {row}" for row in range(n)], [f"text {row}" for row in range(n)], [{row} for row in range(n)], grades,
        labels, labels, [str(row) for row in range(n)], {}, {"has_label": True},
    )  # fmt: skip


def test_linked_passages_stay_on_one_side() -> None:
    sides = trial.split(passages(), held_out=20, seed=1)
    held = {int(text.split()[1]) for text in sides.held_out.texts}
    assert len(held) >= 20 and not held & set(sides.learn) and len(held) + len(sides.learn) == 60
    assert all((row in held) == (row ^ 1 in held) for row in range(20))


def test_equal_texts_stay_on_one_side() -> None:
    """As of a folder in which two headings stand over the same words; and a query may be asked of two texts."""
    data = passages(60, 0)
    texts, queries = [f"text {row // 2}" for row in range(40)] + data.texts[40:], [*data.queries[:58], "twice", "twice"]
    data = replace(data, texts=texts, queries=queries)
    for seed in range(5):
        sides = trial.split(data, held_out=20, seed=seed)
        task = trial.search_task(data, sides.learn)
        assert not {*task.passages} & {*sides.held_out.texts} and not {*task.queries} & {*sides.held_out.queries}


def test_the_held_out_side_is_a_pool_of_its_own() -> None:
    held = trial.split(passages(), held_out=20).held_out
    for query, relevant, label in zip(held.queries, held.relevant, held.query_labels, strict=True):
        (own,) = relevant
        assert held.texts[own].split()[1] == query.split()[1] and held.labels[own] == label


def test_data_that_hang_together_throughout_cannot_be_split() -> None:
    whole = passages(4, 0)
    linked = Passages(**{**vars(whole), "grades": [{0: 1.0, row: 2.0} for row in range(4)]})
    with pytest.raises(ValueError, match="linked to one another"):
        trial.split(linked)


def test_rare_labels_are_left_out() -> None:
    data = passages(40, 0)
    data.labels[:3] = ["rare"] * 3
    texts, labels = trial.common_labels(data, list(range(40)), least=5)
    assert set(labels) == {"even", "odd"} and len(texts) == len(labels) == 37


def test_the_head_starts_as_the_probe() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 4)).astype(np.float32)
    labels = [("a", "b", "c")[row] for row in vectors[:, :3].argmax(axis=1)]
    task = trial.classify_task([f"t{row}" for row in range(30)], labels, vectors, seed=0)
    assert task.predict(vectors) == trial.regression(vectors, labels).predict(vectors).tolist()


def test_two_labels_give_the_head_two_rows() -> None:
    vectors = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    labels = ["a" if row[0] > 0 else "b" for row in vectors]
    task = trial.classify_task([""] * 20, labels, vectors, seed=0)
    assert task.predict(vectors) == trial.regression(vectors, labels).predict(vectors).tolist()


def world(n: int = 200, width: int = 12) -> trial.Frozen:
    """Passages are the queries turned by a fixed rotation, so that a projection has something to learn."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((width, width)))[0] * 0.5 + 0.5 * np.eye(width)
    queries = rng.standard_normal((n, width)).astype(np.float32)
    texts = (queries @ turn + 0.3 * rng.standard_normal((n, width))).astype(np.float32)
    queries, texts = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (queries, texts))
    labels = ["ab"[int(row[0] > 0)] for row in texts]
    data = passages(n, 0)
    data.labels[:] = labels
    sides = trial.split(data, held_out=80)
    held = [int(text.split()[1]) for text in sides.held_out.texts]
    learn = sides.learn
    return trial.Frozen(sides, queries[learn], texts[learn], [labels[row] for row in learn], queries[held], texts[held])


def test_no_step_changes_nothing_and_many_help_where_there_is_something_to_learn() -> None:
    data = world()
    before = trial.gain_in_search(data)
    assert trial.gain_in_search(data, trial.project(data, 100, 0, steps=0)).value == before.value
    assert trial.gains(data, [100, 10_000], (0, 1))[100].value > 0
    assert set(trial.gains(data, [100, 10_000], (0, 1))) == {100}


@pytest.mark.parametrize("n", [4, 40])
def test_where_there_are_few_pairs_all_of_them_are_trained_on(n: int) -> None:
    assert [*trial.gains(world(n), [30, 100], (0, 1))] == [n - len(world(n).held_queries)]


def test_two_tasks_are_judged_against_each_alone() -> None:
    found = trial.two_tasks(world(), 100, (0.1, 1.0), (0, 1))
    assert found is not None and set(found.search) == set(found.labels) == {0.1, 1.0}
    assert found.probe.unit == "passage" and found.search[1.0].unit == "query"


def test_passages_without_labels_have_no_second_task() -> None:
    data = world()
    assert trial.two_tasks(trial.Frozen(**{**vars(data), "labels": [""] * len(data.labels)}), 50) is None


def test_where_the_pairs_that_are_drawn_have_one_label_there_is_no_second_task() -> None:
    data = world()
    rare = replace(data, labels=["a"] * (len(data.labels) - 1) + ["b"])
    assert trial.two_tasks(rare, 50, (1.0,), (0, 1)) is None


def test_passages_without_a_label_are_no_class_of_their_own() -> None:
    data = world()
    some = replace(data, labels=["" if row % 2 else label for row, label in enumerate(data.labels)])
    some.sides.held_out.labels[:40] = [""] * 40
    assert trial.probe_of(some, 100, 0).names == ["a", "b"]
    found = trial.two_tasks(some, 100, (1.0,), (0, 1))
    assert found is not None and found.probe.units == len(some.held_passages) - 40
    assert np.isfinite(found.search[1.0].value)
    sparse = replace(data, labels=["a", "b", *[""] * (len(data.labels) - 2)])  # most batches hold none
    sparse_found = trial.two_tasks(sparse, len(data.labels), (1.0,), (0, 1))
    assert sparse_found is not None and np.isfinite(sparse_found.search[1.0].value)


def test_the_record_of_all_layers_is_that_of_these_passages_and_of_no_others() -> None:
    record = measurement("training")
    same, other = replace(passages(), attrs=record["passages"]), replace(passages(), attrs={"sha256": "another"})
    found = trial.recorded(same)
    assert list(found) == record["sizes"] and trial.recorded(other) == {}
    for size, estimate in found.items():
        gain = record["gains"][f"pairs_{size}"]
        assert estimate.value == pytest.approx(gain["value"], abs=0.01)
        assert estimate.interval() == pytest.approx((gain["low"], gain["high"]), abs=0.02)


# --------------------------------------------------------------------------------------------------- graded pairs


def graded(groups: int, grades: Callable[[int], Sequence[float]], *, anchored: bool = True) -> pd.DataFrame:
    rows = [(f"a{group}", f"{group}", f"{group}.{at}", grade) for group in range(groups)
            for at, grade in enumerate(grades(group))]  # fmt: skip
    table = pd.DataFrame(rows, columns=["anchor", "sentence1", "sentence2", "score"])
    table.attrs["has_anchor"] = anchored
    return table


@pytest.fixture
def meaning_and_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grades follow the cosine of the first four numbers; what follows them is louder, and no more than noise."""

    def encoded(encoder: None, texts: list[str]) -> np.ndarray:
        vectors = []
        for text in texts:
            group, _, at = text.partition(".")
            meant = np.random.default_rng(int(group)).standard_normal(4)
            turned = np.random.default_rng([int(group), 1]).standard_normal(4)
            noise = np.random.default_rng([int(group), int(at or 9), 2]).standard_normal(2)
            share = 1.0 if not at else int(at) / 3
            vectors.append(np.concatenate([share * meant + (1 - share) * turned, 2 * noise]))
        vectors = np.array(vectors, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    monkeypatch.setattr(trial, "encoded", encoded)


@pytest.mark.parametrize(("anchored", "unit"), [(True, "anchor"), (False, "group")])
@pytest.mark.usefixtures("meaning_and_noise")
def test_an_order_that_can_be_learned_from_other_anchors_is(anchored: bool, unit: str) -> None:
    gain = trial.gain_on_pairs(None, graded(300, lambda group: (0, 1, 2, 3), anchored=anchored))  # type: ignore[arg-type]
    assert gain is not None and gain.interval()[0] > 0 and (gain.unit, gain.units) == (unit, 150)


@pytest.mark.usefixtures("meaning_and_noise")
def test_grades_without_meaning_teach_nothing_that_holds_elsewhere() -> None:
    table = graded(80, lambda group: np.random.default_rng(group).permutation(4).tolist())
    low, high = trial.gain_on_pairs(None, table).interval()  # type: ignore[arg-type, union-attr]
    assert low < 0 < high


@pytest.mark.parametrize(
    ("groups", "grades"),
    [
        (3, lambda group: (0, 1, 2)),  # no half has two anchors
        (8, lambda group: (1, 1)),  # one grade
        (8, lambda group: (0, 1, 2) if group == 7 else (1, 1, 1)),
        (8, lambda group: (0, 1, 2) if group > 5 else (1, 1, 1)),
    ],
)
@pytest.mark.usefixtures("meaning_and_noise")
def test_pairs_that_cannot_be_halved_are_not_judged(groups: int, grades: Callable[[int], Sequence[float]]) -> None:
    assert trial.gain_on_pairs(None, graded(groups, grades)) is None  # type: ignore[arg-type]


@pytest.mark.usefixtures("meaning_and_noise")
def test_anchors_that_share_sentences_stay_on_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two anchors over the same sentences: without that link each half would hold what the other has learned."""
    table = graded(80, lambda group: (0, 1, 2, 3))
    table["anchor"] = [f"{anchor}.{row % 2}" for row, anchor in enumerate(table["anchor"])]
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        trial, "split_groups", lambda groups, seed: (seen.append(groups), split_groups(groups, seed))[1]
    )
    assert trial.gain_on_pairs(None, table) is not None  # type: ignore[arg-type]
    assert len(set(seen[0])) == 80 and table["anchor"].nunique() == 160
