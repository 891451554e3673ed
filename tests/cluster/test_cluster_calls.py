"""What engines share: calls by name, what a job takes, the files of jobs, and who is asked for."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.cluster import choose
from pipeline.cluster.call import environment, function_named, outcome
from pipeline.cluster.choose import engine_for
from pipeline.cluster.gpus import Free, visible
from pipeline.cluster.local import Local
from pipeline.config.cluster import Cluster, load_cluster
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.training import wave, work
from pipeline.training.run import Run
from pipeline.training.spec import load_spec, save_spec

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("os:system", "not a function of ours"),
        ("pipelines.x:y", "not a function of ours"),
        ("pipeline.training.work", "not a function of ours"),
        ("pipeline.training.work:do_nothing", "there is no such function"),
        ("pipeline.training.works:do_fold", "there is no such function"),
        ("pipeline.training.work:load_spec", "not a function of that module"),
        ("pipeline.training.work:Path", "not a function of that module"),
    ],
)
def test_other_functions_are_refused(name, said):
    """Check that only functions of our own modules are called, each where it is defined."""
    with pytest.raises(PodiumError, match=said):
        function_named(name)


def test_the_fold_s_function_is_found():
    """Check that the name that jobs carry is that of the function."""
    assert function_named(work.DO_FOLD) is work.do_fold


def test_a_bug_is_one_line_and_its_traceback_is_kept(tmp_path):
    """Check that an error which is no user's mistake names the file of its traceback."""
    (tmp_path / "job.npz").write_bytes(b"no archive")
    log = tmp_path / "log"
    fault = outcome(work.DO_FOLD, tmp_path / "job.npz", log)
    assert str(log) in fault and "\n" not in fault and "Error" in fault
    assert "Traceback" in log.read_text()
    assert "no such job" in outcome(work.DO_FOLD, tmp_path / "gone.npz", log)


def test_a_call_s_environment(monkeypatch):
    """Check the threads, the GPUs, and that our code is found first, once."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), "/elsewhere"]))
    found = environment(3, "1,2")
    assert found["OMP_NUM_THREADS"] == "3" and found["CUDA_VISIBLE_DEVICES"] == "1,2"
    assert found["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/elsewhere"]
    assert "CUDA_VISIBLE_DEVICES" not in environment(3)


def test_calls_load_no_torch_before_their_threads_are_settled():
    """Check that what a worker of a cluster imports first leaves torch alone."""
    code = (
        "import sys, pipeline.cluster.slurm, pipeline.cluster.call; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_gpus_are_handed_out_whole_or_in_parts():
    """Check that whole GPUs are nobody else's, halves share one, and what is given back is free."""
    free = Free(("4", "7"))
    assert free.take(0) == ()
    halves = [free.take(0.5) for _ in range(3)]
    assert halves == [("4",), ("7",), ("4",)]
    assert free.take(1) is None
    free.give(("7",), 0.5)
    assert free.take(1) == ("7",) and free.take(0.1) is None
    free.give(("7",), 1)
    assert free.take(2) is None
    free.give(("4",), 0.5)
    free.give(("4",), 0.5)
    assert free.take(2) == ("4", "7")


def test_visible_gpus_are_those_of_the_environment(monkeypatch):
    """Check that a machine's GPUs are named as CUDA_VISIBLE_DEVICES does, as many as torch sees."""
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-ab")
    assert visible() == ("5", "GPU-ab")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible() == ("0", "1")


@pytest.mark.parametrize(
    ("executor", "workers", "gpus", "expected"),
    [
        ("local", None, 0, None),
        ("local", None, 1, None),
        ("local", None, 3, (3, 3)),
        ("local", 1, 3, None),
        ("local", 2, 0, (2, 0)),
        ("local", 2, 3, (2, 3)),
    ],
)
def test_workers_of_this_machine(tmp_path, monkeypatch, executor, workers, gpus, expected):
    """Check that there is one worker per GPU where there are several, else this process alone."""
    monkeypatch.setattr(choose.gpus, "visible", lambda: tuple("0123"[:gpus]))
    found = engine_for(Project(tmp_path), executor, workers, tmp_path, str)
    assert (None if found is None else (found.workers, len(found.devices))) == expected
    if workers is None:
        assert engine_for(Project(tmp_path), executor, None, tmp_path, str, alone=True) is None


@pytest.mark.parametrize(
    ("executor", "workers", "said"),
    [
        ("slrum", None, "EXECUTOR: 'slrum' is not known .did you mean slurm"),
        ("x", None, "is not known; there are: local, ray, slurm, slurm-local"),
        ("slurm:here", None, "'slurm:here' is not known"),
        ("local", 0, "WORKERS: 0, but it must be 1 or more"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path, executor, workers, said):
    """Check the refusals, each one line."""
    with pytest.raises(PodiumError, match=said):
        engine_for(Project(tmp_path), executor, workers, tmp_path, str)


def test_a_cluster_s_file(tmp_path):
    """Check that its keys are read, that an unknown one is refused with the nearest, and that
    without it there are defaults."""
    assert load_cluster(Project(tmp_path)) == Cluster()
    path = tmp_path / "experiments" / "cluster.yaml"
    path.parent.mkdir()
    path.write_text("cpus: 8\nslurm: {partition: gpu, options: {reservation: night}}\n")
    found = load_cluster(Project(tmp_path))
    assert found.cpus == 8 and found.slurm.options == {"reservation": "night"}
    path.write_text("slurm: {partitions: gpu}\n")
    with pytest.raises(PodiumError, match=r"experiments/cluster.yaml: unknown key .*partition"):
        load_cluster(Project(tmp_path))


@dataclass(frozen=True)
class Fake:
    """An engine that has this much for each job."""

    cpus: int
    gpus: float
    name: str = "local"


@pytest.mark.parametrize(
    ("runtime", "engine", "expected", "takes"),
    [
        ({}, Fake(4, 0), {"threads": 4, "workers": "auto", "device": "auto"}, (4, 0)),
        ({"threads": 3}, Fake(4, 0), {"threads": 3}, (3, 0)),
        ({}, Fake(4, 1), {"threads": 4, "workers": 3, "device": "auto"}, (4, 1)),
        ({}, Fake(16, 0.5), {"threads": 16, "workers": 8}, (16, 0.5)),
        ({"device": "cpu"}, Fake(4, 1), {"threads": 4, "workers": "auto"}, (4, 0)),
        ({"device": "cuda:1", "workers": 2}, Fake(4, 1), {"device": "cuda", "workers": 2}, (4, 1)),
        ({"processes": 2}, Fake(8, 1), {"threads": 4, "workers": 3}, (8, 2)),
        ({"processes": 2, "threads": 3}, Fake(8, 0), {"threads": 3}, (6, 0)),
    ],
)
def test_what_a_job_takes(tiny, runtime, engine, expected, takes):
    """Check that what a recipe leaves open is decided by the engine, and what it says stands."""
    job = a_job(tiny)
    defaults = {"device": "auto", "threads": "auto", "workers": "auto"}
    asked = job.recipe.runtime.model_copy(update=defaults | runtime)
    job = wave.replace(job, recipe=job.recipe.model_copy(update={"runtime": asked}))
    fitted, cpus, gpus = wave.fit(job, engine)
    found = fitted.recipe.runtime.model_dump()
    assert {key: found[key] for key in expected} == expected and (cpus, gpus) == takes
    assert fitted.identity == job.identity


def a_run(tiny) -> Run:
    from pipeline.config.recipe import load_recipe

    folds = tiny.folds(n_folds=3)
    recipe = load_recipe(tiny.project, "baseline", arch="lenet", competition={}, overrides="")
    return Run("r", "baseline", recipe, tiny.data, folds)


def a_job(tiny):
    run = a_run(tiny)
    run.open()
    return run.jobs([1])[0][0]


def test_the_lock_is_that_of_the_run(tiny):
    """Check that a job's file leads to the lock that whoever opens the run takes."""
    run = a_run(tiny)
    assert work.lock_path(run.fold_folder(2)) == run.lock_path("fold-2")


def test_a_run_begun_anew_is_refused(tiny, tmp_path):
    """Check that a job's file from before FRESH=1 does not write into the new run, and that one of
    this start trains, once."""
    run, path = a_run(tiny), tmp_path / "job.npz"
    job = a_job(tiny)
    before = work.started(run.record_path, run.meta)
    save_spec(job, path, before | {"created": "2001-01-01T00:00:00+00:00"})
    with pytest.raises(PodiumError, match=r"r: begun anew meanwhile .created 2001.*same command"):
        work.do_fold(path)
    assert not (job.folder / "fold.json").exists()
    save_spec(job, path, before)
    work.do_fold(path)
    written = (job.folder / "fold.json").stat().st_mtime_ns
    work.do_fold(path)
    assert (job.folder / "fold.json").stat().st_mtime_ns == written
    run.record_path.unlink()
    with pytest.raises(PodiumError, match="begun anew meanwhile"):
        work.do_fold(path)
    assert load_spec(path).identity == job.identity


def test_files_of_dead_commands_are_removed(tmp_path):
    """Check that a killed command's files go, but not those of a living one, of another machine or
    of SLURM's queue, until they are old."""
    dead = 2**22 + 1
    names = {
        f"a.fold-0.local-{wave.HOST}-{dead}.npz": False,
        f"a.fold-1.local-{wave.HOST}-{os.getpid()}.npz": True,
        f"a.fold-2.local-0a0a0a-{dead}.npz": True,
        f"a.b.fold-3.slurm-{wave.HOST}-{dead}.npz": True,
        f"old.fold-3.slurm-{wave.HOST}-{dead}.npz": False,
    }
    for name in names:
        (tmp_path / name).touch()
    past = time.time() - wave.MONTH - 10
    os.utime(tmp_path / f"old.fold-3.slurm-{wave.HOST}-{dead}.npz", (past, past))
    wave._sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {n for n, kept in names.items() if kept}


def test_budget_is_for_this_process(tiny, tmp_path):
    """Check that BUDGET beside an engine is one line."""
    from pipeline.training.request import TrainRequest, check_request

    engine = Local(2, tmp_path, str)
    request = TrainRequest("tiny", ["lenet"], budget=60.0, engine=engine)
    with pytest.raises(PodiumError, match="BUDGET: is measured on this machine"):
        check_request(tiny.project, request)
