"""A learning curve: the metric against the number of training rows, and what more would bring."""

from pipeline.curve.curve import CurveRequest, learning_curve
from pipeline.curve.report import Curve, report_parts

__all__ = ["Curve", "CurveRequest", "learning_curve", "report_parts"]
