"""SLURM, through submitit: the calls are arrays of jobs, which are queued again where they are
preempted or reach their time limit, and go on from their last checkpoint.

`slurm-local` is submitit's stand-in for trying it: processes of this machine, all at once. This
module loads no torch, since each job imports it before its threads are settled.
"""

import contextlib
import io
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import Checkpointable, environment_variables

from pipeline.cluster.call import environment, log_path, one_line, outcome
from pipeline.config.cluster import Cluster
from pipeline.errors import PodiumError
from pipeline.training.engine import STARTER, Call

CPUS = 4  # of a job, where experiments/cluster.yaml does not say
LOOK = 1.0  # seconds between two looks for results
ASK = 15.0  # seconds between two questions to the controller
GRACE = 60.0  # seconds that a shared disk may take to show the result of a job that has ended


class Work(Checkpointable):
    """What a job does; queued again it does the same, and so goes on where it was."""

    def __call__(self, root: str, function: str, path: str, log: str) -> str:
        os.chdir(root)
        if os.environ.get(STARTER):  # of slurm-local: there is no controller that would end it
            from pipeline.training.processes import end_with

            end_with(int(os.environ[STARTER]))
        return outcome(function, Path(path), Path(log))


@dataclass(frozen=True)
class SlurmEngine:
    """At most `workers` jobs of an array at a time. `folder`: of logs; `asked`: what the project
    says of its cluster."""

    workers: int | None
    folder: Path
    say: Callable[[str], None]
    asked: Cluster
    name: str = "slurm"

    @property
    def cpus(self) -> int:
        return self.asked.cpus or CPUS

    @property
    def gpus(self) -> float:
        return float(self.asked.gpus or 0)

    def run(self, calls: Sequence[Call]) -> Iterator[tuple[Call, str]]:
        """Do all calls; yield each as it ends, with '' or one line that says why it failed."""
        if self.name == "slurm" and shutil.which("sbatch") is None:
            raise PodiumError(
                "EXECUTOR: 'slurm' needs sbatch, which is not here; run this where jobs are "
                "submitted, or type EXECUTOR=local"
            )
        working: dict[Any, Call] = {}
        place = (self.folder / f"{self.name}-{os.getpid()}").absolute()
        queue, sound = Queue(), True
        try:
            for (cpus, gpus), same in groupby(sorted(calls, key=_needs), _needs):
                working |= self._submit(place, list(same), cpus, gpus)
            while working:
                lost = queue.lost(working) if self.name == "slurm" else _ended(working)
                for job in [j for j in working if j.paths.result_pickle.exists() or j in lost]:
                    fault = _fault(job)
                    sound = sound and not fault
                    yield working.pop(job), fault
                time.sleep(LOOK if working else 0)
        finally:
            self._cancel(list(working))
            if sound:
                shutil.rmtree(place, ignore_errors=True)  # logs, pickles: nobody needs them now

    def _submit(self, place: Path, calls: list[Call], cpus: int, gpus: int) -> dict[Any, Call]:
        """Submit calls of the same needs as one array."""
        executor = self._executor(place, cpus, gpus)
        variables = environment(cpus)
        if self.name != "slurm":
            variables[STARTER] = str(os.getpid())
        logs = [str(log_path(self.folder, call)) for call in calls]
        what = [str(Path.cwd())] * len(calls), [c.function for c in calls]
        paths = [str(call.path.absolute()) for call in calls]
        try:
            # sbatch's complaint is in the error, too; submitit would print it beside it
            with environment_variables(**variables), contextlib.redirect_stderr(io.StringIO()):
                jobs = executor.map_array(Work(), *what, paths, logs)
        except submitit.core.utils.FailedJobError as error:
            said = one_line(str(error).replace("sbatch: error: ", "").split("Command line")[-1])
            said = said if len(said) <= 240 else f"...{said[-237:]}"
            raise PodiumError(
                f"EXECUTOR: sbatch refused the jobs ({said}); experiments/cluster.yaml says "
                "what it is asked for"
            ) from None
        if self.name == "slurm":
            number = jobs[0].job_id.partition("_")[0]
            self.say(f"slurm: {len(jobs)} jobs as {number}; of each: cpus {cpus}, gpus {gpus}")
        return dict(zip(jobs, calls, strict=True))

    def _executor(self, place: Path, cpus: int, gpus: int) -> submitit.AutoExecutor:
        asked = self.asked.slurm
        if self.name != "slurm":
            executor = submitit.AutoExecutor(place, cluster="local")
            executor.update_parameters(timeout_min=asked.minutes, gpus_per_node=gpus)
            return executor
        executor = submitit.AutoExecutor(
            place, cluster="slurm", slurm_max_num_timeout=asked.timeouts
        )
        named = ("partition", "account", "qos", "constraint", "exclude", "nodelist")
        given = {f"slurm_{key}": getattr(asked, key) for key in named}
        given |= {"mem_gb": asked.memory_gb, "gpus_per_node": gpus or None}
        executor.update_parameters(
            name="podium",
            cpus_per_task=cpus,
            timeout_min=asked.minutes,
            slurm_array_parallelism=self.workers or 256,
            slurm_setup=list(asked.setup),
            slurm_additional_parameters={"requeue": True, **asked.options},
            **{key: value for key, value in given.items() if value is not None},
        )
        return executor

    def _cancel(self, jobs: list[Any]) -> None:
        for job in jobs:
            job.cancel(check=False)
        if jobs:
            self.say(f"{self.name}: cancelled {len(jobs)} jobs")


class Queue:
    """What the controller says of jobs, asked for now and then."""

    def __init__(self) -> None:
        self.asked = time.monotonic()
        self.gone: dict[Any, float] = {}  # since when a job is in the queue no more

    def lost(self, jobs: dict[Any, Call]) -> set[Any]:
        """Return the jobs that are no longer in the queue and have left no result in time."""
        now = time.monotonic()
        if now - self.asked >= ASK:
            self.asked = now
            there = _queued({job.job_id.partition("_")[0] for job in jobs})
            if there is not None:
                gone = [job for job in jobs if job.job_id not in there]
                self.gone = {job: self.gone.get(job, now) for job in gone}
        return {job for job, since in self.gone.items() if job in jobs and now - since >= GRACE}


def _queued(numbers: set[str]) -> set[str] | None:
    """Return which of the jobs wait or run, by squeue; None if it does not answer."""
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(numbers)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    return set(done.stdout.split())


def _ended(jobs: dict[Any, Call]) -> set[Any]:
    return {job for job in jobs if job.done()}


def _needs(call: Call) -> tuple[int, int]:
    return call.cpus, math.ceil(call.gpus)


def _fault(job: Any) -> str:
    """Return why a job failed, or ''; what it left tells, not the accounting, which may be off."""
    if not job.paths.result_pickle.exists():
        return f"job {job.job_id} ended without a result; read {job.paths.stderr}"
    try:
        return job.result()
    except submitit.core.utils.FailedJobError as error:
        last = str(error).split("-" * 22)[1].strip().splitlines()[-1:]
        return one_line(f"job {job.job_id} failed: {''.join(last)}; read {job.paths.stderr}")
