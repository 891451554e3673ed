"""From probabilities to an answer: thresholds, multipliers, rules, and when to give none."""

from pipeline.decisions.constant import best_constant, fill, prior_probs
from pipeline.decisions.multipliers import fit_multipliers
from pipeline.decisions.poisson_binomial import poisson_binomial
from pipeline.decisions.rare import (
    bootstrap_thresholds,
    half_f_thresholds,
    shrunk_thresholds,
)
from pipeline.decisions.refusal import (
    Curve,
    Point,
    answered,
    as_labels,
    confidence,
    coverage_curve,
    curve_record,
)
from pipeline.decisions.rules import (
    Rule,
    default_rule,
    fit_rule,
    needs_calibration,
    rule_kinds,
)
from pipeline.decisions.sets import f_maximiser, samples_f_sets, samples_jaccard_sets
from pipeline.decisions.sizes import fit_sized, fit_top_k, limit_sizes, top_labels
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
    "bootstrap_thresholds",
    "confidence",
    "coverage_curve",
    "curve_record",
    "default_rule",
    "f_maximiser",
    "fill",
    "fit_multipliers",
    "fit_rule",
    "fit_sized",
    "fit_top_k",
    "global_threshold",
    "half_f_thresholds",
    "limit_sizes",
    "micro_f_beta",
    "needs_calibration",
    "per_class_f_beta",
    "per_class_thresholds",
    "poisson_binomial",
    "prior_probs",
    "rule_kinds",
    "samples_f_sets",
    "samples_jaccard_sets",
    "shrunk_thresholds",
    "top_labels",
]
