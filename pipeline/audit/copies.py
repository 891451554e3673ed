"""The duplicates of a competition beside its folds and labels, and their pairs to show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.folds import Folds
from pipeline.images.duplicates import Duplicates

SHOWN = 48  # pairs listed for a finding
LOOKED_AT = 60  # rows of a cluster among which its nearest pairs are looked for
Related = Callable[[int, int], bool]


@dataclass(frozen=True)
class Copies:
    """The duplicates among training, then test rows, beside folds, labels and looks."""

    data: CompetitionData
    folds: Folds
    looks: np.ndarray
    found: Duplicates

    @property
    def known(self) -> int:
        """How many of the rows are training rows."""
        return len(self.data.train)

    @cached_property
    def ids(self) -> list[str]:
        return [*self.data.train.ids.tolist(), *self.data.test.ids.tolist()]

    @cached_property
    def labels(self) -> list[str]:
        """The labels of the training rows as a reader wants them."""
        return [self.data.label_in_words(row) for row in range(self.known)]

    @cached_property
    def clusters(self) -> list[np.ndarray]:
        """The rows of every cluster of several, as arrays."""
        cluster = self.found.cluster
        shared = np.flatnonzero(np.bincount(cluster)[cluster] > 1)
        if not len(shared):
            return []
        order = shared[np.argsort(cluster[shared], kind="stable")]
        return np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)

    def distance(self, i: int, j: int) -> int:
        codes = self.looks["dhash"]
        return int(np.bitwise_count(codes[i] ^ codes[j]).sum())

    def nearest(self, kind: np.ndarray, related: Related) -> list[tuple[int, int, int]]:
        """Return (distance, i, j) of the nearest pair in each cluster that has a related one.

        Only rows of different `kind` (n,) can be related. Of a large cluster some rows of each kind
        are looked at.
        """
        pairs = []
        for rows in self.clusters:
            found = [
                (self._apart(i, j), i, j)
                for i, j in combinations(_spread(rows, kind[rows]), 2)
                if kind[i] != kind[j] and related(i, j)
            ]
            if found:
                pairs.append(min(found))
        return sorted(pairs)

    def same_bytes(self) -> list[tuple[int, int, int]]:
        """Return (-1, i, j) of the first two rows of each cluster of the same bytes."""
        order = np.argsort(self.found.exact, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(self.found.exact[order]) != 0])
        sizes = np.diff(np.r_[starts, len(order)])
        return sorted((-1, int(order[k]), int(order[k + 1])) for k in starts[sizes > 1])

    def _apart(self, i: int, j: int) -> int:
        """Return -1 for the same bytes, else the distance."""
        return -1 if self.found.exact[i] == self.found.exact[j] else self.distance(i, j)

    def items(self, pairs: Sequence[tuple[int, int, int]]) -> list[dict]:
        return [self._item(*pair) for pair in pairs[:SHOWN]]

    def _item(self, apart: int, i: int, j: int) -> dict:
        what = "the same bytes" if apart < 0 else f"{apart} of 256 bits differ"
        rows = [self.ids[i], self.ids[j]]
        labels = [self.labels[k] if k < self.known else "" for k in (i, j)]
        places = [self._place(k) for k in (i, j)]
        return {
            "rows": rows,
            "labels": labels,
            "places": places,
            "distance": max(apart, 0),
            "title": f"{what}, colours {self.alike(i, j):.0%} alike",
        }

    def _place(self, row: int) -> str:
        if row >= self.known:
            return "test"
        fold = int(self.folds.fold[row])
        return f"fold {fold}" if fold >= 0 else {-1: "train only", -2: "local test"}[fold]

    def alike(self, i: int, j: int) -> float:
        """Return the correlation of the two thumbnails, 0 where it is negative."""
        thumbs = self.looks["thumb"][[i, j]].reshape(2, -1).astype(float)
        thumbs -= thumbs.mean(axis=1, keepdims=True)
        norms = np.sqrt((thumbs**2).sum(axis=1))
        return max(0.0, float(thumbs[0] @ thumbs[1] / max(norms[0] * norms[1], 1e-9)))


def _spread(rows: np.ndarray, kind: np.ndarray) -> list[int]:
    """Return at most LOOKED_AT rows (r,), sorted: the first of each kind (r,), the second, ..."""
    if len(rows) <= LOOKED_AT:
        return sorted(rows.tolist())
    order = np.argsort(kind, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(kind[order]) != 0])
    sizes = np.diff(np.r_[starts, len(order)])
    turn = np.arange(len(order)) - np.repeat(starts, sizes)
    return sorted(rows[order[np.argsort(turn, kind="stable")[:LOOKED_AT]]].tolist())
