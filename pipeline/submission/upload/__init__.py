"""Submissions sent to Kaggle, and their scores fetched; the only code that uses its client.

Kaggle's package is imported by `open_site` and nowhere else, not before somebody asked for it: its
import alone looks for credentials, and may ask the site about them.
"""

from pipeline.submission.upload.report import fetched_parts, uploaded_parts
from pipeline.submission.upload.scores import Fetched, fetch_scores
from pipeline.submission.upload.upload import Uploaded, slug_of, upload

__all__ = [
    "Fetched",
    "Uploaded",
    "fetch_scores",
    "fetched_parts",
    "slug_of",
    "upload",
    "uploaded_parts",
]
