"""What every metric can do: a score through scikit-learn, and the same score from sums of rows.

A bootstrap or a search needs thousands of scores of the same rows under different weights. Most
metrics are functions of sums over rows (true positives, squared errors, log losses), so one matrix
product gives them all; `score` stays the reference, and the tests hold the two together.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse

from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_labels, check_pair, check_rows


class Undefined(PodiumError):
    """A metric has no value on these rows: too few different labels, or a division by zero."""


@dataclass(frozen=True)
class Metric(ABC):
    """A competition metric: its name, its task, what it needs and which way is up."""

    name: str
    task: str  # 'multiclass' or 'multilabel'
    needs: ClassVar[str] = "labels"  # what an answer is: 'labels' or 'probs'
    greater_is_better: ClassVar[bool] = True

    @property
    def identity(self) -> str:
        """What says when two metrics are the same: the name, where no file is behind it."""
        return self.name

    @property
    def sign(self) -> int:
        """+1 or -1: `sign * score` is higher when better."""
        return 1 if self.greater_is_better else -1

    def score(self, y: np.ndarray, answer: np.ndarray) -> float:
        """Return the metric as scikit-learn computes it.

        Parameters
        ----------
        y : ndarray of shape (n,) int or (n, c) 0/1
            Class indices (multi-class) or indicators (multi-label).
        answer : ndarray
            Labels in the form of `y`, or probabilities of shape (n, c) where `needs` is 'probs'.

        Raises
        ------
        PodiumError
            Where the inputs do not fit each other, or the metric is undefined on these rows.
        """
        y, answer = self.check(y, answer)
        value = float(self._score(y, answer))
        if not np.isfinite(value):
            raise Undefined(f"{self.name} is undefined on these {len(y)} rows: {self._why()}")
        return value

    def stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        """Return the additive statistics of every row, (n, s) float64: weigh, sum, `from_sums`."""
        return self._stats(*self.check(y, answer, n_classes), n_classes)

    def scorer(
        self, y: np.ndarray, answer: np.ndarray, n_classes: int, members: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from weights of groups (b, g) to scores (b,), NaN where undefined.

        `members` (n,) names the group 0..g-1 of every row; all rows of a group weigh the same.
        """
        stats = self.stats(y, answer, n_classes)
        n_groups = int(members.max()) + 1
        where = (members, np.arange(len(members)))
        groups = sparse.csr_array((np.ones(len(members)), where), (n_groups, len(members)))
        totals = groups @ stats  # (g, s)
        return lambda weights: self.from_sums(weights @ totals)

    def check(
        self, y: np.ndarray, answer: np.ndarray, n_classes: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and answer in their canonical types, or refuse them."""
        if self.needs == "probs":
            return check_pair(y, answer, self.task)
        y = check_labels(y, self.task, n_classes=n_classes)
        width = y.shape[1] if self.task == "multilabel" else n_classes
        answer = check_labels(answer, self.task, n_classes=width, what="answer")
        check_rows(y, answer)
        return y, answer

    def _why(self) -> str:
        """Say what the rows would need for the metric to be defined."""
        return "they hold too few different labels"

    @abstractmethod
    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        """Return the score of checked inputs through scikit-learn; NaN where undefined."""

    @abstractmethod
    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        """Return the (n, s) statistics of checked inputs."""

    @abstractmethod
    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        """Return the scores (...) of (weighted) sums of `stats` (..., s); NaN where undefined."""


def ratio(top: np.ndarray, bottom: np.ndarray, undefined: float = 0.0) -> np.ndarray:
    """Return top / bottom, and `undefined` where the bottom is not positive."""
    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    out = np.full(top.shape, undefined)
    return np.divide(top, bottom, out=out, where=bottom > 0)
