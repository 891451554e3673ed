"""The pictures of rows, small and as text for a page: each once, no more than a page can hold."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.competition.faults import fault, quiet
from pipeline.errors import PodiumError
from pipeline.images.decode import REDUCING_GAP
from pipeline.images.encoded import read_encoded

SIDE = 160  # pixels of the longest side, on the page
SMALL = 64  # pixels of the longest side below which every pixel is shown, as a square
QUALITY = 80  # of the JPEGs
PICTURES = 300  # on a page
CHARACTERS = 3_000_000  # of all pictures on a page


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data: URI, how large it is shown (pixels), whether its pixels are enlarged to
    squares; without a URI, the `reason` why it cannot be shown."""

    uri: str = ""
    width: int = SIDE
    height: int = SIDE
    pixelated: bool = False
    reason: str = ""


def thumbnail(path: Path) -> Thumbnail:
    """Return the thumbnail of a picture, turned as its EXIF says; a bad file is not raised."""
    try:
        with quiet():
            return _encode(_shrunk(path))
    except PodiumError:
        return Thumbnail(reason=fault(path) or "cannot be decoded")


def _shrunk(path: Path) -> np.ndarray:
    """Decode a picture and scale it down to SIDE by area averaging: (h, w, 3) uint8 BGR."""
    picture = read_encoded(path)
    longest = max(picture.size)
    fitting = (r for r in picture.reductions if longest >= REDUCING_GAP * r * SIDE)
    pixels = picture.at(next(fitting, 1)).pixels
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= SIDE:
        return pixels
    size = tuple(max(1, round(side * SIDE / longest)) for side in (width, height))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _encode(pixels: np.ndarray) -> Thumbnail:
    """Encode pixels (h, w, 3) uint8 BGR; small pictures without loss, to be enlarged by the page by
    a whole factor."""
    height, width = pixels.shape[:2]
    small = max(height, width) < SMALL
    suffix, kind, options = (
        (".png", "png", [cv2.IMWRITE_PNG_COMPRESSION, 9])
        if small
        else (".jpg", "jpeg", [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    )
    data = cv2.imencode(suffix, pixels, options)[1].tobytes()
    times = SIDE // max(height, width) if small else 1
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Thumbnail(uri, width * times, height * times, small)


class Album:
    """The thumbnails of a page. `pictures` are those that it holds, by number; the same picture has
    the same number, whatever it is called."""

    def __init__(self, most: int = PICTURES, characters: int = CHARACTERS) -> None:
        self.pictures: list[Thumbnail] = []
        self._most, self._characters = most, characters
        self._made: dict[Path, Thumbnail] = {}
        self._number: dict[str, int] = {}
        self._full = False

    def share(self, most: int, characters: int) -> "Album":
        """Return a part of this album with room of its own, for one gallery: what it takes is among
        the pictures of the whole, and a picture that any part has taken costs nothing again."""
        part = Album(most, characters)
        part.pictures, part._made, part._number = self.pictures, self._made, self._number
        return part

    def take(self, paths: Sequence[Path]) -> list[Thumbnail] | None:
        """Return the thumbnails of pictures that are shown together, None where there is no more
        room for all of them. From then on only those are taken that are already there."""
        fresh = [path for path in dict.fromkeys(paths) if path not in self._made]
        if fresh and (self._full or len(fresh) > self._most):
            self._full = True
            return None
        made = {path: thumbnail(path) for path in fresh}
        needed = sum(len(one.uri) for one in made.values())
        if needed > self._characters:
            self._full = True
            return None
        self._characters -= needed
        self._most -= len(fresh)
        self._made.update(made)
        for one in made.values():
            if one.uri and one.uri not in self._number:
                self._number[one.uri] = len(self.pictures)
                self.pictures.append(one)
        return [self._made[path] for path in paths]

    def number(self, one: Thumbnail) -> int:
        """Return the place in `pictures` of a thumbnail that was taken and has a URI."""
        return self._number[one.uri]
