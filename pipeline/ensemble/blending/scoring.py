"""Scores for a search: the metric under the rule that needs no fitting, and the log loss.

A search scores thousands of blends of the same rows. Where a metric is a function of counts, these
are counted in the types that the rows have; the metric's own path stays the reference of the tests.
"""

import numpy as np

from pipeline.decisions.rules import default_rule
from pipeline.metrics import Metric
from pipeline.metrics.class_counts import ClassCounts
from pipeline.metrics.custom import CustomMetric
from pipeline.metrics.f_beta import LabelAverage, class_mean
from pipeline.metrics.ranking import Ranking
from pipeline.metrics.rows import CLIP, MulticlassLogLoss, MultilabelLogLoss

BLOCK = 1 << 18  # values converted to float64 at a time: 2 MB


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
        return metric.from_counts(*_class_counts(y, answer, classes, weights))
    if isinstance(metric, LabelAverage) and metric.average != "samples":
        return class_mean(metric.value, *_label_counts(y, answer, weights), metric.average)
    if isinstance(metric, Ranking | CustomMetric):  # no sums of rows
        together = weights is None
        members = np.zeros(len(y), np.int64) if together else np.arange(len(y))
        once = np.ones((1, 1)) if together else np.asarray(weights, np.float64)[None]
        return metric.scorer(y, answer, classes, members)(once)[0]
    stats = metric.stats(y, answer, classes)
    return metric.from_sums(stats.sum(0) if weights is None else weights @ stats)


def _class_counts(
    y: np.ndarray, answer: np.ndarray, classes: int, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how often each class was right, answered and actual: three (c,) float64 vectors."""
    right = y == answer
    columns = (y[right], None if weights is None else weights[right]), (answer, weights)
    counts = [np.bincount(labels, each, classes) for labels, each in (*columns, (y, weights))]
    return tuple(np.asarray(count, np.float64) for count in counts)


def _label_counts(
    y: np.ndarray, answer: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how often each label was right, answered and actual: three (c,) float64 vectors."""
    if weights is None:
        return tuple(labels.sum(0, dtype=np.float64) for labels in (y & answer, answer, y))
    return tuple(weights @ labels for labels in (y & answer, answer, y))


def log_loss_of(
    task: str, y: np.ndarray, probs: np.ndarray, row_weights: np.ndarray | None = None
) -> float:
    """Return the mean log loss (lower is better) as the metric of that name has it, by blocks.

    Probabilities are clipped at 1e-15; multi-class rows are divided by their sums, and multi-label
    losses are means over all cells. `y` is (n,) int or (n, c) 0/1, `probs` (n, c), `row_weights`
    (n,). NaN where the weights sum to nothing.
    """
    total, weight = 0.0, 0.0
    size = max(1, BLOCK // probs.shape[1])
    for start in range(0, len(y), size):
        here = slice(start, start + size)
        losses = _row_losses(task, y[here], probs[here])
        if row_weights is None:
            total, weight = total + losses.sum(), weight + len(losses)
        else:
            total, weight = total + row_weights[here] @ losses, weight + row_weights[here].sum()
    return float(total / weight) if weight > 0 else float("nan")


def _row_losses(task: str, y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the log loss (b,) float64 of every row."""
    probs = np.clip(probs.astype(np.float64), CLIP, 1 - CLIP)
    if task == "multiclass":
        return np.log(probs.sum(1)) - np.log(probs[np.arange(len(y)), y])
    return -np.log(np.where(y == 1, probs, 1 - probs)).mean(1)
