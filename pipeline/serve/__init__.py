"""`make serve`: an exported model as a page and an HTTP endpoint, without torch."""

from pipeline.serve.report import Served, report_parts
from pipeline.serve.serve import serve

__all__ = ["Served", "report_parts", "serve"]
