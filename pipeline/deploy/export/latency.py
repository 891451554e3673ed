"""How long a picture takes on this machine's CPU: networks and all their looks, one at a time."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from pipeline.deploy.export.sources import RunParts
from pipeline.deploy.exported import Running
from pipeline.deploy.pictures import View, cores
from pipeline.training.device import Setup
from pipeline.training.learning.loop import Normalise

WARM, MOST, SECONDS = 3, 50, 3.0  # passes before, passes timed at most, and for how long


def threads_here() -> int:
    """Return the threads that networks are timed with: one per core this process may use."""
    return cores()


def median_ms(run: Callable[[], object]) -> float:
    """Return the median milliseconds of a call, warm."""
    for _ in range(WARM):
        run()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 5 or (len(times) < MOST and time.perf_counter() - started < SECONDS):
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return 1000 * float(np.median(times))


def exported_ms(networks: Sequence[tuple[Running, View]], task: str) -> float:
    """Return the milliseconds that exported networks take for a picture."""
    return sum(median_ms(partial(running.probs, _noise(view), task)) for running, view in networks)


def original_ms(runs: Sequence[RunParts]) -> float:
    """Return the milliseconds that the original's networks take for a picture, in torch on the CPU
    in single precision; those of a run are alike, and one of them is timed."""
    return sum(len(run.all) * _torch_ms(run) for run in runs)


@torch.inference_mode()
def _torch_ms(run: RunParts) -> float:
    part = run.all[0]
    model = part.run.load(part.file).eval()
    threads = torch.get_num_threads()
    setup = Setup("cpu", "float32", channels_last=False, workers=0, threads=threads_here())
    normalise = Normalise(*part.run.pixels(part.file), setup, part.run.recipe.image.channels)
    looks = [torch.from_numpy(image) for image in _noise(part.run.view)]

    def once() -> None:
        for image in looks:
            for turn in part.run.turns:
                model(normalise(torch.from_numpy(turn(image.numpy()))))

    torch.set_num_threads(threads_here())
    try:
        return median_ms(once)
    finally:
        torch.set_num_threads(threads)


def _noise(view: View) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [look.size for look in view.looks]
    return [rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8) for size in sizes]
