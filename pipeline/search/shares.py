"""The rows of cheaper trainings: nested shares of those that a fold trains on."""

import numpy as np

from pipeline.errors import PodiumError
from pipeline.folds.subsets import nested
from pipeline.search.setting import Setting


def share_rows(setting: Setting, rows: np.ndarray, number: int) -> np.ndarray:
    """Return those of a fold's training rows that a level trains on: those of a lower level are
    among them, and a group is in or out as a whole."""
    if setting.ladder.continues or number == setting.ladder.top:
        return rows
    shares = [1.0, *(level.share for level in reversed(setting.ladder.levels[:-1]))]
    groups = None if setting.folds.group is None else setting.folds.group[rows]
    own = setting.data.train.ids[rows], setting.data.labels[rows], groups
    found = nested(*own, shares, seed=0)
    place = setting.ladder.top - number
    if place >= len(found):
        name = setting.ladder.levels[number].name
        raise PodiumError(
            f"{setting.source}: tasks.{name}: {len(rows)} training rows cannot be cut so far "
            "(groups stay whole); take a larger share"
        )
    return rows[found[place]]


def check_shares(setting: Setting) -> None:
    """Refuse shares that the rows of a fold that trials are judged on cannot be cut into."""
    run = setting.plain_run
    for fold in setting.judged_on:
        rows = run.parts.trained(run.splits.train_rows(fold))
        for number in range(setting.ladder.top):
            share_rows(setting, rows, number)
