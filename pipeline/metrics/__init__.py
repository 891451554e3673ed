"""Competition metrics: scikit-learn's scores, their sums over rows, and bootstrap errors."""

from pipeline.metrics.bootstrap import paired_difference, resample_scores, standard_error
from pipeline.metrics.custom import CustomMetric, custom_metric
from pipeline.metrics.metric import Metric, Undefined
from pipeline.metrics.names import get_metric, metric_names

__all__ = [
    "CustomMetric",
    "Metric",
    "Undefined",
    "custom_metric",
    "get_metric",
    "metric_names",
    "paired_difference",
    "resample_scores",
    "standard_error",
]
