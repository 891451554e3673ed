"""Cells of a mix whose answer the next few members could still turn over.

Every cell has a standing answer, and members that speak against it. Of several labels, the answer
is p >= 0.5 or not, and what speaks against it is 0.5 - p or p - 0.5. Of one class, it is the
likeliest class, and a cell is a rival of it: what speaks for the rival is the difference of their
probabilities. The answer falls where the sum over the members of the mix turns positive (or zero,
where the rival wins ties). Sums are of float32 in float64: nothing is lost by their order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.ensemble.stack import Stack

KEPT = 1 << 26  # values (members x cells) that are kept in memory, 512 MB; others are read again
PART = 1 << 18  # values compared at a time: 2 MB
ROUNDING = 1e-9  # of sums of some hundred probabilities in float64


@dataclass(frozen=True, eq=False)
class Cells:
    """What is contested (k,): `at` as row * classes + class, in order; `base` the standing class
    (one class) or the standing answer 0 or 1 (several labels); `ties` bool, whether a sum of zero
    is enough; `lead` float64, the sum so far."""

    at: np.ndarray
    base: np.ndarray
    ties: np.ndarray
    lead: np.ndarray

    def only(self, chosen: np.ndarray) -> "Cells":
        return Cells(self.at[chosen], self.base[chosen], self.ties[chosen], self.lead[chosen])

    @classmethod
    def joined(cls, parts: Sequence["Cells"]) -> "Cells":
        fields = ("at", "base", "ties", "lead")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


class Rivals:
    """The contested cells of a mix of members of `stack`.

    Cells that no `horizon` further members could turn over are dropped at once, so that it serves
    for that many.
    """

    def __init__(self, cells: Cells, stack: Stack, task: str, horizon: int) -> None:
        self._stack, self._one_class = stack, task == "multiclass"
        self._place(cells)
        self._values = None
        if len(stack) * len(cells.at) <= KEPT:
            values = np.empty((len(stack), len(cells.at)))
            for member, row in enumerate(values):
                row[:] = self._read(member)
            most = values.max(axis=0, initial=-np.inf)
            alive = cells.lead + np.maximum(most, horizon * most) >= -ROUNDING
            self._place(cells.only(alive))
            self._values = values[:, alive]

    def _place(self, cells: Cells) -> None:
        """Take these cells, and note where they and their bases lie in a member's memory."""
        self.cells = cells
        width = self._stack.shape[2]
        rows, classes = np.divmod(cells.at, width)
        start = width * (rows if self._stack.chosen is None else self._stack.chosen[rows])
        self._at = start + classes
        self._base = start + cells.base if self._one_class else 1.0 - 2 * cells.base

    def _read(self, member: int) -> np.ndarray:
        """Return what a member says against the answers (k,)."""
        flat = self._stack.members[member].reshape(-1)
        values = flat.take(self._at).astype(np.float64)
        if self._one_class:
            return values - flat.take(self._base)
        return (values - 0.5) * self._base

    def against(self, member: int) -> np.ndarray:
        """Return what a member says against the answers (k,), as it was read before if it was."""
        return self._read(member) if self._values is None else self._values[member]

    def fallen(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield members, positions among the cells, and sums, where a member turns a cell over.

        Ordered by member, then by cell; a member's cells come together.
        """
        lead = self.cells.lead
        need = np.where(self.cells.ties, -lead, np.nextafter(-lead, np.inf))
        chunk = 1 if self._values is None else max(1, PART // max(1, len(need)))
        for start in range(0, len(self._stack), chunk):
            if self._values is None:
                values = self.against(start)[None]
            else:
                values = self._values[start : start + chunk]
            found = np.flatnonzero(values >= need)
            members, at = np.divmod(found, max(1, len(need)))
            yield members + start, at, lead[at] + values.reshape(-1)[found]

    def add(self, member: int) -> None:
        """Let a member join the mix."""
        self.cells.lead[:] += self.against(member)
