"""Ensemble selection: members join a mix one by one, each time the one that helps most.

With replacement, so that members get weights; on several resamples of the rows, whose weights are
averaged. Every candidate of every round is scored exactly, from what it changes (`gains.py`).

References
----------
R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, Ensemble selection from libraries of models,
ICML 2004.
"""

import numpy as np

from pipeline.artifacts.keys import poisson_counts
from pipeline.ensemble.blending.gains import AnyGains, LabelGains, Library, RankGains
from pipeline.ensemble.blending.keyed import draw_rows, first_copies, most_rows
from pipeline.ensemble.blending.mix_loss import ClassMixLoss, LabelMixLoss
from pipeline.ensemble.stack import Stack
from pipeline.metrics import CustomMetric, Metric
from pipeline.metrics.ranking import Ranking
from pipeline.metrics.rows import MulticlassLogLoss, MultilabelLogLoss

BAGS, ROUNDS = 10, 30
TIE = 1e-12  # scores closer than this differ by rounding
SORTED = 1 << 18  # probabilities of a bag under a metric that sorts them for every candidate
LOG_LOSS = (MulticlassLogLoss, MultilabelLogLoss)


def greedy_weights(
    metric: Metric,
    y: np.ndarray,
    stack: Stack,
    *,
    keys: np.ndarray | None = None,
    seed: int = 0,
    bags: int = BAGS,
    rounds: int = ROUNDS,
) -> np.ndarray:
    """Return weights of members by bagged greedy selection with replacement.

    Parameters
    ----------
    metric : Metric
        Scored under the rule that needs no fitting: the likeliest class, labels of at least 0.5,
        or the probabilities. Among members that score alike (to 1e-12), the one with the lowest
        log loss of the mix joins; so too among the prefixes of a climb, of which the best counts.
    y : ndarray of shape (n,) class indices, or (n, c) 0/1 int8
    stack : Stack of shape (members, n, c)
    keys : ndarray of shape (n,) uint64, optional
        What decides how often a bag has a row: 0, 1, 2, ... times, Poisson with mean 1, from key,
        bag and seed alone. Rows of one key are drawn together. By default, the positions. Under AUC
        or average precision only 1e6 / c rows are looked at, those whose keys have the smallest
        hashes, and the mean is smaller: a bag has about 2.6e5 / c rows.
    seed : int
    bags : int
        0 or 1: one climb on all rows, each once.
    rounds : int
        The largest mix, members counted as often as they joined.

    Returns
    -------
    ndarray of shape (members,) float64
        Non-negative, summing to 1. Exact copies of a member share its weight; a bag on which the
        metric is undefined does not count, and without any other all members weigh the same.

    References
    ----------
    Caruana et al., Ensemble selection from libraries of models, 2004. Poisson resampling: Oza and
    Russell, Online bagging and boosting, 2001.
    """
    # Plain arrays: every slice of a memory-mapped one costs a Python call.
    stack = Stack(tuple(np.asarray(member) for member in stack.members), stack.chosen)
    owner, which, copies = np.unique(first_copies(stack), return_inverse=True, return_counts=True)
    y, stack, keys = _searched(metric, y, stack, keys, seed)
    library = Library.of(metric, y, stack.only(owner.tolist()))
    everyone, once = np.arange(len(owner)), np.ones(len(y), np.int64)
    # Where metric and log loss of the mix are equal, the member with the lower loss of its own.
    rank = np.argsort(np.argsort(_mix_loss(library, once).losses(everyone), kind="stable"))
    mean = min(1.0, SORTED / np.prod(stack.shape[1:])) if isinstance(metric, Ranking) else 1.0
    total = np.zeros(len(owner))
    for bag in range(max(1, bags)):
        weights = bag_weights(keys, bag, seed, mean) if bags > 1 else once
        if weights.any():
            total += _climb(library, weights, rank, rounds)
    if not total.any():
        return np.full(len(which), 1 / len(which))
    return (total / total.sum() / copies)[which]


def _searched(
    metric: Metric, y: np.ndarray, stack: Stack, keys: np.ndarray | None, seed: int
) -> tuple[np.ndarray, Stack, np.ndarray]:
    """Return labels, members and keys of the rows that the search looks at."""
    keys = np.arange(len(y), dtype=np.uint64) if keys is None else keys
    used = draw_rows(keys, most_rows(metric, stack.shape[2], len(keys)), seed)
    return (y, stack, keys) if len(used) == len(keys) else (y[used], stack.take(used), keys[used])


def bag_weights(keys: np.ndarray, bag: int, seed: int, mean: float = 1.0) -> np.ndarray:
    """Return how often a bag has each row (n,) int64: Poisson draws, from its key alone."""
    return poisson_counts(keys, seed, bag, mean=mean)


def _climb(library: Library, weights: np.ndarray, rank: np.ndarray, rounds: int) -> np.ndarray:
    """Return the shares (members,) of the best mix of one climb; zeros if it has no score."""
    members = np.arange(len(rank))
    loss, gains = _mix_loss(library, weights), _gains(library, weights)
    counts, best_counts = np.zeros(len(rank)), np.zeros(len(rank))
    best, best_loss = -np.inf, np.inf
    for _ in range(rounds):
        scores = -loss.losses(members) if gains is None else gains.scores()
        score = scores.max()
        if score == -np.inf:
            break
        tied, lost = members[scores >= score - TIE], -score
        if gains is not None and (len(tied) > 1 or score >= best - TIE):
            losses = loss.losses(tied)
            lost = losses.min()
            tied = tied[losses <= lost + TIE]
        chosen = tied[np.argmin(rank[tied])]
        loss.add(chosen)
        if gains is not None:
            gains.add(chosen)
        counts[chosen] += 1
        if score > best + TIE or (score >= best - TIE and lost < best_loss - TIE):
            best, best_loss, best_counts = max(best, score), lost, counts.copy()
    return best_counts / max(1.0, best_counts.sum())


def _mix_loss(library: Library, weights: np.ndarray) -> ClassMixLoss | LabelMixLoss:
    if library.actual is not None:
        return ClassMixLoss(library.actual, library.sums, weights)
    return LabelMixLoss(library.y, library.stack, weights)


def _gains(library: Library, weights: np.ndarray) -> AnyGains | LabelGains | None:
    """Return what scores the metric; nothing for log loss, which is its own measure."""
    if isinstance(library.metric, LOG_LOSS):
        return None
    if isinstance(library.metric, Ranking):
        return RankGains(library, weights)
    summed = library.metric.needs == "labels" and not isinstance(library.metric, CustomMetric)
    return (LabelGains if summed else AnyGains)(library, weights)
