"""Scores of many answers that differ from a standing one in a few rows or cells.

A metric is a function of sums over rows, or of counts per class. Those of the standing answer are
computed once; another answer changes them by its own rows alone. Weights are whole numbers, so
that counts are exact.
"""

from abc import ABC, abstractmethod

import numpy as np

from pipeline.metrics import Metric
from pipeline.metrics.class_counts import ClassCounts
from pipeline.metrics.f_beta import MultilabelFBeta

ROWS = 1 << 15  # rows of statistics at a time


class Tally(ABC):
    """Scores (members,) of answers to rows of labels `y` and weights (n,) float64."""

    def __init__(
        self, metric: Metric, y: np.ndarray, weights: np.ndarray, classes: int, members: int
    ) -> None:
        self.metric, self.y, self.weights = metric, y, weights
        self.classes, self.members = classes, members

    @abstractmethod
    def start(self, standing: np.ndarray) -> None:
        """Take the answer, (n,) classes or (n, c) 0/1, that the others are told apart from."""

    @abstractmethod
    def clear(self) -> None:
        """Forget all changes."""

    @abstractmethod
    def change(self, members: np.ndarray, rows: np.ndarray, classes: np.ndarray) -> None:
        """Note what members answer instead: a class for a row, or the opposite in a cell.

        Ordered by member, then by row, with all of a member's changes at once.
        """

    @abstractmethod
    def values(self) -> np.ndarray:
        """Return the scores (members,), NaN where undefined."""

    def scores(self) -> np.ndarray:
        """Return the scores (members,), higher is better, -inf where undefined."""
        values = self.metric.sign * self.values()
        return np.where(np.isnan(values), -np.inf, values)


class CountTally(Tally):
    """Metrics of counts per class: right, answered, actual."""

    def start(self, standing: np.ndarray) -> None:
        self.standing = standing
        if standing.ndim == 1:
            right = self.weights * (standing == self.y)
            self.tp = np.bincount(self.y, right, self.classes)
            self.pred = np.bincount(standing, self.weights, self.classes)
            self.true = np.bincount(self.y, self.weights, self.classes)
        else:
            pieces = (slice(at, at + ROWS) for at in range(0, len(self.y), ROWS))
            counts = sum(self._counts(here) for here in pieces)
            self.tp, self.pred, self.true = counts
        self.clear()

    def _counts(self, here: slice) -> np.ndarray:
        answer, truth = self.standing[here], self.y[here]
        both = np.stack([answer & truth, answer, truth]).astype(np.float64)
        return np.einsum("n,snc->sc", self.weights[here], both)

    def clear(self) -> None:
        shape = (self.members, self.classes)
        self.more_tp, self.more_pred = np.zeros(shape), np.zeros(shape)

    def change(self, members: np.ndarray, rows: np.ndarray, classes: np.ndarray) -> None:
        weights = self.weights[rows]
        if self.y.ndim == 1:
            before, truth = self.standing[rows], self.y[rows]
            self._count(self.more_pred, members, classes, weights)
            self._count(self.more_pred, members, before, -weights)
            gained = weights * (1.0 * (classes == truth) - (before == truth))
            self._count(self.more_tp, members, truth, gained)
        else:
            gained = weights * (1.0 - 2 * self.standing[rows, classes])
            self._count(self.more_pred, members, classes, gained)
            self._count(self.more_tp, members, classes, gained * self.y[rows, classes])

    def _count(
        self, into: np.ndarray, members: np.ndarray, classes: np.ndarray, weights: np.ndarray
    ) -> None:
        at = members * self.classes + classes
        into += np.bincount(at, weights, into.size).reshape(into.shape)

    def values(self) -> np.ndarray:
        shape = (self.members, self.classes)
        true = np.broadcast_to(self.true, shape)
        tp, pred = self.tp + self.more_tp, self.pred + self.more_pred
        if isinstance(self.metric, ClassCounts):
            return self.metric.from_counts(tp, pred, true)
        return self.metric.from_sums(np.concatenate([tp, pred, true], axis=1))


class StatsTally(Tally):
    """Any other metric that is a function of sums over rows of `Metric.stats`."""

    def start(self, standing: np.ndarray) -> None:
        self.standing = standing
        pieces = (slice(at, at + ROWS) for at in range(0, len(self.y), ROWS))
        self.sums = sum(
            self.weights[here] @ self.metric.stats(self.y[here], standing[here], self.classes)
            for here in pieces
        )
        self.clear()

    def clear(self) -> None:
        self.more = np.zeros((self.members, len(self.sums)))

    def change(self, members: np.ndarray, rows: np.ndarray, classes: np.ndarray) -> None:
        if not len(rows):
            return
        # Several cells of one row make one answer.
        first = np.flatnonzero(np.append(True, (np.diff(rows) != 0) | (np.diff(members) != 0)))
        ends = np.append(first[1:], len(rows))
        for start in range(0, len(first), ROWS):
            some = first[start : start + ROWS]
            here = slice(some[0], ends[min(start + ROWS, len(first)) - 1])
            before = self.standing[rows[some]]
            if self.y.ndim == 1:
                after = classes[some]
            else:
                after = before.copy()
                run = np.repeat(np.arange(len(some)), ends[start : start + ROWS] - some)
                after[run, classes[here]] ^= 1
            self._gain(members[some], rows[some], before, after)

    def _gain(
        self, members: np.ndarray, rows: np.ndarray, before: np.ndarray, after: np.ndarray
    ) -> None:
        y = self.y[rows]
        gained = self.metric.stats(y, after, self.classes)
        gained -= self.metric.stats(y, before, self.classes)
        gained *= self.weights[rows, None]
        for sums, column in zip(self.more.T, gained.T, strict=True):
            sums += np.bincount(members, column, self.members)

    def values(self) -> np.ndarray:
        return self.metric.from_sums(self.sums + self.more)


def tally_of(metric: Metric) -> type[Tally]:
    """Return the kind of tally that suits a metric of labels."""
    per_class = isinstance(metric, MultilabelFBeta) and metric.average != "samples"
    return CountTally if per_class or isinstance(metric, ClassCounts) else StatsTally
