"""The last room: submission files, the ledger of scores, local grading and medals."""

from pipeline.submission.formats import Sample, read_sample
from pipeline.submission.grading import Scores, grade, grade_all, private_se
from pipeline.submission.ledger import Entry, Ledger, rows, set_score
from pipeline.submission.medals import MedalRow, medal, medal_table, rank_among
from pipeline.submission.writer import Submission, frame_for, validate, write_submission

__all__ = [
    "Entry",
    "Ledger",
    "MedalRow",
    "Sample",
    "Scores",
    "Submission",
    "frame_for",
    "grade",
    "grade_all",
    "medal",
    "medal_table",
    "private_se",
    "rank_among",
    "read_sample",
    "rows",
    "set_score",
    "validate",
    "write_submission",
]
