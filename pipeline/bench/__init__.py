"""Accuracy against inference time, of every finished run and of architectures that were not trained
yet: `make bench`."""

from pipeline.bench.bench import Benched, BenchRequest, bench
from pipeline.bench.report import report_parts

__all__ = ["BenchRequest", "Benched", "bench", "report_parts"]
