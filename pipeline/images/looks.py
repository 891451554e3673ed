"""Looks at all pictures of a competition: in threads, kept on disk, resumed after a kill.

A look takes about 800 bytes, and a competition may have a million pictures: beside the answer, no
second copy of the looks is held, so that the file is read and written a piece at a time.
"""

import contextlib
import os
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from tqdm import tqdm

from pipeline.artifacts.files import write_with
from pipeline.artifacts.hashing import stable_int
from pipeline.artifacts.locks import lock
from pipeline.competition.faults import quiet
from pipeline.images.look import LOOK, look
from pipeline.images.shrunk import BUDGET, Budget

SAVE_SECONDS = 30.0  # between saves: what a kill costs
OTHERS = 500_000  # looks at pictures that were not asked for now, which are kept all the same
PIECE = 4096  # looks that are read or written at a time
_FORMAT = 4  # raise it when a look tells something else
_NONE = np.array([], np.uint64)
_npy = np.lib.format


def looks_of(paths: Sequence[Path], kept: Path) -> np.ndarray:
    """Return a look (n,) at every picture, in the order of `paths`.

    `kept` is the file that remembers looks; those at files of the same path, size and time are not
    taken again. A picture that is missing is looked for each time. Looks at other pictures stay in
    the file, the last asked for first, as many as are asked for now or OTHERS.
    """
    numbers: dict[str, int] = {}
    place = [numbers.setdefault(str(path), len(numbers)) for path in paths]
    files = list(map(Path, numbers)) if len(numbers) < len(place) else list(paths)
    keys, stamps = _identities(files)
    with _alone(kept):
        known, told, is_known = _remembered(kept, keys, stamps)
        if not is_known.all():
            _take(files, known, _Own(keys, stamps, told, is_known))
    return told if len(files) == len(place) else told[place]


@contextlib.contextmanager
def _alone(kept: Path) -> Iterator[None]:
    """Hold the lock of the file, so that two processes do not look at the same pictures; where no
    lock can be written, go on without."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            what = f"the looks at pictures in {kept.name}"
            held.enter_context(lock(kept.with_suffix(".lock"), what, wait=3600))
        yield


@dataclass(frozen=True, eq=False)
class _Own:
    """The pictures that are asked for: keys of their paths and stamps of size and time, 0 where
    there is no file, and the looks at those that are `known`."""

    keys: np.ndarray
    stamps: np.ndarray
    told: np.ndarray
    known: np.ndarray


@dataclass(frozen=True, eq=False)
class _Kept:
    """What the file at `path` remembers: a look for each of the `keys`, in their order."""

    path: Path
    keys: np.ndarray
    stamps: np.ndarray

    def looks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the looks, PIECE at a time, with their places; ValueError if they are others."""
        n = len(self.keys)
        if not n:
            return
        with zipfile.ZipFile(self.path) as archive, archive.open("looks.npy") as member:
            _npy.read_magic(member)
            if _npy.read_array_header_1_0(member) != ((n,), False, LOOK):
                raise ValueError("looks of another form")
            for start in range(0, n, PIECE):
                piece = slice(start, min(start + PIECE, n))
                data = member.read((piece.stop - start) * LOOK.itemsize)
                yield piece, np.frombuffer(data, LOOK, count=piece.stop - start)
            if member.read(1):
                raise ValueError("more looks than keys")


def _identities(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return 64 bits of every path, and of its file's size and time; 0 where there is none."""
    found = np.zeros((2, len(files)), np.uint64)
    for i, path in enumerate(files):
        with contextlib.suppress(OSError):
            stat = path.stat()
            stamp = stable_int(f"{_FORMAT}/{stat.st_size}/{stat.st_mtime_ns}")
            found[:, i] = stable_int(str(path)) | 1, stamp
    return found[0], found[1]


def _remembered(
    path: Path, keys: np.ndarray, stamps: np.ndarray
) -> tuple[_Kept, np.ndarray, np.ndarray]:
    """Return what the file remembers, the looks (n,) that it has of the pictures asked for, and
    which (n,) those are; nothing where it is not there, broken or of another form."""
    n = len(keys)
    with contextlib.suppress(Exception):  # NumPy and zip raise many kinds for a broken file
        with np.load(path, allow_pickle=False) as stored:
            kept = _Kept(path, stored["keys"], stored["stamps"])
        if len(kept.keys) == len(kept.stamps) and n:
            told, known = np.zeros(n, LOOK), np.zeros(n, bool)
            order = np.argsort(keys)
            at = np.searchsorted(keys, kept.keys, sorter=order)
            place = order[np.minimum(at, n - 1)]
            same = (keys[place] == kept.keys) & (stamps[place] == kept.stamps) & (kept.keys != 0)
            for piece, looks in kept.looks():
                told[place[piece][same[piece]]] = looks[same[piece]]
            known[place[same]] = True
            return kept, told, known
    return _Kept(path, _NONE, _NONE), np.zeros(n, LOOK), np.zeros(n, bool)


def _take(files: list[Path], kept: _Kept, own: _Own) -> None:
    """Take the looks that are not known yet, and save them from time to time."""
    missing = np.flatnonzero(~own.known)
    pause, saved, new = SAVE_SECONDS, time.monotonic(), False
    bar = tqdm(total=len(missing), desc="looking", unit="img", disable=None, leave=False)
    with quiet(), ThreadPoolExecutor(os.cpu_count() or 1) as pool, bar:
        for place, one in zip(missing, _bounded(pool, files, missing), strict=True):
            own.told[place], own.known[place] = one, True
            new |= bool(own.keys[place])
            bar.update()
            if new and time.monotonic() - saved > pause:
                started = time.monotonic()
                kept, new = _save(kept, own), False
                saved = time.monotonic()
                pause = max(SAVE_SECONDS, 20 * (saved - started))
    if new:
        _save(kept, own)


def _bounded(
    pool: ThreadPoolExecutor, files: list[Path], places: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield looks in order, a bounded number of files and bytes of pixels ahead, so that memory
    does not grow."""
    step, one_look = 16 * (os.cpu_count() or 1), partial(look, budget=Budget(BUDGET))
    for start in range(0, len(places), step):
        yield from pool.map(one_look, [files[i] for i in places[start : start + step]])


def _save(kept: _Kept, own: _Own) -> _Kept:
    """Keep the looks at files that are there, then those of other paths that were kept before;
    return what the file then remembers."""
    there = np.flatnonzero(own.known & (own.keys != 0))
    others = np.flatnonzero(~np.isin(kept.keys, own.keys[there]))[: max(OTHERS, len(there))]
    is_other = np.zeros(len(kept.keys), bool)
    is_other[others] = True
    keys = np.concatenate([own.keys[there], kept.keys[others]])
    stamps = np.concatenate([own.stamps[there], kept.stamps[others]])

    def pieces() -> Iterator[np.ndarray]:
        for start in range(0, len(there), PIECE):
            yield own.told[there[start : start + PIECE]]
        for piece, looks in kept.looks():
            yield looks[is_other[piece]]

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in (("keys", keys), ("stamps", stamps)):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    _npy.write_array(member, array, allow_pickle=False)
            with archive.open("looks.npy", "w", force_zip64=True) as member:
                _write_looks(member, len(keys), pieces())

    with contextlib.suppress(OSError):  # a full or read-only disk: they are looked at again
        write_with(kept.path, write)
        return _Kept(kept.path, keys, stamps)
    return kept


def _write_looks(member: IO[bytes], n: int, pieces: Iterator[np.ndarray]) -> None:
    """Write looks (n,) as np.save would."""
    form = {"descr": _npy.dtype_to_descr(LOOK), "fortran_order": False, "shape": (n,)}
    _npy.write_array_header_1_0(member, form)
    for piece in pieces:
        member.write(piece.tobytes())
