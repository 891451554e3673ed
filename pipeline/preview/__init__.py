"""Contact sheets of what the network is really fed: before training, look at them."""

from pipeline.preview.preview import Preview, preview
from pipeline.preview.report import report_parts

__all__ = ["Preview", "preview", "report_parts"]
