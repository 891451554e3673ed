"""The chain members -> blend -> calibration -> rule, fitted on rows and applied to any others.

Rows without a picture are answered by the best constant, and nothing else is fitted on them.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.decisions import Rule, best_constant, fill, fit_rule
from pipeline.decisions.calibration import KINDS, Calibration, fit_calibration
from pipeline.ensemble.blending.blend import LEVELS, Blend, fit_blend
from pipeline.ensemble.rows import Rows
from pipeline.ensemble.stack import Stack
from pipeline.metrics import Metric

RULE_LEVELS = {"identity": 0, "argmax": 0, "threshold": 0, "multipliers": 2, "cuts": 2}
RULE_LEVELS |= {"shrunk": 2, "bootstrap": 2, "per-class": 3}  # all others: 1
BLIND = ("argmax", "multipliers", "cuts")  # a temperature changes nothing they could gain from


@dataclass(frozen=True)
class Candidate:
    """A way from members to an answer: a blend method, a calibration and a kind of rule."""

    blend: str
    rule: str
    calibration: str = "none"

    def __str__(self) -> str:
        calibrated = "" if self.calibration == "none" else f" + {self.calibration} calibration"
        return f"{self.blend}{calibrated} + {self.rule}"

    @property
    def level(self) -> tuple[int, int]:
        """How complex the candidate is; the lower, the simpler."""
        calibration = KINDS.index(self.calibration) if self.rule not in BLIND else 0
        return LEVELS[self.blend] + RULE_LEVELS.get(self.rule, 1) + calibration, LEVELS[self.blend]


@dataclass(frozen=True, eq=False)
class Chain:
    """A fitted blend, calibration and rule, and the answer to rows without a picture."""

    blend: Blend
    calibration: Calibration
    rule: Rule
    constant: np.ndarray

    def probs(self, stack: Stack) -> np.ndarray:
        """Return the calibrated blend (n, c) float32 of a stack."""
        return self.calibration.apply(self.blend.apply(stack))

    def answer(self, probs: np.ndarray, without: np.ndarray) -> np.ndarray:
        """Return the answer to probabilities, rows `without` (n,) a picture included."""
        return fill(self.rule.apply(probs), without, self.constant)


def fit_chain(candidate: Candidate, metric: Metric, rows: Rows) -> Chain:
    """Fit `candidate` on `rows`, and the constant for those without a picture."""
    seen = rows.seen
    blend = fit_blend(candidate.blend, metric, seen)
    blended = blend.apply(seen.stack)
    calibration = fit_calibration(candidate.calibration, metric.task, seen.labels, blended)
    calibrated = calibration.apply(blended)
    rule = fit_rule(candidate.rule, metric, seen.labels, calibrated, keys=seen.keys)
    constant = best_constant(metric, rows.labels, rows.stack.shape[2])
    return Chain(blend, calibration, rule, constant)
