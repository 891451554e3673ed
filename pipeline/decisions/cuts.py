"""Every way to cut a column of scores in two: positive where `score >= threshold`.

Scores are compared in float64, and a cut lies between two distinct scores, so tied rows are
never parted. A threshold is the midpoint of its two neighbours; where that rounds onto the lower
one, it is the upper one. Predicting nothing takes a threshold above the maximum, predicting
everything one at or below the minimum.
"""

from dataclasses import dataclass

import numpy as np

TIE = 1e-12  # scores that differ by less were summed in another order, and are the same


@dataclass(frozen=True)
class Cuts:
    """The m = distinct + 1 cuts of n scores, from predicting nothing to predicting everything."""

    order: np.ndarray  # (n,) positions by descending score
    counts: np.ndarray  # (m,) how many of them each cut makes positive: 0 ... n
    thresholds: np.ndarray  # (m,) float64, descending, finite

    @classmethod
    def of(cls, scores: np.ndarray) -> "Cuts":
        """Return the cuts of float64 scores (n,) in [0, 1]."""
        order = np.argsort(-scores)  # how ties are ordered does not matter: no cut parts them
        ordered = scores[order]
        last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
        distinct = ordered[last]
        between = midpoints(distinct[1:], distinct[:-1])
        ends = above_all(distinct[0]), distinct[-1] / 2
        thresholds = np.concatenate([[ends[0]], between, [ends[1]]])
        return cls(order, np.append(0, last + 1), thresholds)

    def sums(self, gains: np.ndarray) -> np.ndarray:
        """Return, for every cut, the sum (m,) of the gains (n,) of what it makes positive."""
        total = np.cumsum(gains[self.order])
        return np.append(np.zeros(1, total.dtype), total)[self.counts]

    def best(self, values: np.ndarray, tolerance: float = 0.0) -> int:
        """Return the cut of highest value (m,); among equals, the one closest to 0.5.

        So a class whose cuts are all equally good, for want of positive rows, gets the threshold
        nearest 0.5 and not an extreme one.
        """
        equal = np.flatnonzero(values >= values.max() - tolerance)
        return int(equal[np.argmin(np.abs(self.thresholds[equal] - 0.5))])


def midpoints(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return thresholds t with low < t <= high, halfway where float64 has room."""
    middle = (low + high) / 2
    return np.where(middle > low, middle, high)


def above_all(highest: float) -> float:
    """Return a finite threshold above the highest score in [0, 1]."""
    middle = (highest + 1) / 2
    return float(middle if middle > highest else np.nextafter(highest, 2))
