"""New pictures: one, or those at any depth of a folder, as the networks see them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.competition.pictures import walk
from pipeline.config.pictures import Image, TestViews
from pipeline.errors import PodiumError
from pipeline.images.cache import Pixels, Source
from pipeline.images.shrunk import pixel_limit
from pipeline.images.views import Look, test_looks


@dataclass(frozen=True)
class Pictures:
    """Pictures by name: the path below their folder, or the one picture's own name."""

    names: list[str]
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Held:
    """A picture whose file is in memory; it stands wherever pictures are read by their path."""

    name: str
    data: bytes

    def read_bytes(self) -> bytes:
        return self.data

    def __str__(self) -> str:
        return self.name


def cores() -> int:
    """Return the number of cores this process may use, without a look at torch."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_pictures(place: Path, asked: str = "DATA") -> Pictures:
    """Return the pictures of a folder in sorted order, or the one picture at `place`; `asked` is
    what it was asked for by."""
    if not place.exists():
        raise PodiumError(f"{asked}: {place}: no such folder or picture; mend the path")
    if not place.is_dir():
        return Pictures([_shown(place.name)], [place])
    names = list(walk(place))
    if not names:
        raise PodiumError(f"{asked}: {place}: no picture at any depth of it; name another folder")
    return Pictures([_shown(name) for name in names], [place / name for name in names])


def refuse_all_broken(names: Sequence[object], notes: dict[int, str], asked: str = "DATA") -> None:
    """Refuse pictures none of which can be used; `notes` says by place what is wrong with them."""
    if len(notes) == len(names):
        raise PodiumError(
            f"{asked}: {names[0]}: {notes[0]}, and so none of {len(names)} pictures can "
            "be used; mend them, or name others"
        )


def _shown(name: str) -> str:
    """Return a file's name in UTF-8; of one that is not in it, the odd bytes become \\udcXX."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


class View(Image):
    """All that decides the pixels that a network sees, before they are turned and normalised: a
    recipe's `image`, the competition's `max_megapixels`, and which parts of a picture are looked at
    in which sizes, as `views` says (whose flips mean nothing here)."""

    max_megapixels: float
    views: TestViews = TestViews()

    @property
    def looks(self) -> list[Look]:
        return test_looks(self.views, self)

    @property
    def bytes_per_picture(self) -> int:
        """What all looks at one picture take in memory."""
        return sum(3 * look.size**2 for look in self.looks)


def views(paths: Sequence[Path | Held], image: View) -> tuple[list[np.ndarray], dict[int, str]]:
    """Decode pictures, each once, into what the networks that look at them by `image` see; nothing
    goes to the disk.

    Returns images (n, size, size, 3) uint8 per look, and by place what is wrong with those that
    cannot be had, such as one that the crop leaves nothing of; these are black.
    """
    limit = pixel_limit(image.max_megapixels)
    source = Source(list(paths), None, image.crop, image.canonical_side, limit)
    # Without blob and copies, these are the pixels that the cache would hold, the losses of JPEG
    # included.
    pixels = Pixels(source, "jpeg" if image.cache == "jpeg" else "raw")
    looks = image.looks
    images = [np.zeros((len(paths), look.size, look.size, 3), np.uint8) for look in looks]

    def read(place: int) -> str:
        try:
            whole = pixels.read(place)
        except PodiumError as error:
            return str(error).removeprefix(f"{paths[place]}: ").partition(";")[0]
        for look, seen in zip(looks, images, strict=True):
            seen[place] = look(whole)
        return ""

    with ThreadPoolExecutor(cores()) as pool:
        reasons = enumerate(pool.map(read, range(len(paths))))
        return images, {place: reason for place, reason in reasons if reason}
