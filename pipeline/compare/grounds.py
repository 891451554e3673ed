"""On which rows, by which labels, two runs are compared: one answer where both were trained on the
same labels, three where the labels of one were corrected."""

from dataclasses import dataclass

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError

OWN, CORRECTED, ORIGINAL, UNCHANGED = "own", "corrected", "original", "unchanged"
SETS = (CORRECTED, ORIGINAL, UNCHANGED)


@dataclass(frozen=True, eq=False)
class Ground:
    """Validated rows, as places among all of them, and their labels (n,) or (n, c)."""

    name: str
    rows: np.ndarray
    labels: np.ndarray


def own_data(data: CompetitionData, data_hash: str) -> CompetitionData:
    """Return the competition with the labels that a run of `data_hash` was trained on, with
    corrections or without; as it is where it was neither."""
    before = data.uncorrected
    return before if before is not data and before.hash == data_hash else data


def why_other(data: CompetitionData, data_hash: str, reason: str) -> str:
    """Return the reason against a run; where its labels are that, which ones were tried."""
    if data.corrections is None or own_data(data, data_hash).hash == data_hash:
        return reason
    shown = data.project.shown(data.corrections.path)
    return f"{reason} (neither the table's labels nor those that {shown} corrects now)"


def which(data: CompetitionData, own: CompetitionData) -> str:
    """Return what the labels of a run are called."""
    return CORRECTED if own is data and data.corrections is not None else ORIGINAL


def shared_ground(own: CompetitionData, rows: np.ndarray) -> Ground:
    """Return the ground of two runs on the same labels; rows (n,) are the validated ones."""
    return Ground(OWN, np.arange(len(rows)), own.labels[rows])


def label_sets(data: CompetitionData, rows: np.ndarray) -> dict[str, Ground]:
    """Return the three grounds of a run on corrected labels and one on the table's, by name.

    `unchanged` are the rows whose label no correction changed. On the others each run has learnt
    from labels like those that it is scored by: on the corrected ones the second is at an
    advantage, on the original ones the first. On the unchanged ones neither is, but for wrong
    labels that nobody found: a run whose own answers chose what to look at agrees with those.
    """
    now, before = data.labels[rows], data.uncorrected.labels[rows]
    same = now == before
    unchanged = np.flatnonzero(same if same.ndim == 1 else same.all(axis=1))
    if not len(unchanged):
        raise PodiumError(
            f"{data.yaml}: corrections change the label of every validated row, so that none is "
            "left to compare on; compare runs on the same labels"
        )
    every = np.arange(len(rows))
    grounds = (
        Ground(CORRECTED, every, now),
        Ground(ORIGINAL, every, before),
        Ground(UNCHANGED, unchanged, now[unchanged]),
    )
    return {ground.name: ground for ground in grounds}
