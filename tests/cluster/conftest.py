"""Runs of the tiny competition by engines, and ways to kill what they start."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.training.assemble import Summary
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

ROOT = Path(__file__).parents[2]
EPOCHS = 80
SLOWLY = f"training.epochs={EPOCHS} runtime.checkpoint_seconds=0"
TIMES = ("created", "seconds", "git_commit")


def train_by(tiny: Any, engine: Any, say: Callable[[str], None] = str, **options: Any) -> Summary:
    """Train lenet on three folds as run `r`; return its summary."""
    tiny.folds(n_folds=3)
    asked = {"name": "r", "overrides": SLOWLY, **options}
    return train(tiny.project, TrainRequest("tiny", ["lenet"], engine=engine, **asked), say)[0]


@pytest.fixture
def run_by() -> Callable[..., Summary]:
    return train_by


def read(folder: Path) -> dict[str, Any]:
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".npz", ".safetensors"))
    found: dict[str, Any] = {str(p.relative_to(folder)): p.read_bytes() for p in files}
    record = json.loads((folder / "run.json").read_text())
    for one in (record, *record["folds"].values()):
        for key in (*TIMES, "resumed_at_epoch"):
            one.pop(key, None)
    return found | {"run.json": record}


@pytest.fixture
def artefacts() -> Callable[[Path], dict[str, Any]]:
    """Return what a run's folder holds: the bytes of weights and predictions, and its record
    without times."""
    return read


@pytest.fixture(scope="session")
def kept() -> dict[str, Any]:
    """What is made once for all tests."""
    return {}


@pytest.fixture
def whole(kept, make_tiny) -> dict[str, Any]:
    """What run `r` holds that this process trained, fold after fold."""
    if "whole" not in kept:
        tiny = make_tiny(folder="whole", images=True)
        kept["whole"] = read(train_by(tiny, None).run.folder)
    return kept["whole"]


def owner(tiny: Any, fold: int) -> int | None:
    """Return the process that works on a fold of run `r`, if one does."""
    path = tiny.project.runs("tiny") / ".locks" / f".r.fold-{fold}.lock.owner"
    try:
        return json.loads(path.read_text())["pid"]
    except (OSError, ValueError):
        return None


def wait_until(true: Callable[[], Any], seconds: float = 120) -> Any:
    until = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


@pytest.fixture
def patiently() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def striking() -> Callable[..., Any]:
    """Send a signal to the process that works on fold 0 once it has a checkpoint, so many times,
    each to another process."""

    @contextmanager
    def strike(tiny: Any, number: int = signal.SIGKILL, times: int = 1) -> Iterator[list[int]]:
        struck: list[int] = []
        last = tiny.run("r") / "fold-0" / "last.pt"

        def ready() -> int | None:
            found = owner(tiny, 0) if last.exists() else None
            return None if found in (*struck, os.getpid()) else found

        def work() -> None:
            for _ in range(times):
                found = wait_until(ready)
                if found:
                    os.kill(found, number)
                    struck.append(found)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield struck
        thread.join(150)

    return strike


@pytest.fixture
def command() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start `make train` of run `r` in a process of its own, which ends with the test."""
    processes = []

    def heed() -> None:  # Ctrl-C, though the tests may run in a background that ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def start(tiny: Any, *options: str, overrides: str = SLOWLY) -> subprocess.Popen:
        tiny.folds(n_folds=3)
        words = ["train", "--comp", "tiny", "--arch", "lenet", "--name", "r", "--set", overrides]
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words, *options],
            cwd=tiny.root,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def at_work() -> Callable[[Path], list[str]]:
    """Return the command lines of processes that name a project."""

    def listed(root: Path) -> list[str]:
        done = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if f"{root}/experiments" in line]

    return listed
