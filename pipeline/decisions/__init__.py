"""From probabilities to an answer: thresholds, multipliers, and the rules that hold them."""

from pipeline.decisions.multipliers import fit_multipliers
from pipeline.decisions.rules import Rule, default_rule, fit_rule, rule_kinds
from pipeline.decisions.sweep import global_threshold
from pipeline.decisions.thresholds import (
    micro_f_beta,
    per_class_f_beta,
    per_class_thresholds,
)

__all__ = [
    "Rule",
    "default_rule",
    "fit_multipliers",
    "fit_rule",
    "global_threshold",
    "micro_f_beta",
    "per_class_f_beta",
    "per_class_thresholds",
    "rule_kinds",
]
