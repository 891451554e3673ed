"""Near-duplicates: how fast codes are searched, and what is found of changed copies of real photos.

    python -m benchmarks.duplicates               # random codes with planted neighbours
    python -m benchmarks.duplicates --faiss       # beside IndexBinaryMultiHash, where installed
    python -m benchmarks.duplicates --comp COMP   # 200 photos of a competition, changed

Changes: saved anew as JPEG at quality 60, halved, 3 % cropped off (half on each side; or all on the
left), brightened by 15 and 30 %. Two oracles: imagehash's dHash of the fully decoded files compared
all with all (what the search must find), and which copy is of which photo (what a user wants).
"""

import argparse
import io
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from pipeline.competition import load_data
from pipeline.config.project import Project
from pipeline.images.duplicates import find_duplicates
from pipeline.images.hamming import near_pairs
from pipeline.images.looks import looks_of

DISTANCE, PHOTOS = 10, 200


def planted_codes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n random codes followed by neighbours of every hundredth, 1 to 10 bits away."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (n, 32), dtype=np.uint8)
    sources = rng.choice(n, n // 100, replace=False)
    bits = np.unpackbits(codes[sources], axis=1)
    for row, flips in zip(bits, rng.integers(1, DISTANCE + 1, len(bits)), strict=True):
        row[rng.choice(256, flips, replace=False)] ^= 1
    return np.concatenate([codes, np.packbits(bits, axis=1)]), sources


def search(sizes: list[int], faiss_too: bool) -> None:
    for n in sizes:
        codes, sources = planted_codes(n)
        started = time.perf_counter()
        pairs = near_pairs(codes, DISTANCE)
        seconds = time.perf_counter() - started
        found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
        hit = sum((source, n + i) in found for i, source in enumerate(sources.tolist()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        line = f"{len(codes):>9,} codes: {seconds:5.1f} s, peak {peak:,.0f} MB, planted {hit:,} of "
        print(line + f"{len(sources):,} found, {len(pairs) - hit} others", end="")
        print(f"; faiss {faiss_seconds(codes):.1f} s" if faiss_too else "")


def faiss_seconds(codes: np.ndarray) -> float:
    import faiss

    index = faiss.IndexBinaryMultiHash(256, DISTANCE + 1, 256 // (DISTANCE + 1))
    started = time.perf_counter()
    index.add(codes)
    index.range_search(codes, DISTANCE + 1)
    return time.perf_counter() - started


def recoded(picture: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality)
    return Image.open(data)


def cropped(picture: Image.Image, left: float, right: float) -> Image.Image:
    width, height = picture.size
    top, bottom = (round(height * share) for share in (right, right))
    return picture.crop((round(width * left), top, width - round(width * right), height - bottom))


CHANGES = {
    "JPEG 60": lambda p: recoded(p, 60),
    "halved": lambda p: p.resize((p.width // 2, p.height // 2), Image.Resampling.LANCZOS),
    "cropped 3 %, centred": lambda p: cropped(p, 0.015, 0.015),
    "cropped 3 %, left": lambda p: cropped(p, 0.03, 0.0),
    "brightened 15 %": lambda p: ImageEnhance.Brightness(p).enhance(1.15),
    "brightened 30 %": lambda p: ImageEnhance.Brightness(p).enhance(1.3),
}


def photos(comp: str) -> None:
    data = load_data(Project(Path.cwd()), comp)
    rng = np.random.default_rng(0)
    rows = rng.choice(len(data.train), PHOTOS, replace=False)
    with tempfile.TemporaryDirectory() as name:
        folder, paths = Path(name), [data.train.images[row] for row in rows]
        for change, make in CHANGES.items():
            for i, row in enumerate(rows):
                with Image.open(data.train.images[row]) as picture:
                    path = folder / f"{i}-{change.replace(' ', '-')}.jpg"
                    make(picture.convert("RGB")).save(path, quality=90)
                    paths.append(path)
        started = time.perf_counter()
        looks = looks_of(paths, folder / "looks.npz")
        found = find_duplicates(looks, DISTANCE)
        seconds = time.perf_counter() - started
        tell(paths, found.near, seconds)


def tell(paths: list[Path], near, seconds: float) -> None:
    """Print recall and precision against both oracles."""
    import imagehash

    codes = np.stack([imagehash.dhash(Image.open(p), hash_size=16).hash.ravel() for p in paths])
    signs = 2.0 * codes - 1
    apart = (256 - signs @ signs.T) / 2
    expected = {tuple(pair) for pair in np.argwhere(np.triu(apart <= DISTANCE, 1)).tolist()}
    pairs = set(zip(near.first.tolist(), near.second.tolist(), strict=True))
    print(f"{len(paths):,} pictures looked at and searched in {seconds:.1f} s")
    both = len(pairs & expected)
    print(
        f"against imagehash, all with all ({len(expected):,} pairs): recall "
        f"{both / len(expected):.4f}, precision {both / max(len(pairs), 1):.4f}"
    )
    true = sum(i % PHOTOS == j % PHOTOS for i, j in pairs)
    print(f"of {len(pairs):,} pairs found, {true / len(pairs):.4f} show the same photo")
    for k, change in enumerate(CHANGES, start=1):
        hit = np.mean([(i, i + k * PHOTOS) in pairs for i in range(PHOTOS)])
        median = np.median([apart[i, i + k * PHOTOS] for i in range(PHOTOS)])
        print(f"  {change:<22} recall {hit:.3f}, median distance {median:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comp")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--faiss", action="store_true")
    asked = parser.parse_args()
    if asked.comp:
        photos(asked.comp)
    else:
        search(asked.sizes, asked.faiss)


if __name__ == "__main__":
    main()
