"""The rule that turns probabilities into an answer: fitted, applied, written to JSON.

Kinds, from simplest to most complex: `argmax`, `multipliers` (multi-class labels); `threshold`
(fixed 0.5), `global`, `per-class` (multi-label labels); `identity` (metrics of probabilities).
A custom metric, of which nothing is known but its score, has `argmax`, or `threshold` and `global`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.decisions.cuts import TIE, Cuts
from pipeline.decisions.flips import SUPPORTED
from pipeline.decisions.multipliers import fit_multipliers, multiply
from pipeline.decisions.sweep import global_threshold
from pipeline.decisions.thresholds import per_class_thresholds
from pipeline.errors import PodiumError, nearest
from pipeline.metrics.checks import check_pair, check_probs
from pipeline.metrics.custom import CustomMetric
from pipeline.metrics.metric import Metric

KINDS = ("identity", "argmax", "multipliers", "threshold", "global", "per-class")
LENGTHS = {"identity": 0, "argmax": 0, "threshold": 1, "global": 1}  # others: one per class
QUANTILES = 49  # of all scores, and of those of positive labels: cuts tried on a custom metric


@dataclass(frozen=True)
class Rule:
    """A kind of rule and its values: nothing, one threshold, or one number per class."""

    kind: str
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hint = nearest(str(self.kind), KINDS) or f"; known are {', '.join(KINDS)}"
            raise PodiumError(f"{self.kind!r} is not a kind of rule{hint}")
        expected = LENGTHS.get(self.kind)
        if expected is not None and len(self.values) != expected:
            raise PodiumError(f"rule {self.kind!r} takes {expected} values, got {self.values}")
        if expected is None and not self.values:
            raise PodiumError(f"rule {self.kind!r} takes one value per class, got none")
        for value in self.values:
            _check_value(self.kind, value)

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return the answer to probabilities (n, c).

        Returns
        -------
        ndarray
            (n,) int64 class indices, (n, c) int8 of 0 and 1, or the probabilities as float64.
        """
        probs = check_probs(probs)
        values = np.array(self.values)
        if self.kind in ("multipliers", "per-class") and len(values) != probs.shape[1]:
            shape = f"{len(values)} values, probs have {probs.shape[1]} columns"
            raise PodiumError(f"rule {self.kind!r} needs one value per class, got {shape}")
        if self.kind == "identity":
            return probs
        if self.kind == "argmax":
            return np.argmax(probs, axis=1)
        if self.kind == "multipliers":
            return multiply(probs, values)
        return (probs >= values).astype(np.int8)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; floats survive JSON exactly."""
        return {"kind": self.kind, "values": list(self.values)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Rule":
        """Return the rule that `to_json` wrote, or refuse what it cannot have written."""
        if not isinstance(content, dict) or set(content) != {"kind", "values"}:
            raise PodiumError(f"a rule in JSON has the keys kind and values, got {content!r:.200}")
        kind, values = content["kind"], content["values"]
        if not isinstance(kind, str) or not isinstance(values, list):
            rule = "a rule in JSON has a kind (text) and values (a list)"
            raise PodiumError(f"{rule}, got {content!r:.200}")
        for value in values:
            _check_value(kind, value)
        return cls(kind, tuple(float(value) for value in values))

    def describe(self) -> str:
        """Return the rule in a few words."""
        if self.kind in ("identity", "argmax"):
            return {"identity": "probabilities as they are", "argmax": "argmax"}[self.kind]
        low, high = min(self.values), max(self.values)
        span = f"{low:.3g} to {high:.3g}"
        return {
            "multipliers": f"argmax of p times {span}",
            "threshold": f"p >= {low:.3g}",
            "global": f"p >= {low:.3g}, fitted for all classes",
            "per-class": f"p >= {span}, fitted per class",
        }[self.kind]


def rule_kinds(metric: Metric) -> tuple[str, ...]:
    """Return the kinds of rule that suit a metric, from the simplest to the most complex."""
    if metric.needs == "probs":
        return ("identity",)
    if isinstance(metric, CustomMetric):
        return ("threshold", "global") if metric.task == "multilabel" else ("argmax",)
    if metric.task == "multilabel":
        return ("threshold", "global", "per-class")
    return ("argmax", "multipliers") if isinstance(metric, SUPPORTED) else ("argmax",)


def default_rule(metric: Metric) -> Rule:
    """Return the rule that needs no fitting: identity, argmax, or a threshold of 0.5."""
    kind = rule_kinds(metric)[0]
    return Rule(kind, (0.5,) if kind == "threshold" else ())


def fit_rule(kind: str, metric: Metric, y: np.ndarray, probs: np.ndarray) -> Rule:
    """Return the rule of that kind that scores best on labels and probabilities of some rows.

    Raises
    ------
    PodiumError
        For a kind that does not suit the metric, shapes that differ, NaN or values outside [0, 1].
    """
    kinds = rule_kinds(metric)
    if kind not in kinds:
        raise PodiumError(f"rule {kind!r} does not suit {metric.name}; use {', '.join(kinds)}")
    y, probs = check_pair(y, probs, metric.task)
    if kind == "multipliers":
        return Rule(kind, tuple(fit_multipliers(metric, y, probs).tolist()))
    if kind == "global" and isinstance(metric, CustomMetric):
        return Rule(kind, (tried_threshold(metric, y, probs),))
    if kind == "global":
        return Rule(kind, (global_threshold(metric, y, probs),))
    if kind == "per-class":
        return Rule(kind, tuple(per_class_thresholds(metric, y, probs).tolist()))
    return default_rule(metric)


def tried_threshold(metric: Metric, y: np.ndarray, probs: np.ndarray) -> float:
    """Return the best of at most 99 thresholds for all classes, for any metric of labels.

    All cuts are tried where there are no more. Otherwise: those at 49 quantiles of the pooled
    scores, at 49 of the scores of positive labels (which all lie close to the top where labels
    are rare), and at 0.5.

    Parameters
    ----------
    metric : Metric
        A multi-label metric of labels.
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]

    Returns
    -------
    float
        Between two distinct scores; among equals, the one closest to 0.5. Never worse than 0.5
        on these rows (by more than 1e-12); a cut where the metric is undefined is not taken.
    """
    y, probs = check_pair(y, probs, "multilabel")
    scores = probs.ravel()
    cuts = Cuts.of(scores)
    half = np.searchsorted(cuts.counts, (scores >= 0.5).sum())
    if len(cuts.counts) > 2 * QUANTILES + 1:
        levels = np.arange(1, QUANTILES + 1) / (QUANTILES + 1)
        wanted = np.quantile(scores, levels)
        if y.any():
            wanted = np.append(wanted, np.quantile(scores[y.ravel() == 1], levels))
        # Thresholds descend: the first one at or below a wanted score takes that score in.
        tried = np.unique(np.append(np.searchsorted(-cuts.thresholds, -wanted), half))
        cuts = replace(cuts, counts=cuts.counts[tried], thresholds=cuts.thresholds[tried])
    members, once = np.zeros(len(y), np.int64), np.ones((1, 1))
    values = np.empty(len(cuts.thresholds))
    for i, threshold in enumerate(cuts.thresholds):
        answer = (probs >= threshold).astype(np.int8)
        values[i] = metric.sign * metric.scorer(y, answer, y.shape[1], members)(once)[0]
    return float(cuts.thresholds[cuts.best(np.nan_to_num(values, nan=-np.inf), TIE)])


def _check_value(kind: str, value: Any) -> None:
    """Refuse what no fit returns: a threshold outside [0, 2), a multiplier that is not positive."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) < 1e300:  # NaN, infinities, and integers beyond float64
        raise PodiumError(f"the values of rule {kind!r} must be finite numbers, got {value!r}")
    if kind == "multipliers" and value <= 0:
        raise PodiumError(f"multipliers must be positive, got {value}")
    if kind in ("global", "per-class") and not 0 <= value < 2:
        raise PodiumError(f"a threshold must lie in [0, 2), got {value}")
    if kind == "threshold" and value != 0.5:
        raise PodiumError(f"rule 'threshold' is fixed at 0.5, got {value}; use 'global'")
