"""What training changes: a model, its average, the optimiser, and how far they have come."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn
from torch.utils.data import Sampler

from pipeline.errors import TooLarge
from pipeline.images.batches import Batches
from pipeline.training.device import Setup
from pipeline.training.learning.averages import Average
from pipeline.training.learning.losses import LossFunction
from pipeline.training.learning.memory import let_go
from pipeline.training.learning.mixing import Mixer
from pipeline.training.learning.schedules import Rates
from pipeline.training.learning.world import ALONE, World


@dataclass
class Learner:
    """A model in training, on the device of `setup`.

    `micro_batch`: how many images are passed at once, all of a batch if it is None; `events` says
    what made it smaller. `forward` is what is called in the model's place: the model itself, or
    what shares its gradients with the other processes of `world`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: LossFunction
    rates: Rates
    setup: Setup
    average: Average | None = None
    mixer: Mixer | None = None
    scaler: torch.amp.GradScaler | None = None
    clip_norm: float | None = None
    micro_batch: int | None = None
    world: World = ALONE
    step: int = 0
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.scaler is None:
            enabled = self.setup.precision == "float16"
            self.scaler = torch.amp.GradScaler(self.setup.kind, enabled=enabled)
        self.forward: nn.Module = self.model

    @property
    def judged(self) -> nn.Module:
        """The weights that are validated and kept: the average, where there is one."""
        return self.model if self.average is None else self.average.judged(self.model)

    @property
    def bars_off(self) -> bool | None:
        """Whether to show no progress; None shows it on terminals."""
        return None if self.world.is_first else True

    def join(self) -> None:
        """Call the model through what shares gradients; anew after parameters were frozen or
        unfrozen."""
        self.forward = self.world.together(self.model)

    def rows_everywhere(self, batches: Sampler, number: int, rows: int) -> int:
        """Return how many rows a batch, of which `rows` are this process's, has in all of them."""
        if self.world.is_alone or not isinstance(batches, Batches):
            return rows
        return batches.size(number)

    def parts(self, rows: int) -> int:
        """Return in how many nearly equal parts to pass `rows` images, the same number in every
        process; batch norm is undefined on a part of one image."""
        wanted = -(-rows // min(rows, self.micro_batch or rows))
        least = 2 if self.has_batch_norm else 1
        return max(1, min(wanted, (rows if self.world.is_alone else rows - 1) // least))

    @cached_property
    def has_batch_norm(self) -> bool:
        """Whether batch norm takes statistics of what is passed."""
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.model.modules())

    def descend(self) -> None:
        """Take the optimiser's step along the gradients that are there."""
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        if self.average is not None:
            self.average.update(self.model, self.step)

    def halve(self, rows: int, said: str) -> None:
        """Pass batches in smaller parts from now on, because memory did not suffice for `rows`."""
        size = min(rows, self.micro_batch or rows)
        remedy = "a smaller image.size, another ARCH, or runtime.precision=bfloat16"
        if not self.world.is_alone:
            raise TooLarge(
                f"training: out of memory with {size} images in each of {self.world.size} "
                f"processes; SET='runtime.micro_batch={max(1, size // 2)}', or {remedy}"
            )
        if size == 1:
            raise TooLarge(f"training: out of memory with a single image; try {remedy}")
        if self.has_batch_norm and size <= 3:
            raise TooLarge(
                f"training: out of memory with {size} images, and batch norm needs two; try "
                f"{remedy}"
            )
        self.micro_batch = -(-size // 2)
        short = said.splitlines()[0][:100]
        self.events.append(
            f"out of memory with {size} images at once (step {self.step}: {short}): gradients of "
            f"{self.micro_batch} at a time are added up; batch norm sees smaller batches"
        )
        self.optimizer.zero_grad(set_to_none=True)
        let_go(self.setup.kind)
