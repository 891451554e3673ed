"""Policies replayed on a table of learning curves: what each finds for what it spends."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.tuning_table import Table
from pipeline.search.policy import build
from pipeline.search.seen import Ladder, Level, Policy, Seen
from pipeline.search.space import Config, Space

RUNGS = (1, 3, 9, 27)
EPSILON = 1e-9


def ladder_of(rungs: Sequence[int] = RUNGS) -> Ladder:
    """Return levels of so many epochs, the last of which is a whole training."""
    return Ladder(tuple(Level(f"{n} epochs", n / rungs[-1], epochs=n) for n in rungs))


@dataclass(frozen=True)
class Path:
    """What a replay found: after each step, what was spent, in whole trainings, the lowest
    validation loss of any network so far, and that network's test loss."""

    spent: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)

    def add(self, spent: float, valid: float, test: float) -> None:
        if self.valid and self.valid[-1] <= valid:
            valid, test = self.valid[-1], self.test[-1]
        self.spent.append(spent)
        self.valid.append(valid)
        self.test.append(test)

    def at(self, budgets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both losses after each of `budgets`, NaN before the first step ended."""
        rows = np.searchsorted(self.spent, budgets + EPSILON, side="right") - 1
        losses = np.array(self.valid), np.array(self.test)
        return tuple(np.where(rows < 0, np.nan, loss[np.maximum(rows, 0)]) for loss in losses)


class Replay:
    """A table as a space's trainings: a proposal becomes the nearest configuration that this
    replay has not had yet."""

    def __init__(self, table: Table, space: Space, rungs: Sequence[int] = RUNGS) -> None:
        self.table, self.space, self.ladder = table, space, ladder_of(rungs)
        self.epochs = np.array(rungs) - 1
        self.units = np.array([space.units(config) for config in table.configs])
        self.ordered = np.array([param.is_ordered for param in space.params])

    def run(self, name: str, seed: int, budget: float) -> Path:
        """Replay the policy of that name until the budget is spent."""
        policy = policy_of(name, self.space, self.ladder, seed)
        free = np.ones(len(self.units), bool)
        rows: list[int] = []
        seen: list[Seen] = []
        path, spent = Path(), 0.0
        while (step := policy.next(seen, budget - spent)) is not None:
            number = step.trial
            if number is None:
                if not free.any():
                    break
                row = self.nearest(step.config, free)
                free[row], number = False, len(seen)
                rows.append(row)
                seen.append(Seen(number, self.table.configs[row], ordered=step.level))
            row, reached = rows[number], seen[number].reached
            spent += self.ladder.price(reached, step.level)
            if spent > budget + 1e-6:
                raise AssertionError(f"{name} spent {spent} of {budget}")
            losses = self._losses(row, -1 if reached is None else reached, step.level)
            failed = not np.isfinite(losses[step.level])
            kept = {} if failed else {step.level: losses[step.level]}
            seen[number] = replace(
                seen[number],
                losses={**seen[number].losses, **kept},
                ordered=step.level,
                failed=failed,
            )
            if not failed:
                at = self.epochs[step.level]
                path.add(spent, losses[step.level], float(self.table.test_loss[row, at]))
        return path

    def _losses(self, row: int, reached: int, level: int) -> dict[int, float]:
        passed = range(reached + 1, level + 1)
        return {one: float(self.table.valid_loss[row, self.epochs[one]]) for one in passed}

    def nearest(self, config: Config, free: np.ndarray) -> int:
        """Return the nearest free row; other choices without an order are 1 away."""
        apart = np.abs(self.units - self.space.units(config))
        apart = np.where(self.ordered, apart, apart > EPSILON)
        return int(np.where(free, (apart**2).sum(axis=1), np.inf).argmin())


def policy_of(name: str, space: Space, ladder: Ladder, seed: int) -> Policy:
    """Return a policy by its name in the table: a sampler, and after a plus its schedule."""
    sampler, _, schedule = name.partition("+")
    return build(space, ladder, sampler=sampler, schedule=schedule or "none", eta=3, seed=seed)
