"""Multi-class metrics that are functions of three counts per class: right, answered, actual."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, fbeta_score, matthews_corrcoef, recall_score

from pipeline.metrics.f_beta import f_beta, present_mean
from pipeline.metrics.metric import Metric, ratio


def class_counts(
    y: np.ndarray, answer: np.ndarray, n_classes: int, row_weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how often each class was right, answered and actual: three (c,) float64 vectors.

    `y` and `answer` are class indices (n,), or 0/1 (n, c); rows count 1, or as `row_weights` (n,).
    """
    if y.ndim == 2:
        labels = (y & answer, answer, y)
        if row_weights is not None:
            return tuple(row_weights @ each for each in labels)
        return tuple(each.sum(0, dtype=np.float64) for each in labels)
    right, w = y == answer, row_weights
    columns = (y[right], None if w is None else w[right]), (answer, w), (y, w)
    return tuple(np.bincount(*each, n_classes).astype(np.float64) for each in columns)


def confusion(y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how often each class (row) is answered as each class (column), (c, c) int64, of class
    indices (n,) from 0 to n_classes - 1."""
    cells = y.astype(np.int64) * n_classes + answer
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def one_hot(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return class indices (n,) as an (n, c) boolean matrix."""
    return y[:, None] == np.arange(n_classes)


class ClassCounts(Metric):
    """A metric of (right, answered, actual) counts per class."""

    @abstractmethod
    def from_counts(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return scores (...) from three counts (..., c)."""

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        pred, true = one_hot(answer, n_classes), one_hot(y, n_classes)
        return np.concatenate([pred & true, pred, true], axis=1, dtype=np.float64)  # (n, 3c)

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        return self.from_counts(*np.split(sums, 3, axis=-1))


@dataclass(frozen=True)
class MulticlassFBeta(ClassCounts):
    """F-beta over classes; macro runs over the classes present in labels or answer."""

    beta: float = 1.0
    average: str = "macro"

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        return fbeta_score(y, answer, beta=self.beta, average=self.average, zero_division=0)

    def from_counts(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        return present_mean(self._value, tp, pred, true, self.average)

    def _value(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        return f_beta(tp, pred, true, self.beta)


class BalancedAccuracy(ClassCounts):
    """Mean recall over the classes present in the labels."""

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        # balanced_accuracy_score, without its warning about answers that are absent from y.
        return recall_score(y, answer, labels=np.unique(y), average="macro", zero_division=0)

    def from_counts(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        return ratio(ratio(tp, true).sum(-1), (true > 0).sum(-1), np.nan)


class Accuracy(ClassCounts):
    """Fraction of rows whose class is right."""

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        return accuracy_score(y, answer)

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        return np.column_stack([y == answer, np.ones(len(y))]).astype(float)  # lean: s = 2

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[..., 0], sums[..., 1], np.nan)

    def from_counts(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        return ratio(tp.sum(-1), true.sum(-1), np.nan)


class Matthews(ClassCounts):
    """Multi-class Matthews correlation; 0 where labels or answer are constant.

    References
    ----------
    Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004.
    """

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        if y.min() == y.max() == answer.min() == answer.max():
            return 0.0  # as scikit-learn, without its warning about a single class
        return matthews_corrcoef(y, answer)

    def from_counts(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        n = true.sum(-1)
        covariance = tp.sum(-1) * n - (true * pred).sum(-1)
        spread = (n * n - (pred * pred).sum(-1)) * (n * n - (true * true).sum(-1))
        return ratio(covariance, np.sqrt(np.maximum(spread, 0)))
