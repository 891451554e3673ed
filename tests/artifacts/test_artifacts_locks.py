"""Locks: a live owner is respected and named, a killed one is taken over."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from pipeline.artifacts.locks import lock
from pipeline.errors import Busy

CHECKOUT = Path(pipeline.__file__).parent.parent
HOLDER = """
import sys, time
from pathlib import Path
from pipeline.artifacts.locks import lock
with lock(Path(sys.argv[1]), "fold 3"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the lock `job.lock`."""
    path = tmp_path / "job.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    assert process.stdout.readline().strip() == "held"
    yield path, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_live_lock_is_respected_and_names_its_owner(holder):
    """Check that a second process gets Busy with what is worked on, by whom, and a remedy."""
    path, process = holder
    with pytest.raises(Busy) as refused, lock(path, "fold 3"):
        pytest.fail("two processes held one lock")
    text = str(refused.value)
    assert f"process {process.pid} " in text and "fold 3" in text and "wait" in text
    assert process.poll() is None


def test_a_killed_holder_is_taken_over(holder):
    """Check that SIGKILL frees the lock at once, though its owner file stays behind."""
    path, process = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (path.parent / ".job.lock.owner").exists(), "a killed process cannot tidy up"
    with lock(path, "fold 3"):
        owner = (path.parent / ".job.lock.owner").read_text()
        assert str(os.getpid()) in owner
    assert not (path.parent / ".job.lock.owner").exists()


def test_a_lock_is_free_again_after_use_and_after_an_error(tmp_path):
    """Check that leaving the block, even by an error, lets go of the lock."""
    path = tmp_path / "deep" / "job.lock"
    with pytest.raises(RuntimeError), lock(path, "x"):
        raise RuntimeError
    with lock(path, "x"), pytest.raises(Busy), lock(path, "x"):
        pass
    with lock(path, "x"):
        pass


def test_two_locks_do_not_disturb_each_other(tmp_path):
    """Check that locks of different jobs are held at the same time."""
    with lock(tmp_path / "a.lock", "a"), lock(tmp_path / "b.lock", "b"):
        assert (tmp_path / ".a.lock.owner").exists() and (tmp_path / ".b.lock.owner").exists()


def test_a_broken_owner_file_is_no_obstacle(holder):
    """Check that Busy is raised, not a parser's error, where the owner file is garbage."""
    path, _ = holder
    for garbage in ("{", "[1]", '{"pid": 3}'):
        (path.parent / ".job.lock.owner").write_text(garbage)
        with pytest.raises(Busy, match="another process"), lock(path, "fold 3"):
            pass
