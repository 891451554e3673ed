"""Log loss of a growing mix of members, for every member that could join it next.

It needs the actual class's probability alone, of n rows instead of n x c cells; of several labels,
all cells, in blocks. Weights of rows are whole numbers.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.ensemble.stack import Stack
from pipeline.metrics.rows import CLIP

PIECE = 1 << 15  # values at a time: 256 kB in float64
EVEN = 1e-5  # row sums closer to 1 than this are rounding of float32


class ClassMixLoss:
    """Log loss of a multi-class mix; `actual` (members, n) holds the actual class's probability.

    `sums` (members, n) are the row sums by which a mix is divided, None where all of them are 1.
    """

    def __init__(self, actual: np.ndarray, sums: np.ndarray | None, weights: np.ndarray) -> None:
        rows = np.flatnonzero(weights)
        self._weights = weights[rows].astype(np.float64)
        whole = len(rows) == len(weights)
        self._actual = actual if whole else np.ascontiguousarray(actual[:, rows])
        self._sums = None if sums is None else sums[:, rows]
        self._total, self._sum = np.zeros(len(rows)), np.zeros(len(rows))
        self._size = 0

    def losses(self, among: Sequence[int]) -> np.ndarray:
        """Return the loss of the mix after each member of `among` joined it."""
        found = np.zeros(len(among))
        chunk = max(1, PIECE // len(self._weights))
        for start in range(0, len(among), chunk):
            some = among[start : start + chunk]
            for first in range(0, len(self._weights), PIECE):
                here = slice(first, first + PIECE)
                mixed = self._total[here] + self._actual[some, here]
                if self._sums is None:
                    mixed /= self._size + 1
                else:
                    mixed /= self._sum[here] + self._sums[some, here]
                np.log(np.maximum(mixed, CLIP, out=mixed), out=mixed)
                found[start : start + chunk] -= mixed @ self._weights[here]
        return found / self._weights.sum()

    def add(self, member: int) -> None:
        self._total += self._actual[member]
        if self._sums is not None:
            self._sum += self._sums[member]
        self._size += 1


class LabelMixLoss:
    """Log loss of a multi-label mix over all cells."""

    def __init__(self, y: np.ndarray, stack: Stack, weights: np.ndarray) -> None:
        rows = np.flatnonzero(weights)
        whole = len(rows) == len(weights)
        self._weights = weights[rows].astype(np.float64)
        self._stack = stack if whole else stack.take(rows)
        # A mix of probabilities of what is so mixes as the probabilities do: |p - (1 - y)|.
        self._absent = 1 - (y if whole else y[rows])
        self._total = np.zeros(self._stack.shape[1:])
        self._size = 0

    def losses(self, among: Sequence[int]) -> np.ndarray:
        """Return the loss of the mix after each member of `among` joined it."""
        found = np.zeros(len(among))
        for here, block in self._stack.only(among).blocks():
            total, absent = self._total[here], self._absent[here]
            for at, values in enumerate(block):
                mixed = np.abs(np.subtract(values, absent, dtype=np.float64))
                mixed += total
                mixed /= self._size + 1
                np.log(np.maximum(mixed, CLIP, out=mixed), out=mixed)
                found[at] -= self._weights[here] @ mixed.sum(axis=1)
        return found / (self._weights.sum() * self._total.shape[1])

    def add(self, member: int) -> None:
        for here, block in self._stack.only([member]).blocks():
            self._total[here] += np.abs(np.subtract(block[0], self._absent[here], dtype=np.float64))
        self._size += 1
