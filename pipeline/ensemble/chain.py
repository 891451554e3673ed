"""The chain members -> blend -> rule: chosen, fitted, and scored on rows that it has not seen.

`honest_score` repeats everything, the choice of methods included, for each part of the rows on the
rows outside it: no row is scored by anything that was fitted or chosen with its label. Rows without
a picture are answered by the best constant, and nothing else is fitted on them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.decisions import Rule, best_constant, fill, fit_rule, rule_kinds
from pipeline.ensemble.blend import METHODS, Blend, fit_blend
from pipeline.errors import PodiumError
from pipeline.folds import split_parts
from pipeline.metrics import CustomMetric, Metric, resample_scores, standard_error

INNER_RESAMPLES = 200  # of the paired bootstrap that a choice rests on
CUSTOM_RESAMPLES = 50  # the same for a custom metric, which is called once per resample
PARTS = 5  # where the folds give too few


@dataclass(frozen=True)
class Rows:
    """Out-of-fold rows: labels (n,) or (n, c), a stack (members, n, c) of probabilities, the part
    (n,) of each row, its group (n,) or None, and whether it has a picture (n,) bool or None."""

    labels: np.ndarray
    stack: np.ndarray
    part: np.ndarray
    groups: np.ndarray | None
    pictured: np.ndarray | None = None

    @property
    def without(self) -> np.ndarray:
        """Which rows (n,) have no picture."""
        return np.zeros(len(self.labels), bool) if self.pictured is None else ~self.pictured

    def take(self, chosen: np.ndarray) -> "Rows":
        stacked = self.labels[chosen], self.stack[:, chosen], self.part[chosen]
        rest = (self.groups, self.pictured)
        return Rows(*stacked, *(None if values is None else values[chosen] for values in rest))

    def with_parts(self, seed: int) -> "Rows":
        """Return the same rows in `PARTS` group-aware parts where they are in fewer than two."""
        if len(np.unique(self.part)) >= 2:
            return self
        part = split_parts(self.labels, self.groups, (1 / PARTS,) * PARTS, seed)
        return replace(self, part=part)


@dataclass(frozen=True)
class Candidate:
    """A way from members to an answer: a blend method and a kind of rule."""

    blend: str
    rule: str

    def __str__(self) -> str:
        return f"{self.blend} + {self.rule}"


@dataclass(frozen=True)
class Chain:
    """A fitted blend and rule, and the answer to rows without a picture."""

    blend: Blend
    rule: Rule
    constant: np.ndarray

    def answer(self, stack: np.ndarray, without: np.ndarray) -> np.ndarray:
        """Return the answer to a stack (members, n, c), rows `without` (n,) a picture included."""
        return fill(self.rule.apply(self.blend.apply(stack)), without, self.constant)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate with its cross-fitted answers to the rows, and the cross-fitted score
    and gain over the simplest of every one."""

    chosen: Candidate
    answer: np.ndarray
    table: list[dict[str, Any]]


def candidates(metric: Metric, members: int) -> list[Candidate]:
    """Return the candidates from the simplest to the most complex; one member needs no blending.

    Under a custom metric, weights are not climbed: each step of a climb would call the metric's
    function once per member, thousands of times for one choice.
    """
    methods = METHODS if members > 1 else METHODS[:1]
    if isinstance(metric, CustomMetric):
        methods = tuple(method for method in methods if method != "hill-climbing")
    rules = rule_kinds(metric)
    order = sorted(product(range(len(methods)), range(len(rules))), key=lambda at: (sum(at), at))
    return [Candidate(methods[b], rules[r]) for b, r in order]


def fit_chain(candidate: Candidate, metric: Metric, rows: Rows) -> Chain:
    """Fit blend and rule of `candidate` on `rows`, and the constant for those without a picture."""
    blend, rule = _fit_seen(candidate, metric, rows)
    return Chain(blend, rule, best_constant(metric, rows.labels, rows.stack.shape[2]))


def _fit_seen(candidate: Candidate, metric: Metric, rows: Rows) -> tuple[Blend, Rule]:
    """Fit blend and rule of `candidate` on those of `rows` that have a picture."""
    seen = rows.take(~rows.without)
    blend = fit_blend(candidate.blend, metric, seen.labels, seen.stack)
    return blend, fit_rule(candidate.rule, metric, seen.labels, blend.apply(seen.stack))


def cross_fit(metric: Metric, rows: Rows) -> dict[Candidate, np.ndarray]:
    """Return every candidate's answers to `rows`, each part answered by what was fitted outside."""
    answers: dict[Candidate, np.ndarray] = {}
    for part in np.unique(rows.part):
        inside = rows.part == part
        for candidate, answer in _answers(metric, rows.take(~inside), rows.take(inside)):
            pooled = answers.setdefault(
                candidate, np.empty((len(rows.labels), *answer.shape[1:]), answer.dtype)
            )
            pooled[inside] = answer
    return answers


def _answers(metric: Metric, outside: Rows, inside: Rows) -> Iterator[tuple[Candidate, np.ndarray]]:
    """Yield every candidate with its answer to the rows `inside`, fitted on those `outside`."""
    fitted, blends = outside.take(~outside.without), {}
    filled = _filler(metric, outside, inside)
    for candidate in candidates(metric, len(outside.stack)):
        if candidate.blend not in blends:
            blend = fit_blend(candidate.blend, metric, fitted.labels, fitted.stack)
            blends[candidate.blend] = blend.apply(fitted.stack), blend.apply(inside.stack)
        seen, unseen = blends[candidate.blend]
        answer = fit_rule(candidate.rule, metric, fitted.labels, seen).apply(unseen)
        yield candidate, filled(answer)


def _filler(metric: Metric, outside: Rows, inside: Rows) -> Callable[[np.ndarray], np.ndarray]:
    """Return what completes an answer to the rows `inside` by the best constant of those `outside`;
    that is looked for only if it is needed, since it calls a custom metric often."""
    without = inside.without
    if not without.any():
        return lambda answer: answer
    constant = best_constant(metric, outside.labels, outside.stack.shape[2])
    return lambda answer: fill(answer, without, constant)


def choose(metric: Metric, rows: Rows, seed: int) -> Choice:
    """Choose by cross-fitted score: the simplest candidate within a standard error of the best.

    The standard error is that of the paired difference to the best, over resamples of groups.
    """
    rows = rows.with_parts(seed)
    answers = cross_fit(metric, rows)
    resamples = CUSTOM_RESAMPLES if isinstance(metric, CustomMetric) else INNER_RESAMPLES
    pooled = list(answers.values())
    drawn = resample_scores(metric, rows.labels, pooled, rows.groups, resamples, seed)
    scores = np.array([metric.score(rows.labels, answer) for answer in answers.values()])
    better = metric.sign * scores
    best = int(np.argmax(better))
    shortfall = metric.sign * (drawn[best] - drawn)
    within = better[best] - better <= np.nanstd(shortfall, axis=1)
    names = list(answers)
    gain_se = np.nanstd(drawn - drawn[0], axis=1)
    table = [
        {
            "blend": name.blend,
            "rule": name.rule,
            "honest": float(scores[i]),
            "gain": float(better[i] - better[0]),
            "gain_se": float(gain_se[i]),
        }
        for i, name in enumerate(names)
    ]
    chosen = names[int(np.argmax(within))]
    return Choice(chosen, answers[chosen], table)


def _answer(candidate: Candidate, metric: Metric, outside: Rows, inside: Rows) -> np.ndarray:
    """Return the answer to the rows `inside` of what is fitted on those `outside`."""
    blend, rule = _fit_seen(candidate, metric, outside)
    return _filler(metric, outside, inside)(rule.apply(blend.apply(inside.stack)))


@dataclass(frozen=True)
class Honest:
    """The honest score: its value, standard error, and what each part's outsiders chose."""

    score: float
    se: float
    chosen: dict[str, str]


def honest_score(metric: Metric, rows: Rows, seed: int) -> Honest:
    """Score the whole procedure, choice included, on rows outside of what it was fitted on."""
    rows = rows.with_parts(seed)
    pooled: np.ndarray | None = None
    chosen: dict[str, str] = {}
    for part in tqdm(np.unique(rows.part), "honest score", disable=None, leave=False):
        inside = rows.part == part
        outside = rows.take(~inside)
        choice = choose(metric, outside, seed + 1).chosen
        answer = _answer(choice, metric, outside, rows.take(inside))
        if pooled is None:
            pooled = np.empty((len(rows.labels), *answer.shape[1:]), answer.dtype)
        pooled[inside] = answer
        chosen[str(part)] = str(choice)
    if pooled is None:
        raise PodiumError("honest score: there are no out-of-fold rows; train a fold first")
    score = metric.score(rows.labels, pooled)
    return Honest(
        score, standard_error(metric, rows.labels, pooled, rows.groups, seed=seed), chosen
    )


def cross_fitted_probs(candidate: Candidate, metric: Metric, rows: Rows, seed: int) -> np.ndarray:
    """Return blended probabilities (n, c) of `rows`, each part by weights from outside it."""
    rows = rows.with_parts(seed)
    blended = np.empty(rows.stack.shape[1:], np.float32)
    for part in np.unique(rows.part):
        inside = rows.part == part
        outside = rows.take(~inside & ~rows.without)
        blend = fit_blend(candidate.blend, metric, outside.labels, outside.stack)
        blended[inside] = blend.apply(rows.stack[:, inside])
    return blended
