"""Which rows, classes and labels the hunt for leaks goes through."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.hashing import stable_int
from pipeline.audit.hunt import Rows, Score, score_of, screened
from pipeline.audit.traits import Trait
from pipeline.competition import CompetitionData
from pipeline.folds import Folds

MOST_ROWS, MOST_CLASSES, MOST_LABELS = 20_000, 20, 6
KEPT_ROWS = 50  # of each class, however rare, in the sample of a large table


@dataclass(frozen=True)
class Hunt:
    """What is hunted through. `labels` (n, l): codes of all training rows, one column for several
    classes; `names`: of the codes of each column; `titles`: of the columns."""

    rows: Rows
    labels: np.ndarray
    names: tuple[tuple[str, ...], ...]
    titles: tuple[str, ...]

    def scores(self, traits: Sequence[Trait]) -> list[tuple[int, Score]]:
        """Return the column and score of every label that traits are tried on."""
        columns = screened(traits, self.rows, self.labels, MOST_LABELS)
        found = []
        for k in columns.tolist():
            told = score_of(traits, self.rows, self.labels[:, k], self.names[k], self.titles[k])
            if told is not None:
                found.append((k, told))
        return found


def hunt_of(data: CompetitionData, folds: Folds) -> Hunt:
    """Choose rows and classes; of very many classes the rarest are one, called ''."""
    n = len(data.train)
    group = np.arange(n) if folds.group is None else np.unique(folds.group, return_inverse=True)[1]
    used = np.flatnonzero(folds.fold >= -1)
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
    chosen = used[sample(data.train.ids[used], data.labels[used])]
    return Hunt(Rows(folds, chosen, group.ravel()), codes[data.labels][:, None], (names,), ("",))


def sample(ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return at most `MOST_ROWS` rows, sorted: the same share of each class, by the ids' hashes."""
    if len(ids) <= MOST_ROWS:
        return np.arange(len(ids))
    drawn = np.array([stable_int(name) for name in ids.tolist()], np.uint64)
    order = np.lexsort((drawn, classes))
    counts = np.bincount(classes)
    start = np.cumsum(counts) - counts
    rank = np.arange(len(ids)) - start[classes[order]]
    share = MOST_ROWS / len(ids)
    return np.sort(order[rank < np.maximum(share * counts[classes[order]], KEPT_ROWS)])
