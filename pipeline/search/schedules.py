"""How far a trial is trained: to the end, or from level to level while it is among the best.

Li et al. 2018, A System for Massively Parallel Hyperparameter Tuning (ASHA), arXiv 1810.05934, and
Li et al. 2017, Hyperband, arXiv 1603.06560: asynchronous, so that no worker waits for another.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.search.samplers import propose
from pipeline.search.seen import Ladder, Seen, Step
from pipeline.search.space import Space

AFFORDABLE = 1e-9


@dataclass(frozen=True)
class Scheduled:
    """A policy of a sampler and a schedule: `none`, `halving` or `hyperband`.

    Under halving a trial goes on to the next level while it is among the best 1/`eta` of those that
    reached its own. Hyperband does so in as many brackets as there are levels, each of which begins
    one level higher, and gives each bracket the same share of the budget.
    """

    space: Space
    ladder: Ladder
    sampler: str
    schedule: str
    eta: int
    seed: int

    def next(self, seen: Sequence[Seen], left: float, new: bool = True) -> Step | None:
        step = self._next(seen, new)
        if step is None:
            return None
        reached = None if step.trial is None else seen[step.trial].reached
        affordable = self.ladder.price(reached, step.level) <= left + AFFORDABLE
        return step if affordable else None

    def _next(self, seen: Sequence[Seen], new: bool) -> Step | None:
        """Return a promotion in the bracket that is due or, of all, where nothing new may begin."""
        top = self.ladder.top
        brackets = {"none": [top], "halving": [0]}.get(self.schedule) or self._brackets(seen)
        first = brackets[0]
        for due in brackets[:1] if new else brackets:
            step = self._promotion([one for one in seen if bracket(one) == due], due)
            if step is not None:
                return step
        if not new:
            return None
        config = propose(self.sampler, self.space, seen, self.seed)
        return None if config is None else Step(None, config, first)

    def _promotion(self, seen: Sequence[Seen], first: int) -> Step | None:
        """Return the step of the best trial that may go on, the highest level first."""
        for level in reversed(range(first, self.ladder.top)):
            there = [one for one in seen if level in one.losses]
            there.sort(key=lambda one: (one.losses[level], one.number))
            for one in there[: len(there) // self.eta]:
                if one.ordered == one.reached == level and not one.failed:
                    return Step(one.number, one.config, level + 1)
        return None

    def _brackets(self, seen: Sequence[Seen]) -> list[int]:
        """Return the brackets, that on which the least was spent first, then the cheaper one."""
        spent = [0.0] * (self.ladder.top + 1)
        for one in seen:
            spent[bracket(one)] += spent_on(one, self.ladder)
        return sorted(range(len(spent)), key=lambda first: (round(spent[first], 9), first))


def bracket(one: Seen) -> int:
    """Return the level that a trial began at."""
    return min(one.losses, default=one.ordered) if one.begun is None else one.begun


def spent_on(one: Seen, ladder: Ladder) -> float:
    """Return what a trial has cost, its step in work included, in whole trainings; a step that
    failed, and what was not ordered because training stopped of itself, cost nothing."""
    levels = sorted({level for level in one.losses if level <= one.ordered})
    levels += [one.ordered] if one.in_work else []
    return sum(ladder.price(a, b) for a, b in itertools.pairwise([None, *levels]))
