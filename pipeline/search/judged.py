"""Which trials of a study can be compared: those with a score at one level that enough reached."""

from dataclasses import dataclass

import numpy as np

from pipeline.search.records import Found, Trial

FEWEST = 20  # trials, below which importances and correlations are mostly luck


@dataclass(frozen=True, eq=False)
class Judged:
    """Trials with a score at one level, by number. `scores` (n,) are those of the objective, in its
    own direction; `units` (n, d) are the configurations as points of the unit cube, NaN where a
    parameter is not active. `chosen`: whether they were promoted from more trials than they are."""

    level: int
    trials: tuple[Trial, ...]
    scores: np.ndarray
    units: np.ndarray
    chosen: bool

    def __len__(self) -> int:
        return len(self.trials)


def judged(found: Found) -> Judged:
    """Return the trials of the highest level that 20 trials and half of all reached; of the fullest
    where there is none. The few that were promoted further are too alike to tell what matters."""
    counts = {level: len(of_level(found, level)) for level in range(found.ladder.top + 1)}
    total = sum(any(np.isfinite(v) for v in t.losses.values()) for t in found.trials)
    enough = [level for level, n in counts.items() if n >= max(FEWEST, total / 2)]
    fullest = max(counts, key=lambda level: (counts[level], level))
    level = max(enough, default=fullest)
    trials = of_level(found, level)
    units = np.array([found.space.units(trial.config) for trial in trials])
    units = units.reshape(len(trials), len(found.space.params))
    scores = np.array([score(found, trial, level) for trial in trials], float)
    return Judged(level, tuple(trials), scores, units, len(trials) < total)


def of_level(found: Found, level: int) -> list[Trial]:
    """Return the trials with a finite loss at a level."""
    return [t for t in found.trials if level in t.losses and np.isfinite(t.losses[level])]


def score(found: Found, trial: Trial, level: int) -> float:
    """Return the objective of a trial at a level, in its own direction."""
    return -found.sign * trial.losses[level] + 0.0
