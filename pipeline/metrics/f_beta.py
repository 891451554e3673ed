"""F-beta, averaged over cells, classes, supports or rows, with scikit-learn's conventions.

Macro-F runs over all columns of a multi-label task and over the classes present in labels or
answer of a multi-class task; a class without any positive counts 0 (`zero_division=0`). The
averages are those of Jaccard's index too.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import fbeta_score

from pipeline.metrics.metric import Metric, ratio

Value = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def f_beta(tp: np.ndarray, pred: np.ndarray, true: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """Return F-beta from counts.

    Parameters
    ----------
    tp, pred, true : ndarray, broadcastable
        True positives, predicted positives and actual positives.
    beta : float
        Weight of recall against precision; 1 for their harmonic mean.

    Returns
    -------
    ndarray
        (1 + beta^2) tp / (beta^2 true + pred), and 0 where that is 0 / 0.

    References
    ----------
    van Rijsbergen, Information Retrieval, 1979, chapter 7.
    """
    square = beta * beta
    return ratio((1 + square) * np.asarray(tp), square * np.asarray(true) + np.asarray(pred))


def class_mean(
    value: Value, tp: np.ndarray, pred: np.ndarray, true: np.ndarray, average: str
) -> np.ndarray:
    """Return the micro, macro or weighted mean (...) of a score from counts per class (..., c)."""
    if average == "micro":
        return value(tp.sum(-1), pred.sum(-1), true.sum(-1))
    values = value(tp, pred, true)
    if average == "macro":
        return values.mean(-1)
    return ratio((values * true).sum(-1), true.sum(-1))


def present_mean(
    value: Value, tp: np.ndarray, pred: np.ndarray, true: np.ndarray, average: str
) -> np.ndarray:
    """Return the same for a multi-class task: macro runs over classes in labels or answer."""
    if average != "macro":
        return class_mean(value, tp, pred, true, average)
    present = (pred + true > 0).sum(-1)  # absent classes add 0 to the sum, and must not count
    return ratio(value(tp, pred, true).sum(-1), present, np.nan)


class LabelAverage(Metric):
    """A score of right, predicted and actual positives of 0/1 matrices.

    It is taken per class (macro, weighted), per row (samples) or of all cells at once (micro).
    """

    average: str

    @abstractmethod
    def value(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Return the scores of one class, one row or all cells from their counts."""

    @abstractmethod
    def _sklearn(self, y: np.ndarray, answer: np.ndarray, columns: list[int]) -> float:
        """Return what scikit-learn says of these columns of matrices of two or more."""

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        columns = list(range(y.shape[1]))
        if len(columns) == 1:
            # scikit-learn reads one column as a two-class problem and would score class 0 too.
            y, answer = (np.hstack([a, np.zeros_like(a)]) for a in (y, answer))
        return self._sklearn(y, answer, columns)

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        if self.average == "samples":
            tp = np.einsum("nc,nc->n", y, answer, dtype=np.float64)
            values = self.value(tp, answer.sum(1), y.sum(1))
            return np.column_stack([values, np.ones(len(y))])
        return np.concatenate([y & answer, answer, y], axis=1, dtype=np.float64)  # (n, 3c)

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        if self.average == "samples":
            return ratio(sums[..., 0], sums[..., 1], np.nan)
        return class_mean(self.value, *np.split(sums, 3, axis=-1), self.average)


@dataclass(frozen=True)
class MultilabelFBeta(LabelAverage):
    """F-beta of 0/1 matrices; `average` is micro, macro, weighted or samples."""

    beta: float = 1.0
    average: str = "macro"

    def value(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        return f_beta(tp, pred, true, self.beta)

    def _sklearn(self, y: np.ndarray, answer: np.ndarray, columns: list[int]) -> float:
        options = {"beta": self.beta, "average": self.average, "zero_division": 0}
        return fbeta_score(y, answer, labels=columns, **options)
