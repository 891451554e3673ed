"""Does the data keep up? A training epoch against the same steps on a tensor already in memory.

    .venv/bin/python -m benchmarks.loading --arch densenet121 --repeats 7

Both sides run the same `train_step` on the same network, batch size, precision and number of
steps. Side A is a whole training epoch as the pipeline runs it: cache, augmentation, batches,
normalisation, step. Side B takes normalised floats from memory and only steps. They alternate
A B A B within one process; the table gives medians and the ratio A/B pair by pair.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.config.recipe import load_recipe
from pipeline.folds import make_shared
from pipeline.images.augment import Augmenter
from pipeline.images.batches import Images, loader
from pipeline.training.fold import FoldSession
from pipeline.training.loop import train_epoch, train_step
from pipeline.training.run import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp", default="digits")
    parser.add_argument("--arch", default="densenet121")
    parser.add_argument("--set", default="")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    session = _session(options.comp, options.arch, options.set)
    epoch, memory = _sides(session)
    epoch(), memory()  # warm-up: allocations, first touch of the cache
    pairs = []
    for number in range(options.repeats):
        pairs.append((epoch(), memory()))
        a, b = pairs[-1]
        print(f"pair {number + 1}: epoch {a:.0f} img/s, memory {b:.0f} img/s, {a / b:.3f}")
    ratios = sorted(a / b for a, b in pairs)
    medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
    print(
        f"\n{options.arch}, {session.job.recipe.image.size} px, batch "
        f"{session.job.recipe.training.batch_size}, {session.setup}\n"
        f"epoch {medians[0]:.0f} img/s, memory {medians[1]:.0f} img/s, ratio "
        f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}), n={len(pairs)}"
    )


def _session(comp: str, arch: str, overrides: str) -> FoldSession:
    """Open fold 0 as training would; nothing is written but the image cache."""
    project = Project(Path.cwd())
    data = load_data(project, comp)
    folds, _ = make_shared(data)
    overlay = data.competition.recipe_overrides()
    recipe = load_recipe(project, "baseline", arch=arch, competition=overlay, overrides=overrides)
    jobs, said = Run("benchmark", "baseline", recipe, data, folds).jobs([0])
    print(f"{len(jobs[0].train)} training pictures; {said}")
    return FoldSession(jobs[0])


def _sides(session: FoldSession) -> tuple:
    recipe, setup = session.job.recipe, session.setup
    view = Augmenter(recipe.augment, recipe.image, 0)
    images = Images(session.job.pixels, session.job.ids, view)
    batches = loader(images, session.batches, setup.workers)
    targets = torch.from_numpy(session.job.data.labels)
    total = sum(len(items) for items in session.batches)
    steps = 10**9  # never reaches the end of the schedule: every epoch is alike

    def epoch() -> float:
        session.batches.epoch += 1
        started = time.perf_counter()
        train_epoch(session.learner, batches, targets, recipe, setup, session.normalise, steps)
        return total / (time.perf_counter() - started)

    size = recipe.image.size
    rng = np.random.default_rng(0)
    stored = [
        (
            session.normalise(
                torch.from_numpy(rng.integers(0, 256, (len(b), size, size, 3), "u1"))
            ),
            targets[[row for _, row in b]],
        )
        for b in session.batches
    ]

    def memory() -> float:
        session.learner.model.train()
        started = time.perf_counter()
        for pixels, wanted in stored:
            train_step(session.learner, pixels, wanted, recipe, setup)
        return total / (time.perf_counter() - started)

    return epoch, memory


if __name__ == "__main__":
    main()
