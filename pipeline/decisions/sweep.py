"""One threshold for all classes, exact: a sweep over every distinct score of the matrix.

Lowering the threshold makes one cell after another positive. What a cell adds to the metric
depends only on its own column (macro, weighted) or its own row (samples, subset accuracy), so all
gains come from one sort along that axis, and the score of every cut from one cumulative sum. For
micro averages only counts matter, and one sort of all cells gives them.
"""

import numpy as np

from pipeline.decisions.cuts import TIE, Cuts, Hits, pieces, sorted_cells
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair
from pipeline.metrics.f_beta import LabelAverage
from pipeline.metrics.matthews import MultilabelMatthews, matthews
from pipeline.metrics.metric import Metric, ratio
from pipeline.metrics.rows import SubsetAccuracy


def global_threshold(metric: Metric, y: np.ndarray, probs: np.ndarray) -> float:
    """Return the one threshold that is best for all classes together.

    Parameters
    ----------
    metric : Metric
        Multi-label F-beta or Jaccard (micro, macro, weighted, samples), Matthews correlation or
        subset accuracy.
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]
        Memory-mapped or in memory; float16 and float32 stay as they are.

    Returns
    -------
    float
        No other threshold scores higher (micro; otherwise by more than 1e-12, the rounding of
        sums) on these rows; among equals, the one closest to 0.5.

    Raises
    ------
    PodiumError
        For another metric, shapes that differ, NaN or values outside [0, 1].
    """
    return sweep(metric, *check_pair(y, probs, "multilabel", narrow=True))[0]


def sweep(metric: Metric, y: np.ndarray, probs: np.ndarray) -> tuple[float, float]:
    """Return the best threshold of checked inputs, and its score."""
    if isinstance(metric, LabelAverage) and metric.average == "micro":
        return _micro_sweep(metric, y, probs)
    start, gains = _cell_gains(metric, y, probs)
    cuts = Cuts.of(probs.ravel())
    values = start + cuts.sums(gains.ravel())
    best = cuts.best(values, TIE)
    return float(cuts.thresholds[best]), float(values[best])


def part_values(
    metric: Metric, hits: np.ndarray, counts: np.ndarray, positives: np.ndarray, total: int
) -> np.ndarray:
    """Return the metric of a row or class of `total` cells: from what was hit, predicted, actual.

    Of subset accuracy that is whether the set of a row is right.
    """
    if isinstance(metric, LabelAverage):
        return metric.value(hits, counts, positives)
    if isinstance(metric, MultilabelMatthews):
        return matthews(hits, counts, positives, total)
    if isinstance(metric, SubsetAccuracy):
        return ((hits == positives) & (counts == positives)).astype(np.float64)
    known = "multi-label F, Jaccard, Matthews correlation and subset accuracy do"
    raise PodiumError(f"{metric.name} has no thresholds to fit; {known}")


def _micro_sweep(metric: LabelAverage, y: np.ndarray, probs: np.ndarray) -> tuple[float, float]:
    """Return the best threshold and its score for a ratio of counts over all cells.

    Equal ratios of integers are equal floats, so no tolerance is needed. The sorted cells are
    looked at piece by piece: for all of them only keys as wide as the scores are kept.
    """
    positives, keys = int(np.count_nonzero(y)), sorted_cells(y, probs)
    found, below = [], 0  # (score, threshold) of each piece; positives below it
    for start, stop in pieces(keys):
        cuts = Hits.of(keys[start:stop])
        hits = cuts.hits + (positives - below - cuts.hits[0])
        values = metric.value(hits, cuts.counts + (len(keys) - stop), positives)
        values[: int(start > 0)] = -np.inf  # its first and last cuts are inner ones of others
        values[len(values) - int(stop < len(keys)) :] = -np.inf
        found.append((float(values.max()), cuts.best(values)))
        below += int(cuts.hits[0] - cuts.hits[-2])  # the last score is the next piece's first
    top = max(score for score, _ in found)
    equal = [threshold for score, threshold in reversed(found) if score == top]
    return min(equal, key=lambda threshold: abs(threshold - 0.5)), top


def _cell_gains(metric: Metric, y: np.ndarray, probs: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the score of predicting nothing, and what each cell (n, c) adds in its turn.

    Tied cells share one cut, so only the sum of their gains matters, not their order.
    """
    average = getattr(metric, "average", "rows")
    by_column = average in ("macro", "weighted") or isinstance(metric, MultilabelMatthews)
    axis = 0 if by_column else 1
    positives = y.sum(axis, keepdims=True, dtype=np.int64)
    weights = 1 / y.shape[1 - axis]
    if average == "weighted":
        weights = ratio(positives, positives.sum())
    total = y.shape[axis]
    order = np.argsort(-probs, axis=axis)
    hits = np.cumsum(np.take_along_axis(y, order, axis), axis, dtype=np.int64)
    turns = np.expand_dims(np.arange(1, total + 1), 1 - axis)
    values = part_values(metric, hits, turns, positives, total) * weights
    start = part_values(metric, 0 * positives, 0 * positives, positives, total) * weights
    gains = np.empty_like(values)
    np.put_along_axis(gains, order, np.diff(values, axis=axis, prepend=start), axis)
    return float(start.sum()), gains
