"""Several processes for one fold: shares of batches, a job as a file, two real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from pipeline.artifacts.predictions import Predictions
from pipeline.config.learning import Runtime
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.images.batches import Batches
from pipeline.training import processes
from pipeline.training.job import Lessons
from pipeline.training.learning.world import World
from pipeline.training.run import Run
from pipeline.training.session import FoldSession
from pipeline.training.spec import load_spec, save_spec

ROOT = Path(__file__).parents[2]
TWO = "runtime.processes=2"


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("rows", [16, 17, 19, 40])
def test_shares_are_a_partition_of_every_batch(rows, size):
    """Check that the processes' parts of each batch are together that of one process, and that all
    processes take the same number of steps, none on a single row."""
    numbers = np.arange(100, 100 + rows)
    alone = list(Batches(numbers, 8, (3, 1)))
    parts = [Batches(numbers, 8, (3, 1), share=(rank, size)) for rank in range(size)]
    together = list(zip(*parts, strict=True))
    assert len(together) == len(parts[0]) <= len(alone)
    for number, shares in enumerate(together):
        assert sorted(item for share in shares for item in share) == sorted(alone[number])
        assert min(map(len, shares)) >= 2
        assert parts[0].size(number) == len(alone[number])
    assert sum(map(len, alone[len(together) :])) < 2 * size


def test_a_job_survives_its_file(project, whole, tmp_path):
    """Check that what is read back decides the same artefacts as what was written."""
    job = whole.run.jobs([1])[0][0]
    save_spec(job, tmp_path / "job.npz")
    again = load_spec(tmp_path / "job.npz", {"threads": 1})
    assert again.identity == job.identity and again.title == job.title
    assert again.recipe.hash == job.recipe.hash and again.folder == job.folder
    for part, rows in job.parts.items():
        np.testing.assert_array_equal(again.parts[part], rows)
        np.testing.assert_array_equal(again.pixels.read(rows[0]), job.pixels.read(rows[0]))


def test_a_job_with_lessons_survives_its_file(whole, tmp_path):
    """Check the same of a teacher's labels."""
    job = whole.run.jobs([0])[0][0]
    taught = Lessons(np.array([45, 47]), np.eye(3, dtype=np.float32)[:2], 0.5)
    job = replace(job, lessons=taught)
    save_spec(job, tmp_path / "job.npz")
    again = load_spec(tmp_path / "job.npz")
    assert again.identity == job.identity
    np.testing.assert_array_equal(again.targets(), job.targets())
    np.testing.assert_array_equal(again.loss_weights(), job.loss_weights())


def test_a_job_of_other_data_is_refused(project, train_tiny, tmp_path, edit_table):
    """Check that a table that changed meanwhile is one line."""
    run = train_tiny(project, only=(0,)).run
    save_spec(run.jobs([1])[0][0], tmp_path / "job.npz")
    edit_table(project, "kinds", kind=["cat", "dog", "eel"] * 15)
    with pytest.raises(PodiumError, match="the data changed since; run the same command again"):
        load_spec(tmp_path / "job.npz")


ALONE = """
import sys
from pathlib import Path
from pipeline.training.fold import train_fold
from pipeline.training.spec import load_spec
train_fold(load_spec(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_job_is_the_same_in_another_process(project, train_tiny, whole, artefacts, tmp_path):
    """Check that a fold which another process trains from the job's file alone has the bytes of
    one that the command line trains after others."""
    run = train_tiny(project, only=(0,)).run
    save_spec(run.jobs([2])[0][0], tmp_path / "job.npz")
    command = [sys.executable, "-c", ALONE, str(tmp_path / "job.npz")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    found, expected = artefacts(run.fold_folder(2)), artefacts(whole.run.fold_folder(2))
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("comp", ["kinds", "sets"])
def test_two_processes_learn_what_one_does(comp, project, train_tiny):
    """Check that two processes (gloo) predict, on a network without batch norm, what one does: the
    same batches, the same augmentation, the mean gradient of the same rows."""
    one = train_tiny(project, comp, only=(0,), name="one").run
    two = train_tiny(project, comp, only=(0,), name="two", overrides=TWO).run
    assert two.recipe.hash == one.recipe.hash
    for part in ("valid", "test"):
        found, expected = (
            Predictions.load(run.fold_folder(0) / f"{part}.npz") for run in (two, one)
        )
        assert found.ids.tolist() == expected.ids.tolist()
        np.testing.assert_allclose(found.logits, expected.logits, atol=3e-4)
    record = json.loads((two.fold_folder(0) / "fold.json").read_text())
    assert record["processes"] == 2 and record["epochs"] == 2
    left = {path.name for path in two.fold_folder(0).iterdir()}
    assert left == {"fold.json", "history.csv", "model.safetensors", "test.npz", "valid.npz"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ema", "swa", "schedule-free"])
def test_what_is_saved_is_what_answered(kind, project, train_tiny):
    """Check that with batch norm, whose statistics each process takes of its own rows, the saved
    network gives the test answers that are saved beside it."""
    options = {
        "ema": TWO,
        "swa": f"{TWO} training.ema=0 training.swa=1",
        "schedule-free": f"{TWO} training.ema=0 optimizer.name=schedule-free "
        "schedule.name=constant",
    }[kind]
    run = train_tiny(project, only=(0,), arch="resnet10t", overrides=f"image.size=32 {options}").run
    job = run.jobs([0])[0][0]
    alone = job.recipe.model_copy(update={"runtime": Runtime(device="cpu", threads=1)})
    session = FoldSession(replace(job, recipe=alone))
    session.learner.average = None
    session.learner.model.load_state_dict(load_file(run.fold_folder(0) / "model.safetensors"))
    saved = Predictions.load(run.fold_folder(0) / "test.npz")
    np.testing.assert_allclose(session.predict("test")[0], saved.logits, atol=1e-4)


@pytest.mark.parametrize("arch", ["densenet121", "tf_efficientnet_lite0", "resnet10t"])
def test_shared_statistics_change_no_answer(arch):
    """Check that making batch norm shared leaves activations where timm fuses them with it."""
    model = timm.create_model(arch, num_classes=3).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        after = World(0, 2).with_shared_statistics(model).eval()(images)
    torch.testing.assert_close(after, before)


def test_own_devices(monkeypatch):
    """Check that a process takes a GPU of its own where the recipe lets it, and the CPU if the
    recipe says so."""
    taken = []
    monkeypatch.setattr(processes.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(processes.torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    found = {
        device: processes.on_own_device(Recipe(runtime=Runtime(device=device))).runtime.device
        for device in ("auto", "cuda", "cpu")
    }
    assert found == {"auto": "cuda:1", "cuda": "cuda:1", "cpu": "cpu"} and taken == [1, 1]


@pytest.mark.slow
def test_fault_of_a_process_is_one_line(project, train_tiny, monkeypatch):
    """Check that what goes wrong in the processes reaches whoever started them, as one line."""
    monkeypatch.setattr(processes, "save_spec", _other_data)
    with pytest.raises(PodiumError, match=r"job.npz: the data changed since") as caught:
        train_tiny(project, only=(0,), overrides=TWO)
    assert "\n" not in str(caught.value)


def _other_data(job, path):
    save_spec(job, path)
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored.files}
    said = json.loads(str(content["said"])) | {"data_hash": "0"}
    np.savez(path, **content | {"said": np.array(json.dumps(said))})


@pytest.mark.slow
def test_killed_starter_takes_its_processes_along(project, train_tiny):
    """Check that after a SIGKILL of the command no process trains on without a lock, and that the
    same command finishes the fold."""
    options = "training.epochs=400 runtime.processes=2 runtime.checkpoint_seconds=0"
    command = [sys.executable, "-m", "pipeline", "train", "--comp", "kinds", "--recipe", "tiny"]
    command += ["--arch", "lenet", "--name", "r", "--only", "0", "--set", options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        command, cwd=project.root, env=environment, stdout=subprocess.DEVNULL
    )
    last = project.run("kinds", "r") / "fold-0" / "last.pt"
    until = time.monotonic() + 120
    while not last.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert last.exists() and started.poll() is None and _at_work(project.root)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    until = time.monotonic() + 30
    while _at_work(project.root) and time.monotonic() < until:
        time.sleep(0.2)
    assert not _at_work(project.root)


def _at_work(root: Path) -> list[str]:
    """Return the command lines of processes that name the project."""
    listed = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if f"{root}/experiments" in line]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("runtime.processes=5", "runtime.processes: 5 for batches of 8; each needs two rows"),
        (f"{TWO} runtime.sync_batch_norm=true", "torch shares batch norm between GPUs alone"),
        (f"{TWO} runtime.device=cuda", "runtime.device: 'cuda' cannot be used here"),
    ],
)
def test_what_several_processes_cannot_do(project, train_tiny, overrides, said):
    """Check the refusals, each one line."""
    if "cuda" in overrides and processes.torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(PodiumError, match=said):
        train_tiny(project, only=(0,), overrides=overrides)


def test_a_run_of_one_process_needs_no_others(project, train_tiny, monkeypatch):
    """Check that torchrun is not called where it is not asked for."""
    monkeypatch.setattr(processes.subprocess, "call", None)  # calling it would raise
    assert isinstance(train_tiny(project, only=(0,)).run, Run)
