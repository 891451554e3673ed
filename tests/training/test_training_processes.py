"""Tests with real processes: two trainings of one run at once, and a real kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.artifacts.files import read_json

ROOT = Path(__file__).parents[2]


def start(project) -> subprocess.Popen:
    command = ["train", "--comp", "kinds", "--arch", "lenet", "--recipe", "tiny", "--name", "r"]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out + err


@pytest.mark.slow
def test_two_processes_train_the_same_run(project, whole, artefacts):
    """Check that both end well, share the folds, and leave the bytes of a single run."""
    both = [finish(process) for process in (start(project), start(project))]
    for status, text in both:
        busy = status == 2 and "is being worked on by process" in text
        assert status == 0 or busy, text
    assert 0 in [status for status, _ in both]
    folder = project.run("kinds", "r")
    assert read_json(folder / "run.json")["complete"]
    assert artefacts(folder) == artefacts(whole.run.folder)
    assert not list(project.root.rglob("*.tmp"))


@pytest.mark.slow
def test_real_kill_is_recovered_by_the_same_command(project, whole, artefacts):
    """Check that SIGKILL once the run's folder is there blocks nothing and changes no byte."""
    process = start(project)
    record = project.run("kinds", "r") / "run.json"
    while not record.exists() and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    status, text = finish(start(project))
    assert status == 0, text
    assert artefacts(record.parent) == artefacts(whole.run.folder)
    assert not list(project.root.rglob("*.tmp"))
