"""Pictures that are the same: of the same bytes, or with dHashes that differ in few bits.

The dHash compares neighbouring pixels of the picture shrunk to 17 x 16 greys (N. Krawetz 2013,
"Kind of Like That"): it hardly changes with scale, compression and brightness. It changes with a
crop, a flip or a turn: such copies are not found.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.config.project import Project
from pipeline.images.hamming import Pairs, clusters, near_pairs
from pipeline.images.looks import looks_of


@dataclass(frozen=True)
class Duplicates:
    """Which rows show the same picture.

    `exact` (n,) int: rows of one number have the same bytes. `near`: pairs of rows with other bytes
    and a dHash within the distance; of rows of the same bytes the first stands for all. `cluster`
    (n,) int: rows of one number are joined by either, directly or through others.
    """

    exact: np.ndarray
    near: Pairs
    cluster: np.ndarray

    def sizes(self, chosen: np.ndarray) -> np.ndarray:
        """Return the numbers of the `chosen` rows (n,) bool in each cluster that has several."""
        counts = np.bincount(self.cluster[chosen])
        return counts[counts > 1]


def find_duplicates(looks: np.ndarray, distance: int | None) -> Duplicates:
    """Find the duplicates among looks (n,); pictures that cannot be used are nobody's.

    Pictures of a single colour have the same dHash, whatever they were meant to show: they are
    duplicates of the same bytes alone. `distance`: bits of 256, None for the same bytes alone.
    """
    rows, whole = np.arange(len(looks)), looks["fault"] == ""
    names = np.where(whole, looks["content"], rows.astype("S32"))
    _, first, exact = np.unique(names, return_index=True, return_inverse=True)
    shown = first[whole[first] & ~looks["constant"][first]]
    near = Pairs(*(np.array([], np.int64),) * 3)
    if distance is not None and len(shown):
        found = near_pairs(np.ascontiguousarray(looks["dhash"][shown]), distance)
        one, other = shown[found.first], shown[found.second]
        near = Pairs(np.minimum(one, other), np.maximum(one, other), found.distance)
    same = Pairs(first[exact.ravel()], rows, np.zeros(len(rows), np.int64))
    joined = Pairs(*(np.concatenate(pair) for pair in _columns(same, near)))
    return Duplicates(exact.ravel(), near, clusters(len(looks), joined))


def _columns(*pairs: Pairs) -> list[list[np.ndarray]]:
    return [[getattr(p, name) for p in pairs] for name in ("first", "second", "distance")]


def kept_looks(project: Project, comp: str) -> Path:
    """Return where the looks at a competition's pictures are kept."""
    return project.cache / f"{comp}-looks.npz"


def competition_looks(data: CompetitionData) -> np.ndarray:
    """Return the looks at all pictures of a competition, (n,): of its training, then test rows."""
    paths = [*data.train.images, *data.test.images]
    return looks_of(paths, kept_looks(data.project, data.competition.name))
