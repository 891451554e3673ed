"""The learning rate and momentum of every step, as the recipe's `schedule` asks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.config.learning import Optimizer, Schedule
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError

START = 1 / 25  # of the full rate, where one-cycle begins
MOMENTUM = (0.85, 0.95)  # lowest and highest, as in Smith and Topin (2019)
WITH_MOMENTUM = ("one-cycle", "cyclic")
THRESHOLD = 1e-4  # a loss has fallen when it is lower than the best by more than this share

# Of a step from 0 after the warm-up: the share of the full rate, and the height in [0, 1].
Curve = Callable[[int], tuple[float, float]]


@dataclass(frozen=True)
class Rate:
    """What one step uses; `momentum` is None where the schedule leaves it as it is."""

    lr: float
    momentum: float | None = None


class Rates:
    """The rates of a fold's steps: a function of the step alone, but for `plateau`.

    `plateau` also depends on the losses that `after_epoch` was told; `state` and `load` carry these
    through a checkpoint.
    """

    def __init__(
        self, schedule: Schedule, optimizer: Optimizer, steps: int, per_epoch: int
    ) -> None:
        self.schedule, self.steps, self.per_epoch = schedule, steps, per_epoch
        self._lr = optimizer.lr
        self._momentum: tuple[float, float] | None = None
        if schedule.name in WITH_MOMENTUM and first_momentum(optimizer):
            self._momentum = schedule.momentum or MOMENTUM
        self._warmup = 0 if schedule.name == "one-cycle" else round(schedule.warmup * steps)
        self._curve = CURVES[schedule.name](schedule, steps - self._warmup)
        self._epochs, self._bad, self._falls = 0, 0, 0
        self._best: float | None = None

    @property
    def peak(self) -> float:
        """The full rate, that of the recipe."""
        return self._lr

    def at(self, step: int) -> Rate:
        """Return the rate of `step`, from 0."""
        share, height = self._position(step)
        if self._momentum is None:
            return Rate(self._lr * share)
        low, high = self._momentum
        return Rate(self._lr * share, high - (high - low) * height)

    def _position(self, step: int) -> tuple[float, float]:
        """Return the share of the full rate, and how far up it is between lowest and highest."""
        if step < self._warmup:
            share = (step + 1) / self._warmup
            return share, share
        share, height = self._curve(step - self._warmup)
        return share * self.schedule.factor**self._falls, height

    def after_epoch(self, train_loss: float, valid_loss: float | None) -> None:
        """Let `plateau` see an epoch's losses; those that end within the warm-up do not count.

        Without a validation loss (a refit has none), the training loss stands in for it.
        """
        self._epochs += 1
        if self.schedule.name != "plateau" or self._epochs * self.per_epoch <= self._warmup:
            return
        watched = valid_loss if self.schedule.monitor == "valid" else train_loss
        loss = train_loss if watched is None else watched
        if self._best is None or loss < self._best * (1 - THRESHOLD):
            self._best, self._bad = loss, 0
            return
        self._bad += 1
        if self._bad == self.schedule.patience:
            self._falls, self._bad = self._falls + 1, 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep, as plain values."""
        best = self._best
        return {"epochs": self._epochs, "bad": self._bad, "falls": self._falls, "best": best}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._epochs, self._bad = state["epochs"], state["bad"]
        self._falls, self._best = state["falls"], state["best"]


def build_rates(
    schedule: Schedule, optimizer: Optimizer, steps_per_epoch: int, epochs: int
) -> Rates:
    """Return the rates of a training of so many steps; refuse cycles that are too short for it."""
    return Rates(schedule, optimizer, steps_per_epoch * epochs, steps_per_epoch)


def apply_rates(optimizer: torch.optim.Optimizer, rate: Rate) -> None:
    """Set the rate of each group, times its own `lr_scale`, and momentum or first beta if given."""
    for group in optimizer.param_groups:
        group["lr"] = rate.lr * group.get("lr_scale", 1.0)
        if rate.momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (rate.momentum, group["betas"][1])
        else:
            group["momentum"] = rate.momentum


def schedule_table(rates: Rates, steps: int) -> dict[str, np.ndarray]:
    """Return `step`, `lr` and `momentum` (steps,) to draw; `momentum` is NaN where none is set."""
    found = [rates.at(step) for step in range(steps)]
    momenta = [math.nan if rate.momentum is None else rate.momentum for rate in found]
    lrs = np.array([rate.lr for rate in found], np.float64)
    return {"step": np.arange(steps), "lr": lrs, "momentum": np.array(momenta, np.float64)}


def first_momentum(optimizer: Optimizer) -> float:
    """Return the momentum, or the first beta, that an optimiser begins with; 0 for none."""
    if optimizer.name in ("sgd", "rmsprop"):
        return optimizer.momentum
    return 0.9 if optimizer.betas is None else optimizer.betas[0]


def check_schedule(recipe: Recipe) -> None:
    """Refuse an optimiser and a schedule that cannot go together."""
    schedule, optimizer = recipe.schedule, recipe.optimizer
    if optimizer.betas is not None and optimizer.name in ("sgd", "rmsprop"):
        raise PodiumError(
            f"optimizer.betas: {optimizer.name} has none, and not {list(optimizer.betas)}; "
            "set optimizer.betas=null, and optimizer.momentum if you like"
        )
    if schedule.momentum is not None:
        shown = f"schedule.momentum: {list(schedule.momentum)}"
        if schedule.name not in WITH_MOMENTUM:
            raise PodiumError(
                f"{shown} is for one-cycle and cyclic, and schedule.name is {schedule.name}; "
                "set schedule.momentum=null"
            )
        if not first_momentum(optimizer):
            key = "momentum" if optimizer.name in ("sgd", "rmsprop") else "betas[0]"
            raise PodiumError(
                f"{shown} needs an optimiser with momentum, and {optimizer.name} has "
                f"optimizer.{key} of 0; raise that, or set schedule.momentum=null"
            )
        if optimizer.name == "rmsprop" and not schedule.momentum[0]:
            raise PodiumError(f"{shown}: rmsprop cannot begin at 0; raise the lowest, 0.5 say")
    if optimizer.name == "schedule-free":
        _check_schedule_free(recipe)


def _check_schedule_free(recipe: Recipe) -> None:
    """Refuse what spoils the average that schedule-free keeps of its own steps."""
    training, begins = recipe.training, "optimizer.name: schedule-free"
    if recipe.schedule.name != "constant":
        raise PodiumError(
            f"{begins} averages instead of letting the rate fall, and schedule.name is "
            f"{recipe.schedule.name}; set schedule.name=constant, which keeps the warm-up"
        )
    for key, value in (("ema", training.ema), ("swa", training.swa)):
        if value:
            raise PodiumError(
                f"{begins} is an average of the weights, and training.{key} {value} is another; "
                f"set training.{key}=0"
            )
    if not first_momentum(recipe.optimizer):
        raise PodiumError(f"{begins} divides by its first beta, which is 0; set it to 0.9")
    if recipe.model.unfreeze_after is not None:
        raise PodiumError(
            f"{begins} counts its steps for all weights together, so that those unfrozen after "
            f"model.unfreeze_after {recipe.model.unfreeze_after} would jump; "
            "set model.unfreeze_after=null or optimizer.name=adamw"
        )


def schedule_warnings(recipe: Recipe) -> list[str]:
    """Return what a reader of the run's scores must know about its learning rate."""
    if recipe.schedule.name == "plateau" and recipe.schedule.monitor == "valid":
        return ["selected-in-fold: the rate follows the loss on the fold that is scored"]
    return []


def _constant(schedule: Schedule, steps: int) -> Curve:
    return lambda step: (1.0, 1.0)


def _cosine(schedule: Schedule, steps: int) -> Curve:
    """Fall as half a cosine, to reach `final` right after the last step."""
    return lambda step: _between(schedule.final, _half_cosine(step / max(1, steps)))


def _linear(schedule: Schedule, steps: int) -> Curve:
    """Fall on a line, to reach `final` right after the last step, which so never stands still."""
    return lambda step: _between(schedule.final, 1 - step / max(1, steps))


def _exponential(schedule: Schedule, steps: int) -> Curve:
    """Fall by the same factor at each step; the last one has `final`."""

    def curve(step: int) -> tuple[float, float]:
        share = step / max(1, steps - 1)
        return schedule.final**share, 1 - share

    return curve


def _one_cycle(schedule: Schedule, steps: int) -> Curve:
    """Rise from START to 1 and fall to `final`, which the last step has, both as half cosines.

    Smith and Topin (2019), Super-Convergence; the steps of rise and fall are PyTorch's.
    """
    peak = max(0.0, schedule.warmup * steps - 1)

    def curve(step: int) -> tuple[float, float]:
        if step < peak:
            height = _half_cosine(1 - step / peak)
            return _between(START, height)
        left = steps - 1 - peak
        return _between(schedule.final, _half_cosine((step - peak) / left if left else 0.0))

    return curve


def _cyclic(schedule: Schedule, steps: int) -> Curve:
    """Go up and down in `cycles` triangles of one length; Smith (2017), Cyclical Learning Rates."""
    borders = _borders(schedule, steps, 1.0)

    def curve(step: int) -> tuple[float, float]:
        share = _share_of_cycle(borders, step)
        return _between(schedule.final, 1 - abs(2 * share - 1))

    return curve


def _cosine_restarts(schedule: Schedule, steps: int) -> Curve:
    """Fall from 1 to `final` `cycles` times; Loshchilov and Hutter (2017), SGDR."""
    borders = _borders(schedule, steps, schedule.cycle_growth)
    return lambda step: _between(schedule.final, _half_cosine(_share_of_cycle(borders, step)))


CURVES: dict[str, Callable[[Schedule, int], Curve]] = {
    "warmup-cosine": _cosine,
    "constant": _constant,
    "linear": _linear,
    "exponential": _exponential,
    "one-cycle": _one_cycle,
    "cyclic": _cyclic,
    "cosine-restarts": _cosine_restarts,
    "plateau": _constant,
}


def _between(low: float, height: float) -> tuple[float, float]:
    return low + (1 - low) * height, height


def _half_cosine(share: float) -> float:
    """Fall from 1 at share 0 to 0 at share 1."""
    return 0.5 * (1 + math.cos(math.pi * share))


def _borders(schedule: Schedule, steps: int, growth: float) -> np.ndarray:
    """Return where each cycle begins, and the end (cycles + 1,), in whole steps."""
    too_short = PodiumError(
        f"schedule.cycles: {schedule.cycles} cycles need 2 steps each at least, and there are "
        f"{steps} after the warm-up; set fewer, or train on more rows or epochs"
    )
    if schedule.cycles > max(1, steps // 2):  # before powers of the growth overflow
        raise too_short
    lengths = np.cumsum(growth ** np.arange(1 - schedule.cycles, 1, dtype=np.float64))
    borders = np.array([0, *np.rint(steps * lengths / lengths[-1])], np.int64)
    if schedule.cycles > 1 and np.diff(borders).min() < 2:
        raise too_short
    return borders


def _share_of_cycle(borders: np.ndarray, step: int) -> float:
    cycle = min(int(np.searchsorted(borders, step, side="right")), len(borders) - 1)
    start, end = int(borders[cycle - 1]), int(borders[cycle])
    return (step - start) / max(1, end - start)
