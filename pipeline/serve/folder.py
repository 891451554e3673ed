"""The temporary folder that the page's uploads lie in: emptied as time goes by, gone at the end."""

import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.files import is_alive
from pipeline.artifacts.hashing import text_hash

KEPT_SECONDS = 600  # that a file lies there
_SWEEP_SECONDS = 30
_PREFIX = "podium-serve-"


@contextlib.contextmanager
def upload_folder() -> Iterator[Path]:
    """Yield a folder of this process; what is older than `KEPT_SECONDS` is removed meanwhile, also
    an upload that broke off. What killed servers left is removed first."""
    remove_left()
    ended = threading.Event()
    prefix = f"{_PREFIX}{_host()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as place:
        folder = Path(place)
        sweeper = threading.Thread(target=_sweep, args=(folder, ended), daemon=True)
        sweeper.start()
        try:
            yield folder
        finally:
            ended.set()
            sweeper.join()


def remove_left() -> None:
    """Remove the folders of servers on this machine that live no more."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}{_host()}-*-*"):
        owner = left.name.removeprefix(f"{_PREFIX}{_host()}-").partition("-")[0]
        if owner.isdigit() and not is_alive(int(owner)) and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)  # another user's stays


def remove_old(folder: Path, seconds: float) -> None:
    """Remove the files below a folder that were written longer ago, and folders that are empty
    and as old."""
    before = time.time() - seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds before itself
        with contextlib.suppress(OSError):  # gone already, or not empty
            if path.lstat().st_mtime < before:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _sweep(folder: Path, ended: threading.Event) -> None:
    while not ended.wait(_SWEEP_SECONDS):
        remove_old(folder, KEPT_SECONDS)


def _host() -> str:
    return text_hash(socket.gethostname(), 6)
