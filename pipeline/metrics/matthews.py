"""The Matthews correlation of each label of a multi-label task, and their mean."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import matthews_corrcoef

from pipeline.metrics.metric import Metric, ratio

ROUNDING = 1e-14  # of n^2; one row of a billion is still more


def matthews(tp: np.ndarray, pred: np.ndarray, true: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return binary Matthews correlations from counts.

    Parameters
    ----------
    tp, pred, true, n : ndarray, broadcastable
        True positives, predicted positives, actual positives and rows.

    Returns
    -------
    ndarray
        (n tp - pred true) / sqrt(pred (n - pred) true (n - true)), and 0 where that is 0 / 0: where
        labels or answer are constant.

    References
    ----------
    Matthews, Comparison of the predicted and observed secondary structure of T4 phage lysozyme,
    Biochimica et Biophysica Acta 405 (1975).
    """
    tp, pred, true, n = (np.asarray(a) for a in (tp, pred, true, n))
    # Two roots: the product of all four counts runs out of int64 from 60,000 rows on.
    return ratio(n * tp - pred * true, _spread(pred, n) * _spread(true, n))


def _spread(count: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return sqrt(count (n - count)), and 0 where that is no more than the rounding of weights."""
    square = count * (n - count)
    return np.sqrt(np.where(square > ROUNDING * n * n, square, 0))


@dataclass(frozen=True)
class MultilabelMatthews(Metric):
    """Mean over the labels of their Matthews correlation; 0 for one that is constant."""

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        pairs = zip(y.T, answer.T, strict=True)
        return float(np.mean([_correlation(truth, mine) for truth, mine in pairs]))

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        once = np.ones((len(y), 1))
        return np.concatenate([y & answer, answer, y, once], axis=1, dtype=np.float64)  # (n, 3c+1)

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        tp, pred, true = np.split(sums[..., :-1], 3, axis=-1)
        return matthews(tp, pred, true, sums[..., -1:]).mean(-1)


def _correlation(y: np.ndarray, answer: np.ndarray) -> float:
    if y.min() == y.max() or answer.min() == answer.max():
        return 0.0  # as scikit-learn, without its warning about a single class
    return float(matthews_corrcoef(y, answer))
