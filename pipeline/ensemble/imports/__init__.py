"""Predictions from anywhere: read, joined to the competition's rows, checked, kept as a run."""

from pipeline.ensemble.imports.report import report
from pipeline.ensemble.imports.run import Imported, import_run

__all__ = ["Imported", "import_run", "report"]
