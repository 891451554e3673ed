"""Which pictures b answers rightly that a did not, and the other way round."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from pipeline.artifacts.files import write_text

FIXED, BROKEN, STILL = "fixed", "broken", "still wrong"
KINDS = (FIXED, BROKEN, STILL)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Labels of the validated rows, as they are and as a and b answer them: class indices (n,), or
    0/1 (n, c), where a row is right if all of its labels are."""

    ids: np.ndarray
    classes: tuple[str, ...]
    actual: np.ndarray
    a: np.ndarray
    b: np.ndarray

    def rows(self, kind: str) -> np.ndarray:
        """Return the rows of a kind, by their ids."""
        right_a, right_b = (self._right(answer) for answer in (self.a, self.b))
        chosen = {
            FIXED: ~right_a & right_b,
            BROKEN: right_a & ~right_b,
            STILL: ~(right_a | right_b),
        }
        found = np.flatnonzero(chosen[kind])
        return found[np.argsort(self.ids[found], kind="stable")]

    def counts(self) -> dict[str, int]:
        """Return how many rows are of each kind, and right in both."""
        found = {kind: len(self.rows(kind)) for kind in KINDS}
        return found | {"both right": len(self.ids) - sum(found.values())}

    def label_counts(self) -> dict[str, int]:
        """Return the same of single labels, of a multi-label task."""
        a, b = self.a == self.actual, self.b == self.actual
        pairs = {FIXED: ~a & b, BROKEN: a & ~b, STILL: ~a & ~b, "both right": a & b}
        return {kind: int(cells.sum()) for kind, cells in pairs.items()}

    def mcnemar(self) -> float:
        """Return the exact two-sided p-value of McNemar's test, for which rows are independent."""
        counts = self.counts()
        changed = counts[FIXED] + counts[BROKEN]
        return float(binomtest(counts[FIXED], changed).pvalue) if changed else 1.0

    def write(self, path: Path) -> None:
        """Write a line for each row that is not right in both."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("id", "actual", "a", "b", "kind"))
        for kind in KINDS:
            for row in self.rows(kind):
                answers = (self.named(labels[row]) for labels in (self.actual, self.a, self.b))
                table.writerow((self.ids[row], *answers, kind))
        write_text(path, text.getvalue())

    def named(self, labels: np.ndarray) -> str:
        """Return the name of a class, or those of a set of labels."""
        if labels.ndim == 0:
            return self.classes[int(labels)]
        return "; ".join(self.classes[at] for at in np.flatnonzero(labels))

    def first(self, kind: str, most: int) -> Sequence[str]:
        """Return the first ids of a kind."""
        return self.ids[self.rows(kind)[:most]].tolist()

    def _right(self, answer: np.ndarray) -> np.ndarray:
        same = answer == self.actual
        return same if same.ndim == 1 else same.all(axis=1)
