"""Beside the way: `make report`, one page per competition that says where we are, what is wrong
and what to do next."""

from pipeline.report.report import Report, report, report_parts

__all__ = ["Report", "report", "report_parts"]
