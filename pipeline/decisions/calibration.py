"""Probabilities made honest: one temperature, or a scale and a shift per class, fitted by log loss.

Kinds, from simplest to most complex: `none`, `temperature`, `per-class` (Platt scaling of each
label in a multi-label task, vector scaling in a multi-class one).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.artifacts.predictions import log_values, probabilities
from pipeline.decisions.scaling import (
    HIGH,
    LOW,
    best_scale,
    doubt,
    platt,
    row_blocks,
    scale_slopes,
    vector_scaling,
)
from pipeline.errors import PodiumError, nearest
from pipeline.metrics.checks import TASKS, check_labels, check_probs, check_rows

KINDS = ("none", "temperature", "per-class")
SAMPLE = 10_000  # rows that a first guess is fitted on, where there are many more


@dataclass(frozen=True)
class Calibration:
    """A kind of calibration, the `scale` (0, 1 or c) and the `shift` (0 or c) of the logits.

    Logits are the log odds of a multi-label task and log p of a multi-class one, of p clipped to
    [1e-7, 1 - 1e-7]; they become scale * logit + shift. A temperature is one scale, 1 / T.
    """

    kind: str
    task: str
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hint = nearest(str(self.kind), KINDS) or f"; known are {', '.join(KINDS)}"
            raise PodiumError(f"{self.kind!r} is not a kind of calibration{hint}")
        if self.task not in TASKS:
            raise PodiumError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        lengths = len(self.scale), len(self.shift)
        classes = max(1, lengths[0])
        wanted = {"none": (0, 0), "temperature": (1, 0), "per-class": (classes, classes)}[self.kind]
        if lengths != wanted:
            got = f"{lengths[0]} scales and {lengths[1]} shifts"
            rule = "none takes no numbers, temperature one scale, per-class one of both per class"
            raise PodiumError(f"calibration {self.kind!r} got {got}, but {rule}; fit it again")
        for value in (*self.scale, *self.shift):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not abs(value) < 1e300:
                raise PodiumError(f"calibration takes finite numbers, got {value!r}; fit it again")
        if any(not LOW <= scale <= HIGH for scale in self.scale):
            worst = next(scale for scale in self.scale if not LOW <= scale <= HIGH)
            raise PodiumError(f"a scale must lie in [{LOW}, {HIGH}], got {worst}; fit it again")

    @property
    def temperature(self) -> float | None:
        """The one temperature, or None for another kind."""
        return 1 / self.scale[0] if self.kind == "temperature" else None

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities (n, c) float32 of probabilities (n, c) in [0, 1].

        Rows of a multi-class task sum to 1; `none` leaves those that do as they are. Scales are
        positive, so that the order of the rows within a label never turns round in a multi-label
        task, nor the order of the classes within a row by a temperature.
        """
        probs = _checked(probs)
        if self.kind == "per-class" and probs.shape[1] != len(self.scale):
            wanted = f"{len(self.scale)} columns, as it was fitted on"
            raise PodiumError(f"calibration needs probs of {wanted}, got {probs.shape[1]}")
        if self.kind == "none":
            return _normalised(probs) if self.task == "multiclass" else probs.astype(np.float32)
        scale, shift = np.array(self.scale), np.array(self.shift) if self.shift else 0.0
        out = np.empty(probs.shape, np.float32)
        for here in row_blocks(*probs.shape):
            values = log_values(probs[here], self.task) * scale + shift
            out[here] = probabilities(values, self.task)
        return out

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; floats survive JSON exactly."""
        numbers = {"scale": list(self.scale), "shift": list(self.shift)}
        return {"kind": self.kind, "task": self.task, **numbers}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Calibration":
        """Return the calibration that `to_json` wrote, or refuse what it cannot have written."""
        keys = {"kind", "task", "scale", "shift"}
        if not isinstance(content, dict) or set(content) != keys:
            rule = "a calibration in JSON has the keys kind, task, scale and shift"
            raise PodiumError(f"{rule}, got {content!r:.200}; fit it again")
        scale, shift = content["scale"], content["shift"]
        if not isinstance(scale, list) or not isinstance(shift, list):
            rule = "a calibration in JSON has lists of scales and shifts"
            raise PodiumError(f"{rule}, got {content!r:.200}; fit it again")
        return cls(content["kind"], content["task"], tuple(scale), tuple(shift))

    def describe(self) -> str:
        """Return the calibration in a few words."""
        if self.kind == "none":
            return "probabilities as they are"
        if self.kind == "temperature":
            return f"temperature {1 / self.scale[0]:.3g}"
        scales = f"{min(self.scale):.3g} to {max(self.scale):.3g}"
        return (
            f"logits times {scales} plus {min(self.shift):.3g} to {max(self.shift):.3g}, per class"
        )


def fit_calibration(
    kind: str, task: str, y: np.ndarray, probs: np.ndarray, row_weights: np.ndarray | None = None
) -> Calibration:
    """Return the calibration of that kind with the lowest log loss on some rows.

    The temperature is fitted as if one more row were there, of which nothing is known (`doubt`).

    Parameters
    ----------
    kind : str
        'none'; 'temperature'; 'per-class': for each class a scale and a shift of its logit, with
        normal priors around the shared temperature (standard deviation 0.3 of its scale) and a
        shift of 0 (0.25), so that a class with few positives stays close to them.
    task : str
        'multiclass' or 'multilabel'.
    y : ndarray of shape (n,) int or (n, c) 0/1
    probs : ndarray of shape (n, c), in [0, 1]
        Out of fold; clipped to [1e-7, 1 - 1e-7] before the logarithm.
    row_weights : ndarray of shape (n,), optional
        Non-negative; their mean does not matter.

    Returns
    -------
    Calibration

    Raises
    ------
    PodiumError
        For an unknown kind or task, shapes that differ, NaN or values outside [0, 1].

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017
    (temperature and vector scaling). Platt, Probabilistic outputs for support vector machines,
    1999. Kull et al., Beyond temperature scaling, NeurIPS 2019 (why a ridge).
    """
    probs = _checked(probs)
    y = check_labels(y, task, n_classes=probs.shape[1])
    check_rows(y, probs)
    rows = np.ones(len(y)) if row_weights is None else mean_one(row_weights, len(y))
    if kind not in KINDS[1:]:
        return Calibration(kind, task)  # 'none', or refused
    values = np.empty(probs.shape, np.float32)
    for here in row_blocks(*probs.shape):
        values[here] = log_values(probs[here], task)
    shared = _shared_scale(values, y, task, rows)
    if kind == "temperature":
        return Calibration(kind, task, (shared,))
    fit = platt if task == "multilabel" else _vector
    scale, shift = fit(values, y, rows, shared)
    return Calibration(kind, task, tuple(scale.tolist()), tuple(shift.tolist()))


def _shared_scale(values: np.ndarray, y: np.ndarray, task: str, rows: np.ndarray) -> float:
    """Return the one scale of all values (n, c), from a first guess on some rows if many."""
    start = 1.0
    if len(y) > 4 * SAMPLE:
        some = some_rows(len(y), rows, SAMPLE)
        start = _shared_scale(values[some], y[some], task, rows[some])

    def slopes(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = np.zeros(1), np.zeros(1)
        for here in row_blocks(*values.shape):
            block = values[None, here].astype(np.float64)
            parts = scale_slopes(block, y[here], scale, task, rows[here], doubt(rows.sum()))
            first, second = first + parts[0], second + parts[1]
        return first, second

    return float(best_scale(slopes, np.array([start]))[0])


def _vector(
    values: np.ndarray, y: np.ndarray, rows: np.ndarray, shared: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the vector scaling (c,), (c,), from a first guess on some rows if many."""
    if len(y) <= 4 * SAMPLE:
        return vector_scaling(values, y, rows, shared)
    some = some_rows(len(y), rows, SAMPLE)
    guess = vector_scaling(values[some], y[some], rows[some], shared)
    return vector_scaling(values, y, rows, shared, guess)


def _checked(probs: np.ndarray) -> np.ndarray:
    """Return probabilities as they are, without the float64 copy that `check_probs` makes."""
    probs = np.asarray(probs)
    if probs.dtype.kind != "f" or probs.ndim != 2 or not probs.size:
        return check_probs(probs)
    return probs if probs.min() >= 0 and probs.max() <= 1 else check_probs(probs)


def mean_one(weights: np.ndarray, rows: int) -> np.ndarray:
    """Return row weights (n,) of mean 1, so that the log likelihood counts rows, or refuse them."""
    weights = np.asarray(weights, np.float64)
    if weights.shape != (rows,) or not (np.isfinite(weights) & (weights >= 0)).all():
        got = f"shape {weights.shape} and a smallest value of {np.min(weights, initial=np.inf):.3g}"
        raise PodiumError(f"row_weights must be {rows} finite numbers of at least 0, got {got}")
    if not weights.any():
        raise PodiumError("row_weights must not all be 0; leave them out for equal ones")
    return weights / weights.mean()


def some_rows(rows: int, weights: np.ndarray | None, sample: int) -> np.ndarray:
    """Return about `sample` positions of rows of positive weight, for a first guess."""
    counted = np.arange(rows) if weights is None else np.flatnonzero(weights)
    return counted[:: -(-len(counted) // sample)]


def _normalised(probs: np.ndarray) -> np.ndarray:
    """Return rows that sum to 1: those that do as they are, a row of zeros as all classes alike."""
    sums = probs.sum(1, keepdims=True, dtype=np.float64)
    odd = np.abs(sums[:, 0] - 1) > 1e-6
    out = np.array(probs, np.float32)
    uniform = np.full((int(odd.sum()), probs.shape[1]), 1 / probs.shape[1])
    out[odd] = np.divide(probs[odd], sums[odd], out=uniform, where=sums[odd] > 0)
    return out
