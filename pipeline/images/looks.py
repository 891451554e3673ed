"""Looks at all pictures of a competition: in threads, kept on disk, resumed after a kill."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.artifacts.files import write_with
from pipeline.artifacts.hashing import stable_int
from pipeline.artifacts.locks import lock
from pipeline.competition.faults import quiet
from pipeline.images.look import LOOK, look

SAVE_SECONDS = 30.0  # between saves: what a kill costs
_FORMAT = 3  # raise it when a look tells something else


def looks_of(paths: Sequence[Path], kept: Path) -> np.ndarray:
    """Return a look (n,) at every picture, in the order of `paths`.

    `kept` is the file that remembers looks; those at files of the same path, size and time are not
    taken again. A picture that is missing is looked for each time.
    """
    names, place = np.unique([str(path) for path in paths], return_inverse=True)
    files = [Path(name) for name in names.tolist()]
    keys = np.array([_key(path) for path in files], np.uint64)
    with lock(kept.with_suffix(".lock"), f"the looks at pictures in {kept.name}", wait=3600):
        told, known = np.zeros(len(files), LOOK), np.zeros(len(files), bool)
        old_keys, old = _load(kept)
        at = np.minimum(np.searchsorted(old_keys, keys), max(len(old_keys) - 1, 0))
        if len(old_keys):
            known = (old_keys[at] == keys) & (keys != 0)
            told[known] = old[at[known]]
        if not known.all():
            _take(files, keys, told, known, kept)
    return told[place.ravel()]


def _key(path: Path) -> int:
    """Return 64 bits of path, size and time; 0 where there is no such file."""
    try:
        stat = path.stat()
    except OSError:
        return 0
    return stable_int(f"{_FORMAT}/{path}/{stat.st_size}/{stat.st_mtime_ns}") | 1


def _take(
    files: list[Path], keys: np.ndarray, told: np.ndarray, known: np.ndarray, kept: Path
) -> None:
    """Take the looks that are not known yet, and save them from time to time."""
    missing = np.flatnonzero(~known)
    pause, saved = SAVE_SECONDS, time.monotonic()
    bar = tqdm(total=len(missing), desc="looking", unit="img", disable=None, leave=False)
    with quiet(), ThreadPoolExecutor(os.cpu_count() or 1) as pool, bar:
        for place, one in zip(missing, _bounded(pool, files, missing), strict=True):
            told[place], known[place] = one, True
            bar.update()
            if time.monotonic() - saved > pause:
                started = time.monotonic()
                _save(kept, keys, told, known)
                saved = time.monotonic()
                pause = max(SAVE_SECONDS, 20 * (saved - started))
    _save(kept, keys, told, known)


def _bounded(
    pool: ThreadPoolExecutor, files: list[Path], places: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield looks in order, a bounded number of files ahead, so that memory does not grow."""
    step = 16 * (os.cpu_count() or 1)
    for start in range(0, len(places), step):
        yield from pool.map(look, [files[i] for i in places[start : start + step]])


def _save(kept: Path, keys: np.ndarray, told: np.ndarray, known: np.ndarray) -> None:
    """Keep the looks at files that are there, sorted by key."""
    there = np.flatnonzero(known & (keys != 0))
    there = there[np.argsort(keys[there])]

    def write(path: Path) -> None:
        with open(path, "wb") as handle:
            np.savez(handle, keys=keys[there], looks=told[there])

    write_with(kept, write)


def _load(kept: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return keys and looks; none where the file is not there, broken or of another form."""
    with contextlib.suppress(Exception):  # NumPy and zip raise many kinds for a broken file
        with np.load(kept, allow_pickle=False) as stored:
            keys, looks = stored["keys"], stored["looks"]
        if looks.dtype == LOOK and len(keys) == len(looks):
            return keys, looks
    return np.array([], np.uint64), np.zeros(0, LOOK)
