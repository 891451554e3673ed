"""Metrics of sums over rows: subset accuracy, log loss, and quadratic weighted kappa."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.metrics import accuracy_score, cohen_kappa_score, log_loss

from pipeline.metrics.metric import Metric, ratio

CLIP = 1e-15  # what competition hosts use: one certain mistake costs 34.5, not infinity
BLOCK = 1 << 18  # values converted to float64 at a time: 2 MB


def row_log_loss(task: str, y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the log loss of every row, as the metric of that name has it, by blocks of rows.

    Parameters
    ----------
    task : str
        'multiclass' or 'multilabel'.
    y : ndarray of shape (n,) int or (n, c) 0/1
    probs : ndarray of shape (n, c)
        Clipped to [1e-15, 1 - 1e-15]; multi-class rows are then divided by their sums.

    Returns
    -------
    ndarray of shape (n,), float64
        Minus the logarithm of what the actual class gets; of several labels, the mean over them.
    """
    losses, size = np.empty(len(y)), max(1, BLOCK // probs.shape[1])
    for start in range(0, len(y), size):
        here = slice(start, start + size)
        values, truth = np.clip(probs[here], CLIP, 1 - CLIP, dtype=np.float64), y[here]
        if task == "multiclass":
            losses[here] = -np.log(values[np.arange(len(truth)), truth] / values.sum(1))
        else:
            losses[here] = -np.log(np.where(truth == 1, values, 1 - values)).mean(1)
    return losses


@dataclass(frozen=True)
class RowMean(Metric):
    """A metric that is the mean of one value per row."""

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[..., 0], sums[..., 1], np.nan)


class SubsetAccuracy(RowMean):
    """Fraction of rows whose whole set of labels is right."""

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        return accuracy_score(y, answer)

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        return np.column_stack([(y == answer).all(1), np.ones(len(y))]).astype(float)


class MulticlassLogLoss(RowMean):
    """Mean negative log probability of the actual class, clipped, rows normalised to sum 1."""

    needs: ClassVar[str] = "probs"
    greater_is_better: ClassVar[bool] = False

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        return log_loss(y, self._normalised(answer), labels=np.arange(answer.shape[1]))

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        return np.column_stack([row_log_loss("multiclass", y, answer), np.ones(len(y))])

    @staticmethod
    def _normalised(probs: np.ndarray) -> np.ndarray:
        probs = np.clip(probs, CLIP, 1 - CLIP)
        return probs / probs.sum(1, keepdims=True)


class MultilabelLogLoss(RowMean):
    """Mean binary log loss over all cells, clipped."""

    needs: ClassVar[str] = "probs"
    greater_is_better: ClassVar[bool] = False

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        return log_loss(y.ravel(), np.clip(answer, CLIP, 1 - CLIP).ravel(), labels=[0, 1])

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        return np.column_stack([row_log_loss("multilabel", y, answer), np.ones(len(y))])


@dataclass(frozen=True)
class QuadraticKappa(Metric):
    """Cohen's kappa with squared distances between class indices, over all classes in order.

    References
    ----------
    Cohen, Weighted kappa, Psychological Bulletin 70 (1968).
    """

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        # With every index up to the largest, a class nobody used still keeps its distance.
        labels = np.arange(max(y.max(), answer.max()) + 1)
        if y.min() == y.max() == answer.min() == answer.max():
            return float("nan")
        return cohen_kappa_score(y, answer, labels=labels, weights="quadratic")

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        y, a = y.astype(float), answer.astype(float)
        return np.column_stack([(y - a) ** 2, y, a, y * y, a * a, np.ones(len(y))])

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        squared, y, a, yy, aa, n = np.moveaxis(sums, -1, 0)
        expected = n * (yy + aa) - 2 * y * a  # n times the squared error of independent draws
        return 1 - ratio(squared * n, expected, np.nan)

    def _why(self) -> str:
        return "labels and answer are one and the same class everywhere"
