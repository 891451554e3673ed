"""Competition metrics: scikit-learn's scores, their sums over rows, and bootstrap errors."""

from pipeline.metrics.bootstrap import paired_difference, resample_scores, standard_error
from pipeline.metrics.metric import Metric
from pipeline.metrics.names import get_metric, metric_names

__all__ = [
    "Metric",
    "get_metric",
    "metric_names",
    "paired_difference",
    "resample_scores",
    "standard_error",
]
