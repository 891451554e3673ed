"""The last room: submission files, the ledger of scores, local grading and medals."""

from pipeline.competition import Sample
from pipeline.submission.formats import sample_of
from pipeline.submission.grading import Scores, grade, grade_all, paired_gain, private_se
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
    "paired_gain",
    "private_se",
    "rank_among",
    "rows",
    "sample_of",
    "set_score",
    "validate",
    "write_submission",
]
