"""Duplicates of real files: planted copies, with imagehash and brute force as the oracle."""

import io

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pipeline.images.duplicates import find_duplicates
from pipeline.images.look import look
from pipeline.images.looks import looks_of


def photo(seed: int, side: int = 96) -> Image.Image:
    """Return a smooth random picture with edges."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (7, 7, 3)).astype(np.uint8)
    pixels = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    x, y = rng.integers(10, side - 30, 2)
    pixels[y : y + 20, x : x + 20] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def recoded(picture: Image.Image) -> Image.Image:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=60)
    return Image.open(data)


CHANGES = {
    "recoded": recoded,
    "halved": lambda p: p.resize((p.width // 2, p.height // 2)),
    "brightened": lambda p: ImageEnhance.Brightness(p).enhance(1.1),
    "cropped": lambda p: p.crop((1, 1, p.width - 2, p.height - 2)),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Write 40 pictures and 4 changed copies of each; return the paths, originals first."""
    folder, paths = tmp_path_factory.mktemp("planted"), []
    for i in range(40):
        photo(i).save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
    for name, change in CHANGES.items():
        for i in range(40):
            change(photo(i)).convert("RGB").save(folder / f"{i}-{name}.png")
            paths.append(folder / f"{i}-{name}.png")
    return paths


@pytest.mark.parametrize("distance", [0, 10, 24])
def test_planted_copies_are_those_that_imagehash_finds(planted, tmp_path, distance):
    """Check that pairs are exactly those of imagehash's dHash compared all with all."""
    hashes = [imagehash.dhash(Image.open(path), hash_size=16) for path in planted]
    expected = {
        (i, j)
        for i in range(len(planted))
        for j in range(i + 1, len(planted))
        if hashes[i] - hashes[j] <= distance
    }
    found = find_duplicates(looks_of(planted, tmp_path / "looks.npz"), distance).near
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert len(expected) > 10
    assert pairs == expected


def test_recoded_and_halved_copies_join_their_originals(planted, tmp_path):
    """Check that most copies are in the cluster of their own original and of no other."""
    cluster = find_duplicates(looks_of(planted, tmp_path / "looks.npz"), 10).cluster
    assert len(set(cluster[:40].tolist())) == 40
    for k in (1, 2, 3):
        copies = cluster[40 * k : 40 * (k + 1)]
        assert (copies == cluster[:40]).mean() >= 0.8


def test_the_same_bytes_are_exact_whatever_they_are_called(tmp_path):
    """Check exact clusters, and that unusable files are in none even where their bytes agree."""
    photo(1).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    photo(2).save(tmp_path / "c.png")
    for name in ("d.png", "e.png"):
        (tmp_path / name).write_text("no picture")
    paths = [tmp_path / f"{name}.png" for name in "abcdefg"]
    found = find_duplicates(np.stack([look(path) for path in paths]), 10)
    assert found.exact[0] == found.exact[1]
    assert len(set(found.exact.tolist())) == len(set(found.cluster.tolist())) == 6
    assert found.sizes(np.ones(7, bool)).tolist() == [2]


def test_pictures_of_one_colour_are_not_near_each_other(tmp_path):
    """Check that black and white frames, whose dHashes are equal, join nothing unless their bytes
    are the same."""
    for name, level in (("a", 0), ("b", 255), ("c", 0)):
        Image.new("RGB", (40, 40), (level,) * 3).save(tmp_path / f"{name}.png")
    found = find_duplicates(np.stack([look(tmp_path / f"{name}.png") for name in "abc"]), 10)
    assert len(found.near) == 0
    assert found.cluster[0] == found.cluster[2] != found.cluster[1]


def test_without_a_distance_only_bytes_count(planted, tmp_path):
    """Check `distance` None: no near pairs, every picture a cluster of its own."""
    found = find_duplicates(looks_of(planted, tmp_path / "looks.npz"), None)
    assert len(found.near) == 0
    assert len(set(found.cluster.tolist())) == len(planted)
