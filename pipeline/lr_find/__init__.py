"""The learning-rate range test: a short training at a rising rate, and the rate it suggests."""

from pipeline.lr_find.lr_find import LrFindRequest, lr_find
from pipeline.lr_find.report import LrFind, report_parts

__all__ = ["LrFind", "LrFindRequest", "lr_find", "report_parts"]
