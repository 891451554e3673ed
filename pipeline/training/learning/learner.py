"""What training changes: a model, its average, the optimiser, and how far they have come."""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.data import Sampler

from pipeline.errors import PodiumError
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

    def share(self, batches: Sampler, number: int, rows: int) -> float:
        """Return by what to multiply the mean loss of this process's `rows` of a batch."""
        if self.world.is_alone or not isinstance(batches, Batches):
            return 1.0
        return rows * self.world.size / batches.size(number)

    def halve(self, rows: int, said: str) -> None:
        """Pass batches in smaller parts from now on, because memory did not suffice for `rows`."""
        size = min(rows, self.micro_batch or rows)
        remedy = "a smaller image.size, another ARCH, or runtime.precision=bfloat16"
        if not self.world.is_alone:
            raise PodiumError(
                f"training: out of memory with {size} images in each of {self.world.size} "
                f"processes; SET='runtime.micro_batch={max(1, size // 2)}', or {remedy}"
            )
        if size == 1:
            raise PodiumError(f"training: out of memory with a single image; try {remedy}")
        self.micro_batch = -(-size // 2)
        short = said.splitlines()[0][:100]
        self.events.append(
            f"out of memory with {size} images at once (step {self.step}: {short}): gradients of "
            f"{self.micro_batch} at a time are added up; batch norm sees smaller batches"
        )
        self.optimizer.zero_grad(set_to_none=True)
        let_go(self.setup.kind)
