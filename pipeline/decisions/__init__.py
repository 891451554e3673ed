"""From probabilities to an answer: thresholds, multipliers, rules, and when to give none."""

from pipeline.decisions.constant import best_constant, fill, prior_probs
from pipeline.decisions.multipliers import fit_multipliers
from pipeline.decisions.refusal import (
    Curve,
    Point,
    answered,
    as_labels,
    confidence,
    coverage_curve,
    curve_record,
)
from pipeline.decisions.rules import Rule, default_rule, fit_rule, rule_kinds
from pipeline.decisions.sweep import global_threshold
from pipeline.decisions.thresholds import (
    micro_f_beta,
    per_class_f_beta,
    per_class_thresholds,
)

__all__ = [
    "Curve",
    "Point",
    "Rule",
    "answered",
    "as_labels",
    "best_constant",
    "confidence",
    "coverage_curve",
    "curve_record",
    "default_rule",
    "fill",
    "fit_multipliers",
    "fit_rule",
    "global_threshold",
    "micro_f_beta",
    "per_class_f_beta",
    "per_class_thresholds",
    "prior_probs",
    "rule_kinds",
]
