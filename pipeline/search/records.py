"""A study's trials as people see them: what was tried, how far, how good, in which time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.config.study import Study
from pipeline.search.seen import Ladder, Seen
from pipeline.search.space import Space


@dataclass(frozen=True)
class Trial(Seen):
    """A trial with what no policy needs to know: by level, the validation score in the metric's own
    direction, the seconds that were trained for it and when that ended; its run and its error."""

    run: str = ""
    scores: dict[int, float | None] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    ended: dict[int, datetime] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Found:
    """A study, and its trials so far, by number. `metric` is the objective's name, `sign` +1 where
    greater is better."""

    name: str
    study: Study
    space: Space
    ladder: Ladder
    metric: str
    sign: int
    trials: tuple[Trial, ...]

    @property
    def steps(self) -> list[tuple[Trial, int]]:
        """What was trained, (trial, level) in the order in which it ended."""
        done = [(trial, level) for trial in self.trials for level in trial.losses]
        return sorted(done, key=lambda pair: (pair[0].ended[pair[1]], pair[0].number))

    @property
    def best(self) -> Trial | None:
        """The best of those that were trained the furthest."""
        return best_of(self.trials)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the lowest loss at the highest level that any reached."""
    reached = [trial for trial in trials if trial.losses and not trial.failed]
    if not reached:
        return None
    level = max(trial.reached for trial in reached)
    there = [trial for trial in reached if level in trial.losses]
    return min(there, key=lambda trial: (trial.losses[level], trial.number))
