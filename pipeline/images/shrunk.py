"""Very large pictures, shrunk once: copies of at most so many pixels that stand in for them.

A copy is a JPEG that remembers in a comment how large the original is, so that crops still count in
the original's pixels and the original is not opened again. Where there is no copy on the disk, its
bytes are made in memory: pixels never depend on what was kept.
"""

import contextlib
import math
import mmap
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
from PIL import Image
from tqdm import tqdm

from pipeline.artifacts.files import write_with
from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.locks import lock
from pipeline.errors import PodiumError
from pipeline.images.encoded import Encoded, decoded_pixels, jpeg_header, read_encoded

FORMAT = 1  # raise it when the way from a picture to the bytes of its copy changes
JPEG_QUALITY = 95
LARGEST_SIDE = 65_500  # pixels that libjpeg takes
BUDGET = 10**9  # bytes of decoded pictures in memory at a time, but for one that is larger
_COMMENT = re.compile(rb"shrunk from (\d{1,9}) x (\d{1,9})")
_END = b"\xff\xd9"


@dataclass(frozen=True)
class Copies:
    """How many of the pictures are large, and, where their copies are not kept for want of room,
    the bytes that were missing."""

    large: int
    unkept_bytes: int = 0


def pixel_limit(megapixels: float | None) -> int | None:
    """Return the largest number of pixels that is not shrunk; None shrinks nothing."""
    return None if megapixels is None else max(1, int(megapixels * 1_000_000))


def copy_size(width: int, height: int, limit: int) -> tuple[int, int]:
    """Return width and height of at most `limit` pixels, of the same shape within a pixel.

    A side is never below 1 nor above what a JPEG can have; a strip then loses its shape.
    """
    # Whole numbers: as floats, a side that should be 15 can come out as 14.999... and be cut to 14.
    exact = (math.isqrt(side * side * limit // (width * height)) for side in (width, height))
    wide, high = (min(max(1, side), LARGEST_SIDE) for side in exact)
    return min(wide, max(1, limit // high)), min(high, max(1, limit // wide))


def opened(path: Path, limit: int | None, copies: Path | None) -> Encoded:
    """Return the picture, or its copy if it has more than `limit` pixels: the one kept in the
    folder `copies`, or the same bytes made now."""
    if limit is None:
        return read_encoded(path)
    if copies is not None:
        with contextlib.suppress(OSError):
            kept = _as_copy(path, copy_path(copies, path, limit).read_bytes())
            if kept is not None:
                return kept
    picture = read_encoded(path)
    made = shrink(picture, limit)
    return (made and _as_copy(path, made)) or picture


def shrink(picture: Encoded, limit: int) -> bytes | None:
    """Return the copy of a picture of more than `limit` pixels, None of a smaller one: area
    averaging, quality 95 without chroma subsampling, turned as the EXIF says, with none of its own.

    A JPEG is first decoded at the smallest scale that has the copy's pixels in both sides.
    """
    if math.prod(picture.size) <= limit:
        return None
    wide, high = copy_size(*picture.size, limit)
    fitting = (r for r in picture.reductions if _fits((wide, high), picture.size, r))
    decoded = picture.at(next(fitting, 1))
    width, height = decoded.size
    pixels = cv2.resize(
        decoded.cut((0, 0, width, height)),
        copy_size(width, height, limit),
        interpolation=cv2.INTER_AREA,
    )
    full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *full])[1]
    return _with_comment(data.tobytes(), b"shrunk from %d x %d" % (width, height))


def _fits(wanted: tuple[int, int], size: tuple[int, int], reduction: int) -> bool:
    return all(have // reduction >= want for want, have in zip(wanted, size, strict=True))


def _with_comment(jpeg: bytes, text: bytes) -> bytes:
    """Put a comment after the first segment, which JFIF wants to be first."""
    at = 4 + struct.unpack(">H", jpeg[4:6])[0]
    return jpeg[:at] + struct.pack(">BBH", 0xFF, 0xFE, 2 + len(text)) + text + jpeg[at:]


def _as_copy(path: Path, data: bytes) -> Encoded | None:
    """Return the bytes of a copy of `path` as a picture, None if they are not those of a whole
    one, as after a full disk."""
    header = jpeg_header(data) if data.endswith(_END) else None
    found = _COMMENT.fullmatch(header.comment) if header else None
    if not found:
        return None
    return Encoded(path, data, header, None, (int(found[1]), int(found[2])))


def copy_path(folder: Path, path: Path, limit: int) -> Path:
    """Return where the copy of a picture is kept; it changes with the picture's size and time.

    256 folders, since writing a file atomically looks through the folder it is in.
    """
    stat = path.stat()
    place = os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")
    name = json_hash([FORMAT, place, stat.st_size, stat.st_mtime_ns, limit], 24)
    return folder / name[:2] / f"{name}.jpg"


def make_copies(paths: Sequence[Path], limit: int, folder: Path, room: float) -> Copies:
    """Make the copies that are missing in `folder`, if `room` bytes are enough for them.

    A killed run loses only what it was at; two processes share the work of one.
    """
    missing, there = _missing(paths, limit, folder)
    if not missing:
        return Copies(there)
    needed = limit * len(missing)  # a byte a pixel: photographs take half of it or less
    if needed > room:
        return Copies(there + len(missing), needed)
    with lock(folder.with_name(f"{folder.name}.lock"), "the shrunk pictures", wait=3600):
        still = [one for one in missing if not _is_whole(one.copy)]
        budget, threads = Budget(BUDGET), os.cpu_count() or 1
        bar = tqdm(total=len(still), desc="shrinking", unit="img", disable=None, leave=False)
        with ThreadPoolExecutor(threads) as pool, bar:
            for _ in pool.map(lambda one: _make(one, limit, budget), still):
                bar.update()
    return Copies(there + len(missing))


@dataclass(frozen=True)
class _Large:
    path: Path
    copy: Path
    pixels: int


def _make(one: _Large, limit: int, budget: "Budget") -> None:
    # Scaled decoding needs less than all pixels, but a progressive JPEG keeps its coefficients.
    with budget.taken(3 * one.pixels):
        data = shrink(read_encoded(one.path), limit)
        if data is not None:
            write_with(one.copy, lambda temporary: temporary.write_bytes(data))


def _missing(paths: Sequence[Path], limit: int, folder: Path) -> tuple[list[_Large], int]:
    """Return the large pictures without a copy, each once, and how many have one."""
    missing, there = {}, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about large pictures and odd EXIF
        for path in dict.fromkeys(paths):
            copy = copy_path(folder, path, limit)
            if _is_whole(copy):
                there += 1
            elif (pixels := pixel_count(path)) > limit:
                missing[copy] = _Large(path, copy, pixels)
    return list(missing.values()), there


def _is_whole(copy: Path) -> bool:
    """Whether a copy is there from its first byte to its last."""
    try:
        with open(copy, "rb") as handle:
            handle.seek(-len(_END), os.SEEK_END)
            return handle.read() == _END
    except OSError:
        return False


def pixel_count(path: Path) -> int:
    """Return the number of pixels of a picture by its header, or, where neither a JPEG's nor
    Pillow's reading of one is to be had, by decoding it; 0 of what cannot be decoded."""
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as handle:
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            header = jpeg_header(mapped)
        if header is not None:
            return header.width * header.height
    with contextlib.suppress(Exception), Image.open(path) as picture:  # its plugins raise anything
        return picture.width * picture.height
    try:
        height, width = decoded_pixels(path, path.read_bytes()).shape[:2]
    except (OSError, PodiumError):
        return 0
    return width * height


class Budget:
    """Bytes that threads share: who wants more than is left waits, and more than all goes alone."""

    def __init__(self, total: int) -> None:
        self._total = self._left = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Hold so many bytes, at most all of them."""
        held = min(wanted, self._total)
        with self._changed:
            self._changed.wait_for(lambda: held <= self._left)
            self._left -= held
        try:
            yield
        finally:
            with self._changed:
                self._left += held
                self._changed.notify_all()
