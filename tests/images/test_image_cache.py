"""Tests of pipeline.images.cache: the same pixels cached or not, complete or absent."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.pictures import Crop, Image
from pipeline.errors import PodiumError
from pipeline.images import cache
from pipeline.images.cache import Source, open_pixels
from pipeline.images.decode import canonical

IMAGE = Image(size=16, short_side=18)


@pytest.fixture
def pictures(noise, written) -> list[Path]:
    """Write forty pictures of different shapes."""
    return [written(noise(i, 20 + i, 30), f"{i:02d}.png") for i in range(40)]


def opened(folder: Path, paths: list[Path], image: Image = IMAGE, boxes=None):
    return open_pixels(folder / "cache", paths, boxes, image, "comp")


def same(pixels: cache.Pixels, paths: list[Path], short: int = 18) -> None:
    for i, path in enumerate(paths):
        np.testing.assert_array_equal(pixels.read(i), canonical(path, Crop(), short))


def test_raw_and_none_give_equal_pixels(pictures, tmp_path, monkeypatch):
    """Check bit for bit that the cache changes nothing, opened first or again, in any order."""
    for _ in range(2):
        pixels, said = opened(tmp_path, pictures)
        assert pixels.kind == "raw" and "raw pixels" in said
        same(pixels, pictures)
    monkeypatch.setattr(cache, "_free_bytes", lambda folder: 1000)
    uncached, _ = opened(tmp_path / "other", pictures)
    assert uncached.blob is None
    for i in (39, 0, 17):
        np.testing.assert_array_equal(uncached.read(i), pixels.read(i))


def test_short_disk_means_no_cache_and_is_said(pictures, tmp_path, monkeypatch):
    """Check that pixels which would take over half of the free disk are not written."""
    needed = sum(canonical(path, Crop(), 18).size for path in pictures)
    for free, name in ((2.3 * needed, "kept"), (1.7 * needed, "none")):
        monkeypatch.setattr(cache, "_free_bytes", lambda folder, free=free: free)
        pixels, said = opened(tmp_path / name, pictures)
        assert (pixels.blob is None) == (name == "none")
    assert "no cache" in said and "would not fit" in said
    assert not list((tmp_path / "none").rglob("*.bin"))


def test_jpeg_is_close_and_smaller(coordinates, written, tmp_path):
    """Check that quality 95 is within a few levels of the picture and takes less room."""
    paths = [written(coordinates(200, 150), f"{i}.png") for i in range(3)]
    image = Image(size=112, short_side=128)
    raw, _ = opened(tmp_path, paths, image)
    jpeg, said = opened(tmp_path, paths, image.model_copy(update={"cache": "jpeg"}))
    assert jpeg.kind == "jpeg" and "jpeg" in said
    assert jpeg.blob.stat().st_size < raw.blob.stat().st_size / 3
    difference = np.abs(jpeg.read(1).astype(int) - raw.read(1))
    assert jpeg.read(1).shape == raw.read(1).shape
    assert 0 < difference.max() < 12 and difference.mean() < 2


def test_jpeg_without_room_gives_the_pixels_of_the_jpeg_cache(pictures, tmp_path, monkeypatch):
    """Check bit for bit that a full disk does not turn JPEG pixels into raw ones."""
    image = IMAGE.model_copy(update={"cache": "jpeg"})
    cached, _ = opened(tmp_path, pictures, image)
    monkeypatch.setattr(cache, "_free_bytes", lambda folder: 1000)
    uncached, _ = opened(tmp_path / "other", pictures, image)
    assert cached.blob is not None and uncached.blob is None
    for i in (39, 0, 17):
        np.testing.assert_array_equal(uncached.read(i), cached.read(i))


def test_key_changes_with_all_that_decides_pixels(pictures):
    """Check that crop, short side, kind, boxes, a file's size or its time give another key."""
    boxes = np.tile([0.0, 0, 9, 9], (40, 1))
    box = Crop(kind="box", columns=tuple("abcd"))
    keys = [
        Source(pictures, None, Crop(), 18).key("raw"),
        Source(pictures, None, Crop(), 18).key("jpeg"),
        Source(pictures, None, Crop(), 17).key("raw"),
        Source(pictures, None, Crop(kind="sides", top=2), 18).key("raw"),
        Source(pictures, boxes, box, 18).key("raw"),
        Source(pictures, boxes + 1, box, 18).key("raw"),
        Source(pictures[::-1], None, Crop(), 18).key("raw"),
        Source(pictures[1:], None, Crop(), 18).key("raw"),
    ]
    assert keys[0] == Source(pictures, None, Crop(), 18).key("raw")
    os.utime(pictures[5], ns=(10**18, 10**18))
    keys.append(Source(pictures, None, Crop(), 18).key("raw"))
    time = pictures[5].stat().st_mtime_ns
    pictures[5].write_bytes(pictures[5].read_bytes() + b"more")
    os.utime(pictures[5], ns=(time, time))
    keys.append(Source(pictures, None, Crop(), 18).key("raw"))
    assert len(set(keys)) == len(keys)


def test_changed_picture_is_seen(pictures, noise, written, tmp_path):
    """Check that a picture replaced after the cache was filled is not served from it."""
    opened(tmp_path, pictures)
    written(noise(99, 25, 31), pictures[5].name)
    same(opened(tmp_path, pictures)[0], pictures)


def test_missing_picture_is_named_before_anything_is_decoded(pictures, tmp_path):
    """Check that a missing file is one error which names it, and leaves no cache."""
    pictures[7].unlink()
    with pytest.raises(PodiumError, match=r"07\.png: image cannot be read"):
        opened(tmp_path, pictures)
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize("when", ["decoding", "index"])
def test_killed_fill_is_not_taken_for_whole(when, pictures, tmp_path, monkeypatch):
    """Check that a fill that dies midway leaves nothing readable, and that the next succeeds."""

    class Killed(BaseException):
        pass

    read, index = Source.read, cache._save_index

    def dying_read(self, i):
        if when == "decoding" and i == 33:
            raise Killed
        return read(self, i)

    def dying_index(path, *arrays):
        index(path, *arrays)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_needed_bytes", lambda source, kind: 1)
        patch.setattr(Source, "read", dying_read)
        if when == "index":
            patch.setattr(cache, "_save_index", dying_index)
        with pytest.raises(Killed):
            opened(tmp_path, pictures)
    assert not list((tmp_path / "cache").glob("*.npz"))
    assert not list((tmp_path / "cache").glob(".*.tmp"))
    same(opened(tmp_path, pictures)[0], pictures)


def test_cache_whose_blob_was_deleted_is_made_again(pictures, tmp_path):
    """Check that data/cache is safe to delete in part: an index without its blob is no cache."""
    pixels, _ = opened(tmp_path, pictures)
    pixels.blob.unlink()
    same(opened(tmp_path, pictures)[0], pictures)


def test_cache_whose_blob_was_cut_short_is_made_again(pictures, tmp_path):
    """Check that a blob shorter than its index says, as after a full disk, is no cache."""
    pixels, _ = opened(tmp_path, pictures)
    os.truncate(pixels.blob, 5000)
    same(opened(tmp_path, pictures)[0], pictures)


def fill_and_read(folder: Path, paths: list[Path], start: float) -> list[np.ndarray]:
    """Open the cache at a given time, so that two processes really meet; return all pixels."""
    import time

    time.sleep(max(0.0, start - time.time()))
    pixels, _ = opened(folder, paths)
    assert pixels.kind == "raw"
    return [pixels.read(i).copy() for i in range(len(paths))]


def test_two_processes_fill_the_same_cache(pictures, tmp_path):
    """Check that two spawned processes that start together both read the right pixels."""
    import time

    context = multiprocessing.get_context("spawn")
    paths = pictures * 8
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(time.sleep, [0.3, 0.3]))  # both are up
        start = time.time() + 3
        both = [pool.submit(fill_and_read, tmp_path, paths, start) for _ in range(2)]
        results = [one.result(timeout=60) for one in both]
    expected = [canonical(path, Crop(), 18) for path in pictures] * 8
    for result in results:
        assert all(np.array_equal(a, b) for a, b in zip(result, expected, strict=True))
    assert len(list((tmp_path / "cache").glob("*.bin"))) == 1
    assert not list((tmp_path / "cache").glob(".*.tmp"))
