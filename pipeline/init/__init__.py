"""From an unpacked competition to its YAML: what is there, what is assumed, what must be asked."""

from pipeline.init.init import Init, init
from pipeline.init.report import report_parts

__all__ = ["Init", "init", "report_parts"]
