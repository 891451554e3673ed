"""Labels that may be wrong: ranked, listed for a person to judge, and applied as `corrections`."""

from pipeline.mislabelled.candidates import Candidate, Candidates, candidates
from pipeline.mislabelled.report import report_parts
from pipeline.mislabelled.table import Written, table_path, write_table

__all__ = [
    "Candidate",
    "Candidates",
    "Written",
    "candidates",
    "report_parts",
    "table_path",
    "write_table",
]
