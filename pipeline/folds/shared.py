"""The folds of a competition: the one file that all its runs share."""

from typing import Any

from pipeline.competition import CompetitionData
from pipeline.folds.file import Folds, load_folds, make_folds


def make_shared(data: CompetitionData, **options: Any) -> tuple[Folds, bool]:
    """Make the folds of a competition, or load those there; options as in `make_folds`."""
    rows = data.train.ids, data.labels, data.classes, data.train.groups
    return make_folds(data.project.folds(data.competition.name), *rows, **options)


def load_shared(data: CompetitionData) -> Folds:
    """Load and check the folds of a competition, in the order of its training table."""
    return load_folds(data.project.folds(data.competition.name), data.train.ids)
