"""Jaccard's index, intersection over union, averaged with the conventions of F-beta.

J = F1 / (2 - F1) of the same counts, so what is best for F1 per class or over all cells is best
for Jaccard too. Means of it over classes or rows are other numbers with other optima.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import jaccard_score

from pipeline.metrics.class_counts import ClassCounts
from pipeline.metrics.f_beta import LabelAverage, present_mean
from pipeline.metrics.metric import ratio


def jaccard(tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return Jaccard's index from counts.

    Parameters
    ----------
    tp, pred, true : ndarray, broadcastable
        True positives, predicted positives and actual positives.

    Returns
    -------
    ndarray
        tp / (pred + true - tp), and 0 where that is 0 / 0.

    References
    ----------
    Jaccard, The distribution of the flora in the alpine zone, New Phytologist 11 (1912).
    """
    tp = np.asarray(tp)
    return ratio(tp, np.asarray(pred) + np.asarray(true) - tp)


@dataclass(frozen=True)
class MultilabelJaccard(LabelAverage):
    """Jaccard's index of 0/1 matrices; `average` is micro, macro, weighted or samples."""

    average: str = "macro"

    def value(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        return jaccard(tp, pred, true)

    def _sklearn(self, y: np.ndarray, answer: np.ndarray, columns: list[int]) -> float:
        options = {"average": self.average, "zero_division": 0}
        return jaccard_score(y, answer, labels=columns, **options)


@dataclass(frozen=True)
class MulticlassJaccard(ClassCounts):
    """Jaccard's index over classes; macro runs over the classes present in labels or answer."""

    average: str = "macro"

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        return jaccard_score(y, answer, average=self.average, zero_division=0)

    def from_counts(self, tp: np.ndarray, pred: np.ndarray, true: np.ndarray) -> np.ndarray:
        return present_mean(jaccard, tp, pred, true, self.average)
