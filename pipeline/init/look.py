"""What lies in a folder: its tables, and its pictures by folder. Nothing is opened."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.competition.pictures import is_picture, leads_out
from pipeline.errors import PodiumError

TABLES = (".csv", ".tsv", ".tab")
OTHERS = (".zip", ".tar", ".gz", ".7z", ".json", ".parquet", ".xlsx", ".tfrecord", ".tfrec", ".npz")
MOST_FILES = 3_000_000
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def words(name: str) -> set[str]:
    """Return the words of a name in lower case: trainLabels and train_labels have the same."""
    return {word.lower() for word in _WORD.findall(name)}


@dataclass(frozen=True)
class Look:
    """A folder as found: `tables` as paths below it, the shallow ones first; `pictures`, the names
    in each folder that has any ('.' is the top); `others`, files that would have to be unpacked or
    converted. `top` is the folder below which it branches, when all lies in one."""

    folder: Path
    shown: str
    top: str
    tables: tuple[str, ...]
    pictures: dict[str, tuple[str, ...]]
    others: tuple[str, ...]

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        """The paths of the pictures by their name without folder and extension."""
        index: dict[str, list[str]] = {}
        for folder, names in self.pictures.items():
            prefix = "" if folder == "." else f"{folder}/"
            for name in names:
                index.setdefault(name.rpartition(".")[0], []).append(prefix + name)
        return index

    def find(self, value: str) -> list[str]:
        """Return the paths of the pictures that a table's value could mean."""
        name = value.rpartition("/")[2]
        exact = self.by_stem.get(name.rpartition(".")[0], []) if is_picture(name) else []
        same = [path for path in exact if path.rpartition("/")[2] == name]
        return same or exact or self.by_stem.get(name, [])

    def depth(self, path: str) -> int:
        """Return how many folders deep a file lies."""
        return path.removeprefix(f"{self.top}/").count("/")


def look(folder: Path, shown: str, elsewhere: Sequence[str] = ()) -> Look:
    """Look through `folder`, once; hidden folders and links in a circle are left out.

    `elsewhere` are further folders of pictures, relative to `folder` or absolute.
    """
    if folder.is_file():
        raise PodiumError(f"DATA: {shown} is a file; unpack it, and name the folder: DATA=folder")
    if not folder.is_dir():
        raise PodiumError(f"DATA: {shown} is no folder (looked at {folder}); name the unpacked one")
    tables, pictures, others = [], {}, []
    for place, names in _files(folder):
        prefix = "" if place == "." else f"{place}/"
        tables += [prefix + name for name in names if name.lower().endswith(TABLES)]
        others += [prefix + name for name in names if name.lower().endswith(OTHERS)]
        found = tuple(filter(is_picture, names))
        if found:
            pictures[place] = found
    for other in elsewhere:
        for place, names in _files(folder / other) if (folder / other).is_dir() else ():
            found = tuple(filter(is_picture, names))
            if found:
                pictures[other if place == "." else f"{other}/{place}"] = found
    tables = sorted(tables, key=lambda name: (name.count("/"), name))
    return Look(folder, shown, _top(folder), tuple(tables), pictures, tuple(others[:20]))


def _files(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder below `folder`, sorted, and the names of its files."""
    waiting, seen, files = ["."], {os.path.realpath(folder) + os.sep}, 0
    while waiting:
        place = waiting.pop()
        names, below = [], []
        for entry in _entries(folder / place):
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if not entry.is_dir():
                names.append(entry.name)
            elif leads_out(entry.path, seen):
                below.append(entry.name if place == "." else f"{place}/{entry.name}")
        files += len(names)
        if files > MOST_FILES:
            raise PodiumError(
                f"{folder}: more than {MOST_FILES:,} files; DATA= names one competition"
            )
        yield place, sorted(names)
        waiting += sorted(below, reverse=True)


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise PodiumError(f"{folder}: cannot be read ({error.strerror}); allow it") from None


def _top(folder: Path) -> str:
    """Return the path of the first folder that holds more than one folder."""
    top = folder
    while True:
        there = [entry for entry in sorted(top.iterdir()) if entry.name[0] not in "._"]
        if len(there) != 1 or not there[0].is_dir() or there[0].is_symlink():
            return top.relative_to(folder).as_posix()
        top = there[0]
