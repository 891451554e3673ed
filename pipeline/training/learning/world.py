"""The processes that train one fold together: which one this is, and how they agree.

Started by torchrun, each process takes its share of every batch and of the rows to predict;
gradients are averaged by DistributedDataParallel; the first process alone writes files.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """Process `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        return self.size == 1

    def together(self, model: nn.Module) -> nn.Module:
        """Return what to call instead of `model`, so that its gradients are those of all."""
        if self.is_alone or not any(p.requires_grad for p in model.parameters()):
            return model
        return DistributedDataParallel(model)

    def with_shared_statistics(self, model: nn.Module) -> nn.Module:
        """Let batch norm see the batch of all processes (SyncBatchNorm), on GPUs."""
        # timm's own conversion: torch's drops the activation that timm fuses with the norm.
        return model if self.is_alone else convert_sync_batchnorm(model)

    def quiet(self, model: nn.Module, *, more: bool) -> contextlib.AbstractContextManager:
        """Leave gradients unshared as long as `more` of them will be added before the step."""
        if more and isinstance(model, DistributedDataParallel):
            return model.no_sync()
        return contextlib.nullcontext()

    def gathered(self, mine: Any) -> list[Any]:
        """Return what every process handed in, by rank."""
        if self.is_alone:
            return [mine]
        every: list[Any] = [None] * self.size
        dist.all_gather_object(every, mine)
        return every

    def average_buffers(self, model: nn.Module) -> None:
        """Let all processes go on with the mean of their batch-norm statistics, so that what is
        validated and kept does not depend on one process's share of the rows."""
        if self.is_alone:
            return
        for buffer in model.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.size
            else:
                dist.broadcast(buffer, src=0)


ALONE = World()


@contextlib.contextmanager
def joined(kind: str) -> Iterator[World]:
    """Join the processes that torchrun started, for the time of the context; yield the world."""
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_rank() -> int:
    """Return which of the processes on this machine this one is."""
    return int(os.environ.get("LOCAL_RANK", "0"))
