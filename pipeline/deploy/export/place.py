"""How a finished folder gets to its place, and what a kill in between leaves is mended.

The folder that was there moves away, the new one moves in, and then whatever users had put into the
old one follows. Each step can be done again, so that the next export finishes or takes back what a
killed one began.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.deploy.export.source import GIVEN
from pipeline.deploy.format import MODEL

WORK = ".export-in-work"
# What an export writes; kept in mind for a model.json that can no longer say it.
FILES = (MODEL, "export.json", "README.md", "predict.py", "requirements.txt", "wheels.txt")
FILES += ("ranks.npz",)
FOLDERS = ("networks", GIVEN)


@contextlib.contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, which is removed in the end."""
    recover(folder)
    work = folder.parent / WORK
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        recover(folder)


def put(new: Path, folder: Path) -> None:
    """Put a finished folder into its place; the one that was there goes only then, and what is not
    of its export stays."""
    for path in new.rglob("*"):
        if path.is_file():
            with open(path, "rb") as handle:
                os.fsync(handle.fileno())
    old = new.with_name("old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    if old.exists():
        _carry(old, folder)


def recover(folder: Path) -> None:
    """Finish or take back what a stopped export began, and remove its work.

    A folder that was moved away comes back if no new one took its place; else what users had put
    into it moves over. To be called under the lock of the export.
    """
    work = folder.parent / WORK
    old = work / "old"
    if old.exists():
        if folder.exists():
            _carry(old, folder)
        else:
            os.replace(old, folder)
    shutil.rmtree(work, ignore_errors=True)


def _carry(old: Path, folder: Path) -> None:
    """Move what no export wrote from an old folder into the one that takes its place."""
    written = _written(old)
    for path in sorted(old.iterdir()):
        if path.name not in FOLDERS:
            _move(path, folder / path.name, written)
        elif written is not None and path.is_dir() and not path.is_symlink():
            for inner in sorted(path.rglob("*")):
                place = inner.relative_to(old)
                cached = "__pycache__" in place.parts
                if not cached and (inner.is_symlink() or not inner.is_dir()):
                    _move(inner, folder / place, written, place.as_posix())


def _move(path: Path, place: Path, written: set[str] | None, name: str = "") -> None:
    name = name or path.name
    if name in FILES or name in (written or ()) or os.path.lexists(place):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, place)


def _written(folder: Path) -> set[str] | None:
    """Return the files that a folder's model.json names, None where it cannot say it."""
    try:
        return {*json.loads((folder / MODEL).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
