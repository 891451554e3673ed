"""What a study has cost, step by step, and what it got for it."""

from dataclasses import dataclass

import numpy as np

from pipeline.search.judged import of_level, score
from pipeline.search.records import Found, Trial
from pipeline.search.schedules import spent_on
from pipeline.search.space import Config

POINT = 0.01
FIRST = 3  # trials whose median is what a study begins with


@dataclass(frozen=True)
class Paid:
    """A step that ended: its price in whole trainings and seconds, and what all until then cost."""

    trial: Trial
    level: int
    price: float
    seconds: float
    total: float


@dataclass(frozen=True)
class Gain:
    """What the search brought at a level: from the recipe as it is, or else the median of the first
    trials, to the best, for so many whole trainings and seconds that came after these. `first`: how
    many they were."""

    level: int
    before: float
    after: float
    first: int
    trainings: float
    seconds: float
    is_default: bool


def paid(found: Found) -> list[Paid]:
    """Return the steps in the order in which they ended, with what they cost."""
    steps, total = [], 0.0
    for trial, level in found.steps:
        price = found.ladder.price(_before(found, trial, level), level)
        total += price
        steps.append(Paid(trial, level, price, step_seconds(found, trial, level), total))
    return steps


def step_seconds(found: Found, trial: Trial, level: int) -> float:
    """Return the seconds of one step: where a training goes on, a level's include those before."""
    before = _before(found, trial, level) if found.ladder.continues else None
    earlier = 0.0 if before is None else trial.seconds.get(before, 0.0)
    return max(trial.seconds.get(level, 0.0) - earlier, 0.0)


def _before(found: Found, trial: Trial, level: int) -> int | None:
    return max((other for other in trial.losses if other < level), default=None)


def spent(found: Found) -> float:
    """Return what all trials have cost in whole trainings; those in work and those that failed are
    counted as if they had reached what was ordered."""
    return sum(spent_on(trial, found.ladder) for trial in found.trials)


def trial_seconds(found: Found, trial: Trial) -> float:
    """Return the seconds that were trained for a trial, at all levels."""
    return sum(step_seconds(found, trial, level) for level in trial.losses)


def gain(found: Found, default: Config | None = None) -> Gain | None:
    """Return what the search brought at the highest level that two trials reached, or None.

    It begins with the trial of the configuration `default` where that is there. Otherwise it does
    so with the median of the first three or, of fewer than six, with the first: with what nobody
    has chosen for being the best.
    """
    levels = [n for n in range(found.ladder.top + 1) if len(of_level(found, n)) > 1]
    if not levels or is_alone(found, default):
        return None
    level, steps = max(levels), paid(found)
    there = [at for at, step in enumerate(steps) if step.level == level]
    there = [at for at in there if np.isfinite(steps[at].trial.losses[level])]
    own = [at for at in there if default is not None and steps[at].trial.config == default]
    first = own[:1] or there[: FIRST if len(there) >= 2 * FIRST else 1]
    before = float(np.median([score(found, steps[at].trial, level) for at in first]))
    scores = [score(found, steps[at].trial, level) for at in there]
    best = max(scores) if found.sign > 0 else min(scores)
    later = [step for at, step in enumerate(steps) if at > first[-1]]
    cost = sum(step.price for step in later), sum(step.seconds for step in later)
    return Gain(level, before, best, len(first), *cost, bool(own))


def is_alone(found: Found, default: Config | None) -> bool:
    """Whether the recipe as it is, and nothing else, was trained to the end: what others gain on it
    after fewer epochs says nothing."""
    there = of_level(found, found.ladder.top)
    return default is not None and [trial.config for trial in there] == [default]
