"""Which points a curve is made of, and the rows that each trains on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.curve.forecast import counted
from pipeline.curve.law import MIN_SIZES
from pipeline.curve.study import Point, Study, size_name
from pipeline.errors import PodiumError
from pipeline.folds.subsets import halvings, lost_classes

MOST = 5  # classes that are named at once


@dataclass(frozen=True, eq=False)
class Plan:
    """The points in the order of work, with their training rows, and what must be said of them."""

    rows: dict[Point, np.ndarray]
    notes: tuple[str, ...]

    @property
    def points(self) -> list[Point]:
        return list(self.rows)

    @property
    def parts(self) -> list[int]:
        """The sizes, as the number of parts that the rows are cut into, the full size first."""
        return sorted({point.part for point in self.rows})

    @property
    def seeds(self) -> list[int]:
        return sorted({point.seed for point in self.rows})

    @property
    def folds(self) -> list[int]:
        return sorted({point.fold for point in self.rows})


def make_plan(study: Study, seeds: Sequence[int], folds: Sequence[int], steps: int) -> Plan:
    """Draw the subsets of every seed and fold; refuse rows that give fewer than three sizes.

    Each seed draws its own subsets, so that the spread between seeds counts which rows they are.
    """
    chains = {(seed, fold): _chain(study, seed, fold, steps) for seed in seeds for fold in folds}
    usable = min(_usable(study, chain) for chain in chains.values())
    if usable < MIN_SIZES:
        rows = min(len(chain[0]) for chain in chains.values())
        raise PodiumError(
            f"learning curve: {counted(rows, 'training row')} give {counted(usable, 'size')} "
            "(all, a half, a quarter: "
            f"each with a row per class or more), but a curve needs {MIN_SIZES}; make folds that "
            "leave more rows, or label more"
        )
    rows = {
        Point(seed, 2**k, fold): chains[seed, fold][k]
        for seed in seeds
        for k in range(usable - 1, -1, -1)  # the quick ones first
        for fold in folds
    }
    asked = [size_name(2**k) for k in range(usable, steps)]
    few = f"size {asked[0]} and below left out: too few rows" if asked else ""
    return Plan(rows, tuple(filter(None, [few, *_lost(study, rows)])))


def _chain(study: Study, seed: int, fold: int, steps: int) -> list[np.ndarray]:
    """Return the training rows of each size when `fold` validates."""
    pool, data = study.pool(fold), study.data
    groups = None if study.folds.group is None else study.folds.group[pool]
    own = data.train.ids[pool], data.labels[pool], groups
    return [pool[places] for places in halvings(*own, steps, seed)]


def _usable(study: Study, chain: list[np.ndarray]) -> int:
    """Return how many of the sizes have a row per class, or two rows."""
    labels = study.data.labels[chain[0]]
    least = max(2, len(np.unique(labels))) if labels.ndim == 1 else 2
    return sum(len(rows) >= least for rows in chain)


def _lost(study: Study, rows: dict[Point, np.ndarray]) -> list[str]:
    """Say which classes some subset of a size has no row of."""
    said, labels = [], study.data.labels
    for part in sorted({point.part for point in rows}):
        lost: set[int] = set()
        for point in rows:
            if point.part == part:
                pool = study.pool(point.fold)
                places = np.searchsorted(pool, rows[point])
                lost |= set(lost_classes(labels[pool], places).tolist())
        if lost:
            names = [study.data.classes[k] for k in sorted(lost)]
            more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
            shown = ", ".join(names[:MOST]) + more
            said.append(f"size {size_name(part)} has no row of {shown} in some of its subsets")
    return said
