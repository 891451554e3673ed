"""A competition's tables, checked: ids, labels, groups and image paths, row by row."""

from pipeline.competition.tables import CompetitionData, Rows, load_data

__all__ = ["CompetitionData", "Rows", "load_data"]
