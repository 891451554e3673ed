"""What a search knows and decides: trials as far as they are trained, and the next step.

A policy is a function from these to the next step, and from nothing else: so a study goes on after
a kill as if nothing had happened, any number of workers can share it, and benchmarks can replay it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.search.space import Config


@dataclass(frozen=True)
class Level:
    """How far a training goes: `cost` up to there in whole trainings, 1 at the last level."""

    name: str
    cost: float
    epochs: int | None = None
    share: float | None = None


@dataclass(frozen=True)
class Ladder:
    """The levels of a study, cheapest first. `continues`: a training goes on from one level to the
    next, as more epochs do; otherwise it begins anew, as on more rows."""

    levels: tuple[Level, ...]
    continues: bool = True

    @property
    def top(self) -> int:
        return len(self.levels) - 1

    def price(self, reached: int | None, level: int) -> float:
        """What it costs to bring a trial that reached a level (None: not begun) to another."""
        paid = 0.0 if reached is None or not self.continues else self.levels[reached].cost
        return self.levels[level].cost - paid


@dataclass(frozen=True)
class Seen:
    """A trial: its configuration, its losses by level (lower is better; a metric that is better
    when it is greater is negated), the level that was ordered last, whether it failed, and the
    level that it began at (the lowest with a loss, if it is not given: on the way to a level, a
    trial gives the losses of those below for nothing)."""

    number: int
    config: Config
    losses: dict[int, float] = field(default_factory=dict)
    ordered: int = 0
    failed: bool = False
    begun: int | None = field(default=None, kw_only=True)

    @property
    def reached(self) -> int | None:
        """The highest level with a loss; None before the first."""
        return max(self.losses, default=None)

    @property
    def in_work(self) -> bool:
        """Whether somebody trains it, or should."""
        return not self.failed and self.ordered not in self.losses


@dataclass(frozen=True)
class Step:
    """What to do next: train `config`, a new trial if `trial` is None, up to `level`."""

    trial: int | None
    config: Config
    level: int


@dataclass(frozen=True)
class Outcome:
    """What a step came to at a level: the score, the loss that is minimised, the seconds that were
    trained for it."""

    level: int
    score: float | None
    loss: float
    seconds: float


class Policy(Protocol):
    """Who decides: `next` returns None where nothing can be decided before trials in work end."""

    def next(self, seen: Sequence[Seen], left: float, new: bool = True) -> Step | None:
        """Return the next step, with `left` of the budget in whole trainings; without `new`, one of
        a trial that is there."""
