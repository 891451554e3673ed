"""Blends by name: fitted on out-of-fold rows, applied to any rows.

From the simplest to the most complex (`LEVELS`): `mean`; `geometric`, `rank`, `power` (one
exponent); `tempered` (one temperature per member), `hill-climbing`, `log-loss` and `cma-es`
(one weight per member); `per-class` (one weight per member and class); `stacking`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.ensemble.blending.evolution import evolved_weights
from pipeline.ensemble.blending.greedy import greedy_weights
from pipeline.ensemble.blending.per_class import per_class_weights
from pipeline.ensemble.blending.pools import (
    Ranks,
    arithmetic,
    best_power,
    fit_ranks,
    geometric,
    power_mean,
    rank,
)
from pipeline.ensemble.blending.simplex import simplex_weights
from pipeline.ensemble.blending.stacking import Stacking, fit_stacking
from pipeline.ensemble.blending.tempering import member_temperatures, tempered
from pipeline.ensemble.rows import Rows
from pipeline.ensemble.stack import Stack
from pipeline.metrics import CustomMetric, Metric

LEVELS = {
    "mean": 0,
    "geometric": 1,
    "rank": 1,
    "power": 1,
    "tempered": 2,
    "hill-climbing": 2,
    "log-loss": 2,
    "cma-es": 2,
    "per-class": 3,
    "stacking": 4,
}
SEARCHES = ("power", "hill-climbing", "cma-es")  # these score the metric hundreds of times


@dataclass(frozen=True, eq=False)
class Blend:
    """A fitted blend. `weights` are (members,), or (members, classes); each column sums to 1."""

    method: str
    task: str
    weights: np.ndarray
    power: float = 1.0
    temperatures: np.ndarray | None = None
    ranks: Ranks | None = None
    stacking: Stacking | None = None

    def apply(self, stack: Stack) -> np.ndarray:
        """Return the blended probabilities (n, c) float32; multi-class rows sum to 1."""
        if self.stacking is not None:
            return self.stacking.apply(stack)
        if self.ranks is not None:
            return rank(stack, self.ranks, self.task)
        if self.method == "geometric":
            return geometric(stack, self.weights, self.task)
        if self.method == "power":
            return power_mean(stack, self.weights, self.power, self.task)
        if self.temperatures is not None:
            stack = cooled(stack, self.temperatures, self.task)
        return arithmetic(stack, self.weights, self.task)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; of ranks nothing, which are fitted again."""
        temperatures, stacking = self.temperatures, self.stacking
        return {
            "weights": self.weights.tolist(),
            "power": self.power,
            "temperatures": None if temperatures is None else temperatures.tolist(),
            "stacking": None if stacking is None else stacking.to_json(),
        }

    @classmethod
    def from_json(
        cls, method: str, task: str, content: dict[str, Any], ranks: Ranks | None = None
    ) -> "Blend":
        """Return the blend that `to_json` wrote, with the ranks of the rows it was fitted on."""
        temperatures, stacking = content["temperatures"], content["stacking"]
        return cls(
            method,
            task,
            np.array(content["weights"]),
            content["power"],
            None if temperatures is None else np.array(temperatures),
            ranks,
            None if stacking is None else Stacking.from_json(stacking),
        )

    @property
    def shares(self) -> np.ndarray | None:
        """How much each member counts (members,), summing to 1, averaged over the classes; None
        where no weights say it."""
        if self.stacking is not None:
            return None
        return self.weights if self.weights.ndim == 1 else self.weights.mean(axis=1)

    def describe(self) -> str:
        """Return the blend in a few words."""
        if self.stacking is not None:
            return f"stacking, penalty {self.stacking.penalty:.3g}"
        if self.temperatures is not None:
            low, high = self.temperatures.min(), self.temperatures.max()
            return f"{self.method}, temperatures {low:.3g} to {high:.3g}"
        return f"power {self.power:g}" if self.method == "power" else self.method


def methods(metric: Metric, members: int) -> tuple[str, ...]:
    """Return the methods that suit a metric, the simplest first; one member needs no blending.

    Under a custom metric nothing is searched by score: each step would call the host's function.
    """
    if members == 1:
        return ("mean",)
    searched = isinstance(metric, CustomMetric)
    return tuple(name for name in LEVELS if not (searched and name in SEARCHES))


def fit_blend(method: str, metric: Metric, rows: Rows) -> Blend:
    """Fit `method` on rows that all have a picture."""
    members = len(rows.stack)
    blend = Blend(method, metric.task, np.full(members, 1 / members))
    return FITTERS[method](blend, metric, rows) if method in FITTERS else blend


def cooled(stack: Stack, temperatures: np.ndarray, task: str) -> Stack:
    """Return the stack with each member's probabilities at its own temperature."""
    pairs = zip(range(len(stack)), temperatures, strict=True)
    return Stack.of([tempered(stack.member(at), float(value), task) for at, value in pairs])


def _rank(blend: Blend, metric: Metric, rows: Rows) -> Blend:
    return replace(blend, ranks=fit_ranks(rows.stack))


def _power(blend: Blend, metric: Metric, rows: Rows) -> Blend:
    return replace(blend, power=best_power(metric, rows.labels, rows.stack))


def _tempered(blend: Blend, metric: Metric, rows: Rows) -> Blend:
    found = member_temperatures(rows.labels, rows.stack, metric.task)
    return replace(blend, temperatures=found)


def _climbed(blend: Blend, metric: Metric, rows: Rows) -> Blend:
    found = greedy_weights(metric, rows.labels, rows.stack, keys=rows.keys)
    return replace(blend, weights=found)


def _log_loss(blend: Blend, metric: Metric, rows: Rows) -> Blend:
    return replace(blend, weights=simplex_weights(rows.labels, rows.stack, metric.task))


def _evolved(blend: Blend, metric: Metric, rows: Rows) -> Blend:
    found = evolved_weights(metric, rows.labels, rows.stack, keys=rows.keys)
    return replace(blend, weights=found)


def _per_class(blend: Blend, metric: Metric, rows: Rows) -> Blend:
    return replace(blend, weights=per_class_weights(rows.labels, rows.stack, metric.task))


def _stacked(blend: Blend, metric: Metric, rows: Rows) -> Blend:
    found = fit_stacking(rows.labels, rows.stack, metric.task, keys=rows.keys)
    return replace(blend, stacking=found)


FITTERS: dict[str, Callable[[Blend, Metric, Rows], Blend]] = {
    "rank": _rank,
    "power": _power,
    "tempered": _tempered,
    "hill-climbing": _climbed,
    "log-loss": _log_loss,
    "cma-es": _evolved,
    "per-class": _per_class,
    "stacking": _stacked,
}
