"""One lock per job and one per ledger, with an owner.

The kernel holds the lock (flock, through the package filelock), so that a killed process lets go of
it at once: a stale lock cannot block anybody. The owner file beside it says who holds it, for the
message that a second terminal gets.
"""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.artifacts.files import write_json
from pipeline.errors import Busy


@contextlib.contextmanager
def lock(path: Path, what: str, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` while `what` is worked on; raise Busy if another process holds it.

    `wait` is how many seconds to wait for it first. A lock that a dead process left is taken over
    in silence: nothing it wrote can be half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path)
    try:
        held.acquire(timeout=wait)
    except Timeout:
        raise Busy(
            f"{path}: {what} is being worked on by {_owner_of(path)}; "
            "wait for it, or stop that process and run the same command again"
        ) from None
    try:
        write_json(_owner_path(path), _owner())
        yield
    finally:
        _owner_path(path).unlink(missing_ok=True)
        held.release()


def _owner_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.owner")


def _owner() -> dict[str, str | int]:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def _owner_of(path: Path) -> str:
    try:
        owner = json.loads(_owner_path(path).read_text())
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
