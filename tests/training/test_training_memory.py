"""Out of memory: smaller micro-batches, the same gradients, recorded."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.artifacts.predictions import Predictions
from pipeline.errors import PodiumError
from pipeline.training import session
from pipeline.training.device import Setup
from pipeline.training.learning import loop
from pipeline.training.learning.memory import is_out_of_memory, keep_freed
from pipeline.training.learning.world import World

ROOT = Path(__file__).parents[2]


def memory_for(monkeypatch, most: int) -> list[int]:
    """Let every forward pass of more than `most` images fail as a device does; return the sizes."""
    sizes, build = [], session.build_model

    def build_small(*asked):
        model = build(*asked)
        forward = model.forward

        def small(images):
            sizes.append(len(images))
            if len(images) > most:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried {len(images)}\nmore")
            return forward(images)

        monkeypatch.setattr(model, "forward", small)
        return model

    monkeypatch.setattr(session, "build_model", build_small)
    return sizes


def record_of(run) -> dict:
    return json.loads((run.fold_folder(0) / "fold.json").read_text())


# An average copies the network, and with it the bound forward of another one.
PLAIN = "training.ema=0"


def test_smaller_parts_give_the_same_training(project, train_tiny, monkeypatch):
    """Check that a training in parts of 2 predicts what one in whole batches of 8 does, up to
    rounding, on a network without batch norm; and that its record says so."""
    whole = train_tiny(project, only=(0,), name="whole", overrides=PLAIN).run
    memory_for(monkeypatch, 3)
    parts = train_tiny(project, only=(0,), name="parts", overrides=PLAIN).run
    found, expected = (
        Predictions.load(run.fold_folder(0) / "test.npz").logits for run in (parts, whole)
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert record_of(whole)["micro_batch"] is None and record_of(whole)["events"] == []
    record = record_of(parts)
    assert record["micro_batch"] == 2
    said = [event.partition(" (")[0] for event in record["events"]]
    assert said == [f"out of memory with {n} images at once" for n in (8, 4)]
    assert "\n" not in "".join(record["events"])


def test_micro_batch_of_the_recipe(project, train_tiny, monkeypatch):
    """Check that runtime.micro_batch is kept to, is no science and gives the same training."""
    whole = train_tiny(project, only=(0,), name="whole", overrides=PLAIN).run
    sizes = memory_for(monkeypatch, 100)
    run = train_tiny(project, only=(0,), name="r", overrides=f"{PLAIN} runtime.micro_batch=3").run
    assert run.recipe.hash == whole.recipe.hash
    assert {3, 2} <= set(sizes) and 8 not in sizes[: sizes.index(15) if 15 in sizes else None]
    found, expected = (
        Predictions.load(r.fold_folder(0) / "valid.npz").logits for r in (run, whole)
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_kill_after_running_out_goes_on_in_parts(
    project, train_tiny, monkeypatch, dying, killed, artefacts
):
    """Check that a resumed training has the bytes of one that was not killed."""
    memory_for(monkeypatch, 3)
    options = {"only": (0,), "overrides": f"{PLAIN} runtime.checkpoint_seconds=0"}
    whole = train_tiny(project, name="whole", **options).run
    with dying(loop, "train_step", 6), pytest.raises(killed):
        train_tiny(project, name="r", **options)
    run = train_tiny(project, name="r", **options).run
    assert record_of(run)["resumed_at_epoch"] == 1
    weights = "fold-0/model.safetensors"
    assert artefacts(run.folder)[weights] == artefacts(whole.folder)[weights]


def test_not_even_one_image(project, train_tiny, monkeypatch):
    """Check that a network too large for one image is one line, not an endless loop."""
    memory_for(monkeypatch, 0)
    with pytest.raises(PodiumError, match="out of memory with a single image; try a smaller"):
        train_tiny(project, only=(0,), overrides=PLAIN)


def test_other_errors_are_not_swallowed(project, train_tiny, monkeypatch):
    """Check that an error that is no lack of memory is raised as it is."""
    monkeypatch.setattr(loop, "_gradients", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        train_tiny(project, only=(0,))


def test_several_processes_are_told_to_take_less(project, train_tiny, monkeypatch):
    """Check that where one of several processes lacks memory, the remedy is named: the others
    would wait for it for ever."""
    learner = session.Learner(
        nn.Linear(1, 1), None, None, None, Setup("cpu", "float32", True, 0, 1), world=World(0, 2)
    )
    with pytest.raises(PodiumError, match=r"runtime.micro_batch=8"):
        learner.halve(16, "out of memory")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] can't allocate memory: 8 GB"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    """Check the sentences of the devices, and two errors that are something else."""
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails():
    """Check that what the CPU's allocator really says is recognised."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_prediction_halves_its_batches(project, train_tiny, monkeypatch):
    """Check that predicted rows keep their order where a batch is passed in halves."""
    whole = train_tiny(project, only=(0,), name="whole", overrides=PLAIN).run
    memory_for(monkeypatch, 8)  # training fits, the 16 of an evaluation batch do not
    run = train_tiny(project, only=(0,), name="r", overrides=PLAIN).run
    assert record_of(run)["micro_batch"] is None
    found, expected = (Predictions.load(r.fold_folder(0) / "test.npz").logits for r in (run, whole))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept():
    """Check that once it is kept, a large tensor made again and again causes no page faults."""
    code = (
        "import resource, torch\n"
        "from pipeline.training.learning.memory import keep_freed\n"
        "assert KEEP is False or keep_freed()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): torch.ones(16 * 2**20)\n"
        "before = faults()\n"
        "for _ in range(5): torch.ones(16 * 2**20)\n"
        "print(faults() - before)\n"
    )
    environment = os.environ | {"THP_MEM_ALLOC_ENABLE": "0", "PYTHONPATH": str(ROOT)}
    counts = {}
    for keep in ("True", "False"):
        command = [sys.executable, "-c", code.replace("KEEP", keep)]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        counts[keep] = int(told.stdout)
    assert counts["True"] < 100 < counts["False"]


def test_other_libraries_are_left_alone(monkeypatch):
    """Check that nothing is asked of a C library that is not glibc."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed() is False


def bare_learner(model, **options):
    setup = Setup("cpu", "float32", True, 0, 1)
    return session.Learner(model, None, None, None, setup, **options)


@pytest.mark.parametrize("rows", range(2, 70))
@pytest.mark.parametrize("micro", [1, 2, 3, 11, 64])
def test_no_part_is_a_single_image_under_batch_norm(rows, micro):
    """Check parts of batches: nearly equal, none larger than asked for unless batch norm would see
    one image alone, and as many in each of two processes, whose shares differ by a row."""
    plain = bare_learner(nn.Linear(1, 1), micro_batch=micro)
    normed = bare_learner(nn.BatchNorm2d(1), micro_batch=micro)
    sizes = [len(part) for part in torch.arange(rows).tensor_split(plain.parts(rows))]
    assert max(sizes) <= micro and max(sizes) - min(sizes) <= 1
    sizes = [len(part) for part in torch.arange(rows).tensor_split(normed.parts(rows))]
    assert min(sizes) >= 2
    if rows < 4:
        return
    two = [bare_learner(nn.BatchNorm2d(1), micro_batch=micro, world=World(k, 2)) for k in (0, 1)]
    parts = {learner.parts(rows) for learner in two}
    assert len(parts) == 1
    assert min(len(p) for p in torch.arange(rows - 1).tensor_split(parts.pop())) >= 2


def test_batch_norm_with_parts_that_leave_one_over(project, train_tiny):
    """Check a network with batch norm on a batch that parts of 7 would leave one image of."""
    options = "runtime.micro_batch=7 image.size=32 training.ema=0"
    run = train_tiny(project, only=(0,), arch="resnet10t", overrides=options).run
    assert record_of(run)["micro_batch"] == 7


def test_memory_that_runs_out_in_the_optimiser_is_one_line(project, train_tiny, monkeypatch):
    """Check that half a step is not repeated: its state would be half made."""

    def full(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GB")

    monkeypatch.setattr(session.Learner, "descend", full)
    with pytest.raises(PodiumError, match="out of memory in the optimiser") as caught:
        train_tiny(project, only=(0,))
    assert "\n" not in str(caught.value)


def test_a_resumed_fold_takes_the_parts_it_is_asked_for(project, train_tiny, dying, killed):
    """Check that whoever was killed for memory can go on with less at once."""
    options = {"only": (0,), "name": "r"}
    with dying(loop, "train_step", 6), pytest.raises(killed):
        train_tiny(project, overrides=f"{PLAIN} runtime.checkpoint_seconds=0", **options)
    run = train_tiny(project, overrides=f"{PLAIN} runtime.micro_batch=3", **options).run
    assert record_of(run)["resumed_at_epoch"] == 1 and record_of(run)["micro_batch"] == 3
