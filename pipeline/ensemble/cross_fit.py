"""Candidates' answers to rows, each part answered by what was fitted on the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.decisions import Rule, best_constant, fill, fit_rule
from pipeline.decisions.calibration import Calibration, fit_calibration
from pipeline.ensemble.blending.blend import Blend, fit_blend
from pipeline.ensemble.chain import Candidate
from pipeline.ensemble.rows import Rows
from pipeline.errors import PodiumError
from pipeline.metrics import Metric


class CrossFit:
    """Candidates' answers to rows, each part answered by what was fitted on the others."""

    def __init__(self, metric: Metric, rows: Rows) -> None:
        self.metric, self.rows = metric, rows
        self.answers: dict[Candidate, np.ndarray] = {}
        self._parts = [_Part.of(metric, rows, number) for number in np.unique(rows.part)]
        self._blends: dict[str, list[Blend]] = {}
        self._calibrations: dict[tuple[str, str], list[Calibration]] = {}

    def add(self, candidates: Sequence[Candidate]) -> None:
        """Answer all rows by each of some candidates of one blend."""
        for at, part in enumerate(self._parts):
            if not candidates:
                return
            fitted = self._fitted(candidates[0].blend)[at]
            outside, inside = fitted.apply(part.outside.stack), fitted.apply(part.inside.stack)
            for kind in dict.fromkeys(one.calibration for one in candidates):
                scale = self._calibrated(candidates[0].blend, kind, at, outside)
                seen, unseen = scale.apply(outside), scale.apply(inside)
                for candidate in candidates:
                    if candidate.calibration == kind:
                        answer = part.fill(self._rule(candidate.rule, part, seen).apply(unseen))
                        empty = empty_answer(len(self.rows), answer)
                        self.answers.setdefault(candidate, empty)[part.at] = answer

    def taken(self) -> dict[Candidate, np.ndarray]:
        """Return the answers that were added, and forget them."""
        answers, self.answers = self.answers, {}
        return answers

    def probs(self, blend: str, calibration: str = "none") -> np.ndarray:
        """Return the probabilities (n, c) float32 of all rows."""
        pooled = np.empty(self.rows.stack.shape[1:], np.float32)
        for at, (part, fitted) in enumerate(zip(self._parts, self._fitted(blend), strict=True)):
            inside = fitted.apply(part.inside.stack)
            if calibration != "none":
                outside = fitted.apply(part.outside.stack)
                inside = self._calibrated(blend, calibration, at, outside).apply(inside)
            pooled[part.at] = inside
        return pooled

    def _rule(self, kind: str, part: "_Part", seen: np.ndarray) -> Rule:
        rows = part.outside
        return fit_rule(kind, self.metric, rows.labels, seen, keys=rows.keys)

    def _fitted(self, blend: str) -> list[Blend]:
        if blend not in self._blends:
            self._blends[blend] = [
                fit_blend(blend, self.metric, part.outside) for part in self._parts
            ]
        return self._blends[blend]

    def _calibrated(self, blend: str, kind: str, at: int, outside: np.ndarray) -> Calibration:
        """Return the calibration of a blend in part `at`, from its probabilities of the others."""
        found = self._calibrations.setdefault((blend, kind), [])
        if at == len(found):  # parts come in their order
            labels = self._parts[at].outside.labels
            found.append(fit_calibration(kind, self.metric.task, labels, outside))
        return found[at]


def empty_answer(rows: int, like: np.ndarray) -> np.ndarray:
    """Return room for the answers to all rows, of probabilities as float32: blends are no finer."""
    kind = np.float32 if like.dtype.kind == "f" else like.dtype
    return np.empty((rows, *like.shape[1:]), kind)


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
        if not len(outside.seen):
            raise PodiumError(
                f"ensemble: no row outside part {number} has a picture, so nothing can be fitted; "
                "make folds anew, or find the pictures that are missing"
            )
        without = inside.without
        if not without.any():  # the constant of a custom metric is looked for only if it is needed
            return cls(np.flatnonzero(here), inside, outside.seen, lambda answer: answer)
        constant = best_constant(metric, outside.labels, rows.stack.shape[2])
        filled = lambda answer: fill(answer, without, constant)  # noqa: E731
        return cls(np.flatnonzero(here), inside, outside.seen, filled)
