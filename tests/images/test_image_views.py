"""Tests of pipeline.images.views: which views there are, and each against brute force."""

import pickle

import numpy as np
import pytest

from pipeline.config import pictures
from pipeline.config.pictures import Image
from pipeline.images import views
from pipeline.images.augment import Evaluator
from pipeline.images.decode import scaled

FLIPS = {"none": 1, "horizontal": 2, "both": 4, "dihedral": 8}
EVERYTHING = pictures.TestViews(flips="dihedral", crops=5, sizes=(12, 20))


def seen(section: pictures.TestViews, image: Image, picture: np.ndarray) -> list[np.ndarray]:
    return [view(picture) for view in views.test_views(section, image)]


@pytest.mark.parametrize("fit", ["squash", "pad", "cover"])
@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("crops", [1, 5])
def test_first_view_is_that_of_validation(fit, flips, crops, noise):
    """Check that without sizes the first view is the Evaluator's, whatever is added to it."""
    image, section = Image(size=16, fit=fit), pictures.TestViews(flips=flips, crops=crops)
    for picture in (noise(0, 40, 30), noise(1, 16, 16), noise(2, 9, 30)):
        np.testing.assert_array_equal(
            seen(section, image, picture)[0], Evaluator(image)(picture), strict=True
        )


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("crops", [1, 5])
@pytest.mark.parametrize("sizes", [(), (12,), (12, 20)])
def test_number_names_and_sizes(flips, crops, sizes, noise):
    """Check that all combinations are there once, under names and sizes of their own, and that one
    view is what the recipe calls single."""
    section = pictures.TestViews(flips=flips, crops=crops, sizes=sizes)
    found = views.test_views(section, Image(size=16))
    looks = 6 if crops == 5 else 1
    assert len(found) == FLIPS[flips] * looks * max(1, len(sizes))
    assert (len(found) == 1) == section.is_single
    assert len({view.name for view in found}) == len({v(noise(0)).tobytes() for v in found})
    assert len({view.name for view in found}) == len(found)
    shapes = [(size, size, 3) for size in sizes or (16,) for _ in range(FLIPS[flips] * looks)]
    assert [view(noise(0)).shape for view in found] == shapes


def test_names_in_words():
    """Check the names that a record shows, in order."""
    section = pictures.TestViews(flips="horizontal", crops=5)
    names = [view.name for view in views.test_views(section, Image())]
    parts = ["", ", top left", ", top right", ", bottom left", ", bottom right", ", middle"]
    assert names == [f"224 px{turn}{part}" for part in parts for turn in ("", ", flipped")]
    turned = pictures.TestViews(flips="dihedral", sizes=(32,))
    assert [view.name for view in views.test_views(turned, Image())][-2:] == [
        "32 px, turned by 270",
        "32 px, flipped, turned by 270",
    ]


def test_flips_by_brute_force(noise):
    """Check every symmetry against its own rule for single pixels."""
    s, image = 11, Image(size=11)
    picture = noise(3, s, s)
    rules = {
        "none": [lambda y, x: (y, x)],
        "horizontal": [lambda y, x: (y, s - 1 - x)],
        "both": [lambda y, x: (s - 1 - y, x), lambda y, x: (s - 1 - y, s - 1 - x)],
        "dihedral": [
            *(lambda y, x: (x, y), lambda y, x: (s - 1 - x, s - 1 - y)),
            *(lambda y, x: (x, s - 1 - y), lambda y, x: (s - 1 - x, y)),
        ],
    }
    wanted = set()
    for flips, added in rules.items():
        for rule in added:
            moved = [[picture[rule(y, x)] for x in range(s)] for y in range(s)]
            wanted.add(np.array(moved).tobytes())
        found = seen(pictures.TestViews(flips=flips), image, picture)
        assert {view.tobytes() for view in found} == wanted


def test_dihedral_by_numpy(noise):
    """Check the order against fliplr and rot90 of the first view, of a picture that is scaled."""
    picture, image = noise(4, 40, 30), Image(size=16)
    first = Evaluator(image)(picture)
    both = [np.rot90(base, k) for k in range(4) for base in (first, np.fliplr(first))]
    np.testing.assert_array_equal(
        seen(EVERYTHING.model_copy(update={"sizes": ()}), image, picture)[:8], both
    )


def test_turns_of_many_images_are_those_of_each(noise):
    """Check that a batch is turned as its images are, in memory that torch takes without a copy."""
    batch = np.stack([noise(seed, 9, 9) for seed in range(4)])
    for turn in views.test_turns(EVERYTHING):
        turned = turn(batch)
        np.testing.assert_array_equal(turned, [turn(one) for one in batch])
        assert turned.flags.c_contiguous
    assert views.test_turns(EVERYTHING)[0] == views.Turn()


def slices_of(picture: np.ndarray, share: float) -> list[np.ndarray]:
    """Cut corners and middle out of a picture, by counting from its edges."""
    height, width = picture.shape[:2]
    h, w = round(share * height), round(share * width)
    y, x = (height - h) // 2, (width - w) // 2
    corners = [picture[:h, :w], picture[:h, -w:], picture[-h:, :w], picture[-h:, -w:]]
    return [*corners, picture[y : y + h, x : x + w]]


@pytest.mark.parametrize("fit", ["squash", "pad", "cover"])
@pytest.mark.parametrize("share", [0.5, 0.875, 0.71])
def test_crops_by_brute_force(fit, share, coordinates):
    """Check whole, corners and middle against slices of the picture made square, each scaled; where
    the crop has the size of the network, it is not scaled at all."""
    picture, image = coordinates(40, 28), Image(size=14, fit=fit)
    found = seen(pictures.TestViews(crops=5, crop_share=share), image, picture)
    canvas = picture
    if fit == "pad":
        canvas = np.zeros((40, 40, 3), np.uint8)
        canvas[6:34] = picture
    elif fit == "cover":
        canvas = picture[:, 6:34]
    expected = [scaled(part, 14) for part in [canvas, *slices_of(canvas, share)]]
    np.testing.assert_array_equal(found, expected)
    if (fit, share) == ("cover", 0.5):
        np.testing.assert_array_equal(found[1], picture[:14, 6:20])


def test_smallest_share_leaves_a_pixel(noise):
    """Check that a crop is never empty."""
    section = pictures.TestViews(crops=5, crop_share=0.001)
    for view in seen(section, Image(size=8), noise(0, 20, 10))[1:]:
        assert (view == view[0, 0]).all()


def test_pure_contiguous_and_picklable(noise):
    """Check that neither epoch nor id matters, that a worker's copy sees the same, that the cached
    picture is not written to, and that every image is one block of memory."""
    picture = noise(0, 40, 30)
    picture.flags.writeable = False
    kept = picture.copy()
    for view in views.test_views(EVERYTHING, Image(size=16)):
        out = view(picture)
        assert out.flags.c_contiguous and out.dtype == np.uint8
        copy = pickle.loads(pickle.dumps(view))
        assert copy == view
        np.testing.assert_array_equal(copy(picture, 7, 2**64 - 1), out)
    np.testing.assert_array_equal(picture, kept)
