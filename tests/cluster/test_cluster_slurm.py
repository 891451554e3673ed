"""SLURM: submitit's local stand-in really trains; the queue's answers are followed."""

import json
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.cluster import slurm as module
from pipeline.cluster.slurm import Queue, SlurmEngine
from pipeline.config.cluster import Cluster
from pipeline.errors import PodiumError
from pipeline.training.engine import Call
from pipeline.training.work import DO_FOLD


@pytest.mark.slow
def test_a_run_by_submitit(tiny, run_by, whole, artefacts, tmp_path, striking, monkeypatch):
    """Check that the jobs write what this process does, although one is preempted (SIGUSR2), is
    queued again and goes on from its checkpoint; and that nothing is left behind."""
    monkeypatch.chdir(tiny.root)
    engine = SlurmEngine(None, tmp_path / "logs", print, Cluster(cpus=1), "slurm-local")
    with striking(tiny, signal.SIGUSR2) as struck:
        summary = run_by(tiny, engine)
    assert len(struck) == 1
    record = json.loads((summary.run.fold_folder(0) / "fold.json").read_text())
    assert record["resumed_at_epoch"] > 0
    assert artefacts(summary.run.folder) == whole
    assert not list(engine.folder.glob("*"))
    assert not list((tiny.project.runs("tiny") / ".jobs").iterdir())


@pytest.mark.slow
def test_a_failure_is_one_line(tmp_path, monkeypatch):
    """Check that a job that is no longer there is told in one line, and its logs are kept."""
    monkeypatch.chdir(tmp_path)
    engine = SlurmEngine(None, tmp_path / "logs", print, Cluster(), "slurm-local")
    [(_, fault)] = list(engine.run([Call("x", DO_FOLD, tmp_path / "gone.npz")]))
    assert "no such job" in fault and "\n" not in fault
    assert list(engine.folder.glob("slurm-local-*/*"))


def test_without_sbatch(tmp_path, monkeypatch):
    """Check the line that says so."""
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(PodiumError, match="'slurm' needs sbatch, which is not here"):
        list(SlurmEngine(None, tmp_path, print, Cluster()).run([]))


SBATCH = """#!/bin/sh
cp "$1" {copy}
{end}
"""


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Put a stand-in for sbatch on the path, which keeps what it is given."""
    folder, copy = tmp_path / "bin", tmp_path / "given.sh"
    folder.mkdir()

    def install(end: str) -> Path:
        for name in ("sbatch", "srun", "scancel"):
            (folder / name).write_text(SBATCH.format(copy=copy, end=end))
            (folder / name).chmod(0o755)
        return copy

    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return install


def test_what_sbatch_is_told(tmp_path, sbatch):
    """Check that each key of the cluster's file arrives as sbatch's option, calls of the same needs
    as one array of WORKERS at a time, and that closing the iterator cancels them."""
    asked = {
        "partition": "gpu",
        "account": "team",
        "memory_gb": 20,
        "minutes": 90,
        "setup": ["module load cuda"],
        "options": {"reservation": "night"},
    }
    given, said = sbatch("echo Submitted batch job 71"), []
    engine = SlurmEngine(3, tmp_path / "logs", said.append, Cluster(slurm=asked))
    calls = [Call(f"c{i}", DO_FOLD, tmp_path / "x", cpus=6, gpus=2) for i in range(5)]
    jobs = engine._submit(tmp_path / "logs", calls, 6, 2)
    assert [job.job_id for job in jobs] == [f"71_{i}" for i in range(5)]
    lines = set(given.read_text().splitlines())
    options = ["partition=gpu", "account=team", "mem=20GB", "time=90", "cpus-per-task=6"]
    options += ["gpus-per-node=2", "array=0-4%3", "requeue", "reservation=night"]
    options += ["open-mode=append", "signal=USR2@90"]
    assert {f"#SBATCH --{option}" for option in options} | {"module load cuda"} <= lines
    assert said == ["slurm: 5 jobs as 71; of each: cpus 6, gpus 2"]
    engine._cancel(list(jobs))
    assert said[-1] == "slurm: cancelled 5 jobs"


def test_a_refusal_of_sbatch_is_one_line(tmp_path, sbatch, capfd):
    """Check that what sbatch says, of a partition that does not exist, reaches the user."""
    sbatch("echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    engine = SlurmEngine(None, tmp_path / "logs", print, Cluster())
    with pytest.raises(PodiumError, match=r"sbatch refused the jobs .*invalid part") as caught:
        list(engine.run([Call("x", DO_FOLD, tmp_path / "x")]))
    assert "\n" not in str(caught.value) and not capfd.readouterr().err


def test_jobs_that_vanish(monkeypatch):
    """Check that a job which is in the queue no more, and leaves no result, is given up after a
    while; a controller that does not answer, or one that lists it again, keeps it."""
    clock, answers = SimpleNamespace(now=0.0), []
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)

    def squeue(command, **options):
        return subprocess.CompletedProcess(command, *answers.pop(0))

    monkeypatch.setattr(module.subprocess, "run", squeue)
    jobs = {Numbered(f"9_{i}"): None for i in range(2)}
    queue = Queue()
    found = []
    steps = [
        (0, "9_0\n9_1\n", ""),
        (0, "9_1\n", ""),  # the first is gone ...
        (1, "", "slurm_load_jobs error: Unable to contact slurm controller"),
        (0, "9_0\n", ""),  # ... and back; the second is gone
        (1, "", "slurm_load_jobs error: Invalid job id specified"),  # both are
        (0, "", ""),
        (0, "", ""),
    ]
    answers += steps
    for wait in (20, 20, 20, 20, 20, 41, 20):
        clock.now += wait
        found.append({job.job_id for job in queue.lost(jobs)})
    assert found == [set(), set(), set(), set(), set(), {"9_1"}, {"9_0", "9_1"}]


class Numbered:
    """A job of this number."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
