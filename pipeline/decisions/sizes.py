"""How many labels an image gets: exactly k, or a threshold between a smallest and largest number.

Both answer the first few labels of a row, from the highest score down; what is fitted is how many.
"""

from collections.abc import Callable

import numpy as np

from pipeline.decisions.cuts import TIE, Cuts
from pipeline.decisions.rare import is_per_class
from pipeline.decisions.sets import by_score, first_labels
from pipeline.decisions.sweep import part_values
from pipeline.decisions.tried import CUSTOM_QUANTILES, candidates, reached, tried_values
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair
from pipeline.metrics.custom import CustomMetric
from pipeline.metrics.matthews import MultilabelMatthews
from pipeline.metrics.metric import Metric

Sizes = Callable[[np.ndarray], np.ndarray]

BLOCK = 1 << 20  # cells in a block of rows
QUANTILES = 99  # of all scores, and of those of positive labels: the cuts that are tried


def limit_sizes(
    answer: np.ndarray, scores: np.ndarray, at_least: int = 0, at_most: int | None = None
) -> np.ndarray:
    """Return an answer with too few labels filled up and too many cut, by the order of scores.

    Parameters
    ----------
    answer : ndarray of shape (n, c), int8 of 0 and 1
        In each row the labels of the highest scores, as thresholds leave them.
    scores : ndarray of shape (n, c)
        What ranks the labels of a row: `p - t` for thresholds. Ties go to the first class.
    at_least, at_most : int
        The smallest and largest number of labels; None for no largest.

    Raises
    ------
    PodiumError
        Where more labels are asked for than there are classes.
    """
    n_classes = answer.shape[1]
    if at_least > n_classes:
        raise PodiumError(f"at_least must not exceed the {n_classes} classes, got {at_least}")
    counts = answer.sum(1, dtype=np.int64)
    wanted = np.clip(counts, at_least, n_classes if at_most is None else at_most)
    wrong = np.flatnonzero(wanted != counts)
    if len(wrong):
        answer = answer.copy()
        answer[wrong] = first_labels(by_score(scores[wrong]), wanted[wrong])
    return answer


def top_labels(probs: np.ndarray, k: int) -> np.ndarray:
    """Return the k most probable labels (n, c) int8 of each row, ties to the first class."""
    out = np.empty(probs.shape, np.int8)
    size = max(1, BLOCK // probs.shape[1])
    for start in range(0, len(probs), size):
        order = by_score(probs[start : start + size])
        out[start : start + size] = first_labels(order, np.full(len(order), k))
    return out


def fit_top_k(metric: Metric, y: np.ndarray, probs: np.ndarray) -> int:
    """Return the number of labels per row that scores best, of all from 1 to c.

    Of a custom metric, whose every score is a call, those up to the largest number of labels of a
    row are tried. Among equals (within 1e-12) the smallest.
    """
    y, probs = check_pair(y, probs, "multilabel", narrow=True)
    tried = np.arange(1, y.shape[1] + 1)
    if isinstance(metric, CustomMetric):
        tried = tried[: max(1, int(y.sum(1, dtype=np.int64).max()))]
        values = tried_values(metric, y, (top_labels(probs, k) for k in tried))
    else:
        values = _values(metric, y, probs, lambda block: np.tile(tried, (len(block), 1)))
    return int(tried[np.argmax(values >= values.max() - TIE)])


def fit_sized(metric: Metric, y: np.ndarray, probs: np.ndarray) -> tuple[float, int, int | None]:
    """Return a threshold for all classes, and the smallest and largest number of labels of a row.

    The numbers are those seen in `y`. The threshold is the best under them: only the labels that
    they leave open count, those of rank `at_least` + 1 to `at_most` in their row. All cuts between
    those are tried where there are at most 199; else those at 99 quantiles of their scores, 99 of
    the scores of true labels among them, and 0.5. (Of a custom metric, 49 each.)

    Parameters
    ----------
    metric : Metric
        Any multi-label metric of labels.
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]

    Returns
    -------
    threshold : float
    at_least : int
    at_most : int or None
        (0.5, 0, None) where that scores higher: never worse than the plain threshold 0.5.
    """
    y, probs = check_pair(y, probs, "multilabel", narrow=True)
    counts = y.sum(1, dtype=np.int64)
    low, high = int(counts.min()), max(1, int(counts.max()))
    if isinstance(metric, CustomMetric):
        cuts = _open_cuts(y, probs, low, high, CUSTOM_QUANTILES)
        answers = (limit_sizes(reached(probs, t), probs, low, high) for t in cuts.thresholds)
        plain = tried_values(metric, y, [reached(probs, 0.5)])[0]
        values = tried_values(metric, y, answers)
    else:
        cuts = _open_cuts(y, probs, low, high, QUANTILES)
        plain = _values(metric, y, probs, lambda block: _reaching(block, np.array([0.5])))[0]
        values = _values(
            metric, y, probs, lambda block: np.clip(_reaching(block, cuts.thresholds), low, high)
        )
    best = cuts.best(values, TIE)
    if values[best] < plain - TIE:
        return 0.5, 0, None
    return float(cuts.thresholds[best]), low, high


def _open_cuts(y: np.ndarray, probs: np.ndarray, low: int, high: int, quantiles: int) -> Cuts:
    """Return cuts of the scores whose rank in their row lies above `low` and not above `high`."""
    ranks = slice(low, high) if high > low else slice(0, 1)  # one must do: the sizes are fixed
    scores, truth = [], []
    size = max(1, BLOCK // probs.shape[1])
    for start in range(0, len(probs), size):
        block, labels = probs[start : start + size], y[start : start + size]
        order = by_score(block)[:, ranks]
        scores.append(np.take_along_axis(block, order, 1).ravel())
        truth.append(np.take_along_axis(labels, order, 1).ravel())
    return candidates(np.concatenate(truth), np.concatenate(scores), quantiles)


def _reaching(block: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how many scores of each row of a block (b, c) reach each threshold: (b, m)."""
    levels = thresholds[::-1]  # ascending; a score reaches all levels up to its place among them
    places = np.searchsorted(levels, block.astype(np.float64, copy=False), side="right")
    rows, width = len(block), len(levels) + 1
    places += np.arange(rows)[:, None] * width
    counts = np.bincount(places.ravel(), minlength=rows * width).reshape(rows, width)
    return np.cumsum(counts[:, :0:-1], axis=1)


def _values(metric: Metric, y: np.ndarray, probs: np.ndarray, sizes: Sizes) -> np.ndarray:
    """Return the scores (m,), higher is better, of m ways to say how many labels each row has.

    `sizes` takes a block of probabilities (b, c) and returns the numbers (b, m), which do not fall
    from one way to the next. A metric of rows needs what the first labels of a row hit; one of
    classes the way at which each cell turns positive. A way without a score is worth -inf.
    """
    by_rows = not is_per_class(metric)
    totals, n_classes = [], y.shape[1]
    size = max(1, BLOCK // n_classes)
    for start in range(0, len(probs), size):
        block, labels = probs[start : start + size], y[start : start + size]
        order, wanted = by_score(block), sizes(block)
        truth = np.take_along_axis(labels, order, 1)
        if by_rows:
            totals.append(_row_sums(metric, truth, wanted))
        else:
            totals.append(_class_sums(order, truth, wanted))
    total = np.sum(totals, axis=0)
    if by_rows:
        return total / len(y)
    tp, pred = np.cumsum(total, axis=1)[:, :-1]  # without the cells that never turn
    true = np.broadcast_to(y.sum(0, dtype=np.int64), tp.shape)
    n_rows = [np.full((len(tp), 1), len(y))] if isinstance(metric, MultilabelMatthews) else []
    values = metric.from_sums(np.concatenate([tp, pred, true, *n_rows], axis=1))
    return np.nan_to_num(values, nan=-np.inf)


def _row_sums(metric: Metric, truth: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the sums (m,) of the rows' scores when the first `wanted` (b, m) labels are answered.

    `truth` (b, c) holds the labels in that order.
    """
    hits = np.zeros((len(truth), truth.shape[1] + 1), np.int64)
    np.cumsum(truth, axis=1, out=hits[:, 1:])
    found = np.take_along_axis(hits, wanted, 1)
    return part_values(metric, found, wanted, hits[:, -1:], truth.shape[1]).sum(0)


def _class_sums(order: np.ndarray, truth: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return how many true cells, and cells, of a class turn positive at a way: (2, m + 1, c).

    The cell of rank r turns at the first way that wants more than r labels; m is never.
    """
    (n_rows, n_classes), n_ways = order.shape, wanted.shape[1]
    place = wanted + np.arange(n_rows)[:, None] * (n_classes + 1)
    counts = np.bincount(place.ravel(), minlength=n_rows * (n_classes + 1))
    turn = np.cumsum(counts.reshape(n_rows, -1)[:, :-1], axis=1)  # ways that want at most r
    cells, shape = turn * n_classes + order, (n_ways + 1, n_classes)
    every = [cells[truth == 1], cells.ravel()]
    return np.stack([np.bincount(c, minlength=np.prod(shape)).reshape(shape) for c in every])
