"""Rows whose duplicates carry another label: at least one of the two is wrong."""

from dataclasses import dataclass

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.images.duplicates import Duplicates, find_duplicates, kept_looks
from pipeline.images.looks import looks_of

LOOKED_AT = 60  # kinds of a cluster, of other bytes or labels, that are held against each other


@dataclass(frozen=True)
class Twin:
    """Another training row that shows the same picture; `distance` in bits of the dHash, -1 where
    the bytes are the same."""

    row: int
    distance: int

    @property
    def words(self) -> str:
        return "the same bytes" if self.distance < 0 else f"{self.distance} of 256 bits differ"


def conflicting_twins(data: CompetitionData) -> dict[int, list[Twin]]:
    """Return the direct duplicates of other labels, nearest first, by training row; rows without
    one are not in it. Of rows with the same bytes and label the first stands for all."""
    looks = looks_of(data.train.images, kept_looks(data.project, data.competition.name))
    distance = data.competition.duplicates.distance
    found = find_duplicates(looks, distance)
    twins: dict[int, list[Twin]] = {}
    for cluster in _clusters(found):
        kinds: dict[tuple[int, bytes], list[int]] = {}
        for i in cluster:
            kinds.setdefault((int(found.exact[i]), data.labels[i].tobytes()), []).append(i)
        for alike in list(kinds.values())[:LOOKED_AT]:
            i = alike[0]
            others = [rows[0] for rows in list(kinds.values())[:LOOKED_AT] if rows is not alike]
            near = [Twin(j, _apart(found, looks, i, j)) for j in others]
            near = [t for t in near if t.distance <= (-1 if distance is None else distance)]
            other = [t for t in near if np.any(data.labels[t.row] != data.labels[i])]
            if other:
                ordered = sorted(other, key=lambda t: (t.distance, str(data.train.ids[t.row])))
                twins |= dict.fromkeys(alike, ordered)
    return twins


def _clusters(found: Duplicates) -> list[list[int]]:
    order = np.argsort(found.cluster, kind="stable")
    starts = np.flatnonzero(np.diff(found.cluster[order])) + 1
    return [part.tolist() for part in np.split(order, starts) if len(part) > 1]


def _apart(found: Duplicates, looks: np.ndarray, i: int, j: int) -> int:
    if found.exact[i] == found.exact[j]:
        return -1
    return int(np.bitwise_count(looks["dhash"][i] ^ looks["dhash"][j]).sum())
