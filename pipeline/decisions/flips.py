"""The exact line search over one class's multiplier.

As the multiplier of class j grows, each row flips at most once, from its best other class to j:
where the multiplier passes the ratio of that class's product to the probability of j. Sorted by
this ratio, each flip changes the counts of two classes, and what that does to the metric is known
in closed form; one cumulative sum scores every cut between distinct ratios.
"""

from collections.abc import Callable

import numpy as np

from pipeline.decisions.cuts import TIE
from pipeline.metrics.class_counts import (
    Accuracy,
    BalancedAccuracy,
    ClassCounts,
    MulticlassFBeta,
    class_counts,
)
from pipeline.metrics.f_beta import f_beta
from pipeline.metrics.metric import ratio

SUPPORTED = (Accuracy, BalancedAccuracy, MulticlassFBeta)
ROOM = 1e-12  # ratios closer than this (proportional rows) differ by rounding: no cut parts them
LOWEST, HIGHEST = 1e-100, 1e100  # beyond, products would run out of float64


def best_multiplier(
    metric: ClassCounts, y: np.ndarray, probs: np.ndarray, multipliers: np.ndarray, j: int
) -> tuple[float, float]:
    """Return the best multiplier of class j beside the others, and the score that it reaches.

    Among cuts of equal score, the multiplier closest to 1 is taken.
    """
    ratios, rival, answer = _ratios(probs, multipliers, j)
    moving = np.flatnonzero(np.isfinite(ratios))
    if not len(moving):
        return float(multipliers[j]), -np.inf
    moving = moving[np.argsort(ratios[moving])]
    answer[moving] = rival[moving]  # where the multiplier starts: below every ratio
    counts = class_counts(y, answer, probs.shape[1])
    values = _values(metric, counts, y[moving], rival[moving], j)
    ordered = ratios[moving]
    gaps = np.flatnonzero(ordered[1:] > ordered[:-1] * (1 + ROOM))
    last = np.append(gaps, len(ordered) - 1)
    between = np.sqrt(ordered[gaps]) * np.sqrt(ordered[gaps + 1])
    cuts = np.concatenate([[ordered[0] / 2], between, [ordered[-1] * 2]])
    values = values[np.append(0, last + 1)]
    equal = np.flatnonzero(values >= values.max() - TIE)
    best = equal[np.argmin(np.abs(np.log(cuts[equal])))]
    return float(cuts[best]), float(values[best])


def _ratios(
    probs: np.ndarray, multipliers: np.ndarray, j: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each row flips to class j (inf: never moves), from what, and today's answer."""
    rows = np.arange(len(probs))
    scaled = probs * multipliers
    answer = np.argmax(scaled, axis=1)
    own = probs[:, j]
    scaled[:, j] = -1
    rival = np.argmax(scaled, axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = scaled[rows, rival] / own
    ratios[~((ratios > LOWEST) & (ratios < HIGHEST))] = np.inf
    return ratios, rival, answer


def _values(
    metric: ClassCounts,
    counts: tuple[np.ndarray, np.ndarray, np.ndarray],
    y: np.ndarray,
    rival: np.ndarray,
    j: int,
) -> np.ndarray:
    """Return the score before and after each flip (f + 1,) of rows `y` from `rival` to j."""
    tp, pred, true = counts
    value = _class_value(metric, true)
    order = np.argsort(rival, kind="stable")  # the flips that each class loses, in turn
    k, lost = rival[order], (y == rival)[order]
    first = np.searchsorted(k, k)
    turn = np.arange(len(k)) - first + 1
    hits = np.cumsum(lost)
    hits -= (hits - lost)[first]
    gains = np.empty(len(k))
    after = value(tp[k] - hits, pred[k] - turn, k)
    gains[order] = after - value(tp[k] - hits + lost, pred[k] - turn + 1, k)
    gone = np.zeros(len(k))
    gone[order] = (true[k] == 0) & (pred[k] == turn)
    won = np.cumsum(np.append(0, y == j))
    joined = value(tp[j] + won, pred[j] + np.arange(len(won)), j)
    start = value(tp, pred, np.arange(len(true)))
    values = start.sum() - start[j] + joined + np.cumsum(np.append(0, gains))
    if getattr(metric, "average", None) != "macro":
        return values
    present = (pred + true > 0).sum() - np.cumsum(np.append(0, gone))
    present[1:] += pred[j] + true[j] == 0  # the first flip brings class j in
    return values / present


def _class_value(metric: ClassCounts, true: np.ndarray) -> Callable[..., np.ndarray]:
    """Return the function of (tp, pred, class) whose sum over classes is the metric.

    For macro-F it is the sum before dividing by the number of classes present.
    """
    average = getattr(metric, "average", None)
    if isinstance(metric, Accuracy) or average == "micro":  # one answer per row: micro-F too
        return lambda tp, pred, k: tp / true.sum()
    if isinstance(metric, BalancedAccuracy):
        return lambda tp, pred, k: ratio(tp, true[k]) / (true > 0).sum()
    share = true / true.sum() if average == "weighted" else np.ones(len(true))
    return lambda tp, pred, k: f_beta(tp, pred, true[k], metric.beta) * share[k]
