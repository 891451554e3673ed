"""One epoch of training, and prediction: the inner loops, on batches of uint8 images."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.errors import Diverged, TooLarge
from pipeline.training.device import Setup
from pipeline.training.learning.learner import Learner
from pipeline.training.learning.memory import is_out_of_memory
from pipeline.training.learning.schedules import apply_rates
from pipeline.training.learning.watch import LOOK_EVERY, check_finite
from pipeline.training.networks.depth import train_mode
from pipeline.training.networks.outputs import exported

LUMA = 0.299, 0.587, 0.114  # of red, green and blue, ITU-R BT.601


class Normalise:
    """Bring uint8 images (b, h, w, 3) to the device as floats (b, 3, h, w) of mean 0 and std 1; of
    one channel, the luma, (b, 1, h, w) by the means over the three."""

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], setup: Setup, channels: int = 3
    ) -> None:
        self._setup, self._grey = setup, channels == 1
        if self._grey:
            mean, std = (float(np.mean(mean)),), (float(np.mean(std)),)
        self._mean = torch.tensor(mean, device=setup.device).mul(255).view(1, -1, 1, 1)
        self._scale = torch.tensor(std, device=setup.device).mul(255).reciprocal().view(1, -1, 1, 1)
        self._luma = torch.tensor(LUMA, device=setup.device).view(1, 3, 1, 1)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self._setup.device, non_blocking=True).permute(0, 3, 1, 2)
        floats = images.float()
        if self._grey:
            floats = floats.mul_(self._luma).sum(dim=1, keepdim=True)
        floats = floats.sub_(self._mean).mul_(self._scale)
        return floats.contiguous(memory_format=self._setup.memory_format)


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
    normalise: Normalise,
    epoch: int,
    weights: torch.Tensor | None = None,
) -> Epoch:
    """Train for one pass over `batches`, the `epoch`-th from 0; `targets` are what is learnt of all
    rows, `weights` those of their losses."""
    train_mode(learner.model)
    device = learner.setup.device
    losses, rows, logits, started = [], [], [], time.perf_counter()
    lr = 0.0
    shown = tqdm(batches, "batches", disable=learner.bars_off, leave=False)
    for number, (images, batch_rows) in enumerate(shown):
        rate = learner.rates.at(learner.step)
        apply_rates(learner.optimizer, rate)
        lr = rate.lr
        wanted = targets[batch_rows].to(device, non_blocking=True)
        weighing = None if weights is None else weights[batch_rows].to(device)
        pixels = normalise(images)
        if learner.mixer is not None:
            pixels, wanted, weighing = learner.mixer(pixels, wanted, epoch, number, weighing)
        everywhere = learner.rows_everywhere(batches.batch_sampler, number, len(batch_rows))
        loss, output = train_step(learner, pixels, wanted, weighing, everywhere)
        losses.append(loss.detach() * len(batch_rows))
        rows.append(batch_rows)
        logits.append(exported(learner.model, output.detach()))
        if number % LOOK_EVERY == LOOK_EVERY - 1:
            check_finite(loss.item(), lr, learner.rates.peak)
    if learner.average is not None:
        learner.average.after_epoch(learner.model, epoch)
    mine = (
        torch.stack(losses).sum().item(),
        torch.cat(rows).numpy(),
        torch.cat(logits).float().cpu().numpy(),
    )
    total, seen, values = zip(*learner.world.gathered(mine), strict=True)
    mean = sum(total) / sum(map(len, seen))
    check_finite(mean, lr, learner.rates.peak)
    joined = np.concatenate(seen), np.concatenate(values)
    return Epoch(mean, lr, *joined, time.perf_counter() - started)


def train_step(
    learner: Learner,
    images: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    everywhere: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one optimiser step; return the batch's loss () and outputs (b, c) on the device.

    Where memory does not suffice, the batch is passed in halves, quarters and so on, whose
    gradients are added up; the learner keeps to that. `everywhere`: how many rows the batch has in
    all processes together, if there are several.
    """
    while True:
        try:
            found = _gradients(learner, images, targets, weights, everywhere or len(images))
            break
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            said = str(error)
        learner.halve(len(images), said)  # outside the handler, which keeps the tensors alive
    try:
        learner.descend()
    except RuntimeError as error:  # half a step cannot be taken back
        if not is_out_of_memory(error):
            raise
        raise TooLarge(
            "training: out of memory in the optimiser, whose state is as large as the network; try "
            "another ARCH, optimizer.name=sgd, or a smaller runtime.micro_batch"
        ) from None
    return found


def _gradients(
    learner: Learner,
    images: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None,
    everywhere: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add up the gradients of a batch's mean loss; return the loss () and the outputs (b, c).

    The gradients of several processes are averaged, and so each is the sum over its own rows times
    the number of processes, divided by the rows of all.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    total, size = len(images), learner.world.size
    parts = learner.parts(-(-everywhere // size))
    losses, outputs, start = [], [], 0
    for number, pixels in enumerate(torch.tensor_split(images, parts)):
        part = slice(start, start + len(pixels))
        start = part.stop
        with learner.world.quiet(learner.forward, more=number + 1 < parts):
            with learner.setup.autocast():
                output = learner.forward(pixels)
            output = output.float()
            loss = learner.loss(output, targets[part], None if weights is None else weights[part])
            portion = len(pixels) * size / everywhere
            learner.scaler.scale(loss if portion == 1 else loss * portion).backward()
        losses.append(loss.detach() * (len(pixels) / total))
        outputs.append(output.detach())
    return torch.stack(losses).sum(), torch.cat(outputs)


@torch.inference_mode()
def predict(
    model: nn.Module, batches: Iterable, setup: Setup, normalise: Normalise, what: str
) -> np.ndarray:
    """Return logits (n, c) float32 for the images of `batches`, in their order."""
    model.eval()
    outputs = []
    for images, _ in tqdm(batches, what, disable=None, leave=False):
        outputs.append(answers(model, normalise(images), setup))
    logits = torch.cat(outputs).cpu().numpy()
    if not np.isfinite(logits).all():
        raise Diverged(
            "training: the network answers with numbers that are not finite; lower optimizer.lr, "
            "or set runtime.precision=float32, and train with FRESH=1"
        )
    return logits


def answers(model: nn.Module, images: torch.Tensor, setup: Setup) -> torch.Tensor:
    """Return outputs (b, c); a batch for which memory does not suffice is passed in halves."""
    try:
        with setup.autocast():
            return model(images).float()
    except RuntimeError as error:
        if not is_out_of_memory(error) or len(images) < 2:
            raise
    half = len(images) // 2
    return torch.cat([answers(model, part, setup) for part in (images[:half], images[half:])])
