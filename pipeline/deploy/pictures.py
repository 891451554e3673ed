"""New pictures: one, or those at any depth of a folder, as the networks see them."""

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
from pipeline.training.device import available_cores


@dataclass(frozen=True)
class Pictures:
    """Pictures by name: the path below their folder, or the one picture's own name."""

    names: list[str]
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.paths)


def find_pictures(place: Path) -> Pictures:
    """Return the pictures of a folder in sorted order, or the one picture at `place`."""
    if not place.exists():
        raise PodiumError(f"DATA: {place}: no such folder or picture; mend the path")
    if not place.is_dir():
        return Pictures([_shown(place.name)], [place])
    names = list(walk(place))
    if not names:
        raise PodiumError(f"DATA: {place}: no picture at any depth of it; name another folder")
    return Pictures([_shown(name) for name in names], [place / name for name in names])


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


def views(paths: list[Path], image: View) -> tuple[list[np.ndarray], dict[int, str]]:
    """Decode pictures, each once, into what the networks that look at them by `image` see; nothing
    goes to the disk.

    Returns images (n, size, size, 3) uint8 per look, and by place what is wrong with those that
    cannot be had, such as one that the crop leaves nothing of; these are black.
    """
    limit = pixel_limit(image.max_megapixels)
    source = Source(paths, None, image.crop, image.canonical_side, limit)
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

    with ThreadPoolExecutor(available_cores()) as pool:
        reasons = enumerate(pool.map(read, range(len(paths))))
        return images, {place: reason for place, reason in reasons if reason}
