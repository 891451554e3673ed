"""Which rows, classes and labels the hunt for leaks goes through."""

from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.hashing import stable_int
from pipeline.competition import CompetitionData
from pipeline.folds import Folds

MOST_ROWS, MOST_CLASSES = 20_000, 20
KEPT_ROWS = 50  # of each class, however rare, in the sample of a large table


@dataclass(frozen=True)
class Rows:
    """The training rows that are hunted through: `chosen` of all (n,), their folds, and how every
    row of the table is grouped (n,) int."""

    folds: Folds
    chosen: np.ndarray
    group: np.ndarray

    @property
    def validated(self) -> np.ndarray:
        """Which of the chosen rows are validated, positions."""
        return np.flatnonzero(self.folds.fold[self.chosen] >= 0)


@dataclass(frozen=True)
class Hunt:
    """What is hunted through. `labels` (n, l): codes of all training rows, one column for several
    classes; `names`: of the codes of each column; `titles`: of the columns."""

    rows: Rows
    labels: np.ndarray
    names: tuple[tuple[str, ...], ...]
    titles: tuple[str, ...]


def hunt_of(data: CompetitionData, folds: Folds, there: np.ndarray) -> Hunt:
    """Choose rows and classes; of very many classes the rarest are one, called ''.

    Only rows whose picture is there and sound, (n,) bool, are used: what a file that is not there
    lacks would be a sign of the class that most of such rows are of.
    """
    n = len(data.train)
    group = np.arange(n) if folds.group is None else np.unique(folds.group, return_inverse=True)[1]
    used = np.flatnonzero((folds.fold >= -1) & there)
    if data.labels.ndim == 2:
        chosen = used[sample(data.train.ids[used], np.zeros(len(used), int))]
        labels = (data.labels > 0).astype(int)
        names = tuple((f"not {name}", name) for name in data.classes)
        return Hunt(Rows(folds, chosen, group.ravel()), labels, names, data.classes)
    counts = np.bincount(data.labels, minlength=len(data.classes))
    common = np.argsort(-counts, kind="stable")
    names, codes = tuple(data.classes), np.arange(len(counts))
    if len(counts) > MOST_CLASSES:
        codes[common] = np.minimum(np.arange(len(counts)), MOST_CLASSES - 1)
        names = (*(data.classes[k] for k in common[: MOST_CLASSES - 1]), "")
    chosen = used[sample(data.train.ids[used], codes[data.labels[used]])]
    return Hunt(Rows(folds, chosen, group.ravel()), codes[data.labels][:, None], (names,), ("",))


def sample(ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return at most `MOST_ROWS` rows, sorted: the same share of each class, by the ids' hashes,
    and `KEPT_ROWS` where that is less, or as many as there is room for."""
    if len(ids) <= MOST_ROWS:
        return np.arange(len(ids))
    drawn = np.array([stable_int(name) for name in ids.tolist()], np.uint64)
    order = np.lexsort((drawn, classes))
    counts = np.bincount(classes)
    start = np.cumsum(counts) - counts
    rank = np.arange(len(ids)) - start[classes[order]]
    present = int((counts > 0).sum())
    kept = min(KEPT_ROWS, MOST_ROWS // present)
    share = (MOST_ROWS - kept * present) / len(ids)
    quota = np.maximum(np.floor(share * counts), kept)
    return np.sort(order[rank < quota[classes[order]]])
