"""Several processes for one fold, started by torchrun: `runtime.processes`, a GPU each.

    python -m torch.distributed.run --nproc-per-node 2 -m pipeline.training.processes JOB.npz

The process that starts them holds the fold's lock and waits; they end when it does.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipeline.artifacts.files import is_alive, read_json
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.device import available_cores
from pipeline.training.engine import STARTER
from pipeline.training.job import FoldJob
from pipeline.training.learning.world import joined, local_rank
from pipeline.training.spec import load_spec, save_spec

FAULT = "job.error"
PATIENCE = 1.0  # seconds between two looks whether it still does


def train_together(job: FoldJob, done: str) -> dict[str, Any]:
    """Train a fold by `runtime.processes` processes and return its record, the file `done`."""
    count = job.recipe.runtime.processes
    spec, fault = job.folder / "job.npz", job.folder / FAULT
    fault.unlink(missing_ok=True)
    save_spec(job, spec)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={count}", "-m", "pipeline.training.processes", str(spec)]
    environment = os.environ | {STARTER: str(os.getpid())}
    threads = job.recipe.runtime.threads
    if threads == "auto":
        environment.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // count)))
    else:
        environment["OMP_NUM_THREADS"] = str(threads)
    code = Path(__file__).parents[2]
    environment["PYTHONPATH"] = os.pathsep.join([str(code), os.environ.get("PYTHONPATH", "")])
    log = job.folder / "job.log"
    try:
        with open(log, "wb") as told:
            status = subprocess.call(command, env=environment, stderr=told)
        if status and fault.exists():
            raise PodiumError(fault.read_text(encoding="utf-8"))
        if status:
            raise PodiumError(
                f"{log}: {count} processes for {job.title} ended with status {status}; read it, or "
                "SET='runtime.processes=1' trains with one"
            )
    finally:
        for path in (spec, fault):
            path.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    return read_json(job.folder / done)


def check_processes(recipe: Recipe) -> None:
    """Refuse more processes than there are GPUs, or rows of a batch for."""
    count = recipe.runtime.processes
    device = recipe.runtime.device
    kind = "cuda" if device == "auto" and torch.cuda.is_available() else device
    if kind.startswith("cuda") and torch.cuda.device_count() < count:
        raise PodiumError(
            f"runtime.processes: {count}, but there are {torch.cuda.device_count()} GPUs; one "
            "process a GPU"
        )
    if kind.startswith("mps"):
        raise PodiumError(f"runtime.processes: {count}, but a Mac has one GPU; set it to 1")
    if recipe.runtime.sync_batch_norm and not kind.startswith("cuda"):
        raise PodiumError(
            "runtime.sync_batch_norm: true, but torch shares batch norm between GPUs alone; set it "
            "to false"
        )
    if recipe.training.batch_size < 2 * count:
        raise PodiumError(
            f"runtime.processes: {count} for batches of {recipe.training.batch_size}; each "
            "needs two rows of a batch"
        )


def main() -> None:
    """Train the job in the file named, as one of torchrun's processes."""
    from pipeline.training.fold import train_fold

    spec = Path(sys.argv[1])
    end_with(int(os.environ[STARTER]))
    try:
        job = load_spec(spec)
        job = replace(job, recipe=on_own_device(job.recipe))
        kind = "cuda" if job.recipe.runtime.device.startswith("cuda") else "cpu"
        with joined(kind) as world:
            train_fold(job, world)
    except PodiumError as error:
        with contextlib.suppress(FileExistsError), open(spec.with_name(FAULT), "x") as told:
            told.write(str(error))  # of the first process that fails, whichever it is
        sys.exit(2)


def on_own_device(recipe: Recipe) -> Recipe:
    """Return the recipe on a GPU of this process's own, or on the CPU where it says so, or there
    are none."""
    asked = recipe.runtime.device
    device = "cpu"
    if asked.startswith("cuda") or (asked == "auto" and torch.cuda.is_available()):
        device = f"cuda:{local_rank()}"
        torch.cuda.set_device(local_rank())
    runtime = recipe.runtime.model_copy(update={"device": device})
    return recipe.model_copy(update={"runtime": runtime})


def end_with(starter: int) -> None:
    """End this process as soon as the one that started the job is gone, killed perhaps, or this
    one's own parent is: nobody waits for it then, or holds the fold's lock."""
    parent = os.getppid()

    def watch() -> None:
        while is_alive(starter) and os.getppid() == parent:
            time.sleep(PATIENCE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
