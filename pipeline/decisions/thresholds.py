"""A threshold per class, fitted exactly by sorting: positive where `p >= t`, in float64.

Macro-F and weighted F fall apart into one search per class, and so does the mean of Matthews
correlations. Micro-F does not, as all classes share one ratio, but a parametric search solves it
jointly. Jaccard's index rises with F1 wherever both are taken of the same counts, so per class and
micro it has the thresholds of F1. Samples F, samples Jaccard and subset accuracy tie the classes
of a row together; there, coordinate ascent finds a local optimum.
"""

from fractions import Fraction
from functools import partial

import numpy as np

from pipeline.decisions.cuts import TIE, Cuts, Hits, Hull, by_class
from pipeline.decisions.sweep import part_values, sweep
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair
from pipeline.metrics.f_beta import LabelAverage, f_beta
from pipeline.metrics.matthews import MultilabelMatthews, matthews
from pipeline.metrics.metric import Metric

MAX_SWEEPS = 10


def per_class_thresholds(metric: Metric, y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the thresholds (c,) for a multi-label metric, by the method that suits it."""
    if isinstance(metric, MultilabelMatthews):
        return per_class_matthews(y, probs)
    if isinstance(metric, LabelAverage):
        beta = getattr(metric, "beta", 1.0)  # Jaccard has the thresholds of F1
        if metric.average in ("macro", "weighted"):
            return per_class_f_beta(y, probs, beta)
        if metric.average == "micro":
            return micro_f_beta(y, probs, beta)
    return ascend(metric, y, probs)


def per_class_f_beta(y: np.ndarray, probs: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return for each class the threshold of its highest F-beta.

    Parameters
    ----------
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]
        Memory-mapped or in memory, in any order; float16 and float32 stay as they are.
    beta : float, positive

    Returns
    -------
    ndarray of shape (c,), float64
        The exact optimum on these rows for macro-F-beta and weighted F-beta, and for beta = 1
        for macro and weighted Jaccard; among equal cuts the one closest to 0.5, so a class
        without positives gets about 0.5.

    Raises
    ------
    PodiumError
        For shapes that differ, NaN, or values outside [0, 1].

    References
    ----------
    Lipton, Elkan and Naryanaswamy, Optimal thresholding of classifiers to maximize F1 measure,
    ECML 2014.
    """
    y, probs = check_pair(y, probs, "multilabel", narrow=True)
    _check_beta(beta)

    def best(keys: np.ndarray) -> float:
        cuts = Hits.of(keys)
        return cuts.best(f_beta(cuts.hits, cuts.counts, cuts.hits[0], beta))

    return np.array(by_class(best, y, probs))


def per_class_matthews(y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return for each class the threshold of its highest Matthews correlation.

    Parameters
    ----------
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]

    Returns
    -------
    ndarray of shape (c,), float64
        The exact optimum on these rows of their mean, up to 1e-12; among equal cuts the one
        closest to 0.5.

    Raises
    ------
    PodiumError
        For shapes that differ, NaN, or values outside [0, 1].
    """
    y, probs = check_pair(y, probs, "multilabel", narrow=True)

    def best(keys: np.ndarray) -> float:
        cuts = Hits.of(keys)
        return cuts.best(matthews(cuts.hits, cuts.counts, cuts.hits[0], len(keys)), TIE)

    return np.array(by_class(best, y, probs))


def micro_f_beta(y: np.ndarray, probs: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return thresholds per class that are jointly optimal for micro-F-beta.

    Micro-F-beta is a ratio N/D of sums over classes. Given a ratio r that can be reached, each
    class alone maximises its part of N - r D; the ratio of that answer is at least r, and equal
    only at the maximum. From predicting everything the search rises to it in a few rounds. The
    maximum of a part lies on the upper hull of its cuts, so after one sort per class a round costs
    next to nothing, and all of it is exact, in integers.

    Parameters
    ----------
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]
        Memory-mapped or in memory, in any order; float16 and float32 stay as they are.
    beta : float, positive

    Returns
    -------
    ndarray of shape (c,), float64
        The exact optimum on these rows, for beta = 1 that of micro-Jaccard too, so never below
        the best global threshold. Among equal cuts of a class the one closest to 0.5.

    Raises
    ------
    PodiumError
        For shapes that differ, NaN, or values outside [0, 1].

    References
    ----------
    Dinkelbach, On nonlinear fractional programming, Management Science 13 (1967).
    """
    y, probs = check_pair(y, probs, "multilabel", narrow=True)
    _check_beta(beta)
    square = Fraction(str(float(beta))) ** 2  # as a person writes beta: 0.1 is 1/10
    missed, unit = square.as_integer_ratio()
    positives = int(np.count_nonzero(y))
    if not positives:
        return np.array(by_class(_nearest_half, y, probs))
    hulls = by_class(Hull.of, y, probs)
    right, bottom = positives, missed * positives + unit * y.size
    while True:
        values = [_parts(hull.hits, hull.counts, unit * right, bottom) for hull in hulls]
        best = [int(np.argmax(value)) for value in values]
        hits = sum(int(hull.hits[b]) for hull, b in zip(hulls, best, strict=True))
        counts = sum(int(hull.counts[b]) for hull, b in zip(hulls, best, strict=True))
        reached = missed * positives + unit * counts
        if hits * bottom <= right * reached:
            break
        right, bottom = hits, reached
    thresholds = np.array([hull.thresholds[b] for hull, b in zip(hulls, best, strict=True)])
    tied = [j for j, value in enumerate(values) if (value == value.max()).sum() > 1]
    if tied:  # every cut on an edge of the hull is as good: look at them all
        nearest = partial(_nearest_equal, price=unit * right, worth=bottom)
        thresholds[tied] = by_class(nearest, y[:, tied], probs[:, tied])
    return thresholds


def _parts(hits: np.ndarray, counts: np.ndarray, price: int, worth: int) -> np.ndarray:
    """Return worth * hits - price * counts (m,), exactly: beyond int64 in Python's integers."""
    if int(counts.max()) * max(price, worth) >= 2**62:
        hits, counts = hits.astype(object), counts.astype(object)
    return hits * worth - counts * price


def _nearest_equal(keys: np.ndarray, price: int, worth: int) -> float:
    cuts = Hits.of(keys)
    values = _parts(cuts.hits, cuts.counts, price, worth)
    return cuts.best((values == values.max()).astype(np.int8))


def _nearest_half(keys: np.ndarray) -> float:
    cuts = Hits.of(keys)
    return cuts.best(np.zeros(len(cuts.counts)))


def ascend(metric: Metric, y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return thresholds per class for a metric of rows: a local optimum.

    From the best global threshold, one class after the other moves to its best cut while the
    others stay: an exact line search. A move must gain, so the result is never below the global
    threshold, and a class that gains nowhere keeps it. Sweeps end when none gains (at most 10).
    Better combinations may exist that no single class can reach alone.

    Parameters
    ----------
    metric : Metric
        Multi-label samples F-beta, samples Jaccard or subset accuracy.
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]

    Returns
    -------
    ndarray of shape (c,), float64
    """
    y, probs = check_pair(y, probs, "multilabel", narrow=True)
    everywhere, score = sweep(metric, y, probs)
    thresholds = np.full(probs.shape[1], everywhere)
    answer = probs >= thresholds
    hits = np.einsum("nc,nc->n", y, answer, dtype=np.int64)
    counts, positives = answer.sum(1), y.sum(1, dtype=np.int64)
    for _ in range(MAX_SWEEPS):
        before = score
        for j, truth in enumerate(y.T):
            column, mine = np.ascontiguousarray(probs[:, j]), answer[:, j].copy()
            hits, counts = hits - truth * mine, counts - mine  # of the other classes
            cuts = Cuts.of(column)
            negative = part_values(metric, hits, counts, positives, len(thresholds))
            positive = part_values(metric, hits + truth, counts + 1, positives, len(thresholds))
            values = (negative.sum() + cuts.sums(positive - negative)) / len(y)
            best = cuts.best(values, TIE)
            if values[best] > score + TIE:
                thresholds[j], score = cuts.thresholds[best], values[best]
                mine = answer[:, j] = column >= np.float64(thresholds[j])
            hits, counts = hits + truth * mine, counts + mine
        if score == before:
            break
    return thresholds


def _check_beta(beta: float) -> None:
    if not (np.isfinite(beta) and beta > 0):
        raise PodiumError(f"beta must be a positive number, got {beta}")
