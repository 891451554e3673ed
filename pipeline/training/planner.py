"""How long will it take? A few steps of each run, measured, and what of it fits into a budget."""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pipeline.errors import PodiumError
from pipeline.images.augment import Augmenter, Evaluator
from pipeline.images.batches import Batches, Images, View, loader
from pipeline.images.views import test_views
from pipeline.training.learning.learner import Learner
from pipeline.training.learning.loop import predict, train_step
from pipeline.training.learning.mixing import Mixer
from pipeline.training.run import Run
from pipeline.training.session import FoldSession

WARM_UP, LEAST_STEPS, LEAST_SECONDS, MOST_STEPS = 2, 4, 3.0, 40
UNITS = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class Cost:
    """What a run still costs: seconds of a fold, and the numbers of the folds that are left."""

    run: Run
    fold_seconds: float
    left: tuple[int, ...]

    @property
    def seconds(self) -> float:
        return self.fold_seconds * len(self.left)


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
            fit = min(len(cost.left), int(room // cost.fold_seconds)) if cost.left else 0
            room -= fit * cost.fold_seconds
            found.append(cost.left[:fit])
        return found

    @property
    def total(self) -> float:
        return sum(cost.seconds for cost in self.costs)

    @property
    def beyond(self) -> float:
        """Seconds of what does not fit."""
        pairs = zip(self.costs, self.chosen, strict=True)
        return sum(c.fold_seconds * (len(c.left) - len(chosen)) for c, chosen in pairs)

    def table(self) -> str:
        """Return a line per run: name, time of a fold, folds left, time of these, what fits."""
        lines = [["run", "a fold", "folds left", "together", f"fits {duration(self.budget)}"]]
        for cost, chosen in zip(self.costs, self.chosen, strict=True):
            fits = "all" if len(chosen) == len(cost.left) else f"{len(chosen)} of {len(cost.left)}"
            times = duration(cost.fold_seconds), str(len(cost.left)), duration(cost.seconds)
            lines.append([cost.run.name, *times, fits if cost.left else "finished"])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )


def parse_budget(text: str) -> float:
    """Return the seconds that '2h', '1h30m', '90 m' or '45s' mean."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([hms])", text.lower())
    whole = re.sub(r"\s", "", text.lower())
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != whole or not seconds > 0:
        raise PodiumError(f"BUDGET: {text!r} is not a time; write 2h, 90m or 1h30m")
    return seconds


def duration(seconds: float) -> str:
    """Return seconds in words: '1 h 05 min', '12 min', '40 s'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def plan(runs: Sequence[tuple[Run, Sequence[int]]], budget: float, *, fresh: bool = False) -> Plan:
    """Measure a few steps of each run, of which the folds named are asked for; `fresh` counts those
    that are finished, too."""
    costs = []
    for run, wanted in tqdm(runs, "measuring", unit="run", disable=None, leave=False):
        finished = [] if fresh else run.finished_folds()
        left = tuple(number for number in wanted if number not in finished)
        costs.append(Cost(run, measured(run, left[0]) if left else 0.0, left))
    return Plan(budget, tuple(costs))


def measured(run: Run, number: int) -> float:
    """Return the seconds that a fold will take, by a few of its steps; nothing is kept."""
    jobs, _ = run.jobs([number])
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        session = FoldSession(replace(jobs[0], folder=Path(folder)))
        opening = time.perf_counter() - started
        return opening + estimate(session)


def estimate(session: FoldSession) -> float:
    """Return the seconds of a fold's epochs and predictions."""
    job, recipe = session.job, session.job.recipe
    evaluation = 2 * recipe.training.batch_size
    per_image = _predicting(session, Evaluator(recipe.image), evaluation)
    pictured = {part: int(job.pictured[rows].sum()) for part, rows in job.parts.items()}
    ends = sum(pictured.values()) * len(test_views(recipe.views, recipe.image)) * per_image
    if recipe.features is not None:  # one pass of all pictures serves all folds
        return len(job.pixels.numbers) * recipe.features.views * per_image
    step = _stepping(session)
    steps = len(session.batches) * recipe.training.epochs
    return steps * step + recipe.training.epochs * pictured.get("valid", 0) * per_image + ends


def _stepping(session: FoldSession) -> float:
    """Return the median seconds of a training step, its pictures included."""
    job, recipe = session.job, session.job.recipe
    view = Augmenter(recipe.augment, recipe.image, recipe.training.seed, recipe.training.epochs)
    session.batches.epoch = max(0, recipe.training.epochs - 1)  # of the full size
    images = Images(job.pixels, job.ids, view)
    batches = loader(images, session.batches, session.setup.workers, session.pin)
    learner, targets = session.learner, job.targets()
    learner.model.train()

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
