"""AUC and average precision, one class against the rest, with a vectorised weighted path.

They depend on the order of all rows, so no sums per row suffice. Rows are sorted once per class;
a set of weights then costs one cumulative sum along that order, read where positives stand.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.metrics.class_counts import one_hot
from pipeline.metrics.metric import Metric, ratio


@dataclass(frozen=True)
class Ranking(Metric):
    """The mean over those classes where a ranking score is defined."""

    needs: ClassVar[str] = "probs"
    defined_without_negatives: ClassVar[bool] = False

    def scorer(
        self, y: np.ndarray, answer: np.ndarray, n_classes: int, members: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        y, answer = self.check(y, answer, n_classes)
        truth = self._truth(y, answer.shape[1])
        columns = [_Column.of(truth[:, j], answer[:, j]) for j in np.flatnonzero(truth.any(0))]

        def scores(weights: np.ndarray) -> np.ndarray:
            by_row = np.ascontiguousarray(weights.T)[members]  # (n, b): rows gather fast
            values = np.full((len(columns), len(weights)), np.nan)
            for value, column in zip(values, columns, strict=True):
                value[:] = self._from_curve(*column.curve(by_row))
            defined = ~np.isnan(values)
            return ratio(np.where(defined, values, 0).sum(0), defined.sum(0), np.nan)

        return scores

    def _score(self, y: np.ndarray, answer: np.ndarray) -> float:
        truth = self._truth(y, answer.shape[1])
        values = [
            self._sklearn(truth[:, j], answer[:, j])
            for j in range(truth.shape[1])
            if truth[:, j].any() and (self.defined_without_negatives or not truth[:, j].all())
        ]
        return float(np.mean(values)) if values else float("nan")

    def _truth(self, y: np.ndarray, n_classes: int) -> np.ndarray:
        return one_hot(y, n_classes) if self.task == "multiclass" else y.astype(bool)

    def _stats(self, y: np.ndarray, answer: np.ndarray, n_classes: int) -> np.ndarray:
        raise TypeError(f"{self.name} depends on the order of all rows: it has no sums of rows")

    def from_sums(self, sums: np.ndarray) -> np.ndarray:
        raise TypeError(f"{self.name} depends on the order of all rows: it has no sums of rows")

    @staticmethod
    @abstractmethod
    def _sklearn(truth: np.ndarray, scores: np.ndarray) -> float:
        """Return the score of one class through scikit-learn."""

    @staticmethod
    @abstractmethod
    def _from_curve(
        gained: np.ndarray, above: np.ndarray, upto: np.ndarray, everything: np.ndarray
    ) -> np.ndarray:
        """Return scores (b,) from what `_Column.curve` returns; NaN where undefined."""


class AucMacro(Ranking):
    """Mean area under the ROC curve over the classes with both values present."""

    @staticmethod
    def _sklearn(truth: np.ndarray, scores: np.ndarray) -> float:
        return roc_auc_score(truth, scores)

    @staticmethod
    def _from_curve(
        gained: np.ndarray, above: np.ndarray, upto: np.ndarray, everything: np.ndarray
    ) -> np.ndarray:
        hits = np.cumsum(gained, axis=0)
        negatives = everything - hits[-1]
        # Negatives above a run of ties, and half of those in it, are ranked too high.
        outranked = (above - (hits - gained) + upto - hits) / 2
        area = np.einsum("rb,rb->b", gained, negatives - outranked)
        return ratio(area, hits[-1] * negatives, np.nan)

    def _why(self) -> str:
        return "no class has both positive and negative rows"


class ApMacro(Ranking):
    """Mean average precision (scikit-learn's step sum) over the classes with a positive."""

    defined_without_negatives: ClassVar[bool] = True

    @staticmethod
    def _sklearn(truth: np.ndarray, scores: np.ndarray) -> float:
        return average_precision_score(truth, scores)

    @staticmethod
    def _from_curve(
        gained: np.ndarray, above: np.ndarray, upto: np.ndarray, everything: np.ndarray
    ) -> np.ndarray:
        hits = np.cumsum(gained, axis=0)
        area = np.einsum("rb,rb->b", gained, ratio(hits, upto))
        return ratio(area, hits[-1], np.nan)

    def _why(self) -> str:
        return "no class has a positive row"


@dataclass(frozen=True)
class _Column:
    """One class sorted by descending score, with its r runs of tied rows that hold a positive."""

    order: np.ndarray  # (n,) rows
    positives: np.ndarray  # (p,) positive rows in that order
    firsts: np.ndarray  # (r,) where each run begins among the positives
    starts: np.ndarray  # (r,) where each run begins in the order
    ends: np.ndarray  # (r,) and where it ends, inclusive

    @classmethod
    def of(cls, truth: np.ndarray, scores: np.ndarray) -> "_Column":
        """Sort a class that has at least one positive row."""
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        changes = np.flatnonzero(ordered[1:] != ordered[:-1])
        starts, ends = np.append(0, changes + 1), np.append(changes, len(ordered) - 1)
        places = np.flatnonzero(truth[order])
        runs, firsts = np.unique(np.searchsorted(ends, places), return_index=True)
        return cls(order, order[places], firsts, starts[runs], ends[runs])

    def curve(self, by_row: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return weights (r, b) of positives in each run, of all rows above and up to it, and all.

        `by_row` (n, b) holds b weights of every row.
        """
        gained = np.add.reduceat(by_row[self.positives], self.firsts, axis=0)
        total = by_row[self.order]
        np.cumsum(total, axis=0, out=total)
        above = total[self.starts - 1]
        above[self.starts == 0] = 0
        return gained, above, total[self.ends], total[-1]
