"""Scores for a search: the metric under the rule that needs no fitting, and the log loss.

A search scores thousands of blends of the same rows. Where a metric is a function of counts, these
are counted in the types that the rows have; the metric's own path stays the reference of the tests.
"""

import numpy as np

from pipeline.decisions.rules import default_rule
from pipeline.metrics import Metric
from pipeline.metrics.class_counts import ClassCounts, class_counts
from pipeline.metrics.custom import CustomMetric
from pipeline.metrics.f_beta import LabelAverage, class_mean
from pipeline.metrics.ranking import Ranking
from pipeline.metrics.rows import MulticlassLogLoss, MultilabelLogLoss, row_log_loss


def quick_score(
    metric: Metric, y: np.ndarray, probs: np.ndarray, row_weights: np.ndarray | None = None
) -> float:
    """Return the metric under the rule that needs no fitting, so that higher is better.

    Parameters
    ----------
    metric : Metric
    y : ndarray of shape (n,) int or (n, c) 0/1
    probs : ndarray of shape (n, c)
        Values beyond [0, 1], as rounding leaves them, are clipped.
    row_weights : ndarray of shape (n,), optional
        Non-negative weights of the rows; whole numbers for a custom metric, which repeats rows.

    Returns
    -------
    float
        -inf where the metric is undefined on these rows.
    """
    if isinstance(metric, MulticlassLogLoss | MultilabelLogLoss):
        return -log_loss_of(metric.task, y, probs, row_weights)
    kind = default_rule(metric).kind
    if kind == "argmax":
        answer = np.argmax(probs, axis=1)
    elif kind == "threshold":
        answer = (probs >= 0.5).astype(np.int8)
    else:
        answer = np.clip(probs, 0, 1)
    score = float(_score(metric, y, answer, probs.shape[1], row_weights))
    return metric.sign * score if np.isfinite(score) else -np.inf


def _score(
    metric: Metric, y: np.ndarray, answer: np.ndarray, classes: int, weights: np.ndarray | None
) -> float:
    if isinstance(metric, ClassCounts):
        return metric.from_counts(*class_counts(y, answer, classes, weights))
    if isinstance(metric, LabelAverage) and metric.average != "samples":
        counts = class_counts(y, answer, classes, weights)
        return class_mean(metric.value, *counts, metric.average)
    if isinstance(metric, Ranking) and weights is None:
        return ranking_score(metric, y, answer)
    if isinstance(metric, Ranking | CustomMetric):  # no sums of rows
        together = weights is None
        members = np.zeros(len(y), np.int64) if together else np.arange(len(y))
        once = np.ones((1, 1)) if together else np.asarray(weights, np.float64)[None]
        return metric.scorer(y, answer, classes, members)(once)[0]
    stats = metric.stats(y, answer, classes)
    return metric.from_sums(stats.sum(0) if weights is None else weights @ stats)


def ranking_score(metric: Ranking, y: np.ndarray, probs: np.ndarray) -> float:
    """Return AUC or average precision of rows that count once, NaN where undefined.

    A sixth of the time of `metric.scorer`: probabilities alone are sorted, not rows. `y` is (n,)
    int or (n, c) 0/1, `probs` (n, c).
    """
    rows, values = len(y), []
    for j, column in enumerate(np.ascontiguousarray(probs.T)):
        truth = y == j if y.ndim == 1 else y[:, j] == 1
        found, times = np.unique(column[truth], return_counts=True)
        if not len(found):
            continue
        ordered = np.sort(column)
        above, upto = (rows - np.searchsorted(ordered, found, side) for side in ("right", "left"))
        curve = (each[::-1, None].astype(np.float64) for each in (times, above, upto))
        values.append(metric._from_curve(*curve, np.array([float(rows)]))[0])
    defined = np.array(values)[~np.isnan(values)]
    return float(defined.sum() / len(defined)) if len(defined) else float("nan")


def log_loss_of(
    task: str, y: np.ndarray, probs: np.ndarray, row_weights: np.ndarray | None = None
) -> float:
    """Return the mean of `row_log_loss` (lower is better), the metric of that name.

    `y` is (n,) int or (n, c) 0/1, `probs` (n, c), `row_weights` (n,). NaN where the weights sum to
    nothing.
    """
    losses = row_log_loss(task, y, probs)
    if row_weights is None:
        return float(losses.mean())
    weight = row_weights.sum()
    return float(row_weights @ losses / weight) if weight > 0 else float("nan")
