"""The one answer for every row that scores best without a look at the pictures.

It is the baseline that a network must beat, and what a row without a picture is answered with. For
every named metric it is exact: where the sums of the metric fall apart over classes, by that; of a
metric of the host's own, only the score is known, and its sets of labels are searched. So are those
of samples Jaccard beyond 12 labels: its best set is a Jaccard median, for which no fast exact
method is known.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from pipeline.decisions.cuts import TIE
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_labels
from pipeline.metrics.class_counts import ClassCounts, Matthews
from pipeline.metrics.f_beta import LabelAverage
from pipeline.metrics.jaccard import MultilabelJaccard, jaccard
from pipeline.metrics.matthews import MultilabelMatthews
from pipeline.metrics.metric import Metric
from pipeline.metrics.rows import QuadraticKappa, SubsetAccuracy

MAX_SWEEPS = 10
MAX_TRIED = 12  # labels of which all sets are tried, 4096


def best_constant(
    metric: Metric, y: np.ndarray, n_classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the answer that, given to every row, scores best on labels y.

    Parameters
    ----------
    metric : Metric
    y : ndarray of shape (n,) int or (n, c) 0/1
        Class indices (multi-class) or indicators (multi-label).
    n_classes : int
    weights : ndarray of shape (n,), optional
        How often each row counts, not negative; whole numbers for a custom metric.

    Returns
    -------
    ndarray
        What the metric needs: a class index () int64, a set of labels (c,) int8, or probabilities
        (c,) float64. Scores within 1e-12 are equal; among them the commonest class, then the
        first, or the set of fewest labels. A metric that no answer defines gives the commonest
        class or set.

        Probabilities are the frequencies of the classes: the minimum of a log loss, which is
        proper, while AUC and average precision are the same for every constant. Where a frequency
        is 0 (or 1 in a multi-label task), one more row of each kind is counted, (k + 1) / (n + c)
        or (k + 1) / (n + 2): a log loss, named or the host's own, is boundless at the first row
        that an exact 0 excludes.

    Raises
    ------
    PodiumError
        For labels that do not fit the task or the classes, and weights that do not fit the rows.
    """
    y = check_labels(y, metric.task, n_classes=n_classes)
    weights = _check_weights(weights, len(y))
    counts = _counts(y, n_classes, weights)
    if metric.needs == "probs":
        return _smoothed(counts, weights.sum(), metric.task)
    if metric.task == "multiclass":
        return np.array(_best_class(metric, y, weights, counts), dtype=np.int64)
    return _best_set(metric, y, weights, counts).astype(np.int8)


def prior_probs(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the frequencies of the classes (c,) float64, of labels (n,) or (n, c).

    They sum to 1 over class indices; of a 0/1 matrix each column has its own.
    """
    task = "multiclass" if np.ndim(y) == 1 else "multilabel"
    y = check_labels(y, task, n_classes=n_classes)
    return _counts(y, n_classes, np.ones(len(y))) / len(y)


def fill(answer: np.ndarray, without: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Return a copy of an answer (n,) or (n, c) with `constant` in the rows `without` (n,) bool.

    The answer keeps its dtype; a constant that would lose by it (0.5 in integers) is a TypeError.
    """
    filled, without, constant = answer.copy(), np.asarray(without), np.asarray(constant)
    if without.dtype != bool or without.shape != answer.shape[:1]:
        got = f"{without.dtype} {without.shape}"
        raise PodiumError(f"rows without a picture must be bool {answer.shape[:1]}, got {got}")
    if constant.shape != answer.shape[1:]:
        shape = f"{answer.shape[1:]}, got {constant.shape}"
        raise PodiumError(f"the constant of answers {answer.shape} must have shape {shape}")
    where = without.reshape(-1, *[1] * constant.ndim)
    np.copyto(filled, constant, casting="same_kind", where=where)
    return filled


def _check_weights(weights: np.ndarray | None, n_rows: int) -> np.ndarray:
    if weights is None:
        return np.ones(n_rows)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (n_rows,):
        raise PodiumError(f"weights must have shape ({n_rows},), got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise PodiumError("weights must be finite, not negative, and not all 0")
    return weights


def _counts(y: np.ndarray, n_classes: int, weights: np.ndarray) -> np.ndarray:
    """Return the weight of the rows (c,) that have each class."""
    if y.ndim == 2:
        return weights @ y
    return np.bincount(y, weights, minlength=n_classes)


def _smoothed(counts: np.ndarray, total: float, task: str) -> np.ndarray:
    """Return frequencies, with one row of each kind more where they would say never or always."""
    if task == "multilabel":
        plain = (counts > 0) & (counts < total)
        return np.where(plain, counts / total, (counts + 1) / (total + 2))
    if counts.all():
        return counts / total
    return (counts + 1) / (total + len(counts))


def _scorer(
    metric: Metric, y: np.ndarray, weights: np.ndarray, n_classes: int
) -> Callable[[np.ndarray], float]:
    """Return a function from a constant to its score, higher is better; -inf where undefined."""
    rows = np.arange(len(y))

    def score(constant: np.ndarray) -> float:
        answer = np.broadcast_to(constant, y.shape)
        value = metric.sign * metric.scorer(y, answer, n_classes, rows)(weights[None])[0]
        return value if np.isfinite(value) else -np.inf

    return score


def _best_class(
    metric: Metric, y: np.ndarray, weights: np.ndarray, counts: np.ndarray
) -> np.integer:
    """Return the best class of all; those of metrics of counts are scored from the counts alone."""
    order = np.argsort(-counts, kind="stable")
    if isinstance(metric, Matthews | QuadraticKappa):
        return order[0]  # a constant has no correlation: all classes score 0, or are undefined
    values = np.empty(len(order))
    if isinstance(metric, ClassCounts):
        chosen = np.zeros(len(counts))
        for i, j in enumerate(order):
            chosen[j] = 1
            values[i] = metric.from_counts(chosen * counts, chosen * weights.sum(), counts)
            chosen[j] = 0
    else:
        score = _scorer(metric, y, weights, len(counts))
        values[:] = [score(j) for j in order]
    return order[np.argmax(values >= values.max() - TIE)]


def _best_set(metric: Metric, y: np.ndarray, weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the best set of labels (c,), by what the metric allows."""
    if isinstance(metric, SubsetAccuracy):
        return _commonest_set(y, weights)
    if isinstance(metric, MultilabelMatthews):
        return np.zeros(len(counts))  # a constant has no correlation: every set scores 0
    if not isinstance(metric, LabelAverage):
        return _searched_set(metric, y, weights, counts)
    if metric.average in ("macro", "weighted"):
        return counts > 0  # each class alone: it is 0 where never positive, above 0 where always
    by_rows = metric.average == "samples"
    if by_rows and isinstance(metric, MultilabelJaccard):
        few = np.count_nonzero(counts) <= MAX_TRIED
        return (_median_set if few else _searched_set)(metric, y, weights, counts)
    square, total = getattr(metric, "beta", 1.0) ** 2, weights.sum()
    if not by_rows:  # micro-Jaccard rises with micro-F1
        top, positives = (1 + square) * counts, square * counts.sum()
        return _best_by_size(lambda k: top / (positives + total * k), len(counts))
    sizes, which = np.unique(y.sum(1), return_inverse=True)
    by_size = np.zeros((len(sizes), len(counts)))  # weight of the rows of each size with a class
    np.add.at(by_size, which, weights[:, None] * y)
    by_size *= (1 + square) / total
    return _best_by_size(lambda k: 1 / (square * sizes + k) @ by_size, len(counts))


def _best_by_size(gains: Callable[[int], np.ndarray], n_classes: int) -> np.ndarray:
    """Return the set S (c,) bool that maximises the sum of gains(|S|) over its classes.

    Micro- and samples F-beta of one set S for every row i with labels Y_i are such sums. Micro is
    proportional to sum_i |Y_i & S| / (b^2 sum_i |Y_i| + n |S|), samples to the sum over i of
    |Y_i & S| / (b^2 |Y_i| + |S|). With |S| = k held fixed the bottoms are fixed too, and the top
    counts classes one by one. So the k classes of highest gain are the best set of their size, and
    one of the sizes 0 ... c is the best of all. For micro the order is that of frequency at every
    size: its optimum is a prefix of the classes by frequency.

    References
    ----------
    Waegeman, Dembczynski, Jachnik, Cheng and Huellermeier, On the Bayes-optimality of F-measure
    maximizers, JMLR 15 (2014), section 5.
    """
    best, chosen = 0.0, np.zeros(n_classes, dtype=bool)
    for k in range(1, n_classes + 1):
        gain = gains(k)
        top = np.argsort(-gain, kind="stable")[:k]
        if gain[top].sum() > best + TIE:
            best = float(gain[top].sum())
            chosen = np.isin(np.arange(n_classes), top)
    return chosen


def _commonest_set(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the set of labels that most rows have, (c,); of several, one of fewest labels."""
    bits = np.packbits(y, axis=1)  # eight classes to a byte: fewer to sort by
    _, first, which = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    common = np.bincount(which.ravel(), weights)
    equal = y[first][common >= common.max() - TIE]
    return equal[np.argmin(equal.sum(1))]


def _median_set(
    metric: Metric, y: np.ndarray, weights: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return the best of all sets (c,) of the labels that occur, for samples Jaccard.

    Among equals one of fewest labels, the commonest first.

    References
    ----------
    Chierichetti, Kumar, Pandey and Vassilvitskii, Finding the Jaccard median, SODA 2010: the
    problem is NP-hard.
    """
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    sets = np.array(list(product((1, 0), repeat=len(order))), dtype=np.int64)
    sets = sets[np.argsort(sets.sum(1), kind="stable")]  # (s, k)
    _, first, which = np.unique(
        np.packbits(y, axis=1), axis=0, return_index=True, return_inverse=True
    )
    rows, often = y[first][:, order].astype(np.int64), np.bincount(which.ravel(), weights)
    sizes = rows.sum(1)
    values = np.array([jaccard(rows @ one, one.sum(), sizes) @ often for one in sets])
    equal = values >= values.max() - TIE * weights.sum()
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[order] = sets[np.argmax(equal)] == 1
    return chosen


def _searched_set(
    metric: Metric, y: np.ndarray, weights: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return a set that adding or dropping one class does not better: a local optimum.

    The search starts at the best of the commonest set and all prefixes of the classes by frequency;
    then one class after the other, the commonest first, is added or dropped where that gains, until
    none does (at most 10 sweeps). Better sets may exist that no single class leads to.
    """
    score = _scorer(metric, y, weights, len(counts))
    order = np.argsort(-counts, kind="stable")
    rank = np.argsort(order)
    starts = [_commonest_set(y, weights), *(rank < k for k in range(len(counts) + 1))]
    starts = [start.astype(np.int8) for start in starts]
    values = np.array([score(start) for start in starts])
    equal = np.flatnonzero(values >= values.max() - TIE)
    first = equal[0] if np.isinf(values.max()) else min(equal, key=lambda i: starts[i].sum())
    chosen, best = starts[first].copy(), values[first]
    for _ in range(MAX_SWEEPS):
        before = best
        for j in order:
            chosen[j] ^= 1
            value = score(chosen)
            if value > best + TIE:
                best = value
            else:
                chosen[j] ^= 1
        if best == before:
            break
    return chosen
