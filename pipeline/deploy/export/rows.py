"""The pictures that an export is judged by, drawn by their keys, and decoded once."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData
from pipeline.deploy.pictures import View, views
from pipeline.ensemble.rows import row_keys
from pipeline.errors import PodiumError
from pipeline.folds import Folds

MOST, MOST_TEST = 2000, 1000  # rows of the gate: out of fold, of the test table
LEAST = 100  # that are judged however large the pictures are
LOOK_BYTES = 10**9  # of decoded pictures in memory


@dataclass(frozen=True, eq=False)
class Shown:
    """Pictures of rows: positions (n,) in their table, ids (n,), files, and what is seen of them by
    view, a list of images (n, s, s, 3) uint8 per look."""

    rows: np.ndarray
    ids: np.ndarray
    paths: list[Path]
    looks: dict[View, list[np.ndarray]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def seen(self, view: View) -> list[np.ndarray]:
        """Return what a view shows of the pictures, each decoded once; a broken one is refused."""
        if view not in self.looks:
            images, wrong = views(self.paths, view)
            if wrong:
                place, reason = next(iter(wrong.items()))
                raise PodiumError(f"{self.paths[place]}: {reason}; mend it, then export again")
            self.looks[view] = images
        return self.looks[view]


def fitting_positions(data: CompetitionData, folds: Folds) -> np.ndarray:
    """Return the rows with a picture that networks may be trained on: all but the local test split.
    Those that a network's own fold validates are still among them."""
    rows = folds.refit_rows
    return rows[data.train.pictured[rows]]


def validated_positions(data: CompetitionData, oof: Predictions) -> np.ndarray:
    """Return the training rows with a picture that have out-of-fold predictions."""
    there = np.isin(data.train.ids, oof.ids) & data.train.pictured
    return np.flatnonzero(there)


def drawn(ids: np.ndarray, strata: np.ndarray | None, most: int) -> np.ndarray:
    """Return positions (m,) of at most `most` rows, sorted.

    They are those of the smallest keys, so that the order of the rows decides nothing. Of each
    stratum (n,), where strata are given, it is the same share, rounded so that the total is met,
    and one at least; the smallest keys alone where there are more strata than rows to draw.
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    keys = row_keys(ids)
    if strata is None or len(np.unique(strata)) > most:
        return np.sort(np.argsort(keys, kind="stable")[:most])
    order = np.lexsort((keys, strata))
    _, starts, counts = np.unique(strata[order], return_index=True, return_counts=True)
    shares = _shares(counts, most)
    kept = [order[start : start + n] for start, n in zip(starts, shares, strict=True)]
    return np.sort(np.concatenate(kept))


def _shares(counts: np.ndarray, most: int) -> np.ndarray:
    """Return how many of each stratum are drawn, `most` together: by the largest remainders, one at
    least."""
    exact = most * counts / counts.sum()
    shares = np.maximum(1, exact.astype(np.int64))
    while shares.sum() > most:
        over = np.where(shares > 1, shares - exact, -np.inf)
        shares[over.argmax()] -= 1
    while shares.sum() < most:
        shares[np.where(shares < counts, exact - shares, -np.inf).argmax()] += 1
    return shares


def judged_rows(data: CompetitionData, oof: Predictions, seen: set[View]) -> Shown:
    """Return the out-of-fold rows that an export is judged on: at most `MOST`, of every class its
    share."""
    rows = validated_positions(data, oof)
    if not len(rows):
        raise PodiumError(f"FROM: {oof.meta.get('run')} has no out-of-fold row with a picture")
    strata = data.labels[rows] if data.labels.ndim == 1 else None
    rows = rows[drawn(data.train.ids[rows], strata, _room(seen, MOST))]
    return Shown(rows, data.train.ids[rows], [data.train.images[i] for i in rows])


def test_pictures(data: CompetitionData, folds: Folds, seen: set[View]) -> Shown:
    """Return rows of the test table with a picture, whose labels nobody looks at: pictures that no
    network was trained on."""
    rows = np.flatnonzero(data.test.pictured)
    rows = rows[drawn(data.test.ids[rows], None, _room(seen, MOST_TEST))]
    return Shown(rows, data.test.ids[rows], [data.test.images[i] for i in rows])


test_pictures.__test__ = False  # a name that pytest would take for a test


def _room(seen: set[View], most: int) -> int:
    """Return how many pictures fit into memory, seen by all views, at least `LEAST`."""
    return min(most, max(LEAST, LOOK_BYTES // sum(view.bytes_per_picture for view in seen)))
