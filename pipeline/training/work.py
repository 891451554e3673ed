"""One fold, done by whichever process is given its file: here, or on a machine that shares the
project's disk. It may be done again, or by two at once: the fold's lock lets one of them work."""

from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_object
from pipeline.artifacts.locks import lock
from pipeline.errors import Busy, PodiumError
from pipeline.training.fold import is_finished, train_fold
from pipeline.training.spec import load_spec, read_said

DO_FOLD = "pipeline.training.work:do_fold"
WAIT = 10.0  # seconds; the loaders of a killed process hold its lock until they notice, up to 5 s


def do_fold(path: Path) -> None:
    """Train the fold of a job's file, or go on with it; one that is finished, or that another
    process works on, is left alone. Whether it is finished then, the fold's folder tells."""
    said = read_said(path)
    folder = Path(said["folder"])
    run, job = folder.parent.name, folder.name
    try:
        held = lock(lock_path(folder), f"{job.replace('-', ' ')} of run {run}", wait=WAIT)
        with held:
            check_started(folder.parent, said["started"])
            if not is_finished(folder):
                train_fold(load_spec(path))
    except Busy:
        return


def lock_path(folder: Path) -> Path:
    """Return the lock of the job in a fold's folder, the one that `Run.lock_path` names."""
    run = folder.parent
    return run.parent / ".locks" / f"{run.name}.{folder.name}.lock"


def started(record_path: Path, meta: dict[str, Any]) -> dict[str, Any]:
    """Return what tells this start of a run from any other: its hashes, and when it was made."""
    record = read_object(record_path, meta, "FRESH=1 starts the run anew")
    return {key: record.get(key) for key in [*meta, "created"]}


def check_started(run: Path, expected: dict[str, Any]) -> None:
    """Refuse a run's folder that somebody has begun anew since the job's file was written."""
    record = run / "run.json"
    found = read_object(record, (), "run the same command again") if record.exists() else {}
    odd = [key for key, value in expected.items() if found.get(key) != value]
    if odd:
        pair = f"{odd[0]} {expected[odd[0]]} -> {found.get(odd[0])}"
        raise PodiumError(f"{run}: begun anew meanwhile ({pair}); run the same command again")


def told(title: str, record: dict[str, Any], *, refit: bool) -> str:
    """Return what is said of a job that has ended, by the fold's record."""
    score = "" if refit else " -"
    score = score if record["score"] is None else f" {record['score']:.4f}"
    resumed = record["resumed_at_epoch"]
    note = f", resumed after epoch {resumed}" if resumed else ""
    note += f", {record['stopped']['said']}" if record["stopped"] else ""
    return f"{title}{score} in {record['seconds']:.0f} s{note}"
