"""Lesson 05: what does a score mean? Topics, traps, thresholds, and what length does."""

# mypy: disable-error-code="no-any-return"
# pandas carries no types.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from stlib.encoder import SentenceEncoder
from stlib.evidence import controls
from stlib.evidence.corpora import load_pairs, load_sentences
from stlib.evidence.estimate import Estimate, Floats
from stlib.evidence.scores import (
    balanced_error,
    choose_threshold,
    cosine,
    ranking_of,
    roc_auc,
    split_groups,
    topic_auc,
    topic_aucs,
)
from stlib.evidence.vectors import distinct, encoded, kept

if TYPE_CHECKING:
    from stlib.evidence.passages import Passages
    from stlib.evidence.study import Study

LESSON = "05_heatmaps"
Embed = Callable[[SentenceEncoder, list[str]], Floats]
TRAPS = ("negation", "antonym", "roles", "number")
"""Kinds of pair that share the words and turn the meaning."""
SEEDS = 3
"""Draws of random weights, so that no lucky one decides."""
MOST = 600
"""So many of the documentation's summary lines are compared by module."""
WORDS, HALVED = (8, 16, 24, 32, 48), 300
"""Lengths to which texts are cut and then halved, and how many texts."""
PARTS = (1, 2, 3, 4, 6, 8, 12)
"""Numbers of passages that make one text."""
OTHERS = 20
"""So many passages drawn from the pool are set against each query's own."""

# ------------------------------------------------------------------------------------------------------------- topics


def untrained(encoder: SentenceEncoder, seed: int = 0) -> SentenceEncoder:
    """The same architecture with random weights: it has learned nothing."""
    return SentenceEncoder(controls.random_weights(encoder.model, seed), truncation="ignore")


def blank(encoder: SentenceEncoder, texts: Sequence[str], seed: int = 0) -> Floats:
    """The vectors that `untrained` makes, [n, D]; found in the cache without drawing the weights again."""
    draw = ["random weights", seed]
    return kept(encoder, texts, draw, lambda: {"v": untrained(encoder, seed).encode(list(texts))})["v"]


def labelled(texts: Sequence[str], labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those whose label stands with at least three texts; none where fewer than two such labels are left."""
    names = pd.Series(list(labels), dtype=str)
    kept = names.groupby(names).transform("size").ge(3) & names.ne("")
    if names[kept].nunique() < 2:
        return [], []
    return [text for text, keep in zip(texts, kept, strict=True) if keep], names[kept].tolist()


def with_labels(sentences: pd.DataFrame) -> pd.DataFrame:
    """The sentences that can be compared by label: `labelled` rows, sorted; the built-in ones where there are none."""
    texts, labels = labelled(sentences["text"], sentences.get("label", [""] * len(sentences)))
    if not labels:
        return with_labels(load_sentences("none"))
    return pd.DataFrame({"text": texts, "label": labels}).sort_values("label", kind="stable", ignore_index=True)


def topics(encoder: SentenceEncoder, texts: Sequence[str], labels: Sequence[str], seed: int = 0) -> dict[str, Estimate]:
    """The AUC of same label against others, of the model and of its controls; {} where there are no labels."""
    texts, labels = labelled(texts, labels)
    if not labels:
        return {}
    order = np.argsort(labels, kind="stable")  # that of `with_labels`, whose vectors are in the cache
    texts, labels = [texts[row] for row in order], [labels[row] for row in order]
    blanks = [topic_auc(blank(encoder, texts, seed + n), labels) for n in range(SEEDS)]
    return {
        "the model": topic_auc(encoded(encoder, texts), labels),
        "TF-IDF": topic_auc(word_vectors(texts), labels),
        "input embeddings": topic_auc(controls.input_embeddings(encoder, texts), labels),
        "random weights": Estimate.over(blanks),
    }


def modules(encoder: SentenceEncoder, passages: Passages, seed: int = 0) -> dict[str, Estimate]:
    """The same for queries by their label, of the documentation by module; at most `MOST` of them, drawn."""
    texts, labels = labelled(passages.queries, passages.query_labels)
    chosen = np.random.default_rng(seed).permutation(len(texts))[:MOST]
    return topics(encoder, [texts[row] for row in chosen], [labels[row] for row in chosen], seed)


def topics_beyond(encoder: SentenceEncoder, sentences: pd.DataFrame, seed: int = 0) -> dict[str, Estimate] | None:
    """The AUC of the model − that of each control on these sentences; `None` where they have no labels."""
    return beyond(topics(encoder, sentences["text"], sentences.get("label", [""] * len(sentences)), seed))


def word_vectors(texts: Sequence[str]) -> Floats:
    """TF-IDF as unit vectors [n, words]."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(token_pattern=r"(?u)\w+", dtype=np.float32).fit_transform(list(texts)).toarray()


def beyond(scores: Mapping[str, Estimate]) -> dict[str, Estimate] | None:
    """The model − each control: what beats the best of them beats all. `None` where nothing was tried."""
    rivals = [name for name in scores if name != "the model"]
    return {f"against {name}": scores["the model"] - scores[name] for name in rivals} or None


# -------------------------------------------------------------------------------------------------------------- pairs


def pair_cosines(encoder: SentenceEncoder, pairs: pd.DataFrame, embed: Embed | None = None) -> Floats:
    """Cosine of each pair [n]; each distinct sentence is encoded once."""
    texts, (left, right) = distinct(pairs)
    vectors = (embed or encoded)(encoder, texts)
    return cosine(vectors[left], vectors[right])


def traps(encoder: SentenceEncoder, pairs: pd.DataFrame) -> pd.DataFrame:
    """A row for each trap and each pair of the highest grade beside it: anchor, kind, trap, paraphrase (cosines).

    A trap is a pair of one of the kinds `TRAPS` at most three fifths up the scale. No rows where no kinds are named.
    """
    scored = pairs.assign(cosine=pair_cosines(encoder, pairs))
    best, least = scored["score"].max(), scored["score"].min()
    fooled = scored["kind"].isin(TRAPS) & (scored["score"] <= least + 0.6 * (best - least))
    beside = scored.loc[scored["score"] == best, ["anchor", "cosine"]].rename(columns={"cosine": "paraphrase"})
    shown = scored.loc[fooled, ["anchor", "kind", "sentence1", "sentence2", "cosine"]]
    return shown.rename(columns={"cosine": "trap"}).merge(beside, on="anchor")


def with_traps(encoder: SentenceEncoder, pairs: pd.DataFrame) -> pd.DataFrame:
    """`traps` of these pairs, or of the built-in ones where these name none."""
    found = traps(encoder, pairs)
    return found if found["anchor"].nunique() > 1 else traps(encoder, load_pairs("none"))


def traps_win(encoder: SentenceEncoder, pairs: pd.DataFrame) -> Estimate | None:
    """Of 100 comparisons within an anchor, how often the trap is more similar than the paraphrase; unit: anchor."""
    compared = traps(encoder, pairs)
    if compared["anchor"].nunique() < 2:
        return None
    won = 100 * (compared["trap"] > compared["paraphrase"])
    return Estimate.of(won.groupby(compared["anchor"]).mean(), "anchor")


def similar(pairs: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pairs a reader would call similar [n]: the grades 4 and 5, on another scale the upper third."""
    score = pairs["score"]
    if set(score) <= {0, 1, 2, 3, 4, 5} and score.max() >= 4:
        return (score >= 4).to_numpy()
    return (score >= max(score.quantile(2 / 3), np.unique(score)[1])).to_numpy()


def meaning(encoder: SentenceEncoder, pairs: pd.DataFrame, seed: int = 0) -> dict[str, Estimate]:
    """The AUC of the upper against the lower grades, of the model and of its controls; the grades between are left out.

    Upper: `similar`. Lower: the grades 0 and 1, on another scale the lower third.
    """
    upper, score = similar(pairs), pairs["score"]
    graded = set(score) <= {0, 1, 2, 3, 4, 5} and score.max() >= 4
    lower = score <= (1 if graded else min(score.quantile(1 / 3), np.unique(score)[-2]))
    clear = pairs[upper | lower.to_numpy()]
    related = similar(pairs)[upper | lower.to_numpy()]

    def area(similarity: ArrayLike) -> Estimate:
        return roc_auc(similarity, related, clear["anchor"])

    texts = [*clear["sentence1"], *clear["sentence2"]]
    inputs, n = controls.input_embeddings(encoder, texts), len(clear)
    return {
        "the model": area(pair_cosines(encoder, clear)),
        "TF-IDF": area(controls.tfidf_similarity(clear["sentence1"], clear["sentence2"])),
        "input embeddings": area(cosine(inputs[:n], inputs[n:])),
        "random weights": Estimate.over(
            [area(pair_cosines(encoder, clear, partial(blank, seed=seed + one))) for one in range(SEEDS)]
        ),
    }


def by_kind(encoder: SentenceEncoder, pairs: pd.DataFrame, least: int = 3) -> pd.DataFrame:
    """Mean cosine of each kind (rows, lowest first) at each grade (columns); of fewer than `least` pairs: NaN."""
    scored = pairs.assign(cosine=pair_cosines(encoder, pairs))
    cells = scored.groupby(["kind", "score"])["cosine"].agg(["mean", "size"])
    table = cells["mean"].where(cells["size"] >= least).unstack("score")
    return table.loc[scored.groupby("kind")["cosine"].mean().sort_values().index]


# --------------------------------------------------------------------------------------------------------- thresholds


@dataclass(frozen=True)
class Scored:
    """Similarities [n], whether each is of two related texts [n], and the groups that are independent [n]."""

    similarity: Floats
    related: NDArray[np.bool_]
    groups: NDArray[Any]

    def threshold(self, rows: slice | NDArray[np.bool_] = slice(None)) -> float:
        """Where hits minus false alarms are most, on these rows."""
        return choose_threshold(self.similarity[rows], self.related[rows])

    def error(self, threshold: float | None = None, seed: int = 0) -> Estimate:
        """Balanced error in points at a `threshold`; without one, on each half at that of the other half.

        The threshold counts as given: that another sample would have chosen another one is not in the interval.
        """
        if threshold is not None:
            return balanced_error(self.similarity, self.related, threshold, self.groups)
        half = split_groups(self.groups, seed)
        other = np.where(half, self.threshold(~half), self.threshold(half))
        return balanced_error(self.similarity - other, self.related, 0.0, self.groups)


def scored_pairs(encoder: SentenceEncoder, pairs: pd.DataFrame) -> Scored:
    return Scored(pair_cosines(encoder, pairs), similar(pairs), pairs["anchor"].to_numpy())


def scored_queries(encoder: SentenceEncoder, passages: Passages, seed: int = 0) -> Scored:
    """Each query with its own passages, and with `OTHERS` drawn from the rest of the pool."""
    queries, pool = encoded(encoder, passages.queries), encoded(encoder, passages.texts)
    rng = np.random.default_rng(seed)
    rows, columns, related = [], [], []
    for number, own in enumerate(passages.relevant):
        others = set(rng.integers(len(pool), size=OTHERS).tolist()) - set(own)
        rows += [number] * (len(own) + len(others))
        columns += [*own, *others]
        related += [True] * len(own) + [False] * len(others)
    similarity = cosine(queries[rows], pool[columns])
    return Scored(similarity, np.array(related), np.array(rows))


def scored_topics(encoder: SentenceEncoder, sentences: pd.DataFrame, seed: int = 0) -> Scored | None:
    """Each sentence with one of its own topic and one of another; `None` where there are no labels."""
    texts, names = labelled(sentences["text"], sentences.get("label", [""] * len(sentences)))
    if not names:
        return None
    vectors, codes, rng = encoded(encoder, texts), np.array(names), np.random.default_rng(seed)
    similarity, related = [], []
    for row, own in enumerate(codes[:, None] == codes):
        own[row] = False
        for kind in (own, codes != codes[row]):
            similarity.append(vectors[row] @ vectors[rng.choice(np.flatnonzero(kind))])
            related.append(kind is own)
    return Scored(np.array(similarity, dtype=float), np.array(related), np.repeat(np.arange(len(codes)), 2))


def threshold_errs(encoder: SentenceEncoder, pairs: pd.DataFrame, seed: int = 0) -> Estimate:
    """Balanced error on pairs, chosen on one half of the anchors and judged on the other; unit: anchor."""
    return scored_pairs(encoder, pairs).error(seed=seed)


def threshold_travels(encoder: SentenceEncoder, pairs: pd.DataFrame, passages: Passages, seed: int = 0) -> Estimate:
    """Balanced error on query and passage, at the pairs' threshold − at one chosen on other queries; unit: query."""
    used = scored_queries(encoder, passages, seed)
    return used.error(scored_pairs(encoder, pairs).threshold()) - used.error(seed=seed)


def scored_sets(study: Study) -> dict[str, Scored]:
    """Three kinds of text; sentences are left out where they have no labels."""
    found = {
        "graded pairs": scored_pairs(study.encoder, study.pairs),
        "query and passage": scored_queries(study.encoder, study.passages, study.seed),
        "same topic": scored_topics(study.encoder, study.sentences, study.seed),
    }
    return {name: one for name, one in found.items() if one is not None}


def errors_elsewhere(study: Study) -> pd.DataFrame:
    """Balanced error in points: thresholds chosen on the rows' data, judged on the columns' (on other halves of it)."""
    sets, table = scored_sets(study), {}
    for name, one in sets.items():
        chosen = one.threshold()
        table[f"{name}: {chosen:.2f}"] = {
            to: used.error(None if to == name else chosen, study.seed).value for to, used in sets.items()
        }
    return pd.DataFrame(table).T


# ------------------------------------------------------------------------------------------------------------ clusters


def leaves(similarity: Floats) -> NDArray[np.intp]:
    """An order of the rows in which average linkage on 1 − cosine puts alike ones together: [n, n] -> [n]."""
    from scipy.cluster import hierarchy

    distance = (1 - similarity)[np.triu_indices(len(similarity), 1)].clip(0)
    return hierarchy.leaves_list(hierarchy.linkage(distance, "average", optimal_ordering=True))


def beside_own(labels: ArrayLike) -> float:
    """Of 100 rows that stand next to each other, how many have one label."""
    labels = np.asarray(labels)
    return float(100 * np.mean(labels[1:] == labels[:-1]))


# -------------------------------------------------------------------------------------------------------------- length


def halves_found(
    encoder: SentenceEncoder, texts: Sequence[str], words: Sequence[int] = WORDS, seed: int = 0
) -> dict[str, list[Estimate]]:
    """Of 100 texts cut to so many words, how many first halves find their own second half first; unit: text.

    `HALVED` texts at most, at every length the same, drawn from those that have so many words. {} where too few do.
    """
    long_enough = [text.split() for text in texts if len(text.split()) >= max(words)]
    chosen = [long_enough[row] for row in np.random.default_rng(seed).permutation(len(long_enough))[:HALVED]]
    if len(chosen) < 20:
        return {}
    found: dict[str, list[Estimate]] = {"the model": [], "TF-IDF": []}
    for count in words:
        one = [" ".join(text[: count // 2]) for text in chosen]
        two = [" ".join(text[count // 2 : count]) for text in chosen]
        scores = {"the model": encoded(encoder, one) @ encoded(encoder, two).T, "TF-IDF": controls.tfidf(one, two)}
        for name, similarity in scores.items():
            found[name].append(ranking_of(similarity, [{row} for row in range(len(one))], k=1))
    return found


def growing(encoder: SentenceEncoder, texts: Sequence[str], seed: int = 0, starts: int = 8) -> pd.DataFrame:
    """A text to which passages are added: tokens, its cosine to the first and the last of them, and to one not in it.

    Means over `starts` such texts of passages drawn from `texts`; a row for each number of passages in `PARTS`.
    """
    drawn = np.resize(np.random.default_rng(seed).permutation(len(texts)), (starts, max(PARTS) + 1))
    streams = [[texts[row] for row in rows] for rows in drawn]
    table = []
    for count in PARTS:
        wholes = [" ".join(stream[:count]) for stream in streams]
        whole = encoded(encoder, wholes)
        sides = [encoded(encoder, [stream[at] for stream in streams]) for at in (0, count - 1, -1)]
        table.append([np.mean(encoder.token_counts(wholes)), *(cosine(whole, side).mean() for side in sides)])
    return pd.DataFrame(table, columns=["tokens", "its first part", "the part added last", "a part not in it"])


# ------------------------------------------------------------------------------------------------------ what is quoted


def reference(study: Study) -> dict[str, Any]:
    """Numbers that the lesson, its lab and its solutions quote beside the claims."""
    encoder, seed = study.encoder, study.seed
    refund = encoded(
        encoder, ["The refund was approved.", "You will get your money back.", "The refund was not approved."]
    )
    topics_, pairs = with_labels(study.sentences), study.pairs
    few = topics_.groupby("label").head(6).head(48)
    blank = untrained(encoder, seed)
    labels, off = topics_["label"].to_numpy(), ~np.eye(len(few), dtype=bool)
    other = ~np.equal.outer(labels, labels)
    spans = [one.similarity(few["text"])[off] for one in (encoder, blank)]
    means = [one.similarity(topics_["text"])[other].mean() for one in (encoder, blank)]
    sets = scored_sets(study)
    halves = halves_found(encoder, study.passages.texts, seed=seed)
    return {
        "limit": encoder.max_length,
        "refund": {"paraphrase": float(refund[0] @ refund[1]), "denial": float(refund[0] @ refund[2])},
        "scale": {
            name: {"lowest": float(span.min()), "highest": float(span.max())}
            for name, span in zip(("model", "random"), spans, strict=True)
        },
        "unrelated": {"model": float(means[0]), "random": float(means[1])},
        "topics": _values(topics(encoder, topics_["text"], labels, seed)),
        "modules": _values(modules(encoder, study.passages, seed)),
        "meaning": _values(meaning(encoder, pairs, seed)),
        "each_topic": _values(topic_aucs(encoded(encoder, topics_["text"]), labels)),
        "threshold": {name.replace(" ", "_"): one.threshold() for name, one in sets.items()},
        "errors": errors_elsewhere(study).to_numpy().round(6).tolist(),
        "halves": {name.replace(" ", "_"): [one.value for one in line] for name, line in halves.items()},
        "growing": growing(encoder, study.passages.texts, seed).to_numpy().round(6).tolist(),
    }


def _values(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    return {name.replace(" ", "_"): one.value for name, one in estimates.items()}
