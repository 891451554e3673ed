"""A picture as its file holds it: its size, its pixels, and those of a JPEG at 1/2, 1/4 or 1/8.

The size of a JPEG is read from its header, so that how far to shrink it is known before it is
decoded; libjpeg then computes only the pixels of the smaller picture. Any other file is decoded.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import PodiumError

_FLAGS = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
_FROM_RIGHT, _FROM_BELOW = (2, 3, 6, 7), (3, 4, 7, 8)  # EXIF: stored from that end of the picture
_TRANSPOSED = (5, 6, 7, 8)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a segment with the size
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
_SCAN, _EXIF, _COMMENT = 0xDA, 0xE1, 0xFE


@dataclass(frozen=True)
class Header:
    """What a JPEG says of itself: `width` and `height` as stored, before it is turned."""

    width: int
    height: int
    orientation: int = 1
    comment: bytes = b""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as the picture is shown, turned as its EXIF says."""
        turned = self.orientation in _TRANSPOSED
        return (self.height, self.width) if turned else (self.width, self.height)


def jpeg_header(data: bytes | mmap.mmap) -> Header | None:
    """Return the header of a JPEG; None of anything else, or of one that is not clear."""
    size, orientation, comment = None, 0, b""
    try:
        for marker, start, end in _segments(data):
            if marker in _FRAMES and size is None:
                height, width = struct.unpack(">HH", data[start + 1 : start + 5])
                size = width, height
            elif marker == _EXIF and not orientation and data[start : start + 6] == b"Exif\0\0":
                orientation = _orientation(data[start + 6 : end])  # the first one counts
            elif marker == _COMMENT and not comment:
                comment = bytes(data[start:end])
    except (struct.error, IndexError):
        return None
    return Header(*size, orientation or 1, comment) if size and min(size) else None


def _segments(data: bytes | mmap.mmap) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of every segment before the pixels."""
    if data[:2] != b"\xff\xd8":
        return
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _SCAN:
            return
        if marker == 0xFF or marker in _ALONE:  # fill bytes
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        yield marker, at + 4, at + 2 + length
        at += 2 + length
    raise IndexError


def _orientation(exif: bytes) -> int:
    """Return tag 0x0112 of the first directory, or 1: the rules are those of OpenCV's reader."""
    order = "<" if exif[:2] == b"II" else ">"
    if exif[:2] not in (b"II", b"MM"):
        return 1
    try:
        magic, at = struct.unpack(f"{order}HI", exif[2:8])
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, value = struct.unpack_from(f"{order}H6xH", exif, entry)
            if tag == 0x0112 and magic == 42:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


@dataclass(frozen=True)
class Decoded:
    """Pixels (h, w, 3) uint8 BGR, and how coordinates of the original of `size` lie in them."""

    pixels: np.ndarray
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    start: tuple[float, float] = (0.0, 0.0)

    def cut(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """Return a view of `box` (x0, y0, x1, y1 in the original), to the nearest whole pixels, one
        at least."""
        height, width = self.pixels.shape[:2]
        x0, x1 = _span(box[0], box[2], self.scale[0], self.start[0], width)
        y0, y1 = _span(box[1], box[3], self.scale[1], self.start[1], height)
        return self.pixels[y0:y1, x0:x1]


def _span(low: int, high: int, scale: float, start: float, length: int) -> tuple[int, int]:
    first = min(max(int(low * scale + start + 0.5), 0), length - 1)
    return first, min(max(int(high * scale + start + 0.5), first + 1), length)


@dataclass(frozen=True)
class Encoded:
    """A picture's file in memory; `path` names it in errors.

    `header` is that of a JPEG; any other picture is there as `pixels`. `original` is the size of
    what this is a shrunk copy of: all coordinates count in that.
    """

    path: Path
    data: bytes = field(repr=False)
    header: Header | None = None
    pixels: np.ndarray | None = field(default=None, repr=False)
    original: tuple[int, int] | None = None

    @property
    def own_size(self) -> tuple[int, int]:
        """Width and height of the pixels in this file, turned as its EXIF says."""
        if self.header is not None:
            return self.header.size
        height, width = self.all_pixels().shape[:2]
        return width, height

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in which coordinates count."""
        return self.original or self.own_size

    @property
    def reductions(self) -> tuple[int, ...]:
        """By which factors it can be decoded smaller, the largest first."""
        return (8, 4, 2) if self.header else ()

    def all_pixels(self) -> np.ndarray:
        """Return the pixels (h, w, 3) uint8 BGR, turned as the EXIF says."""
        return decoded_pixels(self.path, self.data) if self.pixels is None else self.pixels

    def at(self, reduction: int) -> Decoded:
        """Decode it at 1 / `reduction` of its sides, one of `reductions` or 1.

        Where OpenCV turns the picture otherwise than its header was read, it is decoded whole, and
        the size is that of the pixels.
        """
        if reduction > 1 and self.header is not None:
            pixels = decoded_pixels(self.path, self.data, reduction)
            width, height = self.own_size
            if pixels.shape[:2] == (-(-height // reduction), -(-width // reduction)):
                return self._placed(pixels, reduction)
        pixels = self.all_pixels()
        size = pixels.shape[1], pixels.shape[0]
        whole = self.original or size
        return Decoded(pixels, whole, (size[0] / whole[0], size[1] / whole[1]))

    def _placed(self, pixels: np.ndarray, reduction: int) -> Decoded:
        """Say where reduced pixels lie: each is of `reduction` pixels of the file, and the last one
        of a stored row or column may hang over the edge, wherever the EXIF turns it to."""
        (width, height), orientation = self.own_size, self.header.orientation if self.header else 1
        start = (
            pixels.shape[1] - width / reduction if orientation in _FROM_RIGHT else 0.0,
            pixels.shape[0] - height / reduction if orientation in _FROM_BELOW else 0.0,
        )
        scale = width / self.size[0] / reduction, height / self.size[1] / reduction
        return Decoded(pixels, self.size, scale, start)


def read_encoded(path: Path) -> Encoded:
    """Read a picture's file; one that is not there or cannot be decoded is refused."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PodiumError(
            f"{path}: image cannot be read ({error.strerror or error}); "
            "put it there, or take its row out of the table"
        ) from None
    header = jpeg_header(data)
    return Encoded(path, data, header, None if header else decoded_pixels(path, data))


def decoded_pixels(path: Path, data: bytes, reduction: int = 1) -> np.ndarray:
    """Decode a file's `data` to (h, w, 3) uint8 BGR, turned as its EXIF says; `path` names it."""
    try:
        stored = np.frombuffer(data, np.uint8)
        pixels = cv2.imdecode(stored, _FLAGS[reduction]) if data else None
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        pixels = None
    if pixels is None:
        raise PodiumError(
            f"{path}: not an image that can be decoded ({len(data)} bytes); "
            "replace it, or take its row out of the table"
        )
    return pixels
