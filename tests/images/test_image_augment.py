"""Tests of pipeline.images.augment: a pure function of (seed, epoch, id), with the right spread."""

import colorsys
import pickle
import random

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from pipeline.artifacts.hashing import stable_int
from pipeline.config.learning import Training
from pipeline.config.pictures import Augment, Image
from pipeline.errors import PodiumError
from pipeline.images import augment as module
from pipeline.images.augment import Augmenter, Evaluator, build, sizes
from pipeline.images.decode import scaled, square

MANY = 2000
SIZE = 16
OFF = {"scale": None, "horizontal_flip": 0}
EVERYTHING = Augment(scale=(0.4, 0.9), vertical_flip=0.5, rotate=20, brightness=0.2, contrast=0.2)


def hashes(n: int, name: str = "id") -> list[int]:
    return [stable_int(f"{name} {i}") for i in range(n)]


@pytest.fixture
def spans(coordinates):
    """Measure crops on a picture of 200 x 200 whose pixels are their coordinates.

    Returns (n, 4): left and right end, upper and lower end of each crop, in pixels of the
    original; the ends of a flipped image come the other way round.
    """
    picture = coordinates(200, 200)

    def measure(augment: Augment, names: list[int], epoch: int = 0, seed: int = 0) -> np.ndarray:
        view = Augmenter(augment, Image(size=SIZE), seed)
        rows = []
        for name in names:
            image = view(picture, epoch, name).astype(float)
            x, y = image[..., 0].mean(0), image[..., 1].mean(1)
            ends = []
            for line in (x, y):  # half a pixel of the result lies outside the outer centres
                step = (line[-1] - line[0]) / (SIZE - 1)
                ends += [line[0] - step / 2 + 0.5, line[-1] + step / 2 + 0.5]
            rows.append(ends)
        return np.array(rows)

    return measure


def test_pure_function_of_seed_epoch_and_id(noise):
    """Check that order, repetition and what was augmented before do not change an image."""
    view, picture, names = Augmenter(EVERYTHING, Image(size=SIZE), 3), noise(0, 40, 30), hashes(20)
    first = [view(picture, 5, name) for name in names]
    again = [view(picture, 5, name) for name in reversed(names)][::-1]
    other = Augmenter(EVERYTHING, Image(size=SIZE), 3)
    other(noise(1), 9, 12345)
    alone = [other(picture, 5, name) for name in names]
    for a, b, c in zip(first, again, alone, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_pickled_augmenter_draws_the_same(noise):
    """Check that a worker started by spawn, which gets a pickled copy, gives the same pixels."""
    view = Augmenter(EVERYTHING, Image(size=SIZE), 3)
    copy, picture = pickle.loads(pickle.dumps(view)), noise(0, 40, 30)
    for name in hashes(20):
        np.testing.assert_array_equal(copy(picture, 1, name), view(picture, 1, name))


def test_differs_between_epochs_seeds_and_ids(spans):
    """Check that each of epoch, seed and id draws a new crop, independent of the others."""
    augment, names = Augment(scale=(0.2, 0.5), horizontal_flip=0), hashes(300)
    base = spans(augment, names)[:, 0]
    others = {
        "epoch": spans(augment, names, epoch=1)[:, 0],
        "seed": spans(augment, names, seed=1)[:, 0],
        "id": spans(augment, hashes(300, "other"))[:, 0],
        "both": spans(augment, names, epoch=1, seed=1)[:, 0],
    }
    for what, other in others.items():
        assert (np.abs(base - other) > 2).mean() > 0.9, what
        assert abs(np.corrcoef(base, other)[0, 1]) < 5 / np.sqrt(300), what


@pytest.mark.parametrize("seed", [2**32 - 1, 2**32, 2**40])
def test_large_seed_is_a_seed_or_refused(seed, noise):
    """Check that every seed that a recipe accepts can be augmented with."""
    try:
        accepted = Training(seed=seed).seed
    except ValueError:
        assert seed >= 2**32
    else:
        Augmenter(EVERYTHING, Image(size=SIZE), accepted)(noise(0), 0, 1)


def test_flip_says_nothing_about_crop(spans):
    """Check over 2,000 ids that flips and crop are independent, and that flips have their rate.

    With one seed given to all transforms, as albumentations' own seeding does, the flip goes with
    the crop, and the network never sees the mirrored right half.
    """
    augment = Augment(scale=(0.2, 0.6), horizontal_flip=0.5, vertical_flip=0.3)
    x0, x1, y0, y1 = spans(augment, hashes(MANY)).T
    flips = {"horizontal": (x0 > x1, 0.5), "vertical": (y0 > y1, 0.3)}
    crops = [np.minimum(x0, x1), np.minimum(y0, y1), np.abs(x1 - x0), np.abs(y1 - y0)]
    for flipped, rate in flips.values():
        assert abs(flipped.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / MANY)
        for crop in crops:
            assert ks_2samp(crop[flipped], crop[~flipped]).pvalue > 1e-4
    both = np.corrcoef(flips["horizontal"][0], flips["vertical"][0])[0, 1]
    assert abs(both) < 5 / np.sqrt(MANY)


def test_flips_of_two_epochs_are_independent(spans):
    """Check that an image flipped in one epoch is as likely as not flipped in the next."""
    augment = Augment(scale=None, horizontal_flip=0.5)
    first, second = (spans(augment, hashes(MANY), epoch=e) for e in (0, 1))
    agree = (first[:, 0] > first[:, 1]) == (second[:, 0] > second[:, 1])
    assert abs(agree.mean() - 0.5) < 5 * 0.5 / np.sqrt(MANY)


def test_random_crop_keeps_area_ratio_and_picture(spans):
    """Check that crops keep to their ranges of area and aspect, use them, and lie inside."""
    augment = Augment(scale=(0.3, 0.8), ratio=(0.75, 4 / 3), horizontal_flip=0)
    x0, x1, y0, y1 = spans(augment, hashes(MANY)).T
    width, height = x1 - x0, y1 - y0
    area, ratio = width * height / 200**2, width / height
    slack = 0.02  # whole pixels of the crop, 8 bits of the measurement
    assert 0.3 - slack < area.min() < 0.32 and 0.78 < area.max() < 0.8 + slack
    assert 0.75 - slack < ratio.min() < 0.78 and 1.3 < ratio.max() < 4 / 3 + slack
    assert kstest(area, "uniform", (0.3, 0.5)).pvalue > 1e-4
    assert min(x0.min(), y0.min()) > -1.5 and max(x1.max(), y1.max()) < 201.5
    assert x0.min() < 5 and x1.max() > 195  # every part of the picture is seen


def test_rotation_is_uniform_within_its_range(coordinates):
    """Check the angle, read off the gradient of the coordinates: uniform in -25..25 degrees."""
    augment = Augment(rotate=25, **OFF)
    view, picture = Augmenter(augment, Image(size=200), 0), coordinates(200, 200)
    angles = []
    for name in hashes(400):
        middle = view(picture, 0, name)[70:130, 70:130].astype(float)
        along = (middle[:, -1] - middle[:, 0]).mean(0) / 59  # d(x, y, 7) per pixel to the right
        angles.append(np.degrees(np.arctan2(along[1], along[0])))
    angles = np.array(angles)
    assert np.abs(angles).max() < 25.3
    assert angles.max() > 24 and angles.min() < -24
    assert kstest(angles, "uniform", (-25, 50)).pvalue > 1e-4


def test_brightness_and_contrast_keep_to_their_limits():
    """Check that a grey picture moves by at most the limit, both ways."""
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)
    view = Augmenter(Augment(brightness=0.2, **OFF), Image(size=SIZE), 0)
    moved = np.array([int(view(grey, 0, name)[0, 0, 0]) for name in hashes(300)]) - 128
    assert np.abs(moved).max() <= 52 and moved.max() > 40 and moved.min() < -40
    halves = grey.copy()
    halves[:8], halves[8:] = 50, 150
    view = Augmenter(Augment(contrast=0.3, **OFF), Image(size=SIZE), 0)
    steps = []
    for name in hashes(300):
        image = view(halves, 0, name).astype(int)
        steps.append((image[-1, 0, 0] - image[0, 0, 0]) / 100)
    assert 0.69 < min(steps) < 0.73 and 1.27 < max(steps) < 1.31


@pytest.mark.parametrize("fit", ["squash", "pad", "cover"])
@pytest.mark.parametrize("scale", [None, (0.5, 1.0)])
def test_all_forms_give_squares_and_spare_the_cache(fit, scale, noise):
    """Check size and type for every fit, and that the cached picture is not written to."""
    picture = noise(0, 40, 30)
    picture.flags.writeable = False
    kept = picture.copy()
    image = Image(size=SIZE, fit=fit)
    augment = EVERYTHING.model_copy(update={"scale": scale})
    for view in (Augmenter(augment, image, 0), Evaluator(image)):
        for name in hashes(5):
            out = view(picture, 0, name)
            assert out.shape == (SIZE, SIZE, 3) and out.dtype == np.uint8
    np.testing.assert_array_equal(picture, kept)


def test_nothing_random_without_augmentation_and_in_validation(noise):
    """Check that all off equals the validation view, which is blind to epoch and id."""
    picture, image = noise(0, 40, 30), Image(size=SIZE)
    plain, view = Augmenter(Augment(**OFF), image, 0), Evaluator(image)
    for epoch, name in enumerate(hashes(10)):
        np.testing.assert_array_equal(view(picture, epoch, name), view(picture))
        np.testing.assert_array_equal(plain(picture, epoch, name), view(picture))


def test_a_pickled_augmenter_gives_the_same_pixels():
    """Check that what a spawned worker (macOS) receives is still seeded by epoch and id."""
    augment = Augment(rotate=25, horizontal_flip=0.5, brightness=0.2)
    own = Augmenter(augment, Image(size=16), seed=3)
    sent = pickle.loads(pickle.dumps(own))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    for epoch, name in ((0, 5), (1, 5), (0, 2**64 - 1)):
        assert np.array_equal(own(pixels, epoch, name), sent(pixels, epoch, name))
    assert not np.array_equal(sent(pixels, 0, 5), sent(pixels, 1, 5))


@pytest.mark.parametrize("fit", ["squash", "pad", "cover"])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"scale": None, "horizontal_flip": 1, "vertical_flip": 0.5, "rotate": 180},
        {"scale": (0.05, 1), "ratio": (0.2, 5), "rotate": 20, "brightness": 0.2, "contrast": 0.2},
        {"saturation": 0.4, "hue": 0.1, "rand_augment": 2, "erasing": 0.5},
    ],
)
def test_pixels_are_those_of_albumentations_own_call(keys, fit, noise, monkeypatch):
    """Check every pixel against Compose itself, called with albumentations' own crop and rotation
    and with both generators seeded by image and epoch."""
    augment, image, seed = Augment(**keys), Image(size=SIZE, fit=fit), 2**31 + 7
    view = Augmenter(augment, image, seed)
    monkeypatch.setattr(module, "_CropAndResize", module.A.RandomResizedCrop)
    monkeypatch.setattr(module, "_Rotate", module.A.Rotate)
    compose = build(augment, SIZE)
    for shape in ((SIZE, SIZE), (40, 30)):
        picture = noise(shape[0], *shape)
        for epoch, name in enumerate(hashes(40)):
            key = name, (seed << 32) ^ epoch
            numbers = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))
            compose.set_random_state(numbers, random.Random(key[0] ^ (key[1] << 64)))
            fed = square(picture, fit)
            fed = scaled(fed, SIZE) if augment.scale is None else fed
            np.testing.assert_array_equal(view(picture, epoch, name), compose(image=fed)["image"])


def test_saturation_and_hue_keep_to_their_limits():
    """Check, by the standard library's colours, how far a picture's saturation and hue move."""
    picture = np.full((SIZE, SIZE, 3), (180, 110, 90), np.uint8)
    hue, _, _ = colorsys.rgb_to_hsv(*picture[0, 0] / 255)
    view = Augmenter(Augment(saturation=0.4, **OFF), Image(size=SIZE), 0)
    spread = [int(np.ptp(view(picture, 0, name)[0, 0])) / 90 for name in hashes(300)]
    assert 0.58 < min(spread) < 0.63 and 1.37 < max(spread) < 1.42
    view = Augmenter(Augment(hue=0.1, **OFF), Image(size=SIZE), 0)
    turned = [colorsys.rgb_to_hsv(*view(picture, 0, name)[0, 0] / 255)[0] for name in hashes(300)]
    moved = (np.array(turned) - hue + 0.5) % 1 - 0.5
    assert -0.11 < moved.min() < -0.09 and 0.09 < moved.max() < 0.11
    assert abs(moved.mean()) < 0.02


def test_erasing_is_one_rectangle_of_noise_at_its_rate():
    """Check rate, shape, area and content of what is erased, and that the rest is untouched."""
    white = np.full((64, 64, 3), 255, np.uint8)
    view = Augmenter(Augment(erasing=0.3, **OFF), Image(size=64), 0)
    areas, ratios, pixels = [], [], []
    for name in hashes(MANY):
        erased = (view(white, 0, name) != 255).any(axis=2)
        if not erased.any():
            continue
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert erased.sum() > 0.98 * height * width  # noise is white once in 256**3
        areas.append(height * width / 64**2)
        ratios.append(width / height)
        inside = view(white, 0, name)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        pixels.append(inside.reshape(-1))
    rate = len(areas) / MANY
    assert abs(rate - 0.3) < 5 * np.sqrt(0.3 * 0.7 / MANY)
    assert 0.015 < min(areas) < 0.04 and 0.28 < max(areas) < 0.32
    assert 0.25 < min(ratios) < 0.5 and 2 < max(ratios) < 3.7
    counts = np.bincount(np.concatenate(pixels), minlength=256)
    assert counts.min() > 0.9 * counts.mean() and counts.max() < 1.1 * counts.mean()


def test_sizes_grow_linearly_to_the_full_one():
    """Check by hand: the line, its steps of 32 and 8 px, and the share at which it ends."""
    grown = sizes(Augment(first_size=128, full_size_from=0.5), Image(size=256), 8)
    assert grown == [128, 160, 192, 224, 256, 256, 256, 256]
    small = sizes(Augment(first_size=16, full_size_from=1), Image(size=32), 4)
    assert small == [16, 24, 24, 32]  # 16, 20, 24, 28: halves go up
    assert sizes(Augment(first_size=100, full_size_from=0.75), Image(size=230), 4) == [
        104,
        128,  # 143.3
        192,  # 186.7
        230,
    ]
    assert sizes(Augment(first_size=96), Image(size=96), 3) == [96] * 3
    assert sizes(Augment(first_size=8, full_size_from=0), Image(size=96), 3) == [96] * 3
    assert sizes(Augment(), Image(size=100), 2) == [100, 100]


@pytest.mark.parametrize("full_size_from", [0.1, 0.75, 1.0])
@pytest.mark.parametrize(("first", "full"), [(8, 9), (33, 100), (97, 300), (128, 129)])
def test_sizes_never_shrink_nor_exceed_the_full_one(first, full, full_size_from):
    """Check order and bounds over odd sizes, and that the full one has its share of the epochs."""
    augment = Augment(first_size=first, full_size_from=full_size_from)
    for epochs in (1, 2, 7, 40):
        grown = sizes(augment, Image(size=full), epochs)
        assert grown == sorted(grown) and grown[0] >= 8 and max(grown) <= full
        late = [s for e, s in enumerate(grown) if e / epochs >= full_size_from]
        assert set(late) <= {full}
        assert all(s == full or s % (8 if s < 128 else 32) == 0 for s in grown)
        exact = [first + (full - first) * e / epochs / full_size_from for e in range(epochs)]
        assert all(abs(s - min(x, full)) <= 16 for s, x in zip(grown, exact, strict=True))


def test_first_size_above_the_full_one_is_refused():
    """Check the one line that names both sizes, at construction."""
    with pytest.raises(PodiumError, match=r"augment.first_size .* 64; got 96; .*SET=") as caught:
        Augmenter(Augment(first_size=96), Image(size=64), 0, 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [None, (0.5, 1.0)])
def test_progressive_images_have_the_size_of_their_epoch(scale, noise):
    """Check sizes by epoch, that the full-sized epochs have the pixels of a training without
    progressive resizing, and that the draws are the same at every size."""
    keys, picture = {"scale": scale, "horizontal_flip": 0.5}, noise(0, 80, 80)
    grows = Augmenter(Augment(first_size=16, **keys), Image(size=64), 5, 8)
    plain = Augmenter(Augment(**keys), Image(size=64), 5, 8)
    expected = sizes(Augment(first_size=16), Image(size=64), 8)
    assert expected[0] == 16 and expected.count(64) == 2
    for epoch, size in enumerate(expected):
        for name in hashes(5):
            image, full = grows(picture, epoch, name), plain(picture, epoch, name)
            assert image.shape == (size, size, 3)
            assert size < 64 or np.array_equal(image, full)
            small, large = scaled(image, 8).astype(float), scaled(full, 8).astype(float)
            assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.75  # the same crop
    assert grows(picture, 99, 1).shape == (64, 64, 3)
    without = Augmenter(Augment(first_size=16, **keys), Image(size=64), 5)
    np.testing.assert_array_equal(without(picture, 0, 3), plain(picture, 0, 3))


def test_small_first_images_are_averaged_and_not_sampled():
    """Check that a fine chequerboard becomes grey in the small epochs, where skipping pixels would
    leave it black and white."""
    board = np.indices((80, 80)).sum(0) % 2 * np.uint8(255)
    picture = np.dstack([board] * 3).astype(np.uint8)
    keys = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "first_size": 16}
    small = Augmenter(Augment(**keys), Image(size=64), 0, 8)(picture, 0, 1)
    assert np.ptp(small) < 30 and abs(small.mean() - 127.5) < 2
