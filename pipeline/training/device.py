"""How the machine at hand trains fastest: device, precision, memory format, workers, threads.

`auto` is decided by what the device is, never by timing it, so that a run that is resumed on the
same machine goes on with the same arithmetic. The measurements behind the rules stand in
benchmarks/README.md.
"""

import os
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.learning.memory import keep_freed
from pipeline.training.networks.zoo import has_depthwise_batch_norm

BF16_MIN_SIZE = 64  # px; below it the casts cost as much as the arithmetic saves (CPU)


@dataclass(frozen=True)
class Setup:
    """A resolved `runtime:` section; recorded per fold."""

    device: str
    precision: str
    channels_last: bool
    workers: int
    threads: int

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)

    @property
    def kind(self) -> str:
        return torch.device(self.device).type

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.kind, self.dtype, enabled=self.dtype != torch.float32)

    def record(self) -> dict[str, Any]:
        """Return what goes into the fold's record, the device's own name included."""
        name = torch.cuda.get_device_name(self.device) if self.kind == "cuda" else self.kind
        return {**asdict(self), "device_name": name, "torch": torch.__version__}


def resolve(recipe: Recipe, model: nn.Module) -> Setup:
    """Decide what `auto` means for `model` on this machine, and set torch's threads and flags."""
    runtime = recipe.runtime
    device = device_of(runtime.device)
    cores = max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # torchrun's
    threads = cores if runtime.threads == "auto" else runtime.threads
    precision = runtime.precision
    if precision == "auto":
        precision = _precision(device.type, recipe.image.size, model)
    workers = runtime.workers
    if workers == "auto":  # on a CPU, workers would take the cores from the training itself
        workers = 0 if device.type == "cpu" else min(8, max(1, cores - 1))
    channels_last = True if runtime.channels_last == "auto" else runtime.channels_last
    if device.type == "cpu":
        keep_freed()
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
    return Setup(str(device), precision, channels_last, workers, threads)


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_of(name: str) -> torch.device:
    """Return the device that a recipe names, or the best one there is for `auto`."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        short = str(error).splitlines()[0][:80]
        raise PodiumError(
            f"runtime.device: {name!r} cannot be used here ({short}); use auto or cpu"
        ) from None
    return device


def _precision(kind: str, size: int, model: nn.Module) -> str:
    if kind == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    pays = size >= BF16_MIN_SIZE and not has_depthwise_batch_norm(model)
    return "bfloat16" if kind == "cpu" and pays and _cpu_has_bf16() else "float32"


def _cpu_has_bf16() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
