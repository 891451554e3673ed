"""Does a kill cost a bit? Folds, train, ensemble, submit under SIGKILL, and the same in peace.

    .venv/bin/python -m benchmarks.kills --kills 20 --seed 0

A reference chain runs uninterrupted in a temporary project. Then the same chain runs in a fresh one
and is killed, with its whole process group, at random moments between the first file that a command
writes and its end, and started again by the same command. When the chain is complete before all
kills are used up, another fresh project follows. Every complete project must hold the same bytes of
predictions, weights, folds and submission as the reference, one ledger row per submission, and
nothing half-written. Exit status 1 if one does not.
"""

import argparse
import contextlib
import csv
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = "training.epochs=5 runtime.threads=1 runtime.checkpoint_seconds=0"
COMMANDS = {
    "folds": ["folds", "--comp", "digits"],  # makes the data first
    "train": ["train", "--comp", "digits", "--arch", "lenet", "--seed", "0 1", "--set", SETTINGS],
    "ensemble": ["ensemble", "--comp", "digits"],
    "submit": ["submit", "--comp", "digits"],
}
# Train is killed early in what is left of it, several times a project; the others once or twice.
REACH = {"folds": 1.0, "train": 0.5, "ensemble": 1.0, "submit": 1.0}  # of its work
MOST = {"folds": 1, "train": 4, "ensemble": 2, "submit": 2}  # kills in one project
ARTEFACTS = ("experiments/runs/**/*.npz", "experiments/runs/**/*.safetensors", "folds/*.csv")
SUBMISSIONS = "submissions/digits/[0-9]*.csv"


@dataclass
class Timing:
    """When a command wrote its first file, and when it ended, in seconds from its start."""

    first: float
    end: float


@dataclass
class Tally:
    """What has been done so far, by phase."""

    kills: Counter = field(default_factory=Counter)
    missed: Counter = field(default_factory=Counter)
    identical: int = 0
    faults: list[str] = field(default_factory=list)


def new_project(folder: Path) -> Path:
    """Lay out a project with this checkout's competitions and recipes, without data."""
    for name in ("competitions", "recipes"):
        shutil.copytree(ROOT / "experiments" / name, folder / "experiments" / name)
    return folder


def start(project: Path, phase: str) -> subprocess.Popen:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *COMMANDS[phase]],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def newest(project: Path) -> int:
    """Return when a file last came, went or was replaced in the project, in nanoseconds."""
    latest = 0
    for folder, below, _ in os.walk(project):
        below[:] = [name for name in below if name != "images"]  # thousands, which never change
        with contextlib.suppress(FileNotFoundError):
            latest = max(latest, os.stat(folder).st_mtime_ns)
    return latest


def wait_for_write(process: subprocess.Popen, project: Path, before: int) -> None:
    """Return when the command has written its first file, or has ended."""
    while process.poll() is None and newest(project) <= before:
        time.sleep(0.002)


def timed(project: Path, phase: str) -> Timing:
    """Run a command in peace and measure it."""
    before, began = newest(project), time.perf_counter()
    process = start(project, phase)
    wait_for_write(process, project, before)
    first = time.perf_counter() - began
    text = process.communicate()[0]
    if process.returncode != 0:
        sys.exit(f"{phase}: failed without any kill:\n{text}")
    return Timing(first, time.perf_counter() - began)


def killed(project: Path, phase: str, delay: float) -> tuple[bool, str]:
    """Start a command and kill its group `delay` seconds after its first write.

    Returns whether that hit it running, and what went wrong if it failed by itself.
    """
    before = newest(project)
    process = start(project, phase)
    wait_for_write(process, project, before)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    text = process.communicate()[0]
    if process.returncode not in (0, -signal.SIGKILL):
        return False, f"{phase}: status {process.returncode}: {text.strip()[-300:]}"
    return process.returncode == -signal.SIGKILL, ""


def survive(
    project: Path, timings: dict[str, Timing], left: int, rng: random.Random, tally: Tally
) -> None:
    """Take the chain through a project, killing it at most `left` times, until it is complete."""
    for phase, timing in timings.items():
        hits, complete = 0, False
        while not complete and hits < min(MOST[phase], left):
            work = (timing.end - timing.first) * REACH[phase]
            hit, fault = killed(project, phase, work * rng.random())
            if fault:
                tally.faults.append(fault)
                return
            hits += hit
            complete = not hit
            tally.missed[phase] += complete
        left -= hits
        tally.kills[phase] += hits
        if not complete:
            process = start(project, phase)
            text = process.communicate()[0]
            if process.returncode != 0:
                tally.faults.append(f"{phase}: after {hits} kills: {text.strip()[-300:]}")
                return


def contents(project: Path) -> dict[str, str]:
    """Return the SHA-256 of everything that has to be the same."""
    paths = [path for pattern in (*ARTEFACTS, SUBMISSIONS) for path in project.glob(pattern)]
    return {
        str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


def compare(project: Path, reference: dict[str, str], number: int, tally: Tally) -> None:
    """Note every file that differs from the reference, and what should not be there."""
    found = contents(project)
    for path in sorted(reference.keys() | found.keys()):
        if found.get(path) == reference.get(path):
            tally.identical += 1
        else:
            what = "missing" if path not in found else "differs"
            tally.faults.append(f"project {number}: {path} {what if path in reference else 'odd'}")
    with open(project / "submissions" / "digits" / "ledger.csv", newline="") as handle:
        entered = sorted(row["file"] for row in csv.DictReader(handle))
    written = sorted(str(path.relative_to(project)) for path in project.glob(SUBMISSIONS))
    if entered != written:
        tally.faults.append(f"project {number}: ledger has {entered}, the folder {written}")
    left = [*project.rglob("*.tmp"), *project.rglob("last.pt"), *project.glob("data/.digits.*/")]
    tally.faults += [f"project {number}: left behind: {path.relative_to(project)}" for path in left]


def report(tally: Tally, timings: dict[str, Timing], projects: int, files: int) -> None:
    """Print kills per phase and the outcome."""
    print(f"\n{'phase':10}{'kills':>7}{'too late':>10}{'first write':>13}{'end':>8}  (seconds)")
    for phase, timing in timings.items():
        counts = f"{tally.kills[phase]:7}{tally.missed[phase]:10}"
        print(f"{phase:10}{counts}{timing.first:13.1f}{timing.end:8.1f}")
    total = sum(tally.kills.values())
    print(
        f"\n{total} kills in {projects} projects; {tally.identical} of {files * projects} files "
        f"identical to the reference, {len(tally.faults)} faults"
    )
    for fault in tally.faults:
        print(f"  {fault}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, tally, projects = random.Random(asked.seed), Tally(), 0
    with tempfile.TemporaryDirectory(prefix="kills.") as temporary:
        peace = new_project(Path(temporary) / "reference")
        timings = {phase: timed(peace, phase) for phase in COMMANDS}
        reference = contents(peace)
        print(f"reference: {len(reference)} files", flush=True)
        while (used := sum(tally.kills.values())) < asked.kills:
            projects += 1
            project = new_project(Path(temporary) / f"project-{projects}")
            survive(project, timings, asked.kills - used, rng, tally)
            compare(project, reference, projects, tally)
            print(f"project {projects}: kills so far {dict(tally.kills)}", flush=True)
            shutil.rmtree(project)
    report(tally, timings, projects, len(reference))
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
