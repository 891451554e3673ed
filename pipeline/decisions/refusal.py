"""Answering "don't know" below a confidence: how many rows are left, and how many are right.

A row is answered where its confidence is at least a level, compared in float64. Every distinct
confidence is a point of the curve, so rows that tie are answered together or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import PodiumError
from pipeline.metrics.checks import TASKS, check_labels, check_probs, check_rows

LEVELS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Point:
    """What is answered at a confidence and above; `accuracy` is None where that is nothing."""

    confidence: float
    coverage: float
    accuracy: float | None


@dataclass(frozen=True, eq=False)
class Curve:
    """The m distinct confidences of some rows, and what answering from there on gives."""

    confidence: np.ndarray  # (m,) float64, ascending
    coverage: np.ndarray  # (m,) share of rows answered, from 1 downwards
    accuracy: np.ndarray  # (m,) share of those that are right

    @property
    def area(self) -> float:
        """The area under the risk-coverage curve (AURC); 0 where all is right, lower is better.

        The mean over the n rows of the risk, 1 - accuracy, among the rows that are at least as
        confident. Without ties that is Geifman's sum over i = 1 ... n of the risk of the i most
        confident rows, divided by n; tied rows share the risk at the end of their tie.

        References
        ----------
        El-Yaniv and Wiener, On the foundations of noise-free selective classification, JMLR 11
        (2010). Geifman and El-Yaniv, Selective classification for deep neural networks, NIPS 2017.
        Geifman, Uziel and El-Yaniv, Bias-reduced uncertainty estimation for deep neural
        classifiers, ICLR 2019.
        """
        shares = -np.diff(self.coverage, append=0)  # of the rows that stand at each point
        return float(shares @ (1 - self.accuracy))

    def points(self, levels: Sequence[float] = LEVELS) -> tuple[Point, ...]:
        """Return what is answered at each of some levels of confidence."""
        starts = np.searchsorted(self.confidence, np.asarray(levels, np.float64), side="left")
        return tuple(
            self._point(start, float(level)) for start, level in zip(starts, levels, strict=True)
        )

    def _point(self, at: int, level: float) -> Point:
        if at == len(self.confidence):
            return Point(level, 0.0, None)
        return Point(level, float(self.coverage[at]), float(self.accuracy[at]))


def confidence(probs: np.ndarray, answer: np.ndarray, task: str) -> np.ndarray:
    """Return how sure probabilities are of an answer.

    Parameters
    ----------
    probs : ndarray of shape (n, c), in [0, 1]
    answer : ndarray
        Class indices (n,), or 0/1 (n, c) in a multi-label task, or probabilities (see `as_labels`).
    task : str
        'multiclass' or 'multilabel'.

    Returns
    -------
    ndarray of shape (n,), float64
        Multi-class: the probability of the answered class. Multi-label: that of the least certain
        label's answer, the lowest of p where the answer is 1 and of 1 - p where it is 0.

    Raises
    ------
    PodiumError
        For shapes that differ, a class beyond the columns, NaN or values outside [0, 1].
    """
    probs, answer = check_probs(probs), as_labels(answer, task)
    check_rows(probs, answer)
    answer = check_labels(answer, task, n_classes=probs.shape[1], what="answer")
    if task == "multiclass":
        return probs[np.arange(len(probs)), answer]
    return np.where(answer == 1, probs, 1 - probs).min(axis=1)


def as_labels(answer: np.ndarray, task: str) -> np.ndarray:
    """Return an answer as labels; one of probabilities (n, c) is read as its first highest class,
    or as the labels with p >= 0.5."""
    answer = np.asarray(answer)
    if task not in TASKS:
        raise PodiumError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if answer.dtype.kind != "f":
        return answer
    answer = check_probs(answer, what="answer")
    return (answer >= 0.5).astype(np.int8) if task == "multilabel" else np.argmax(answer, axis=1)


def coverage_curve(conf: np.ndarray, right: np.ndarray) -> Curve:
    """Return coverage and accuracy at every distinct confidence, exactly.

    Parameters
    ----------
    conf : ndarray of shape (n,)
        Finite confidences, higher is surer.
    right : ndarray of shape (n,), bool
        Which rows' answers are right; of a set of labels, the whole set.

    Returns
    -------
    Curve

    Raises
    ------
    PodiumError
        For no rows, shapes that differ, a `right` that is not bool, or confidences not finite.
    """
    conf, right = np.asarray(conf, np.float64), np.asarray(right)
    if conf.ndim != 1 or not conf.size or conf.shape != right.shape or right.dtype != bool:
        got = f"{conf.shape} and {right.dtype} {right.shape}"
        raise PodiumError(f"confidence and right must be (rows,) and bool (rows,), got {got}")
    if not np.isfinite(conf).all():
        value = conf[~np.isfinite(conf)][0]
        raise PodiumError(f"confidences must be finite numbers, got {value}")
    values, which, counts = np.unique(conf, return_inverse=True, return_counts=True)
    hits = np.bincount(which.ravel(), right)  # whole numbers: their sums are exact
    answered_rows = np.cumsum(counts[::-1])[::-1]
    return Curve(values, answered_rows / len(conf), np.cumsum(hits[::-1])[::-1] / answered_rows)


def curve_record(curve: Curve, levels: Sequence[float] = LEVELS) -> dict[str, Any]:
    """Return the curve's area and its points at some levels, ready for JSON."""
    points = [
        {"confidence": point.confidence, "coverage": point.coverage, "accuracy": point.accuracy}
        for point in curve.points(levels)
    ]
    return {"aurc": curve.area, "points": points}


def answered(conf: np.ndarray, level: float) -> np.ndarray:
    """Return which rows (n,) are answered: those whose confidence is at least the level."""
    return np.asarray(conf, np.float64) >= level
