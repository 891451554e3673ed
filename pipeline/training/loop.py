"""One epoch of training, and prediction: the inner loops, on batches of uint8 images."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.device import Setup
from pipeline.training.optim import LossFunction, lr_factor


class Normalise:
    """Bring uint8 images (b, h, w, 3) to the device as floats (b, 3, h, w) of mean 0 and std 1."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], setup: Setup) -> None:
        self._setup = setup
        self._mean = torch.tensor(mean, device=setup.device).mul(255).view(1, 3, 1, 1)
        self._scale = torch.tensor(std, device=setup.device).mul(255).reciprocal().view(1, 3, 1, 1)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self._setup.device, non_blocking=True).permute(0, 3, 1, 2)
        floats = images.float().sub_(self._mean).mul_(self._scale)
        return floats.contiguous(memory_format=self._setup.memory_format)


@dataclass
class Learner:
    """What an epoch changes: model, average, optimiser, scaler, and the number of steps taken."""

    model: nn.Module
    ema: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    loss: LossFunction
    step: int = 0

    @property
    def judged(self) -> nn.Module:
        """The weights that are validated and kept: the average, where there is one."""
        return self.model if self.ema is None else self.ema.module


@dataclass(frozen=True)
class Epoch:
    """What an epoch measured on its training batches: logits (n, c) in the order of `rows` (n,)."""

    loss: float
    lr: float
    rows: np.ndarray
    logits: np.ndarray
    seconds: float


def train_epoch(
    learner: Learner,
    batches: DataLoader,
    targets: torch.Tensor,
    recipe: Recipe,
    setup: Setup,
    normalise: Normalise,
    steps: int,
    weights: torch.Tensor | None = None,
) -> Epoch:
    """Train for one pass over `batches`; `targets` are all rows' labels, `weights` those of their
    losses, `steps` the run's."""
    learner.model.train()
    losses, rows, logits, started = [], [], [], time.perf_counter()
    lr = recipe.optimizer.lr
    for images, batch_rows in tqdm(batches, "batches", disable=None, leave=False):
        lr = recipe.optimizer.lr * lr_factor(recipe.schedule, learner.step, steps)
        for group in learner.optimizer.param_groups:
            group["lr"] = lr
        wanted = targets[batch_rows].to(setup.device, non_blocking=True)
        weighing = None if weights is None else weights[batch_rows].to(setup.device)
        loss, output = train_step(learner, normalise(images), wanted, recipe, setup, weighing)
        losses.append(loss.detach() * len(batch_rows))
        rows.append(batch_rows)
        logits.append(output.detach())
    seen = torch.cat(rows).numpy()
    mean = torch.stack(losses).sum().item() / len(seen)
    if not np.isfinite(mean):
        raise PodiumError(
            f"training: the loss became {mean} at lr {lr:.2g}; lower it, e.g. "
            f"SET='optimizer.lr={recipe.optimizer.lr / 4:.1e} optimizer.clip_norm=1' FRESH=1"
        )
    values = torch.cat(logits).float().cpu().numpy()
    return Epoch(mean, lr, seen, values, time.perf_counter() - started)


def train_step(
    learner: Learner,
    images: torch.Tensor,
    targets: torch.Tensor,
    recipe: Recipe,
    setup: Setup,
    weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one optimiser step; return the batch's loss () and logits (b, c) on the device."""
    learner.optimizer.zero_grad(set_to_none=True)
    with setup.autocast():
        output = learner.model(images)
    output = output.float()
    loss = learner.loss(output, targets, weights)
    learner.scaler.scale(loss).backward()
    if recipe.optimizer.clip_norm is not None:
        learner.scaler.unscale_(learner.optimizer)
        nn.utils.clip_grad_norm_(learner.model.parameters(), recipe.optimizer.clip_norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.step += 1
    if learner.ema is not None:
        learner.ema.update(learner.model, step=learner.step)
    return loss, output


@torch.inference_mode()
def predict(
    model: nn.Module, batches: Iterable, setup: Setup, normalise: Normalise, what: str
) -> np.ndarray:
    """Return logits (n, c) float32 for the images of `batches`, in their order."""
    model.eval()
    outputs = []
    for images, _ in tqdm(batches, what, disable=None, leave=False):
        with setup.autocast():
            outputs.append(model(normalise(images)).float())
    logits = torch.cat(outputs).cpu().numpy()
    if not np.isfinite(logits).all():
        raise PodiumError(
            "training: the network answers with numbers that are not finite; lower optimizer.lr, "
            "or set runtime.precision=float32, and train with FRESH=1"
        )
    return logits
