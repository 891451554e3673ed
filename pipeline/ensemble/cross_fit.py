"""Candidates' answers to rows, each part answered by what was fitted on the others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.decisions import best_constant, fill, fit_rule
from pipeline.decisions.calibration import fit_calibration
from pipeline.ensemble.blending.blend import Blend, fit_blend
from pipeline.ensemble.chain import Candidate
from pipeline.ensemble.rows import Rows
from pipeline.metrics import Metric

CLIP = 1e-7


class CrossFit:
    """Candidates' answers to rows, each part answered by what was fitted on the others."""

    def __init__(self, metric: Metric, rows: Rows) -> None:
        self.metric, self.rows = metric, rows
        self.answers: dict[Candidate, np.ndarray] = {}
        self._parts = [_Part.of(metric, rows, number) for number in np.unique(rows.part)]
        self._blends: dict[str, list[Blend]] = {}

    def add(self, blend: str, variants: Iterable[tuple[str, str]]) -> None:
        """Answer all rows by `blend` with each (calibration, rule) that is not answered yet."""
        wanted = [Candidate(blend, rule, calibration) for calibration, rule in variants]
        wanted = [candidate for candidate in wanted if candidate not in self.answers]
        for part, fitted in zip(self._parts, self._fitted(blend), strict=True):
            if not wanted:
                return
            outside, inside = fitted.apply(part.outside.stack), fitted.apply(part.inside.stack)
            for candidate in wanted:
                answer = part.fill(self._answer(candidate, part, outside, inside))
                empty = np.empty((len(self.rows), *answer.shape[1:]), answer.dtype)
                self.answers.setdefault(candidate, empty)[part.at] = answer

    def probs(self, blend: str, calibration: str = "none") -> np.ndarray:
        """Return the probabilities (n, c) float32 of all rows."""
        pooled = np.empty(self.rows.stack.shape[1:], np.float32)
        task = self.metric.task
        for part, fitted in zip(self._parts, self._fitted(blend), strict=True):
            inside = fitted.apply(part.inside.stack)
            if calibration != "none":
                outside = fitted.apply(part.outside.stack)
                found = fit_calibration(calibration, task, part.outside.labels, outside)
                inside = found.apply(inside)
            pooled[part.at] = inside
        return pooled

    def _answer(
        self, candidate: Candidate, part: "_Part", outside: np.ndarray, inside: np.ndarray
    ) -> np.ndarray:
        task, labels = self.metric.task, part.outside.labels
        found = fit_calibration(candidate.calibration, task, labels, outside)
        calibrated = found.apply(outside)
        keys = part.outside.keys
        rule = fit_rule(candidate.rule, self.metric, labels, calibrated, keys=keys)
        return rule.apply(found.apply(inside))

    def _fitted(self, blend: str) -> list[Blend]:
        if blend not in self._blends:
            self._blends[blend] = [
                fit_blend(blend, self.metric, part.outside) for part in self._parts
            ]
        return self._blends[blend]


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of a part, at the positions `at`, those outside that have a picture, and what
    completes an answer by the best constant of the rows outside."""

    at: np.ndarray
    inside: Rows
    outside: Rows
    fill: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(cls, metric: Metric, rows: Rows, number: int) -> "_Part":
        here = rows.part == number
        inside, outside = rows.take(here), rows.take(~here)
        without = inside.without
        if not without.any():  # the constant of a custom metric is looked for only if it is needed
            return cls(np.flatnonzero(here), inside, outside.seen, lambda answer: answer)
        constant = best_constant(metric, outside.labels, rows.stack.shape[2])
        filled = lambda answer: fill(answer, without, constant)  # noqa: E731
        return cls(np.flatnonzero(here), inside, outside.seen, filled)


def row_log_loss(y: np.ndarray, probs: np.ndarray, task: str) -> np.ndarray:
    """Return the log loss (n,) of each row; over the labels of a row, their mean."""
    if task == "multiclass":
        actual = probs[np.arange(len(y)), y].astype(np.float64)
        return -np.log(np.clip(actual, CLIP, 1))
    losses = np.zeros(len(y))
    for column, truth in zip(probs.T, y.T, strict=True):
        right = np.where(truth == 1, column, 1 - column.astype(np.float64))
        losses -= np.log(np.clip(right, CLIP, 1))
    return losses / y.shape[1]
