"""Decoded pictures in one blob with offsets: cropped, at one canonical short side, uint8.

Kinds: `raw` pixels in a memory-mapped file; `jpeg` at quality 95, where the recipe asks for it.
Where the blob would fill the disk there is none, and pictures are decoded each time: to the same
pixels, so that free disk decides about speed and never about science.
"""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pipeline.artifacts.files import replacing, write_with
from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.locks import lock
from pipeline.config.pictures import Crop, Image
from pipeline.errors import PodiumError
from pipeline.images.decode import canonical
from pipeline.images.shrunk import FORMAT, make_copies, pixel_limit

DISK_SHARE = 0.5  # of the free disk that the cache may take
JPEG_QUALITY = 95
_FORMAT = 3  # raise it when the way from file to canonical pixels changes


@dataclass(frozen=True)
class Source:
    """The pictures of a competition in a fixed order, and how each is cropped.

    One of more than `limit` pixels is seen through its shrunk copy; those in the folder `copies`
    save time, and change nothing.
    """

    paths: list[Path]
    boxes: np.ndarray | None
    crop: Crop
    short_side: int
    limit: int | None = None
    copies: Path | None = None

    def read(self, i: int) -> np.ndarray:
        """Return picture `i` (h, w, 3) uint8, decoded from its file."""
        box = None if self.boxes is None else self.boxes[i]
        shrunk = self.limit, self.copies
        return canonical(self.paths[i], self.crop, self.short_side, box, *shrunk)

    def key(self, kind: str) -> str:
        """Return a hash of all that decides the cached bytes, file sizes and times included."""
        crop = self.crop.model_dump(mode="json")
        said = [_FORMAT, kind, crop, self.short_side, self.limit, FORMAT, len(self.paths)]
        digest = hashlib.sha256(json_hash(said).encode())
        if self.boxes is not None:
            digest.update(np.ascontiguousarray(self.boxes, np.float64).tobytes())
        try:
            for path in self.paths:  # one at a time: a list of a million would be 1 GB
                stat = path.stat()
                digest.update(os.fsencode(path))
                digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        except OSError as error:
            raise PodiumError(
                f"{error.filename}: image cannot be read ({error.strerror}); "
                "put it there, or take its row out of the table"
            ) from None
        return digest.hexdigest()[:16]


@dataclass
class Pixels:
    """Pictures by number, from the blob or from their files. Cheap to send to a worker process."""

    source: Source
    kind: str
    blob: Path | None = None
    offsets: np.ndarray | None = None
    shapes: np.ndarray | None = None
    places: np.ndarray | None = None  # of picture numbers in the source, where it holds a part
    _mapped: np.ndarray | None = field(default=None, repr=False)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_mapped": None}  # a worker maps the file itself

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the pictures that are there, sorted."""
        if self.places is None:
            return np.arange(len(self.source.paths))
        return np.flatnonzero(self.places >= 0)

    def read(self, i: int) -> np.ndarray:
        """Return picture `i` (h, w, 3) uint8; raw ones are read-only views of the file."""
        if self.places is not None:
            i = int(self.places[i])
        if self.blob is None or self.offsets is None or self.shapes is None:
            pixels = self.source.read(i)  # the same pixels as the blob would hold
            return pixels if self.kind == "raw" else _decode(_encode(pixels))
        if self._mapped is None:
            self._mapped = np.memmap(self.blob, dtype=np.uint8, mode="r")
        data = self._mapped[self.offsets[i] : self.offsets[i + 1]]
        if self.kind == "jpeg":
            return _decode(data)
        height, width = self.shapes[i]
        return np.asarray(data).reshape(height, width, 3)


def open_rows(
    folder: Path,
    paths: list[Path],
    boxes: np.ndarray | None,
    rows: np.ndarray,
    image: Image,
    label: str,
    max_megapixels: float | None = None,
) -> tuple[Pixels, str]:
    """Open those pictures alone whose numbers are in `rows` (sorted), under their numbers."""
    if len(rows) == len(paths):
        return open_pixels(folder, paths, boxes, image, label, max_megapixels)
    part = None if boxes is None else boxes[rows]
    some = [paths[i] for i in rows]
    pixels, said = open_pixels(folder, some, part, image, label, max_megapixels)
    places = np.full(len(paths), -1, np.int64)
    places[rows] = np.arange(len(rows))
    return replace(pixels, places=places), said


def open_pixels(
    folder: Path,
    paths: list[Path],
    boxes: np.ndarray | None,
    image: Image,
    label: str,
    max_megapixels: float | None = None,
) -> tuple[Pixels, str]:
    """Return the pictures and a sentence about where they come from; fill the cache if need be.

    `folder` is data/cache, `label` (the competition's name) begins the name of the blob. A blob is
    complete or absent; two processes that need the same one make it once. Pictures of more than
    `max_megapixels` are shrunk once, into `folder`/shrunk; without it none is.
    """
    limit = pixel_limit(max_megapixels)
    source = Source(paths, boxes, image.crop, image.canonical_side, limit, folder / "shrunk")
    kind = "jpeg" if image.cache == "jpeg" else "raw"
    blob = folder / f"{label}-{source.key(kind)}.bin"
    index = blob.with_suffix(".npz")
    found, shrunk = _read_index(blob, index), ""
    if found is None:
        room, why_not = _room(source, kind, folder)
        shrunk = _shrink(source, room)
        if why_not:
            why_not = f"no cache, pictures are decoded each time: {why_not}"
            return Pixels(source, kind), why_not + shrunk
        found = _made(source, kind, blob, index)
    offsets, shapes = found
    said = f"{len(paths):,} pictures in {_size(int(offsets[-1]))} of {kind} pixels{shrunk}"
    return Pixels(source, kind, blob, offsets, shapes), said


def _room(source: Source, kind: str, folder: Path) -> tuple[float, str]:
    """Return how many bytes are left for shrunk copies, and why there is no room for the blob."""
    needed, free = _needed_bytes(source, kind), _free_bytes(folder)
    if needed <= free * DISK_SHARE:
        return free * DISK_SHARE - needed, ""
    said = f"{_size(needed)} of {kind} pixels would not fit in half of {_size(free)} free disk"
    return free * DISK_SHARE, said


def _made(source: Source, kind: str, blob: Path, index: Path) -> tuple[np.ndarray, np.ndarray]:
    """Fill the blob, unless another process has done so; return its offsets and shapes."""
    with lock(blob.with_suffix(".lock"), f"the image cache {blob.name}", wait=3600):
        found = _read_index(blob, index)
        if found is None:
            _fill(source, kind, blob, index)
            found = _read_index(blob, index)
    if found is None:
        raise PodiumError(f"{blob}: the cache could not be kept; look at the disk, then try again")
    return found


def _shrink(source: Source, room: float) -> str:
    """Make the shrunk copies if `room` bytes are enough; say how many pictures are large."""
    if source.limit is None or source.copies is None:
        return ""
    made = make_copies(source.paths, source.limit, source.copies, room)
    if not made.large:
        return ""
    said = f"; {made.large:,} of more than {source.limit / 1e6:g} megapixels shrunk"
    if made.unkept_bytes:
        said += f" each time, without room for {_size(made.unkept_bytes)} of copies"
    return said


def _read_index(blob: Path, index: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return offsets and shapes if blob and index are both there and whole."""
    try:
        with np.load(index, allow_pickle=False) as stored:
            offsets, shapes = stored["offsets"], stored["shapes"]
        return (offsets, shapes) if blob.stat().st_size == offsets[-1] else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _fill(source: Source, kind: str, blob: Path, index: Path) -> None:
    offsets = np.zeros(len(source.paths) + 1, np.int64)
    shapes = np.zeros((len(source.paths), 2), np.int64)
    with replacing(blob) as temporary, open(temporary, "wb") as handle:
        bar = tqdm(total=len(source.paths), desc="decoding", unit="img", disable=None, leave=False)
        for i, pixels in enumerate(_decoded(source)):
            data = _encode(pixels) if kind == "jpeg" else pixels.tobytes()
            handle.write(data)
            offsets[i + 1], shapes[i] = offsets[i] + len(data), pixels.shape[:2]
            bar.update()
        bar.close()
    # The index comes last: its presence says that the blob is whole.
    write_with(index, lambda path: _save_index(path, offsets, shapes))


def _save_index(path: Path, offsets: np.ndarray, shapes: np.ndarray) -> None:
    with open(path, "wb") as handle:
        np.savez(handle, offsets=offsets, shapes=shapes)


def _decoded(source: Source) -> Iterator[np.ndarray]:
    """Decode in threads (OpenCV lets go of the interpreter), in order, a bounded number ahead."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(source.paths), 16 * threads):
            yield from pool.map(
                source.read, range(start, min(start + 16 * threads, len(source.paths)))
            )


def _encode(pixels: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _decode(data: bytes | np.ndarray) -> np.ndarray:
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _needed_bytes(source: Source, kind: str) -> int:
    """Estimate the size of the blob from 16 pictures spread over the list."""
    sample = np.unique(np.linspace(0, len(source.paths) - 1, 16).astype(int))
    sizes = [source.read(int(i)).size for i in sample]
    return int(np.mean(sizes) * len(source.paths) / (8 if kind == "jpeg" else 1))


def _free_bytes(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
