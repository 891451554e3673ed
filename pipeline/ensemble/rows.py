"""The out-of-fold rows that a chain is fitted and scored on."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.folds import split_parts

PARTS = 5  # where the folds give too few; and at most, in an inner cross-fit
BUNDLES = 10_000  # of more groups or rows than these, a bootstrap draws bundles


def row_keys(ids: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Return a stable hash (n,) uint64 of each row's group, or of its id where there are none.

    Whatever is drawn for a row is drawn from its key, so that neither the order of the rows nor
    that of the members or classes matters, and a group is drawn as a whole.
    """
    names = np.asarray(ids if groups is None else groups, dtype=object)
    return pd.util.hash_array(names, categorize=False)


@dataclass(frozen=True, eq=False)
class Rows:
    """Out-of-fold rows: labels (n,) or (n, c), the members' probabilities, the part (n,) of each
    row, its key (n,), its group (n,) or None, and whether it has a picture (n,) bool or None."""

    labels: np.ndarray
    stack: Stack
    part: np.ndarray
    keys: np.ndarray
    groups: np.ndarray | None = None
    pictured: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def without(self) -> np.ndarray:
        """Which rows (n,) have no picture."""
        return np.zeros(len(self), bool) if self.pictured is None else ~self.pictured

    @property
    def units(self) -> np.ndarray:
        """What a bootstrap draws as a whole (n,): groups, or rows where there are none.

        Of more than `BUNDLES`, bundles of these by their keys: groups that are independent have
        sums that are, too, so the standard error is the same, and a draw costs no more.
        """
        return self.keys if len(np.unique(self.keys)) <= BUNDLES else self.keys % BUNDLES

    @property
    def seen(self) -> "Rows":
        """The rows with a picture, on which everything but the constant is fitted."""
        return self.take(~self.without) if self.without.any() else self

    def take(self, chosen: np.ndarray) -> "Rows":
        """Return the rows where a mask (n,) is true; the probabilities stay where they are."""
        groups, pictured = (
            None if values is None else values[chosen] for values in (self.groups, self.pictured)
        )
        taken = self.labels[chosen], self.stack.take(chosen), self.part[chosen], self.keys[chosen]
        return Rows(*taken, groups, pictured)

    def only(self, members: list[int]) -> "Rows":
        """Return the same rows of some of the members."""
        return replace(self, stack=self.stack.only(members))

    def with_parts(self, seed: int, most: int | None = None) -> "Rows":
        """Return the same rows in `PARTS` group-aware parts where they are in fewer than two (in as
        many as there are groups, if fewer); and where in more than `most`, with parts joined, the
        smallest first."""
        parts, sizes = np.unique(self.part, return_counts=True)
        if len(parts) < 2:
            return replace(self, part=self._dealt(seed))
        if most is None or len(parts) <= most:
            return self
        joined, totals = np.empty(len(parts), np.int64), np.zeros(most, np.int64)
        for at in np.argsort(-sizes, kind="stable"):
            joined[at] = np.argmin(totals)
            totals[joined[at]] += sizes[at]
        return replace(self, part=joined[np.searchsorted(parts, self.part)])

    def _dealt(self, seed: int) -> np.ndarray:
        """Return parts (n,) that depend on the rows' keys, and not on their order."""
        count = min(PARTS, len(np.unique(self.keys)))
        if count < 2:
            raise PodiumError(
                f"ensemble: {len(self)} rows of one group cannot be parted into rows to fit on and "
                "rows to judge by; make folds with a larger HOLDOUT, or with FOLDS=5"
            )
        order = np.argsort(self.keys, kind="stable")
        groups = None if self.groups is None else self.groups[order]
        part = np.empty(len(self), np.int64)
        part[order] = split_parts(self.labels[order], groups, (1 / count,) * count, seed)
        return part
