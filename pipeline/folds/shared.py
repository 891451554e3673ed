"""The folds of a competition: the one file that all its runs share."""

from typing import Any

from pipeline.competition import CompetitionData
from pipeline.folds.assignment import Folds
from pipeline.folds.file import draft_folds, load_folds, make_folds


def make_shared(data: CompetitionData, **options: Any) -> tuple[Folds, bool]:
    """Make the folds of a competition, or load those there; options as in `make_folds`."""
    return make_folds(*_rows(data), train_only=data.train.train_only, **options)


def load_shared(data: CompetitionData) -> Folds:
    """Load and check the folds of a competition, in the order of its training table."""
    path = data.project.folds(data.competition.name)
    return load_folds(path, data.train.ids, data.train.train_only, groups=data.train.groups)


def draft_shared(data: CompetitionData) -> Folds:
    """Return the folds that are there, or those that `make_shared` would make, writing nothing."""
    if data.project.folds(data.competition.name).exists():
        return load_shared(data)
    return draft_folds(*_rows(data), data.train.train_only)


def _rows(data: CompetitionData) -> tuple[Any, ...]:
    path = data.project.folds(data.competition.name)
    return path, data.train.ids, data.labels, data.classes, data.train.groups
