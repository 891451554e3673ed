"""MISTAKES=1: the wrongly answered pictures as folders of links, to be looked through in any file
manager. A link costs nothing, and deleting one deletes no picture."""

import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts.hashing import text_hash
from pipeline.artifacts.locks import lock
from pipeline.errors import PodiumError
from pipeline.report.gather import Subject

FOLDER = "mistakes"
MISSING, SUPERFLUOUS = "MISSING", "SUPERFLUOUS"
LONGEST = 80  # bytes of a name; file systems take 255 for a name, and some 4,096 for a path
# What some file system forbids, and what is not seen or turns the direction of text.
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Mistakes:
    """The folder, how many rows are in it and by what (symbolic or hard links); `without` have no
    picture. `reason` says why there is no folder."""

    folder: Path
    rows: int
    links: str
    without: int = 0
    reason: str = ""


def write_mistakes(subject: Subject) -> Mistakes:
    """Make the folder of the mistakes of a run or ensemble anew, whole or not at all."""
    folder = subject.folder / FOLDER
    with lock(subject.folder.parent / ".locks" / f"{subject.name}.{FOLDER}.lock", FOLDER, wait=60):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise PodiumError(f"{folder}: is a file where a folder should be; delete it")
        for left in subject.folder.glob(f".{FOLDER}.*"):  # of a writer that was killed
            shutil.rmtree(left)
        fresh, old = (subject.folder / f".{FOLDER}.{word}" for word in ("tmp", "old"))
        try:
            made = _fill(fresh, folder, subject)
            if made.reason:
                return made
            if folder.exists():
                folder.rename(old)
            fresh.rename(folder)
        finally:
            for path in (fresh, old):
                shutil.rmtree(path, ignore_errors=True)
    return made


def _fill(fresh: Path, folder: Path, subject: Subject) -> Mistakes:
    fresh.mkdir(parents=True)
    link: Callable[[Path, Path], None] | None = None
    placed, without = set(), set()
    for row, places in _placed(subject):
        picture = Path(subject.data.train.images[int(subject.rows[row])])
        if not picture.is_file():
            without.add(row)
            continue
        name = safe_name(str(subject.ids[row])) + picture.suffix
        for place in places:
            path = fresh / place / _free(fresh / place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            link = link or _way_to_link(picture, fresh)
            if link is None:
                why = "neither symbolic nor hard links can be made there, and copies are not made"
                return Mistakes(folder, 0, "", reason=f"{folder}: {why}")
            link(picture, path)
        placed.add(row)
    kind = {_symbolic: "symbolic", _hard: "hard"}.get(link, "symbolic")
    return Mistakes(folder, len(placed), kind, len(without))


def _free(folder: Path, name: str) -> str:
    """Return a name that is not taken in a folder, by any case of its letters."""
    if not folder.is_dir():
        return name
    taken = (
        {path.name.casefold() for path in folder.iterdir()} if (folder / name).exists() else set()
    )
    stem, dot, suffix = name.rpartition(".")
    number, free = 2, name
    while free.casefold() in taken:
        free = f"{stem or suffix}-{number}{dot}{suffix if stem else ''}"
        number += 1
    return free


def _placed(subject: Subject) -> Iterator[tuple[int, list[Path]]]:
    """Yield each wrongly answered row with the folders that it belongs to."""
    names = [Path(name) for name in safe_names(subject.data.classes)]
    for row in np.flatnonzero(subject.wrong).tolist():
        label, answer = subject.labels[row], subject.answer[row]
        if label.ndim == 0:
            yield row, [names[int(label)] / names[int(answer)]]
            continue
        missing = np.flatnonzero((label == 1) & (answer == 0))
        superfluous = np.flatnonzero((label == 0) & (answer == 1))
        yield (
            row,
            [
                *(Path(MISSING) / names[i] for i in missing),
                *(Path(SUPERFLUOUS) / names[i] for i in superfluous),
            ],
        )


def _way_to_link(picture: Path, folder: Path) -> Callable[[Path, Path], None] | None:
    """Return how links can be made in a folder: symbolic, else hard, else not at all."""
    trial = folder / ".trial"
    for way in (_symbolic, _hard):
        try:
            way(picture, trial)
        except OSError:
            continue
        trial.unlink()
        return way
    return None


def _symbolic(picture: Path, path: Path) -> None:
    """A relative link, so that it still leads there when the whole project is moved."""
    target = os.path.relpath(picture.resolve(), path.parent.resolve())
    os.symlink(target, path)


def _hard(picture: Path, path: Path) -> None:
    os.link(picture.resolve(), path)


def safe_names(names: Sequence[str]) -> list[str]:
    """Return names of folders, one for each name and no two alike, whatever case the file system
    tells apart; those that would be alike end in a hash of what they stand for."""
    cleaned = [safe_name(name) for name in names]
    keys = [name.casefold() for name in cleaned]
    found: list[str] = []
    taken: set[str] = set()
    for name, clean, key in zip(names, cleaned, keys, strict=True):
        own = clean if keys.count(key) == 1 else f"{clean}-{text_hash(name, 8)}"
        while own.casefold() in taken:
            own += "-2"
        taken.add(own.casefold())
        found.append(own)
    return found


def safe_name(name: str) -> str:
    """Return a name that any file system takes: no separator, no dot at an end, not too long. One
    that is cut ends in a hash of the whole."""
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    text = _UNSAFE.sub("_", text).strip(". ") or "_"
    if _DEVICES.fullmatch(text):
        text = f"_{text}"
    if len(text.encode("utf-8")) <= LONGEST:
        return text
    kept = text.encode("utf-8")[: LONGEST - 9].decode("utf-8", "ignore").rstrip(". ")
    return f"{kept}-{text_hash(name, 8)}"
