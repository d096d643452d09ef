"""Scores of vectors and similarities, each an `Estimate` over the unit that is independent.

Units: the query for ranking in a stated, fixed pool; the sentence for neighbours, topics, hubs and clusters; the group
of pairs that share a sentence for pairs. Scores in *points* are multiplied by 100.
"""

from stlib.evidence.scores.neighbours import (
    hub_share,
    neighbour_accuracy,
    neighbours,
    occurrences,
    topic_auc,
    topic_aucs,
    v_measure,
)
from stlib.evidence.scores.pairs import (
    balanced_error,
    choose_threshold,
    cosine,
    order_accuracy,
    pair_score,
    pair_score_name,
    roc_auc,
    spearman,
    split_groups,
)
from stlib.evidence.scores.ranking import ndcg_of, ranking, ranking_of, top

__all__ = [
    "balanced_error",
    "choose_threshold",
    "cosine",
    "hub_share",
    "ndcg_of",
    "neighbour_accuracy",
    "neighbours",
    "occurrences",
    "order_accuracy",
    "pair_score",
    "pair_score_name",
    "ranking",
    "ranking_of",
    "roc_auc",
    "spearman",
    "split_groups",
    "top",
    "topic_auc",
    "topic_aucs",
    "v_measure",
]
