"""From the file of a large photo to canonical pixels: decoded whole, scaled, and from a copy.

    .venv/bin/python -m benchmarks.decoding --pictures 60 --short-side 256

Makes photo-like JPEGs of 12 and of 24 megapixels in a temporary folder: smooth noise of several
scales, edges and sensor noise, from a fixed seed. Four ways to the same size, in turn for each
picture, on one thread, with warm files:

    whole    every pixel decoded, then area averaging
    scaled   decoded at 1/2, 1/4 or 1/8, then area averaging: what `canonical` does below the limit
    copy     the same from the copy of at most `--megapixels`, which is made once
    memory   shrunk to such a copy and decoded from it, as where the disk has no room for copies

The first table gives medians, the ratio to `whole` as the median of the pictures' own ratios, and
the mean absolute difference from `whole` in levels of 255. The second tells what shrinking costs,
in a process of its own with all cores: pictures a second, the largest memory it had before and
after, the bytes of the copies, and the time to find that all are there.
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from pipeline.config.pictures import Crop
from pipeline.images.decode import canonical
from pipeline.images.shrunk import make_copies, pixel_limit

SIZES = {"12 MP": (4000, 3000), "24 MP": (6000, 4000)}
QUALITY = 92


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=60, help="of each size")
    parser.add_argument("--short-side", type=int, default=256)
    parser.add_argument("--megapixels", type=float, default=4.0)
    options = parser.parse_args()
    cv2.setNumThreads(0)  # as in training: one picture per core
    limit, context = pixel_limit(options.megapixels), multiprocessing.get_context("spawn")
    # The processes start before this one grows: they inherit the largest memory so far.
    pools = {size: ProcessPoolExecutor(1, mp_context=context) for size in SIZES}
    before = {size: pool.submit(_peak).result() for size, pool in pools.items()}
    with tempfile.TemporaryDirectory() as name:
        for size, (width, height) in SIZES.items():
            with pools[size] as pool:
                paths = make_photos(Path(name) / size, options.pictures, width, height)
                stored = sum(path.stat().st_size for path in paths)
                share = stored / len(paths) / (width * height)
                print(f"{size}: {len(paths)} files, {share:.2f} bytes a pixel", flush=True)
                folder = Path(name) / f"{size} shrunk"
                cost = pool.submit(_shrink, paths, limit, folder).result()
            _print_speed(_measured(_ways(options.short_side, limit, folder), paths))
            _print_cost(len(paths), before[size], cost, folder)


def make_photos(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """Write `count` JPEGs and return their paths; picture i is the same for any `count`."""
    folder.mkdir()
    paths = [folder / f"{number:03d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        pixels = _photo(np.random.default_rng(number), width, height)
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return paths


def _photo(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Return (height, width, 3) uint8: noise of falling amplitude at rising frequency, 60 filled
    ellipses, and the noise of a sensor."""
    picture = np.full((height, width, 3), 90, np.uint8)
    for cells, amplitude in ((6, 120), (40, 50), (300, 25)):
        coarse = rng.integers(0, amplitude, (cells * 2 // 3, cells, 3)).astype(np.uint8)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        picture = cv2.add(picture, cv2.subtract(smooth, (amplitude // 3,) * 3))
    for _ in range(60):
        centre = int(rng.integers(width)), int(rng.integers(height))
        axes = tuple(int(side) for side in rng.integers(5, width // 10, 2))
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        cv2.ellipse(picture, centre, axes, float(rng.integers(180)), 0, 360, colour, -1)
    tile = rng.normal(16, 7.5, (512, 512, 3)).clip(0, 32).astype(np.uint8)
    noise = np.tile(tile, (-(-height // 512), -(-width // 512), 1))[:height, :width]
    return cv2.subtract(cv2.add(picture, noise), (16,) * 3)


def _ways(short_side: int, limit: int, folder: Path) -> dict[str, Callable[[Path], np.ndarray]]:
    return {
        "whole": lambda path: _whole(path, short_side),
        "scaled": lambda path: canonical(path, Crop(), short_side),
        "copy": lambda path: canonical(path, Crop(), short_side, None, limit, folder),
        "memory": lambda path: canonical(path, Crop(), short_side, None, limit),
    }


def _whole(path: Path, short_side: int) -> np.ndarray:
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    height, width = pixels.shape[:2]
    scale = short_side / min(height, width)
    size = round(width * scale), round(height * scale)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)


Measured = dict[str, tuple[list[float], list[float]]]


def _measured(ways: dict[str, Callable[[Path], np.ndarray]], paths: list[Path]) -> Measured:
    """Return seconds and differences from `whole` per way, one per picture."""
    found: Measured = {name: ([], []) for name in ways}
    names = list(ways)
    for way in ways.values():
        way(paths[0])  # warm-up
    for number, path in enumerate(paths):
        results = {}
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            results[name] = ways[name](path)
            found[name][0].append(time.perf_counter() - started)
        for name in names:
            difference = np.abs(results[name].astype(int) - results["whole"]).mean()
            found[name][1].append(float(difference))
    return found


def _shrink(paths: list[Path], limit: int, folder: Path) -> tuple[float, float, float]:
    """Make the copies; return seconds, the largest memory in MB, and seconds of a second call."""
    cv2.setNumThreads(0)
    started = time.perf_counter()
    make_copies(paths, limit, folder, float("inf"))
    seconds, peak = time.perf_counter() - started, _peak()
    started = time.perf_counter()
    make_copies(paths, limit, folder, float("inf"))
    return seconds, peak, time.perf_counter() - started


def _peak() -> float:
    """Return the largest memory of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _print_speed(found: Measured) -> None:
    print(f"  {'':8}{'img/s':>8}{'ms':>8}{'ratio':>8}   (smallest to largest){'difference':>12}")
    for name, (seconds, differences) in found.items():
        pairs = zip(found["whole"][0], seconds, strict=True)
        ratios = sorted(whole / other for whole, other in pairs)
        middle, ratio = statistics.median(seconds), statistics.median(ratios)
        spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(
            f"  {name:8}{1 / middle:8.1f}{1000 * middle:8.1f}{ratio:8.2f}   {spread:21}"
            f"{statistics.mean(differences):12.2f}"
        )


def _print_cost(count: int, before: float, cost: tuple[float, float, float], folder: Path) -> None:
    seconds, peak, again = cost
    stored = sum(path.stat().st_size for path in folder.rglob("*.jpg"))
    print(
        f"  shrinking: {count / seconds:.1f} img/s, memory {before:.0f} to {peak:.0f} MB, "
        f"copies of {stored / count / 1e6:.2f} MB; "
        f"all there: {1000 * again / count:.2f} ms a picture\n"
    )


if __name__ == "__main__":
    main()
