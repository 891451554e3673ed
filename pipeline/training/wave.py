"""The missing jobs of all runs at once, by an engine; a run is assembled when its last job ends."""

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from pipeline.artifacts.files import is_alive, read_object
from pipeline.artifacts.hashing import text_hash
from pipeline.errors import Busy, PodiumError
from pipeline.training.assemble import Summary, assemble
from pipeline.training.engine import Call, Engine
from pipeline.training.fold import DONE, is_finished
from pipeline.training.job import FoldJob
from pipeline.training.refit import Refit
from pipeline.training.run import Run
from pipeline.training.spec import save_spec
from pipeline.training.work import DO_FOLD, started, told

Say = Callable[[str], None]
HOST = text_hash(socket.gethostname(), 6)
LOADERS = 8  # that decode for one GPU, at most
MONTH = 30 * 24 * 3600  # seconds that a job of a cluster may wait for its turn


@dataclass(frozen=True)
class Outcome:
    """What became of a wave: the summaries of runs by name, a line for each job that failed, one
    for each that is somebody else's work, and how many there were."""

    summaries: dict[str, Summary] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    jobs: int = 0


def work_off(missing: list[tuple[Run, list[FoldJob]]], engine: Engine, say: Say) -> Outcome:
    """Let the engine do all jobs; say how each ended, and assemble each run after its last one."""
    left = Counter({run.name: len(jobs) for run, jobs in missing})
    outcome = Outcome(jobs=left.total())
    for run, jobs in missing:
        if not jobs:
            _assemble(run, outcome)
    with _files(missing, engine) as work:
        ended = engine.run([call for call, _, _ in work.values()])
        bar = tqdm(total=len(work), desc="folds", unit="fold", disable=None, leave=False)
        with contextlib.closing(ended), bar:
            for call, fault in ended:
                _, run, job = work[call.path]
                _tell(run, job, fault, outcome, say)
                bar.update()
                left[run.name] -= 1
                if not left[run.name]:
                    _assemble(run, outcome)
    return outcome


def check_outcome(outcomes: list[Outcome], say: Say) -> None:
    """Tell what failed, or that others were at all of it, once everything else is done."""
    failed = [line for outcome in outcomes for line in outcome.failed]
    busy = [line for outcome in outcomes for line in outcome.busy]
    jobs = sum(outcome.jobs for outcome in outcomes)
    for line in failed:
        say(f"failed: {line}")
    if failed:
        raise PodiumError(
            f"{len(failed)} failures, told above, among {jobs} jobs; the others are done, and the "
            "same command goes on with what is missing"
        )
    if busy and len(busy) == jobs:
        raise Busy(busy[0])


@contextlib.contextmanager
def _files(
    missing: list[tuple[Run, list[FoldJob]]], engine: Engine
) -> Iterator[dict[Path, tuple[Call, Run, FoldJob]]]:
    """Write each job to a file of this process's own; remove them when all have ended."""
    work: dict[Path, tuple[Call, Run, FoldJob]] = {}
    try:
        for run, jobs in missing:
            place = run.folder.parent / ".jobs"
            _sweep(place)
            for job in jobs:
                owner = f"{engine.name}-{HOST}-{os.getpid()}"
                path = place / f"{run.name}.{job.folder.name}.{owner}.npz"
                fitted, cpus, gpus = fit(job, engine)
                save_spec(fitted, path, started(run.record_path, run.meta))
                call = Call(f"{run.name}, {job.title}", DO_FOLD, path, cpus, gpus)
                work[path] = call, run, job
        yield work
    finally:
        for path in work:
            path.unlink(missing_ok=True)


def _sweep(place: Path) -> None:
    """Remove what killed commands left; a cluster may still have work of theirs in its queue."""
    for path in place.glob("*.npz"):
        engine, host, pid = path.stem.rpartition(".")[2].rsplit("-", 2)
        gone = host == HOST and not is_alive(int(pid)) and not engine.startswith("slurm")
        with contextlib.suppress(FileNotFoundError):  # another command sweeps, too
            if gone or time.time() - path.stat().st_mtime > MONTH:
                path.unlink()


def fit(job: FoldJob, engine: Engine) -> tuple[FoldJob, int, float]:
    """Return the job with what its recipe leaves open of threads, loaders and device decided by
    what the engine has for it, and the cores and GPUs that it takes."""
    runtime = job.recipe.runtime
    together = 1 if job.recipe.features is not None else runtime.processes
    cores = max(1, engine.cpus // together)
    threads = cores if runtime.threads == "auto" else runtime.threads
    gpus = 0.0 if runtime.device in ("cpu", "mps") else engine.gpus
    decided = {"threads": threads}
    if gpus:
        gpus = float(together) if together > 1 else gpus
        if runtime.workers == "auto":
            decided["workers"] = min(LOADERS, max(1, cores - 1))
        if runtime.device != "auto":
            decided["device"] = "cuda"  # which one, the engine decides
    recipe = job.recipe.model_copy(update={"runtime": runtime.model_copy(update=decided)})
    cpus = engine.cpus if runtime.threads == "auto" else threads * together
    return replace(job, recipe=recipe), cpus, gpus


def _tell(run: Run, job: FoldJob, fault: str, outcome: Outcome, say: Say) -> None:
    if fault:
        outcome.failed.append(f"{run.name}: {job.title}: {fault}")
        say(f"{run.name}: {job.title} failed")
    elif is_finished(job.folder):
        record = read_object(job.folder / DONE, (), "run the same command again")
        say(f"{run.name}: {told(job.title, record, refit=run.origin is not None)}")
    else:
        outcome.busy.append(_worker_of(run, job))
        say(f"{run.name}: {job.title} left out: {outcome.busy[-1]}")


def _worker_of(run: Run, job: FoldJob) -> str:
    """Say who works on a job that was left alone."""
    try:
        with run.lock_job(job.folder.name):
            return "another process worked on it; run the same command again"
    except Busy as error:
        return str(error)


def _assemble(run: Run, outcome: Outcome) -> None:
    try:
        made = run.assemble() if isinstance(run, Refit) else assemble(run)
        outcome.summaries[run.name] = made
    except PodiumError as error:
        outcome.failed.append(f"{run.name}: {error}")
