"""A threshold per class, fitted exactly by sorting: positive where `p >= t`, in float64.

Macro-F and weighted F fall apart into one search per class. Micro-F does not, as all classes share
one ratio, but a parametric search solves it jointly. Samples F and subset accuracy tie the classes
of a row together; there, coordinate ascent finds a local optimum.
"""

import numpy as np

from pipeline.decisions.cuts import TIE, Cuts
from pipeline.decisions.sweep import row_values, sweep
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair
from pipeline.metrics.f_beta import MultilabelFBeta, f_beta
from pipeline.metrics.metric import Metric

MAX_SWEEPS = 10


def per_class_thresholds(metric: Metric, y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the thresholds (c,) for a multi-label metric, by the method that suits it."""
    average = getattr(metric, "average", None)
    if isinstance(metric, MultilabelFBeta) and average in ("macro", "weighted"):
        return per_class_f_beta(y, probs, metric.beta)
    if isinstance(metric, MultilabelFBeta) and average == "micro":
        return micro_f_beta(y, probs, metric.beta)
    return ascend(metric, y, probs)


def per_class_f_beta(y: np.ndarray, probs: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return for each class the threshold of its highest F-beta.

    Parameters
    ----------
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]
    beta : float, positive

    Returns
    -------
    ndarray of shape (c,), float64
        The exact optimum on these rows for macro-F-beta and weighted F-beta; among equal cuts
        the one closest to 0.5, so a class without positives gets about 0.5.

    Raises
    ------
    PodiumError
        For shapes that differ, NaN, or values outside [0, 1].

    References
    ----------
    Lipton, Elkan and Naryanaswamy, Optimal thresholding of classifiers to maximize F1 measure,
    ECML 2014.
    """
    y, probs = check_pair(y, probs, "multilabel")
    _check_beta(beta)
    thresholds = np.empty(probs.shape[1])
    for j in range(len(thresholds)):
        cuts = Cuts.of(probs[:, j])
        hits = cuts.sums(y[:, j].astype(np.int64))
        values = f_beta(hits, cuts.counts, hits[-1], beta)
        thresholds[j] = cuts.thresholds[cuts.best(values)]
    return thresholds


def micro_f_beta(y: np.ndarray, probs: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return thresholds per class that are jointly optimal for micro-F-beta.

    Micro-F-beta is a ratio N/D of sums over classes. Given a ratio r that can be reached, each
    class alone maximises its part of N - r D; the ratio of that answer is at least r, and equal
    only at the maximum. From the best global threshold the search rises to it in a few rounds.

    Parameters
    ----------
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]
    beta : float, positive

    Returns
    -------
    ndarray of shape (c,), float64
        Never below the best global threshold on these rows.

    Raises
    ------
    PodiumError
        For shapes that differ, NaN, or values outside [0, 1].

    References
    ----------
    Dinkelbach, On nonlinear fractional programming, Management Science 13 (1967).
    """
    y, probs = check_pair(y, probs, "multilabel")
    _check_beta(beta)
    columns = [Cuts.of(probs[:, j]) for j in range(probs.shape[1])]
    hits = [cuts.sums(y[:, j].astype(np.int64)) for j, cuts in enumerate(columns)]
    everywhere, score = sweep(MultilabelFBeta("", "multilabel", beta, "micro"), y, probs)
    thresholds = np.full(probs.shape[1], everywhere)
    while True:
        best = [
            cuts.best((1 + beta**2) * hit - score * cuts.counts)
            for cuts, hit in zip(columns, hits, strict=True)
        ]
        right = sum(hit[b] for hit, b in zip(hits, best, strict=True))
        predicted = sum(cuts.counts[b] for cuts, b in zip(columns, best, strict=True))
        reached = float(f_beta(right, predicted, y.sum(), beta))
        if reached >= score:
            thresholds = np.array(
                [cuts.thresholds[b] for cuts, b in zip(columns, best, strict=True)]
            )
        if reached <= score:
            return thresholds
        score = reached


def ascend(metric: Metric, y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return thresholds per class for samples F-beta or subset accuracy: a local optimum.

    From the best global threshold, one class after the other moves to its best cut while the
    others stay: an exact line search. A move must gain, so the result is never below the global
    threshold, and a class that gains nowhere keeps it. Sweeps end when none gains (at most 10).
    Better combinations may exist that no single class can reach alone.

    Parameters
    ----------
    metric : Metric
        Multi-label samples F-beta or subset accuracy.
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]

    Returns
    -------
    ndarray of shape (c,), float64
    """
    y, probs = check_pair(y, probs, "multilabel")
    everywhere, score = sweep(metric, y, probs)
    thresholds = np.full(probs.shape[1], everywhere)
    columns = [Cuts.of(probs[:, j]) for j in range(probs.shape[1])]
    answer = probs >= everywhere
    for _ in range(MAX_SWEEPS):
        before = score
        for j, cuts in enumerate(columns):
            values = _line(metric, y, answer, j, cuts)
            best = cuts.best(values, TIE)
            if values[best] > score + TIE:
                thresholds[j], score = cuts.thresholds[best], values[best]
                answer[:, j] = probs[:, j] >= thresholds[j]
        if score == before:
            break
    return thresholds


def _line(metric: Metric, y: np.ndarray, answer: np.ndarray, j: int, cuts: Cuts) -> np.ndarray:
    """Return the score of every cut (m,) of class j beside the answers of the other classes."""
    truth, mine = y[:, j], answer[:, j]
    hits = np.einsum("nc,nc->n", y, answer, dtype=np.int64) - truth * mine
    counts = answer.sum(1) - mine
    positives = y.sum(1, dtype=np.int64)
    negative = row_values(metric, hits, counts, positives)
    positive = row_values(metric, hits + truth, counts + 1, positives)
    return (negative.sum() + cuts.sums(positive - negative)) / len(y)


def _check_beta(beta: float) -> None:
    if not (np.isfinite(beta) and beta > 0):
        raise PodiumError(f"beta must be a positive number, got {beta}")
