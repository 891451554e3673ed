"""F-beta, averaged over cells, classes, supports or rows, with scikit-learn's conventions.

Macro-F runs over all columns of a multi-label task and over the classes present in labels or
answer of a multi-class task; a class without any positive counts 0 (`zero_division=0`).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import fbeta_score

from pipeline.metrics.metric import Metric, ratio


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


def f_beta_mean(
    tp: np.ndarray, pred: np.ndarray, true: np.ndarray, beta: float, average: str
) -> np.ndarray:
    """Return micro-, macro- or weighted F-beta (...) from counts per class (..., c)."""
    if average == "micro":
        return f_beta(tp.sum(-1), pred.sum(-1), true.sum(-1), beta)
    values = f_beta(tp, pred, true, beta)
    if average == "macro":
        return values.mean(-1)
    return ratio((values * true).sum(-1), true.sum(-1))


@dataclass(frozen=True)
class MultilabelFBeta(Metric):
    """F-beta of 0/1 matrices; `average` is micro, macro, weighted or samples."""

    beta: float = 1.0
    average: str = "macro"

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        columns = list(range(y.shape[1]))
        if len(columns) == 1:
            # scikit-learn reads one column as a two-class problem and would score class 0 too.
            y, answer = (np.hstack([a, np.zeros_like(a)]) for a in (y, answer))
        options = {"beta": self.beta, "average": self.average, "zero_division": 0}
        return fbeta_score(y, answer, labels=columns, **options)

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        if self.average == "samples":
            tp = np.einsum("nc,nc->n", y, answer, dtype=np.float64)
            values = f_beta(tp, answer.sum(1), y.sum(1), self.beta)
            return np.column_stack([values, np.ones(len(y))])
        return np.concatenate([y & answer, answer, y], axis=1, dtype=np.float64)  # (n, 3c)

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        if self.average == "samples":
            return ratio(sums[..., 0], sums[..., 1], np.nan)
        return f_beta_mean(*np.split(sums, 3, axis=-1), self.beta, self.average)
