"""The fold of every id: which rows a job trains on, and which it validates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PodiumError
from pipeline.folds.plan import TEST, TRAIN_ONLY

ANEW = (
    "make folds FRESH=1 makes them anew, and runs trained on the old folds can then no longer be "
    "joined with new ones"
)


@dataclass(frozen=True, eq=False)
class Folds:
    """The fold of every id. Rows are positions in `ids`, in the order these were asked for."""

    ids: np.ndarray  # (n,) str
    fold: np.ndarray  # (n,) int64; -1 never validated on, -2 local test split
    group: np.ndarray | None  # (n,) str
    hash: str
    info: dict[str, Any]

    @property
    def numbers(self) -> list[int]:
        """Return the folds to validate on, sorted."""
        return sorted(set(self.fold[self.fold >= 0].tolist()))

    @property
    def test_rows(self) -> np.ndarray:
        """Return the rows kept apart as the local test split."""
        return np.flatnonzero(self.fold == TEST)

    @property
    def refit_rows(self) -> np.ndarray:
        """Return the rows to train on when nothing but the local test split is kept apart."""
        return self._rows_beside(self.fold == TEST)

    def train_rows(self, k: int) -> np.ndarray:
        """Return the rows to train on when fold k validates."""
        return self._rows_beside((self.fold == k) | (self.fold == TEST))

    def valid_rows(self, k: int) -> np.ndarray:
        """Return the rows of fold k."""
        return np.flatnonzero(self.fold == k)

    def _rows_beside(self, held: np.ndarray) -> np.ndarray:
        """Return the rows that are not held (n,), nor train-only ones of a group that is: these
        were not dealt with their group, and would show it to the network."""
        trained = ~held
        if self.group is not None:
            apart = self.fold == TRAIN_ONLY
            trained[apart] = ~np.isin(self.group[apart], np.unique(self.group[held]))
        return np.flatnonzero(trained)


def aligned(folds: Folds, ids: np.ndarray) -> Folds:
    """Return the folds in the order of `ids`, which they have all of."""
    order = np.argsort(folds.ids)
    at = order[np.searchsorted(folds.ids, ids, sorter=order)]
    group = None if folds.group is None else folds.group[at]
    return Folds(ids, folds.fold[at], group, folds.hash, folds.info)


def ids_differ(old: np.ndarray, new: np.ndarray) -> str:
    """Say how two sets of ids differ, naming the first of each kind; '' where they do not."""
    words = [f"rows {len(old)} -> {len(new)}"] if len(old) != len(new) else []
    missing, foreign = np.setdiff1d(new, old), np.setdiff1d(old, new)
    if len(missing):
        words.append(f"id '{missing[0]}' is not in the file")
    if len(foreign):
        words.append(f"id '{foreign[0]}' is not in the competition")
    return ", ".join(words)


def train_only_differs(folds: Folds, train_only: np.ndarray) -> str:
    """Say which row (n,) is only trained on in one of both; '' where there is none.

    A hold-out trains on rows of its own too, of which it cannot be told why they are not validated.
    """
    apart = folds.fold == TRAIN_ONLY
    lost = np.flatnonzero(train_only & ~apart)
    if len(lost):
        return f"id '{folds.ids[lost[0]]}' fold {folds.fold[lost[0]]} -> train only"
    gained = np.flatnonzero(apart & ~train_only)
    if len(gained) and len(folds.numbers) > 1:
        return f"id '{folds.ids[gained[0]]}' train only -> a fold"
    return ""


def groups_differ(folds: Folds, groups: np.ndarray | None) -> str:
    """Say how the groups (n,) differ from those that the folds were made with, '' if not."""
    if (groups is None) != (folds.group is None):
        words = ["none" if group is None else "given" for group in (folds.group, groups)]
        return f"groups {words[0]} -> {words[1]}"
    changed = np.flatnonzero(folds.group != groups) if groups is not None else np.array([])
    if not len(changed):
        return ""
    i = changed[0]
    return f"group of id '{folds.ids[i]}' '{folds.group[i]}' -> '{groups[i]}'"


def refuse_other(path: Path, differs: list[str]) -> None:
    """Refuse the file in `path` if anything differs from what is asked for."""
    if differs:
        raise PodiumError(f"{path}: exists, but made otherwise ({', '.join(differs)}); {ANEW}")
