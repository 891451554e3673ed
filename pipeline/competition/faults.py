"""Which pictures are missing or broken, and how their files are opened."""

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from pipeline.artifacts.files import read_object, write_json
from pipeline.artifacts.hashing import json_hash

_CHECKED_BY_PILLOW = ("JPEG", "MPO", "PNG")  # what it finds whole, OpenCV decodes
_LARGEST_SIDE = 2**20  # pixels that OpenCV takes
_CONVERT = "which cannot be decoded here: convert it"
_STARTS = (  # of files that are taken for pictures, and what is then wrong with them
    (b"version https://git-lfs", "not an image (a Git LFS pointer: git lfs pull)"),
    (b"pk\x03\x04", "not an image (a zip archive)"),
    (b"\x1f\x8b", "not an image (a gzip archive)"),
    (b"{", "not an image (JSON)"),
    (b"<!doctype html", "not an image (an HTML page)"),
    (b"<html", "not an image (an HTML page)"),
    (b"<svg", f"an SVG drawing, {_CONVERT}"),
    (b"%pdf", f"a PDF, {_CONVERT}"),
    (b"8bps", f"a PSD picture, {_CONVERT}"),
    (b"\xff\xd8\xff", "broken (a JPEG that cannot be decoded)"),
    (b"\x89png", "broken (a PNG that cannot be decoded)"),
    (b"gif8", "broken (a GIF that cannot be decoded)"),
    (b"riff", "broken (a WebP that cannot be decoded)"),
    (b"ii*\0", "a TIFF that cannot be decoded here: convert it"),
    (b"mm\0*", "a TIFF that cannot be decoded here: convert it"),
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def faults(
    paths: Sequence[Path], cache: Path | None = None, *, keep: bool = True
) -> dict[int, str]:
    """Return what is wrong with which of the pictures: missing, empty, truncated, not decodable.

    Every file is decoded once, in threads. What was found is kept in the folder `cache` (without
    `keep`, only that nothing was), and not looked for again until a path, size or time changes.
    """
    kept = None if cache is None else cache / f"pictures-{json_hash(_stats(paths))}.json"
    if kept is not None and kept.exists():
        found = read_object(kept, ("faults",), "delete it")["faults"]
        return {int(place): reason for place, reason in found.items()}
    found = {}
    bar = tqdm(total=len(paths), desc="checking", unit="img", disable=None, leave=False)
    with quiet(), ThreadPoolExecutor(os.cpu_count() or 1) as pool, bar:
        for place, reason in enumerate(pool.map(fault, paths)):
            if reason:
                found[place] = reason
            bar.update()
    if kept is not None and (not found or (keep and len(found) < len(paths))):
        with contextlib.suppress(OSError):  # a full or read-only disk: looked for again
            write_json(kept, {"faults": found})
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep both decoders from printing what is returned as a reason."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _stats(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    return [(str(path), *_size_and_time(path)) for path in paths]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def fault(path: Path) -> str:
    """Return what is wrong with a picture, or ''.

    A JPEG is decoded at an eighth of its size, which reads the whole stream in a third of the time.
    """
    data, reason = read_picture(path)
    return reason or opened(data, 1)[1]


def read_picture(path: Path) -> tuple[bytes, str]:
    """Return the bytes of a picture's file, and why there are none."""
    try:
        if not path.is_file():
            dangling = " (a link that leads nowhere)" if path.is_symlink() else ""
            return b"", "not a file" if path.exists() else f"missing{dangling}"
        data = path.read_bytes()
    except OSError as error:
        return b"", f"cannot be read ({error.strerror})"
    return data, "" if data else "an empty file"


def opened(data: bytes, side: int) -> tuple[Image.Image | None, str]:
    """Return a picture as Pillow decodes it, None where only OpenCV can, and what is wrong with it.

    Pillow refuses a stream that ends early, where OpenCV may fill the rest with grey; OpenCV, which
    decodes for training, has the last word on what Pillow's word is not enough for. A JPEG is
    decoded at the smallest size of at least `side` pixels, and an eighth, that the format offers.
    """
    picture = None
    try:
        picture = Image.open(io.BytesIO(data))
        eighth = max(side, picture.width // 8), max(side, picture.height // 8)
        picture.draft("RGB", eighth)
        picture.load()
        if picture.format in _CHECKED_BY_PILLOW and _is_regular(picture, data):
            return picture, ""
    except (UnidentifiedImageError, Image.DecompressionBombError):
        picture = None  # of a format, or a size, that OpenCV may know
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        text = str(error) or type(error).__name__
        known = "truncated" in text.lower()
        return None, "truncated" if known else f"broken ({' '.join(text.split())[:60]})"
    except Exception as error:  # Pillow's decoders raise many kinds for broken files
        return None, f"broken ({type(error).__name__})"
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # a header that promises billions of pixels
        return None, "too large to be decoded"
    return picture, "" if decoded is not None else _refusal(picture, data)


def _is_regular(picture: Image.Image, data: bytes) -> bool:
    """Whether OpenCV is sure to decode a JPEG or PNG that Pillow has decoded.

    It refuses very long sides, and a PNG with a wrong checksum or no end, where Pillow looks away.
    """
    if picture.format != "PNG":
        return True  # JPEG has no longer sides than 65,535
    return max(picture.size) <= _LARGEST_SIDE and _has_whole_chunks(data)


def _has_whole_chunks(png: bytes) -> bool:
    """Whether every chunk of a PNG up to the last, IEND, has its own checksum."""
    at, view = 8, memoryview(png)
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        end = at + 8 + length
        if (
            end + 4 > len(png)
            or zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", png, end)[0]
        ):
            return False
        if png[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False


def _refusal(picture: Image.Image | None, data: bytes) -> str:
    """Say what a file is that OpenCV cannot decode; `picture` where Pillow can."""
    start = data[:400].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if picture is None and start.startswith(b"<?xml") and b"<svg" in start:
        return f"an SVG drawing, {_CONVERT}"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return f"a HEIC picture, {_CONVERT}"
    known = next((reason for first, reason in _STARTS if start.startswith(first)), "")
    if picture is None:
        return known or "not an image"
    if known and picture.mode not in ("I", "F"):
        return known
    return f"a {picture.format} picture of mode {picture.mode}, {_CONVERT}"
