"""Tests of the copies of large pictures on the disk: threads, kills, processes, short disks."""

import contextlib
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.pictures import Crop, Image
from pipeline.errors import PodiumError
from pipeline.images import cache, shrunk
from pipeline.images.cache import open_pixels
from pipeline.images.decode import canonical
from pipeline.images.shrunk import Budget, copy_path, make_copies

LIMIT = 50_000
LARGE = 17  # of the photos
ROOM = 1e12


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.jpg")}


@pytest.mark.parametrize("threads", [1, 2, 9])
def test_any_number_of_threads_makes_the_same_files(threads, photos, tmp_path, monkeypatch):
    """Check that threads, and the order of the pictures, change no byte and no name."""
    make_copies(photos, LIMIT, tmp_path / "one", ROOM)
    monkeypatch.setattr(shrunk.os, "cpu_count", lambda: threads)
    monkeypatch.setattr(shrunk, "BUDGET", 10**6)
    make_copies(photos[::-1] * 2, LIMIT, tmp_path / "other", ROOM)
    assert files(tmp_path / "one") == files(tmp_path / "other")


def die_after(count: int, paths: list[Path], folder: Path) -> None:
    """Make copies in this process, which vanishes while it writes one of them."""
    write, lock = shrunk.write_with, threading.Lock()
    left = [count]

    def dying(path, fill):
        with lock:
            left[0] -= 1
            if left[0] < 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                (path.parent / f".{path.name}.half.tmp").write_bytes(b"\xff\xd8half")
                os._exit(9)
            write(path, fill)

    shrunk.write_with = dying
    make_copies(paths, LIMIT, folder, ROOM)


def test_a_killed_process_loses_only_what_it_was_at(photos, tmp_path):
    """Check that copies survive a kill, only missing ones are made then, and all are the same."""
    folder = tmp_path / "shrunk"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=die_after, args=(5, photos, folder))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
    assert len(before) == 5
    written = []
    with pytest.MonkeyPatch.context() as patch:
        write = shrunk.write_with
        patch.setattr(shrunk, "write_with", lambda p, f: (written.append(p), write(p, f)))
        make_copies(photos, LIMIT, folder, ROOM)
    make_copies(photos, LIMIT, tmp_path / "whole", ROOM)
    assert files(folder) == files(tmp_path / "whole")
    assert set(written) | set(before) == set(folder.rglob("*.jpg")) and len(written) == 12
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())


def test_all_there_decodes_nothing(photos, tmp_path, monkeypatch):
    """Check that a second call makes nothing, and opens none of the large pictures."""
    large = [path for path in photos if not path.name.startswith("small")]
    first = make_copies(large, LIMIT, tmp_path / "shrunk", ROOM)
    monkeypatch.setattr(shrunk, "pixel_count", None)
    monkeypatch.setattr(shrunk, "shrink", None)
    assert make_copies(large * 2, LIMIT, tmp_path / "shrunk", 0) == first


def test_what_another_process_made_meanwhile_is_not_made_again(photos, tmp_path, monkeypatch):
    """Check that the wait for the lock ends in looking again."""
    folder, written, write = tmp_path / "shrunk", [], shrunk.write_with

    @contextlib.contextmanager
    def waited(path, what, *, wait):
        monkeypatch.undo()
        make_copies(photos, LIMIT, folder, ROOM)
        monkeypatch.setattr(shrunk, "write_with", lambda p, f: (written.append(p), write(p, f)))
        yield

    monkeypatch.setattr(shrunk, "lock", waited)
    assert make_copies(photos, LIMIT, folder, ROOM).large == LARGE
    assert not written


def test_a_copy_cut_short_is_made_again(tmp_path, save):
    """Check that half a copy, or another file in its place, is neither read nor kept."""
    path, folder = save("large", "jpg"), tmp_path / "shrunk"
    make_copies([path], LIMIT, folder, ROOM)
    copy = copy_path(folder, path, LIMIT)
    whole, expected = copy.read_bytes(), canonical(path, Crop(), 64, None, LIMIT)
    for broken in (whole[:-5], b"", path.read_bytes()):
        copy.write_bytes(broken)
        pixels = canonical(path, Crop(), 64, None, LIMIT, folder)
        np.testing.assert_array_equal(pixels, expected)
    copy.write_bytes(whole[:-5])
    make_copies([path], LIMIT, folder, ROOM)
    assert copy.read_bytes() == whole


def test_a_changed_picture_or_limit_has_another_copy(tmp_path, save):
    """Check that content, time and limit count, and that a name that is not UTF-8 does not harm."""
    path, folder = save("large", "jpg"), tmp_path / "shrunk"
    names = {copy_path(folder, path, LIMIT), copy_path(folder, path, LIMIT + 1)}
    os.utime(path, ns=(10**18, 10**18))
    names.add(copy_path(folder, path, LIMIT))
    path.write_bytes(path.read_bytes() + b"more")
    os.utime(path, ns=(10**18, 10**18))
    names.add(copy_path(folder, path, LIMIT))
    odd = path.rename(tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    names.add(copy_path(folder, odd, LIMIT))
    assert len(names) == 5


def test_budget_bounds_what_is_held_at_once():
    """Check under many threads that the sum never passes the budget, that one who wants more than
    all is alone, and that nobody waits for ever."""
    budget, lock, held = Budget(100), threading.Lock(), []
    worst, alone = [], []

    def work(wanted: int) -> None:
        with budget.taken(wanted):
            with lock:
                held.append(wanted)
                worst.append(sum(min(h, 100) for h in held))
                alone.append(len(held) == 1 or max(held) < 100)
            time.sleep(0.001)
            with lock:
                held.remove(wanted)

    wants = np.random.default_rng(0).integers(1, 140, 300).tolist()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, wants))
    assert max(worst) <= 100 and max(worst) > 60 and all(alone) and not held


def test_failure_gives_its_bytes_back(tmp_path, save):
    """Check that a picture that cannot be decoded is named, and stops nobody from going on."""
    path = save("large", "bmp")
    path.write_bytes(path.read_bytes()[:60])  # the header is there
    with pytest.raises(PodiumError, match=r"large\.bmp: not an image that can be decoded"):
        make_copies([path], LIMIT, tmp_path / "shrunk", ROOM)
    assert not files(tmp_path / "shrunk")


def test_short_disk_means_no_copies_and_the_same_pixels(photos, tmp_path, monkeypatch):
    """Check that the sentence says so, and that the pixels are those of copies and blob."""
    image = Image(size=56, short_side=64)
    cached, said = open_pixels(tmp_path / "cache", photos, None, image, "comp", LIMIT / 1e6)
    assert said.endswith(f"raw pixels; {LARGE} of more than 0.05 megapixels shrunk")
    needed = cached.blob.stat().st_size
    for free, blob, name in ((2.5 * needed, True, "blob"), (1000, False, "none")):
        monkeypatch.setattr(cache, "_free_bytes", lambda folder, free=free: free)
        other, said = open_pixels(tmp_path / name, photos, None, image, "comp", LIMIT / 1e6)
        assert (other.blob is not None) == blob and not files(tmp_path / name)
        assert said.endswith("shrunk each time, without room for 850 kB of copies")
        for i in range(len(photos)):
            np.testing.assert_array_equal(other.read(i), cached.read(i))
    monkeypatch.setattr(cache, "_free_bytes", lambda folder: ROOM)
    again, said = open_pixels(tmp_path / "cache", photos, None, image, "comp", LIMIT / 1e6)
    assert again.blob == cached.blob and "shrunk" not in said  # nothing was to be done


def test_without_large_pictures_nothing_is_said_or_written(photos, tmp_path):
    """Check that a competition of small pictures has no folder of copies."""
    small = [path for path in photos if path.name.startswith("small")]
    said = open_pixels(tmp_path / "cache", small, None, Image(size=16), "comp", 4.0)[1]
    assert "shrunk" not in said and not list((tmp_path / "cache").glob("shrunk*"))


def shrink_at(start: float, paths: list[Path], folder: Path) -> int:
    time.sleep(max(0.0, start - time.time()))
    return make_copies(paths, LIMIT, folder, ROOM).large


def test_two_processes_make_the_same_copies(photos, tmp_path):
    """Check that two that start together both find all copies in the end, whole and once."""
    context, folder = multiprocessing.get_context("spawn"), tmp_path / "shrunk"
    start = time.time() + 4
    processes = [context.Process(target=shrink_at, args=(start, photos, folder)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    make_copies(photos, LIMIT, tmp_path / "alone", ROOM)
    assert files(folder) == files(tmp_path / "alone")
    assert not list(folder.rglob(".*.tmp"))
