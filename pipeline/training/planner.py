"""How long will it take? A few steps of each run, measured, and what of it fits into a budget."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pipeline.artifacts.columns import table
from pipeline.config.times import duration
from pipeline.images.augment import Augmenter, Evaluator
from pipeline.images.batches import Batches, Images, View, loader
from pipeline.images.views import test_views
from pipeline.training.learning.learner import Learner
from pipeline.training.learning.loop import predict, train_step
from pipeline.training.learning.mixing import Mixer
from pipeline.training.networks.depth import train_mode
from pipeline.training.run import Run
from pipeline.training.session import FoldSession

WARM_UP, LEAST_STEPS, LEAST_SECONDS, MOST_STEPS = 2, 4, 3.0, 40
HEAD_STEP = 5e-3  # seconds of a step on kept features, from 4 s (linear) to 20 s a fold


@dataclass(frozen=True)
class Cost:
    """What a run still costs: seconds of a fold, the numbers of the folds that are left, and what
    the first of these costs more, as the pass that frozen features of all folds come from."""

    run: Run
    fold_seconds: float
    left: tuple[int, ...]
    once: float = 0.0

    @property
    def seconds(self) -> float:
        return self.once * bool(self.left) + self.fold_seconds * len(self.left)


@dataclass(frozen=True)
class Plan:
    """What fits into `budget` seconds, in the order asked for: folds by run, and the rest."""

    budget: float
    costs: tuple[Cost, ...]

    @property
    def chosen(self) -> list[tuple[int, ...]]:
        """The folds of each run that fit, as many as possible of each before the next."""
        room, found = self.budget, []
        for cost in self.costs:
            left = room - cost.once
            fit = 0
            if cost.left and left > 0:
                fit = min(len(cost.left), int(left // cost.fold_seconds))
            room -= fit * cost.fold_seconds + cost.once * bool(fit)
            found.append(cost.left[:fit])
        return found

    @property
    def total(self) -> float:
        return sum(cost.seconds for cost in self.costs)

    @property
    def beyond(self) -> float:
        """Seconds of what does not fit."""
        pairs = zip(self.costs, self.chosen, strict=True)
        return sum(
            c.fold_seconds * (len(c.left) - len(chosen)) + c.once * bool(c.left and not chosen)
            for c, chosen in pairs
        )

    def table(self) -> str:
        """Return a line per run: name, time of a fold, folds left, time of these, what fits."""
        lines = []
        for cost, chosen in zip(self.costs, self.chosen, strict=True):
            fits = "all" if len(chosen) == len(cost.left) else f"{len(chosen)} of {len(cost.left)}"
            times = duration(cost.fold_seconds), str(len(cost.left)), duration(cost.seconds)
            lines.append([cost.run.name, *times, fits if cost.left else "finished"])
        return table(["run", "a fold", "left", "together", f"fits {duration(self.budget)}"], lines)


def plan(runs: Sequence[tuple[Run, Sequence[int]]], budget: float, *, fresh: bool = False) -> Plan:
    """Measure a few steps of each run, of which the folds named are asked for; `fresh` counts those
    that are finished, too."""
    costs = []
    for run, wanted in tqdm(runs, "measuring", unit="run", disable=None, leave=False):
        finished = [] if fresh else run.finished_folds()
        left = tuple(number for number in wanted if number not in finished)
        seconds, once = measured(run, left[0]) if left else (0.0, 0.0)
        costs.append(Cost(run, seconds, left, once))
    return Plan(budget, tuple(costs))


def measured(run: Run, number: int) -> tuple[float, float]:
    """Return the seconds that a fold will take, by a few of its steps, and those that the first
    one takes beyond; nothing is kept."""
    jobs, _ = run.jobs([number])
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        session = FoldSession(replace(jobs[0], folder=Path(folder)))
        opening = time.perf_counter() - started
        seconds, once = estimate(session)
        return opening + seconds, once


def estimate(session: FoldSession) -> tuple[float, float]:
    """Return the seconds of a fold's epochs and predictions, and of what is done once for all."""
    job, recipe = session.job, session.job.recipe
    evaluation = 2 * recipe.training.batch_size
    per_image = _predicting(session, Evaluator(recipe.image), evaluation)
    pictured = {part: int(job.pictured[rows].sum()) for part, rows in job.parts.items()}
    ends = sum(pictured.values()) * len(test_views(recipe.views, recipe.image)) * per_image
    steps = len(session.batches) * recipe.training.epochs
    if recipe.features is not None:  # passed once, unless it is kept already
        views = recipe.features.views - 1 + len(test_views(recipe.views, recipe.image))
        return steps * HEAD_STEP, len(job.pixels.numbers) * views * per_image
    validating = recipe.training.epochs * pictured.get("valid", 0) * per_image
    return steps * _stepping(session) + validating + ends, 0.0


def _stepping(session: FoldSession) -> float:
    """Return the median seconds of a training step, its pictures included."""
    job, recipe = session.job, session.job.recipe
    view = Augmenter(recipe.augment, recipe.image, recipe.training.seed, recipe.training.epochs)
    session.batches.epoch = max(0, recipe.training.epochs - 1)  # of the full size
    images = Images(job.pixels, job.ids, view)
    batches = loader(images, session.batches, session.setup.workers, session.pin)
    learner, targets = session.learner, job.targets()
    train_mode(learner.model)

    def step(pixels: torch.Tensor, rows: torch.Tensor) -> None:
        wanted = targets[rows].to(session.setup.device)
        images, wanted, _ = _mixed(learner, session.normalise(pixels), wanted)
        loss, _ = train_step(learner, images, wanted)
        loss.item()  # waits for the device

    return _median(batches, step)


def _mixed(learner: Learner, images: torch.Tensor, targets: torch.Tensor) -> tuple:
    mixer: Mixer | None = learner.mixer
    return (images, targets, None) if mixer is None else mixer(images, targets, 0, 0)


def _predicting(session: FoldSession, view: View, size: int) -> float:
    """Return the median seconds that the answer to a picture takes."""
    job = session.job
    order = Batches(job.pixels.numbers, size, None)
    batches = loader(Images(job.pixels, job.ids, view), order, 0)
    context = session.setup, session.normalise, "measuring"
    count = min(size, len(job.pixels.numbers))

    def step(pixels: torch.Tensor, rows: torch.Tensor) -> None:
        predict(session.learner.judged, [(pixels, rows)], *context)

    return _median(batches, step) / count


def _median(
    batches: torch.utils.data.DataLoader, step: Callable[[torch.Tensor, torch.Tensor], None]
) -> float:
    """Return the median seconds from batch to batch, after a few that warm up."""
    taken: list[float] = []
    begun = last = time.perf_counter()
    for number, (pixels, rows) in enumerate(_again(batches)):
        step(pixels, rows)
        now = time.perf_counter()
        if number >= WARM_UP:
            taken.append(now - last)
        else:
            begun = now
        last = now
        enough = len(taken) >= LEAST_STEPS and now - begun >= LEAST_SECONDS
        if enough or len(taken) == MOST_STEPS:
            break
    return float(np.median(taken))


def _again(batches: torch.utils.data.DataLoader) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pass over the batches as often as needed."""
    while True:
        yield from batches
