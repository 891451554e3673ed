"""A competition's tables, checked: ids, labels, groups and image paths, row by row."""

from pipeline.competition.absent import require_pictures
from pipeline.competition.rows import Rows
from pipeline.competition.sample import Kind, Sample, check_same_ids
from pipeline.competition.tables import CompetitionData, load_data, read_data

__all__ = [
    "CompetitionData",
    "Kind",
    "Rows",
    "Sample",
    "check_same_ids",
    "load_data",
    "read_data",
    "require_pictures",
]
