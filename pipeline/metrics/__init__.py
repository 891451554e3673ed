"""Competition metrics: scikit-learn's scores, their sums over rows, and bootstrap errors."""

from pipeline.metrics.bootstrap import (
    Gain,
    paired_difference,
    paired_interval,
    resample_scores,
    standard_error,
)
from pipeline.metrics.custom import CustomMetric, custom_metric
from pipeline.metrics.metric import Metric, Undefined
from pipeline.metrics.names import get_metric, metric_names
from pipeline.metrics.permutation import permutation_test

__all__ = [
    "CustomMetric",
    "Gain",
    "Metric",
    "Undefined",
    "custom_metric",
    "get_metric",
    "metric_names",
    "paired_difference",
    "paired_interval",
    "permutation_test",
    "resample_scores",
    "standard_error",
]
