"""Nested, stratified subsets of the training rows, in whole groups.

Each is drawn from the one before as folds are (`split_parts`), and mended where that
leaves its size or its classes off: the size comes first, then that no class is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.hashing import stable_int
from pipeline.folds import split_parts


def halvings(
    ids: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, steps: int, seed: int
) -> list[np.ndarray]:
    """Return the positions of nested subsets: all rows, about 1/2, 1/4, ... of them (`nested`)."""
    return nested(ids, labels, groups, [2.0**-k for k in range(steps)], seed)


def nested(
    ids: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    shares: Sequence[float],
    seed: int,
) -> list[np.ndarray]:
    """Return the positions of nested subsets of the rows, sorted.

    Parameters
    ----------
    ids : (n,) array of str, unique; with `seed` they decide the subsets, whatever the rows' order
    labels : (n,) int class index, or (n, c) 0/1 array
    groups : (n,) array of str or None; a subset holds all rows of a group, or none
    shares : of the rows, falling, the first one 1
    seed : int

    Returns
    -------
    list of (m,) int64. Subset k has `shares[k]` of the n rows to within half a row, or half the
    largest group. A class that has rows keeps some wherever that size allows. There are fewer
    subsets where one would have to cut a row, or a group.
    """
    order = np.argsort(ids, kind="stable")
    members = np.arange(len(ids)) if groups is None else np.unique(groups, return_inverse=True)[1]
    found = [np.arange(len(ids))]
    kept = order
    for k, wanted in enumerate(shares[1:], start=1):
        pool = _Pool.of(kept, labels, members, len(ids) * wanted)
        if len(pool.sizes) < 2:
            break
        own = None if groups is None else groups[kept]
        share = min(max(pool.target, 1.0), len(kept) - 1.0) / len(kept)
        draw = stable_int(f"{seed}/{k}") % 2**32
        parts = split_parts(labels[kept], own, (share, 1 - share), draw)
        kept = kept[pool.mended(parts == 0)]
        found.append(np.sort(kept))
    return found


def lost_classes(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the classes that have rows, but none among `rows`; labels (n,) or (n, c)."""
    if labels.ndim == 2:
        return np.flatnonzero(labels.any(axis=0) & ~labels[rows].any(axis=0))
    return np.setdiff1d(labels, labels[rows])


@dataclass(frozen=True)
class _Pool:
    """What a subset is taken of: units (a row, or the rows of a group) with their sizes (u,) and
    how often each class stands in them (u, c); `unit` (m,) is that of every row."""

    unit: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    target: float

    @classmethod
    def of(
        cls, rows: np.ndarray, labels: np.ndarray, members: np.ndarray, target: float
    ) -> "_Pool":
        # Numbered by first appearance, so that ties go by the order of ids.
        _, first, unit = np.unique(members[rows], return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        unit = rank[unit.ravel()]
        own = labels[rows]
        if own.ndim == 1:
            known, own = np.unique(own, return_inverse=True)
            hot = np.zeros((len(first), len(known)), np.int64)
            np.add.at(hot, (unit, own), 1)
        else:
            hot = np.zeros((len(first), own.shape[1]), np.int64)
            np.add.at(hot, unit, own)
        return cls(unit, np.bincount(unit), hot, target)

    def mended(self, kept: np.ndarray) -> np.ndarray:
        """Return which rows (m,) to keep, from those (m,) that a stratified split would keep."""
        inside = np.zeros(len(self.sizes), bool)
        inside[self.unit[kept]] = True
        for missing in self._rarest_first():
            if not self.counts[inside, missing].any():
                holders = np.flatnonzero(self.counts[:, missing] > 0)
                inside[holders[np.argmin(self.sizes[holders])]] = True
        self._size(inside)
        return inside[self.unit]

    def _rarest_first(self) -> np.ndarray:
        total = self.counts.sum(axis=0)
        return np.array([c for c in np.argsort(total, kind="stable") if total[c]], np.int64)

    def _size(self, inside: np.ndarray) -> None:
        """Move unit after unit in or out, as long as one brings the size closer to its target: the
        one that loses the fewest classes, then the one that comes closest."""
        while True:
            off = self.sizes[inside].sum() - self.target
            movable = inside == (off > 0)
            after = np.abs(np.where(inside, off - self.sizes, off + self.sizes))
            better = movable & (after < abs(off) - 1e-9)
            if inside.sum() == 1:
                better &= ~inside  # never the last one
            if not better.any():
                return
            held = self.counts[inside].sum(axis=0)
            lost = ((self.counts == held) & (self.counts > 0)).sum(axis=1) * inside
            places = np.flatnonzero(better)
            inside[places[np.lexsort((places, after[places], lost[places]))[0]]] ^= True
