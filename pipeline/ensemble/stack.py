"""The members' probabilities side by side, read block by block from wherever they lie.

Thirty members of a million rows and a hundred classes are 12 GB in float32: they stay as they are
on disk (float32 or float16, memory-mapped), rows are chosen by position without a copy, and what
is computed runs over blocks that fit the processor's cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 1 << 18  # values of all members in a block: 1 MB in float32


@dataclass(frozen=True, eq=False)
class Stack:
    """Probabilities (members, n, c) of the same rows and classes.

    `members` are arrays (N, c) of float32 or float16, perhaps memory-mapped; `chosen` (n,) are the
    positions of the rows that count, all N in their order if None.
    """

    members: tuple[np.ndarray, ...]
    chosen: np.ndarray | None = None

    @classmethod
    def of(cls, values: Sequence[np.ndarray] | np.ndarray) -> "Stack":
        """Return the stack of arrays (n, c), or of one array (members, n, c)."""
        members = tuple(np.asanyarray(member) for member in values)
        if not members or any(member.shape != members[0].shape for member in members):
            shapes = sorted({member.shape for member in members})
            raise ValueError(f"members must be one or more arrays of one shape, got {shapes}")
        return cls(members)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def shape(self) -> tuple[int, int, int]:
        rows = len(self.members[0]) if self.chosen is None else len(self.chosen)
        return len(self.members), rows, self.members[0].shape[1]

    def take(self, rows: np.ndarray) -> "Stack":
        """Return the rows at some positions, or where a mask (n,) bool is true; nothing is read."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Stack(self.members, rows if self.chosen is None else self.chosen[rows])

    def only(self, members: Sequence[int]) -> "Stack":
        """Return the stack of some of the members."""
        return Stack(tuple(self.members[i] for i in members), self.chosen)

    def member(self, at: int) -> np.ndarray:
        """Return the probabilities (n, c) float32 of one member."""
        values = self.members[at]
        return np.asarray(values if self.chosen is None else values[self.chosen], np.float32)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the rows of a block and their probabilities (members, b, c) float32."""
        members, rows, classes = self.shape
        size = max(1, BLOCK // (members * classes))
        for start in range(0, rows, size):
            here = slice(start, min(start + size, rows))
            at = here if self.chosen is None else self.chosen[here]
            block = np.empty((members, here.stop - start, classes), np.float32)
            for values, member in zip(block, self.members, strict=True):
                values[:] = member[at]
            yield here, block

    def dense(self) -> np.ndarray:
        """Return everything (members, n, c) as one float32 array, for what is read many times."""
        values = np.empty(self.shape, np.float32)
        for at in range(len(self)):
            values[at] = self.member(at)
        return values

    def mix(self, weights: np.ndarray) -> np.ndarray:
        """Return the weighted sums (n, c) float32, of weights (members,) or (members, classes)."""
        mixed = np.empty(self.shape[1:], np.float32)
        for here, block in self.blocks():
            if weights.ndim == 1:
                mixed[here] = np.tensordot(weights, block.astype(np.float64), axes=1)
            else:
                mixed[here] = np.einsum("mc,mbc->bc", weights, block)
        return mixed

    def actual(self, y: np.ndarray) -> np.ndarray:
        """Return each member's probability (members, n) float32 of the actual class y (n,)."""
        found = np.empty(self.shape[:2], np.float32)
        for here, block in self.blocks():
            found[:, here] = block[:, np.arange(block.shape[1]), y[here]]
        return found
