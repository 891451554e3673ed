"""Where the pictures of a table lie."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.errors import PodiumError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
ANY = "*"  # the extension that stands for all of them


def is_picture(name: str) -> bool:
    """Whether a file name is that of a picture; hidden files are none."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def walk(folder: Path) -> Iterator[str]:
    """Yield the pictures at any depth below `folder`, as sorted paths relative to it.

    Linked folders are followed, but not those that lead to what is walked through anyway, or around
    it: their pictures would come twice, or without end.
    """
    real = {os.path.realpath(folder) + os.sep}
    for place, folders, names in os.walk(folder, followlinks=True):
        below = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in below if leads_out(os.path.join(place, name), real)]
        for name in sorted(filter(is_picture, names)):
            yield (Path(place) / name).relative_to(folder).as_posix()


def leads_out(path: str, known: set[str]) -> bool:
    """Whether a folder is none of a link, or of one to a place beside all `known` ones, which it
    then joins; these end in the separator."""
    if not os.path.islink(path):
        return True
    real = os.path.realpath(path) + os.sep
    out = not any(real.startswith(other) or other.startswith(real) for other in known)
    known.add(real)
    return out


@dataclass(frozen=True)
class Shelf:
    """A folder of pictures, and how a table's names lead to them (see `Competition`)."""

    folder: Path
    extension: str = ""
    nested: bool = False

    def find(self, name: str, table: Path, row: int) -> Path:
        """Return the path of a picture, whether it is there or not; one outside is refused."""
        if self.nested or self.extension == ANY:
            name = self._indexed(name, table, row)
        else:
            name += self.extension
        path = self.folder / name
        # Resolving every path is slow for many; only a suspicious name is looked at.
        suspicious = ".." in name or name.startswith(("/", "~")) or "\\" in name
        if suspicious and not path.resolve().is_relative_to(self.folder):
            raise PodiumError(
                f"{table}: row {row + 2}: image {name!r} lies outside {self.folder}; "
                "paths are relative to the image folder"
            )
        return path

    def _indexed(self, name: str, table: Path, row: int) -> str:
        found = self._index.get(self._key(name, given=True), [])
        if len(found) > 1:
            raise PodiumError(
                f"{table}: row {row + 2}: image {name!r} could be {found[0]} or {found[1]} in "
                f"{self.folder}; name one of them, or drop `nested` or `extension: '*'`"
            )
        return found[0] if found else name

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = {}
        for path in walk(self.folder):
            index.setdefault(self._key(path), []).append(path)
        return index

    def _key(self, path: str, given: bool = False) -> str:
        """Return what a path and a table's name have in common."""
        key = path.rpartition("/")[2] if self.nested else path
        if self.extension == ANY and (not given or is_picture(key)):
            return key.rpartition(".")[0]
        return key + (self.extension if given and self.extension != ANY else "")
