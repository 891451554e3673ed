"""The space of a study: parameters with their conditions, as values, as points of the unit cube.

A configuration is a mapping from a recipe's key to a value, of those parameters alone that are
active in it. `augment.scale.0` is the first element of the list `augment.scale`.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.config.study import Parameter
from pipeline.errors import PodiumError

Config = dict[str, Any]


@dataclass(frozen=True)
class Param:
    """A parameter: its recipe key, its range, and the choices of others that make it active."""

    key: str
    said: Parameter

    @cached_property
    def kind(self) -> str:
        return self.said.kind

    @property
    def choices(self) -> tuple[Any, ...]:
        return self.said.choices or ()

    @cached_property
    def when(self) -> dict[str, list[Any]]:
        """The values of other parameters under which this one is searched."""
        said = self.said.when
        return {k: list(v) if isinstance(v, list | tuple) else [v] for k, v in said.items()}

    @property
    def is_ordered(self) -> bool:
        """Whether its values are numbers in order, so that neighbours are alike."""
        return self.kind != "choices" or _ascending(self.choices)

    def is_active(self, config: Mapping[str, Any]) -> bool:
        """Whether it is searched, given those that it depends on."""
        return all(key in config and config[key] in of for key, of in self.when.items())

    def value(self, unit: float) -> Any:
        """Return the value at a position in [0, 1]; positions of equal width for whole numbers,
        powers, steps and choices."""
        if self.kind == "choices":
            return self.choices[_cell(unit, len(self.choices))]
        low, high = self._ends
        if self.kind == "powers_of_two":
            return 2 ** (int(low) + _cell(unit, int(high - low) + 1))
        if self.kind == "log":
            return _clipped(math.exp(low + unit * (high - low)), *self.said.log)
        step = 1.0 if self.kind == "integer" and self.said.step is None else self.said.step
        if step is None:
            return _clipped(low + unit * (high - low), low, high)
        value = low + step * _cell(unit, int((high - low) / step + 1e-9) + 1)
        return int(value) if self.kind == "integer" else float(f"{value:.12g}")  # .3, not .3000...4

    def unit(self, value: Any) -> float:
        """Return where a value lies in [0, 1]; of discrete ones, the middle of their cell."""
        if self.kind == "choices":
            return (self.choices.index(value) + 0.5) / len(self.choices)
        low, high = self._ends
        if self.kind == "powers_of_two":
            return (math.log2(value) - low + 0.5) / (high - low + 1)
        if self.kind == "log":
            return (math.log(value) - low) / (high - low)
        step = 1.0 if self.kind == "integer" and self.said.step is None else self.said.step
        if step is None:
            return (value - low) / (high - low)
        return ((value - low) / step + 0.5) / (int((high - low) / step + 1e-9) + 1)

    def points(self) -> list[Any]:
        """Return the values that a grid tries: all choices, otherwise `points` of the range."""
        if self.kind == "choices":
            return list(self.choices)
        ends = np.linspace(0, 1, self.said.points)
        return list(dict.fromkeys(self.value(float(unit)) for unit in ends))

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """The range, of its logarithm where that is what is even."""
        low, high = (float(end) for end in getattr(self.said, self.kind))
        if self.kind == "log":
            return math.log(low), math.log(high)
        return (math.log2(low), math.log2(high)) if self.kind == "powers_of_two" else (low, high)


@dataclass(frozen=True)
class Space:
    """The parameters of a study, each after those that it depends on."""

    params: tuple[Param, ...]

    @classmethod
    def of(cls, said: Mapping[str, Parameter], source: str = "space") -> "Space":
        """Order the parameters of a study; refuse conditions on what is not there."""
        params = {key: Param(key, parameter) for key, parameter in said.items()}
        for param in params.values():
            for key, values in param.when.items():
                _check_condition(param, params.get(key), key, values, source)
        ordered: list[Param] = []
        left = list(params.values())
        while left:
            ready = [p for p in left if p.when.keys() <= {q.key for q in ordered}]
            if not ready:
                raise PodiumError(
                    f"{source}: the conditions of {left[0].key} depend on themselves; take one out"
                )
            ordered += ready
            left = [p for p in left if p not in ready]
        return cls(tuple(ordered))

    @property
    def keys(self) -> list[str]:
        return [param.key for param in self.params]

    def config(self, units: Sequence[float]) -> Config:
        """Return the configuration at a point of the unit cube, (d,) in the order of `params`."""
        found: Config = {}
        for param, unit in zip(self.params, units, strict=True):
            if param.is_active(found):
                found[param.key] = param.value(float(unit))
        return found

    def units(self, config: Mapping[str, Any]) -> np.ndarray:
        """Return the point (d,) of a configuration; NaN where a parameter is not active."""
        return np.array([p.unit(config[p.key]) if p.key in config else np.nan for p in self.params])

    def grid(self) -> list[Config]:
        """Return all combinations of the points of active parameters, in order."""
        found: list[Config] = []
        for values in itertools.product(*(param.points() for param in self.params)):
            config: Config = {}
            for param, value in zip(self.params, values, strict=True):
                if param.is_active(config):
                    config[param.key] = value
            if config not in found[-1:]:
                found.append(config)
        unique = {json.dumps(config, sort_keys=True): config for config in found}
        return list(unique.values())


def _check_condition(
    param: Param, other: Param | None, key: str, values: list[Any], source: str
) -> None:
    if other is None or other.kind != "choices":
        raise PodiumError(
            f"{source}: {param.key} has when: {key}, which is no parameter with choices; "
            "conditions are on the choices of other parameters"
        )
    odd = [value for value in values if value not in other.choices]
    if odd or not values:
        raise PodiumError(
            f"{source}: {param.key} has when: {key}: {values}, but its choices are "
            f"{list(other.choices)}"
        )


def _ascending(values: Sequence[Any]) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and all(a < b for a, b in itertools.pairwise(values))


def _cell(unit: float, count: int) -> int:
    return min(int(unit * count), count - 1)


def _clipped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
