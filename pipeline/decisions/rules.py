"""Which kinds of rule suit a metric, from the simplest on, and how each is fitted."""

import numpy as np

from pipeline.decisions.flips import SUPPORTED
from pipeline.decisions.multipliers import fit_multipliers
from pipeline.decisions.ordinal import fit_cuts
from pipeline.decisions.rare import (
    as_f,
    bootstrap_thresholds,
    half_f_thresholds,
    is_per_class,
    shrunk_thresholds,
)
from pipeline.decisions.rule import KINDS, Rule
from pipeline.decisions.sizes import fit_sized, fit_top_k
from pipeline.decisions.sweep import global_threshold
from pipeline.decisions.thresholds import per_class_thresholds
from pipeline.decisions.tried import tried_threshold
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair
from pipeline.metrics.custom import CustomMetric
from pipeline.metrics.f_beta import MultilabelFBeta
from pipeline.metrics.metric import Metric
from pipeline.metrics.rows import QuadraticKappa

__all__ = ["KINDS", "Rule", "default_rule", "fit_rule", "needs_calibration", "rule_kinds"]


def rule_kinds(metric: Metric) -> tuple[str, ...]:
    """Return the kinds of rule that suit a metric, from the simplest to the most complex.

    Of a custom metric nothing is known but its score: it has `argmax`, or the kinds that need no
    more than to try a few answers.
    """
    if metric.needs == "probs":
        return ("identity",)
    if metric.task == "multilabel":
        return _label_kinds(metric)
    if isinstance(metric, QuadraticKappa):
        return ("argmax", "cuts")
    return ("argmax", "multipliers") if isinstance(metric, SUPPORTED) else ("argmax",)


def needs_calibration(kind: str) -> bool:
    """Say whether a kind takes the probabilities at their word, and so wants calibrated ones."""
    return kind in ("half-f", "expected-f", "expected-jaccard")


def default_rule(metric: Metric) -> Rule:
    """Return the rule that needs no fitting: identity, argmax, or a threshold of 0.5."""
    kind = rule_kinds(metric)[0]
    return Rule(kind, (0.5,) if kind == "threshold" else ())


def fit_rule(
    kind: str,
    metric: Metric,
    y: np.ndarray,
    probs: np.ndarray,
    keys: np.ndarray | None = None,
) -> Rule:
    """Return the rule of that kind that suits labels and probabilities of some rows.

    Parameters
    ----------
    kind : str
        One of `rule_kinds(metric)`.
    metric : Metric
    y : ndarray of shape (n,) int or (n, c) 0/1
    probs : ndarray of shape (n, c), in [0, 1]
        Calibrated where `needs_calibration(kind)`.
    keys : ndarray of shape (n,), uint64, optional
        A stable hash of each row or its group, for what resamples rows; their positions if None.

    Returns
    -------
    Rule
        `multipliers`, `global`, `sized` and `per-class` score no lower on these rows than the
        default rule. `cuts` are the best of their kind, which argmax is not of, and `top-k` is;
        `shrunk`, `bootstrap` and what takes probabilities at their word do not seek the highest
        score on these rows.

    Raises
    ------
    PodiumError
        For a kind that does not suit the metric, shapes that differ, NaN or values outside [0, 1].
    """
    kinds = rule_kinds(metric)
    if kind not in kinds:
        raise PodiumError(f"rule {kind!r} does not suit {metric.name}; use {', '.join(kinds)}")
    if kind in ("identity", "argmax", "threshold"):
        check_pair(y, probs, metric.task, narrow=True)
        return default_rule(metric)
    if metric.task == "multilabel":
        y, probs = check_pair(y, probs, metric.task, narrow=True)
        return _fit_labels(kind, metric, y, probs, keys)
    if kind == "cuts":
        return Rule(kind, tuple(fit_cuts(y, probs, probs.shape[1]).tolist()))
    return Rule(kind, tuple(fit_multipliers(metric, y, probs).tolist()))


def _label_kinds(metric: Metric) -> tuple[str, ...]:
    simple = ("threshold", "global", "sized", "top-k")
    if isinstance(metric, CustomMetric):
        return simple
    if not is_per_class(metric):  # rows count as a whole: a set of labels may be sought for each
        return (*simple, *_expected(metric), "per-class")
    return (*simple, *(("half-f",) if as_f(metric) else ()), "shrunk", "bootstrap", "per-class")


def _expected(metric: Metric) -> tuple[str, ...]:
    if getattr(metric, "average", None) != "samples":
        return ()  # subset accuracy: its best set is the threshold 0.5
    return ("expected-f",) if isinstance(metric, MultilabelFBeta) else ("expected-jaccard",)


def _fit_labels(
    kind: str, metric: Metric, y: np.ndarray, probs: np.ndarray, keys: np.ndarray | None
) -> Rule:
    """Return a fitted rule of a multi-label metric, of probabilities as they came."""
    if kind == "sized":
        threshold, at_least, at_most = fit_sized(metric, y, probs)
        return Rule(kind, (threshold,), at_least, at_most)
    if kind == "top-k":
        return Rule(kind, (float(fit_top_k(metric, y, probs)),))
    if kind == "expected-f":
        return Rule(kind, (float(metric.beta),))
    if kind == "expected-jaccard":
        return Rule(kind)
    if kind == "global":
        custom = isinstance(metric, CustomMetric)
        return Rule(kind, ((tried_threshold if custom else global_threshold)(metric, y, probs),))
    fits = {
        "half-f": lambda: half_f_thresholds(metric, probs),
        "shrunk": lambda: shrunk_thresholds(metric, y, probs, keys),
        "bootstrap": lambda: bootstrap_thresholds(metric, y, probs, keys),
        "per-class": lambda: per_class_thresholds(metric, y, probs),
    }
    return Rule(kind, tuple(fits[kind]().tolist()))
