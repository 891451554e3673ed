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


def validated_positions(data: CompetitionData, oof: Predictions) -> np.ndarray:
    """Return the training rows with a picture that have out-of-fold predictions."""
    there = np.isin(data.train.ids, oof.ids) & data.train.pictured
    return np.flatnonzero(there)


def drawn(ids: np.ndarray, strata: np.ndarray | None, most: int) -> np.ndarray:
    """Return positions (m,) of at most `most` rows, sorted.

    They are those of the smallest keys, so that the order of the rows decides nothing; of each
    stratum (n,) the same share, and one at least, where strata are given.
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    keys = row_keys(ids)
    if strata is None:
        return np.sort(np.argsort(keys, kind="stable")[:most])
    order = np.lexsort((keys, strata))
    _, starts, counts = np.unique(strata[order], return_index=True, return_counts=True)
    kept = [
        order[start : start + max(1, round(most * count / len(ids)))]
        for start, count in zip(starts, counts, strict=True)
    ]
    return np.sort(np.concatenate(kept))


def judged_rows(data: CompetitionData, oof: Predictions, seen: set[View]) -> Shown:
    """Return the out-of-fold rows that an export is judged on: about `MOST`, of every class its
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
