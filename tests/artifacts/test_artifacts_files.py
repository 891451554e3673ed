"""Atomic files, whole or absent whoever is killed; hashes that are the same in every process."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.artifacts.files import (
    file_hash,
    is_alive,
    read_json,
    replacing,
    write_json,
    write_text,
    write_with,
)
from pipeline.artifacts.hashing import json_hash, stable_int, text_hash
from pipeline.artifacts.keys import STRIDE, mixed_keys
from pipeline.errors import PodiumError

CHECKOUT = Path(pipeline.__file__).parent.parent
# Writes half a file, says so, and waits to be killed.
HALF_A_WRITER = """
import sys, time
from pathlib import Path
from pipeline.artifacts.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def half_written(tmp_path):
    """Start a process that is in the middle of writing `file.txt`."""
    path = tmp_path / "file.txt"
    command = [sys.executable, "-c", HALF_A_WRITER, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    temporary = process.stdout.readline().strip()
    assert os.path.exists(temporary)
    yield path, process, temporary
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    """Check that an error while writing keeps what was there and leaves nothing behind."""
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def broken(temporary):
        temporary.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_with(path, broken)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    """Check that the old content stands until the new one is complete."""
    path = tmp_path / "deep" / "file.txt"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent, "a rename is atomic on one file system only"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_leftovers_of_a_live_writer_stay_and_of_a_killed_one_go(half_written):
    """Check that another writer sweeps the temporary file of a dead process only."""
    path, process, temporary = half_written
    write_text(path, "mine")
    assert os.path.exists(temporary), "its writer is alive and still needs it"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.read_text() == "mine"
    write_text(path, "mine again")
    assert not os.path.exists(temporary)
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_sweeping_leaves_files_of_other_names_and_hosts(tmp_path):
    """Check that only what a writer of the same file on this host left is taken away."""
    foreign = [".file.txt.abcdef.1.tmp", ".other.txt.tmp", "file.txt.tmp"]
    for name in foreign:
        (tmp_path / name).write_text("x")
    write_text(tmp_path / "file.txt", "new")
    assert {p.name for p in tmp_path.iterdir()} == {"file.txt", *foreign}


def test_is_alive():
    """Check that this process is alive and one that has ended is not."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert is_alive(os.getpid()) and not is_alive(done.pid)


def test_json_keeps_text_and_refuses_nan(tmp_path):
    """Check that JSON round-trips text beyond ASCII and that NaN never reaches the disk."""
    path = tmp_path / "a.json"
    write_json(path, {"é": [1, 0.1], "a": None})
    assert read_json(path) == json.loads(path.read_text()) == {"é": [1, 0.1], "a": None}
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"score": float("nan")})
    assert read_json(path) == {"é": [1, 0.1], "a": None}


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", None])
def test_unreadable_json_names_file_and_remedy(tmp_path, content):
    """Check that a broken, undecodable or missing file is one line with path and remedy."""
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PodiumError) as refused:
        read_json(path, "train it anew")
    text = str(refused.value)
    assert str(path) in text and "train it anew" in text and "\n" not in text


def test_hashes(tmp_path):
    """Check hashes against hashlib, the order of keys, and a missing file."""
    assert text_hash("é", 10) == hashlib.sha256("é".encode()).hexdigest()[:10]
    assert json_hash({"a": 1, "b": [2]}) == json_hash({"b": [2], "a": 1})
    assert json_hash({"a": 1, "b": [2, 3]}) != json_hash({"a": 1, "b": [3, 2]})
    (tmp_path / "x").write_bytes(b"abc")
    assert file_hash(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()[:16]
    assert file_hash(tmp_path / "y") == ""


def test_stable_int_is_the_same_in_every_process():
    """Check that the number of an id does not depend on Python's hash seed, and spreads."""
    code = "from pipeline.artifacts.hashing import stable_int; print(stable_int('a'))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    options = {"capture_output": True, "text": True, "cwd": CHECKOUT, "env": environment}
    printed = subprocess.run(command, **options).stdout
    assert int(printed) == stable_int("a")
    numbers = [stable_int(str(i)) for i in range(1000)]
    assert len(set(numbers)) == 1000 and min(numbers) >= 0 and max(numbers) < 2**64


def test_mixed_keys_are_those_of_splitmix64():
    """Check the published sequence of seed 1234567, and that salts and their order count."""
    states = np.uint64(1234567) + np.arange(3, dtype=np.uint64) * np.uint64(STRIDE)
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert mixed_keys(states).tolist() == published
    keys = np.arange(2000, dtype=np.uint64)
    found = [mixed_keys(keys, *salts) for salts in ((), (0,), (1,), (0, 1), (1, 0))]
    assert len(np.unique(found)) == 5 * 2000
    bits = np.unpackbits(np.array(found).view(np.uint8))
    assert abs(bits.mean() - 0.5) < 0.01, "hashes of neighbours must not resemble each other"


def test_time_does_not_change_the_bytes(tmp_path):
    """Check that the same content gives the same bytes a moment later."""
    write_json(tmp_path / "a.json", {"a": 1})
    first = (tmp_path / "a.json").read_bytes()
    time.sleep(0.01)
    write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "a.json").read_bytes() == first
