"""One threshold for all classes, exact: a sweep over every distinct score of the matrix.

Lowering the threshold makes one cell after another positive. What a cell adds to the metric
depends only on its own column (macro, weighted) or its own row (samples, subset accuracy), so all
gains come from one sort along that axis, and the score of every cut from one cumulative sum.
"""

import numpy as np

from pipeline.decisions.cuts import TIE, Cuts
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair
from pipeline.metrics.f_beta import MultilabelFBeta, f_beta
from pipeline.metrics.metric import Metric, ratio
from pipeline.metrics.rows import SubsetAccuracy


def global_threshold(metric: Metric, y: np.ndarray, probs: np.ndarray) -> float:
    """Return the one threshold that is best for all classes together.

    Parameters
    ----------
    metric : Metric
        Multi-label F-beta (micro, macro, weighted, samples) or subset accuracy.
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]

    Returns
    -------
    float
        No other threshold scores higher (by more than 1e-12, the rounding of sums) on these
        rows; among equals, the one closest to 0.5.

    Raises
    ------
    PodiumError
        For another metric, shapes that differ, NaN or values outside [0, 1].
    """
    return sweep(metric, *check_pair(y, probs, "multilabel"))[0]


def sweep(metric: Metric, y: np.ndarray, probs: np.ndarray) -> tuple[float, float]:
    """Return the best threshold of checked inputs, and its score."""
    cuts = Cuts.of(probs.ravel())
    if isinstance(metric, MultilabelFBeta) and metric.average == "micro":
        hits = cuts.sums(y.ravel().astype(np.int64))
        values = f_beta(hits, cuts.counts, y.sum(), metric.beta)
    else:
        start, gains = _cell_gains(metric, y, probs)
        values = start + cuts.sums(gains.ravel())
    best = cuts.best(values, TIE)
    return float(cuts.thresholds[best]), float(values[best])


def row_values(
    metric: Metric, hits: np.ndarray, counts: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """Return F-beta, or whether the set is right, from what was hit, predicted and actual."""
    if isinstance(metric, MultilabelFBeta):
        return f_beta(hits, counts, positives, metric.beta)
    if isinstance(metric, SubsetAccuracy):
        return ((hits == positives) & (counts == positives)).astype(np.float64)
    raise PodiumError(
        f"{metric.name} has no thresholds to fit; multi-label F or subset accuracy do"
    )


def _cell_gains(metric: Metric, y: np.ndarray, probs: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the score of predicting nothing, and what each cell (n, c) adds in its turn.

    Tied cells share one cut, so only the sum of their gains matters, not their order.
    """
    by_column = getattr(metric, "average", "rows") in ("macro", "weighted")
    axis = 0 if by_column else 1
    positives = y.sum(axis, keepdims=True, dtype=np.int64)
    weights = 1 / y.shape[1 - axis]
    if getattr(metric, "average", None) == "weighted":
        weights = ratio(positives, positives.sum())
    order = np.argsort(-probs, axis=axis)
    hits = np.cumsum(np.take_along_axis(y, order, axis), axis, dtype=np.int64)
    turns = np.expand_dims(np.arange(1, y.shape[axis] + 1), 1 - axis)
    values = row_values(metric, hits, turns, positives) * weights
    start = row_values(metric, 0 * positives, 0 * positives, positives) * weights
    gains = np.empty_like(values)
    np.put_along_axis(gains, order, np.diff(values, axis=axis, prepend=start), axis)
    return float(start.sum()), gains
