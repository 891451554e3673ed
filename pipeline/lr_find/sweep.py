"""Training steps at a rate that rises until the loss diverges; nothing is validated or written."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np
import torch
from tqdm import tqdm

from pipeline.artifacts.hashing import stable_int
from pipeline.images.augment import Augmenter
from pipeline.images.batches import Images, loader
from pipeline.lr_find.smooth import RADIUS, Trailing
from pipeline.training.learning.loop import train_step
from pipeline.training.learning.optimizers import to_training
from pipeline.training.learning.schedules import Rate, apply_rates
from pipeline.training.networks.depth import train_mode
from pipeline.training.session import FoldSession

DIVERGED = 4.0  # times the lowest loss so far
# Rates that lie well outside what trains anything: sgd's step is as long as the gradient times the
# rate, lion's each as long as the rate, the others' at most about that.
BOUNDS = {"sgd": (1e-4, 10.0), "lion": (1e-7, 0.1)}
USUAL_BOUNDS = (1e-6, 1.0)


@dataclass(frozen=True)
class Rising:
    """Rates that rise by the same factor at every step: `low` at step 0, `high` at the last of
    `steps`. Momentum stays as it is."""

    low: float
    high: float
    steps: int

    @property
    def peak(self) -> float:
        """The highest rate."""
        return self.high

    def at(self, step: int) -> Rate:
        """Return the rate of `step`, from 0."""
        share = step / max(1, self.steps - 1)
        return Rate(self.low ** (1 - share) * self.high**share)


@dataclass
class Divergence:
    """Says when to stop: `seen` returns the reason, or None while the loss is still of use.

    The smoothed loss has diverged when it is more than DIVERGED times its lowest value and also
    above its first one: a loss near 0 quadruples by chance.
    """

    losses: list[float] = field(default_factory=list)
    _smooth: Trailing = field(default_factory=Trailing)
    _first: float = 0.0
    _best: float = np.inf

    def seen(self, loss: float) -> str | None:
        """Take note of the next step's loss."""
        if not np.isfinite(loss):
            return "the loss was not finite"
        self.losses.append(loss)
        smoothed = self._smooth.push(loss)
        self._best = min(self._best, smoothed)
        if len(self.losses) <= 2 * RADIUS + 1:
            self._first = max(self._first, smoothed)
        if smoothed > max(DIVERGED * self._best, self._first):
            return f"the loss was more than {DIVERGED:g} times its lowest"
        return None


@dataclass(frozen=True)
class Sweep:
    """The rate and the batch's loss of every step that was taken (n,), and why there are no more;
    None where the highest rate was reached."""

    lrs: np.ndarray
    losses: np.ndarray
    stopped: str | None


def bounds(optimizer: str) -> tuple[float, float]:
    """Return the lowest and highest rate that a test of this optimiser tries."""
    return BOUNDS.get(optimizer, USUAL_BOUNDS)


def sweep(session: FoldSession, rising: Rising) -> Sweep:
    """Train the network of `session` from where it is, at rising rates, until the loss diverges.

    A pass over the rows counts as an epoch for their order, augmentation and mixing. The session's
    own rates stay as they are.
    """
    learner, job, divergence = session.learner, session.job, Divergence()
    targets, device = job.targets(), learner.setup.device
    stopped = None
    steps = islice(_batches(session), rising.steps)
    bar = tqdm(steps, "steps", total=rising.steps, disable=None, leave=False)
    train_mode(learner.model)
    to_training(learner.optimizer)
    for step, (epoch, number, images, rows) in enumerate(bar):
        apply_rates(learner.optimizer, rising.at(step))
        wanted = targets[rows].to(device)
        weights = None if session.weights is None else session.weights[rows].to(device)
        pixels = session.normalise(images)
        if learner.mixer is not None:
            pixels, wanted, weights = learner.mixer(pixels, wanted, epoch, number, weights)
        loss, _ = train_step(learner, pixels, wanted, weights)
        stopped = divergence.seen(loss.item())
        if stopped:
            break
    taken = len(divergence.losses)
    lrs = np.array([rising.at(step).lr for step in range(taken)], np.float64)
    return Sweep(lrs, np.array(divergence.losses, np.float64), stopped)


def _batches(session: FoldSession) -> Iterator[tuple[int, int, torch.Tensor, torch.Tensor]]:
    """Yield (pass, number, images, rows) of batches, pass after pass, without end."""
    recipe, fold, batches = session.job.recipe, session.job.fold, session.batches
    view = Augmenter(recipe.augment, recipe.image, recipe.training.seed, recipe.training.epochs)
    images = Images(session.job.pixels, session.job.ids, view)
    feed = loader(images, batches, session.setup.workers, session.pin)
    for epoch in count():
        torch.manual_seed(stable_int(f"{recipe.training.seed}/{fold}/{epoch}") % 2**63)
        batches.epoch = epoch
        for number, (pixels, rows) in enumerate(feed):
            yield epoch, number, pixels, rows
