"""Whether one run or ensemble is really better than another, what changed, and for which pictures:
`make compare RUNS="a b"`."""

from pipeline.compare.compare import Comparison, changed, compare
from pipeline.compare.report import report_parts

__all__ = ["Comparison", "changed", "compare", "report_parts"]
