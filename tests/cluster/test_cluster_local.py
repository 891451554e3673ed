"""The pool of processes on this machine: the same bytes, kills, failures, two at once."""

import json
import os
import re
import signal
import sys

import pytest

from pipeline.artifacts.locks import lock
from pipeline.cluster import local as module
from pipeline.cluster.local import Local
from pipeline.training.engine import Call
from pipeline.training.work import DO_FOLD, lock_path

pytestmark = pytest.mark.slow


def test_two_workers_write_what_one_process_does(tiny, run_by, whole, artefacts, tmp_path):
    """Check every weight, prediction and record, that nothing is left behind, and that the same
    command again trains nothing."""
    said, engine = [], Local(2, tmp_path / "logs", print)
    summary = run_by(tiny, engine, said.append)
    assert artefacts(summary.run.folder) == whole
    assert sum(bool(re.match(r"r: fold \d \d\.\d{4} in \d+ s", line)) for line in said) == 3
    assert not list((tiny.project.runs("tiny") / ".jobs").iterdir())
    assert not list(engine.folder.iterdir())
    calls = []
    run_by(tiny, Recorder(calls), said.append)
    assert not calls and "nothing to train" in said[-1]


class Recorder:
    """An engine that takes calls down and does none."""

    name, cpus, gpus = "local", 1, 0.0

    def __init__(self, calls: list) -> None:
        self.calls = calls

    def run(self, calls):
        self.calls += calls
        yield from ()


def test_several_runs_go_out_at_once_and_refits_after_them(tiny, tmp_path, artefacts):
    """Check that all jobs of seeds and architectures are handed over together, the refits in a
    second wave, and that this is what this process alone makes."""
    from pipeline.training.request import TrainRequest
    from pipeline.training.train import train

    tiny.folds(n_folds=2)
    waves: list[int] = []

    class Counting(Local):
        def run(self, calls):
            waves.append(len(calls))
            return super().run(calls)

    asked = {"seed": (0, 1), "refit": True, "recipe": "baseline"}
    engine = Counting(2, tmp_path / "logs", str)
    made = train(tiny.project, TrainRequest("tiny", ["lenet"], engine=engine, **asked), str)
    names = ["lenet-baseline", "lenet-baseline-refit"]
    names += ["lenet-baseline-s1", "lenet-baseline-s1-refit"]
    assert [summary.run.name for summary in made] == names and waves == [4, 2]
    before = [artefacts(summary.run.folder) for summary in made]
    again = train(tiny.project, TrainRequest("tiny", ["lenet"], fresh=True, **asked), str)
    assert [artefacts(summary.run.folder) for summary in again] == before


def test_a_killed_worker_is_started_again(tiny, run_by, whole, artefacts, tmp_path, striking):
    """Check that a worker which SIGKILL ends goes on from its checkpoint, is said to, and that the
    artefacts are those of a run that nothing interrupted."""
    said: list[str] = []
    engine = Local(2, tmp_path / "logs", said.append)
    with striking(tiny) as struck:
        summary = run_by(tiny, engine, said.append)
    assert len(struck) == 1
    assert "r, fold 0: ended by SIGKILL; started again, 1 of 2" in said
    record = json.loads((summary.run.fold_folder(0) / "fold.json").read_text())
    assert record["resumed_at_epoch"] > 0
    assert artefacts(summary.run.folder) == whole


def test_a_worker_that_is_always_killed_fails_alone(tiny, run_by, tmp_path, striking):
    """Check that the third kill is a failure of that fold, and the others are assembled."""
    from pipeline.errors import PodiumError

    said: list[str] = []
    engine = Local(2, tmp_path / "logs", said.append)
    long = "training.epochs=4000 runtime.checkpoint_seconds=0"
    with striking(tiny, times=3) as struck, pytest.raises(PodiumError, match="1 failures"):
        run_by(tiny, engine, said.append, only=(0,), overrides=long)
    assert len(struck) == 3
    assert any("failed: r: fold 0: ended by SIGKILL 3 times" in line for line in said)


def test_a_failing_job_leaves_the_others_whole(tiny, podium, run_by):
    """Check exit status 2, a line for the job that failed, and a run assembled of the others."""
    run_by(tiny, None, only=(0,), overrides="training.epochs=1")
    (tiny.run("r") / "fold-1" / "model.safetensors").mkdir(parents=True)
    words = ["--comp", "tiny", "--arch", "lenet", "--name", "r", "--set", "training.epochs=1"]
    result = podium(tiny.root, "train", *words, "--workers", "2")
    assert result.status == 2
    assert "failed: r: fold 1: IsADirectoryError" in result.out
    assert "1 failures, told above, among 2 jobs" in result.err and "Traceback" not in result.err
    record = json.loads((tiny.run("r") / "run.json").read_text())
    assert sorted(record["folds"]) == ["0", "2"] and not record["complete"]
    logs = list((tiny.project.runs("tiny") / ".jobs").glob("*.log"))
    assert len(logs) == 1 and "Traceback" in logs[0].read_text()


def test_what_another_process_works_on_is_left_out(tiny, run_by, tmp_path):
    """Check that a fold whose lock is held elsewhere is no failure, and the others are done."""
    run_by(tiny, None, only=(0,), overrides="training.epochs=1")
    said: list[str] = []
    with lock(lock_path(tiny.run("r") / "fold-1"), "fold 1"):
        engine = Local(2, tmp_path, said.append)
        summary = run_by(tiny, engine, said.append, overrides="training.epochs=1")
    assert sorted(summary.record["folds"]) == ["0", "2"]
    assert any("r: fold 1 left out:" in line and f"process {os.getpid()}" in line for line in said)


def test_a_killed_command_leaves_no_process(tiny, command, patiently, at_work):
    """Check that workers end with the command that started them, and that the same command then
    goes on where they were and leaves no job's file, the killed one's included."""
    long = {"overrides": "training.epochs=400 runtime.checkpoint_seconds=0"}
    started = command(tiny, "--workers", "2", **long)
    there = [tiny.run("r") / f"fold-{k}" / "last.pt" for k in (0, 1)]
    assert patiently(lambda: all(path.exists() for path in there))
    assert len(at_work(tiny.root)) == 2
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    assert patiently(lambda: not at_work(tiny.root), 30)
    again = command(tiny, "--workers", "2", **long)
    told, _ = again.communicate(timeout=300)
    assert again.returncode == 0, told
    record = json.loads((tiny.run("r") / "run.json").read_text())
    assert record["complete"] and record["folds"]["0"]["resumed_at_epoch"] > 0
    assert not list((tiny.project.runs("tiny") / ".jobs").glob("*.npz"))


def test_ctrl_c_ends_all(tiny, command, patiently, at_work):
    """Check that SIGINT to the command ends its workers, is one line, and leaves no job's file."""
    long = "training.epochs=4000 runtime.checkpoint_seconds=0"
    started = command(tiny, "--workers", "2", overrides=long)
    assert patiently((tiny.run("r") / "fold-0" / "last.pt").exists)
    os.kill(started.pid, signal.SIGINT)
    told, _ = started.communicate(timeout=60)
    assert started.returncode == 130 and "interrupted; run the same command again" in told
    assert not at_work(tiny.root)
    assert not list((tiny.project.runs("tiny") / ".jobs").iterdir())


def test_two_commands_at_once(tiny, command, whole, artefacts):
    """Check that both end well and leave the bytes of a single one."""
    both = [command(tiny, "--workers", "2"), command(tiny, "--workers", "2")]
    told = [one.communicate(timeout=300)[0] for one in both]
    for one, text in zip(both, told, strict=True):
        assert one.returncode == 0 or "is being worked on by process" in text, text
        assert "Traceback" not in text
    assert 0 in [one.returncode for one in both]
    assert artefacts(tiny.run("r")) == whole
    assert not list(tiny.root.rglob("*.tmp"))


def test_gpus_of_calls(tmp_path, monkeypatch):
    """Check that each call sees the GPUs that are its own, and one that asks for too many fails."""
    seen: list[str] = []
    popen = module.subprocess.Popen

    def start(command, *, env, **options):
        seen.append(env["CUDA_VISIBLE_DEVICES"])
        return popen([sys.executable, "-c", ""], env=env, **options)

    monkeypatch.setattr(module.subprocess, "Popen", start)
    engine = Local(3, tmp_path, str, ("4", "6"))
    sizes = [1, 1, 0, 2, 0.5, 0.5, 3]
    calls = [Call(f"c{i}", DO_FOLD, tmp_path, gpus=size) for i, size in enumerate(sizes)]
    ended = {call.name: fault for call, fault in engine.run(calls)}
    assert seen == ["4", "6", "", "4,6", "4", "6"]
    assert ended.pop("c6").startswith("asks for 3 GPUs, but there are 2")
    assert set(ended.values()) == {""}
    shares = [Local(workers, tmp_path, str, ("4", "6")).gpus for workers in (1, 2, 3, 4, 5)]
    assert shares == [1, 1, 0.5, 0.5, 1 / 3]
