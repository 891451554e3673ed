"""Tests of RandAugment in pipeline.images.augment: its operations, their draws, and seeds."""

import math
import pickle
from collections import Counter

import albumentations as A
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.stats import chisquare
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms import functional as peer

from pipeline.artifacts.hashing import stable_int
from pipeline.config.pictures import Augment, Image
from pipeline.images import augment as module
from pipeline.images.augment import Augmenter, build, operations

SIDE = 96
OFF = {"scale": None, "horizontal_flip": 0}
EVERYTHING = Augment(rand_augment=3, saturation=0.3, hue=0.1, erasing=0.5, rotate=10, contrast=0.1)
BILINEAR = {"interpolation": InterpolationMode.BILINEAR}


def sheared(x: float, y: float):
    angles = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return lambda picture: peer.affine(picture, 0, [0, 0], 1.0, angles, **BILINEAR)


def shifted(x: float, y: float):
    return lambda picture: peer.affine(picture, 0, [int(x), int(y)], 1.0, [0, 0], **BILINEAR)


# Of each operation: the name of torchvision, and what its magnitude does to a Pillow image.
PEERS = {
    "autocontrast": ("AutoContrast", lambda m: peer.autocontrast),
    "rotate": ("Rotate", lambda m: lambda p: peer.rotate(p, m, **BILINEAR)),
    "solarize": ("Solarize", lambda m: lambda p: peer.solarize(p, m)),
    "color": ("Color", lambda m: lambda p: peer.adjust_saturation(p, 1 + m)),
    "posterize": ("Posterize", lambda m: lambda p: peer.posterize(p, int(m))),
    "contrast": ("Contrast", lambda m: lambda p: peer.adjust_contrast(p, 1 + m)),
    "brightness": ("Brightness", lambda m: lambda p: peer.adjust_brightness(p, 1 + m)),
    "sharpness": ("Sharpness", lambda m: lambda p: peer.adjust_sharpness(p, 1 + m)),
    "shear x": ("ShearX", lambda m: sheared(m, 0)),
    "shear y": ("ShearY", lambda m: sheared(0, m)),
    "translate x": ("TranslateX", lambda m: shifted(m, 0)),
    "translate y": ("TranslateY", lambda m: shifted(0, m)),
}


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A smooth picture of all levels but the ends, (96, 96, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3).astype(float)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (smooth * 230 + 10).astype(np.uint8)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_there_are_fourteen_operations():
    """Check the names against those of torchvision."""
    space = RandAugment()._augmentation_space(11, (SIDE, SIDE))
    assert len(operations(9)) == len(space) == 14
    assert {name for name, _ in PEERS.values()} | {"Identity", "Equalize"} == set(space)


@pytest.mark.parametrize("magnitude", [0, 3, 5, 9, 10])
@pytest.mark.parametrize("name", PEERS)
def test_operation_equals_that_of_torchvision(name, magnitude, picture):
    """Check each operation, and both its signs, at the magnitudes of torchvision's table."""
    title, make = PEERS[name]
    levels, signed = RandAugment()._augmentation_space(11, (SIDE, SIDE))[title]
    level = float(levels[magnitude]) if levels.ndim else 0.0
    step = operations(magnitude)[name]
    assert isinstance(step, A.OneOf) == signed
    if signed:
        ours = [t(image=picture)["image"] for t in step.transforms]
        wanted = [make(level), make(-level)]
        assert step.transforms_ps == [0.5, 0.5]
    else:
        ours, wanted = [step(image=picture)["image"]], [make(level)]
    theirs = [np.asarray(change(Pillow.fromarray(picture))) for change in wanted]
    for own in ours:
        assert min(distance(own, other) for other in theirs) < 1.1
    for other in theirs:
        assert min(distance(own, other) for own in ours) < 1.1


def test_identity_and_equalize(picture):
    """Check that identity changes nothing, and equalize against ranks by hand."""
    steps = operations(9)
    np.testing.assert_array_equal(steps["identity"](image=picture)["image"], picture)
    flat = steps["equalize"](image=picture)["image"].reshape(-1, 3)
    for channel, got in zip(picture.reshape(-1, 3).T, flat.T, strict=True):
        below = np.searchsorted(np.sort(channel), channel, side="right")
        least = (channel == channel.min()).sum()
        expected = 255 * (below - least) / (len(channel) - least)
        assert np.abs(got - expected).max() < 1


def test_operations_are_drawn_uniformly_with_replacement_and_in_any_order(monkeypatch):
    """Check counts, pairs and signs over 4,000 images, each with two operations."""
    seen: list[str] = []

    class Said(A.ImageOnlyTransform):
        def __init__(self, name: str) -> None:
            super().__init__(p=1.0)
            self.name = name

        def apply(self, img, **params):
            seen.append(self.name)
            return img

    def named(magnitude: float) -> dict:
        signs = {f"op {i}": A.OneOf([Said(f"{i}+"), Said(f"{i}-")], p=1.0) for i in range(9)}
        return signs | {f"op {i}": Said(f"{i}") for i in range(9, 14)}

    monkeypatch.setattr(module, "operations", named)
    view = Augmenter(Augment(rand_augment=2, **OFF), Image(size=16), 0)
    image, pairs = np.zeros((16, 16, 3), np.uint8), []
    for i in range(4000):
        view(image, 0, stable_int(f"id {i}"))
        pairs.append(tuple(int(name.rstrip("+-")) for name in seen[-2:]))
    assert len(seen) == 8000
    each = Counter(number for pair in pairs for number in pair)
    assert chisquare([each[i] for i in range(14)]).pvalue > 1e-4
    both = Counter(pairs)
    assert chisquare([both[i, j] for i in range(14) for j in range(14)]).pvalue > 1e-4
    signs = Counter(name[-1] for name in seen)
    assert abs(signs["+"] - signs["-"]) < 5 * math.sqrt(signs["+"] + signs["-"])


def test_number_and_magnitude_come_from_the_recipe(picture):
    """Check that 0 is none, that magnitude 0 nearly keeps the picture, and 10 does not."""
    assert not build(Augment(rand_augment=0, **OFF), SIDE).transforms
    (step,) = build(Augment(rand_augment=4, **OFF), SIDE).transforms
    assert step.n == 4 and step.replace and len(step.transforms) == 14
    changed = {}
    for magnitude in (0, 10):
        view = Augmenter(Augment(rand_augment=1, magnitude=magnitude, **OFF), Image(size=SIDE), 0)
        images = [view(picture, 0, stable_int(f"id {i}")) for i in range(200)]
        changed[magnitude] = np.mean([distance(image, picture) > 2 for image in images])
    assert changed[0] < 0.2  # equalize alone
    assert changed[10] > 0.7


def test_pure_function_of_seed_epoch_and_id_through_nested_draws(noise):
    """Check that both generators reach the transforms within others: order, repetition, fresh
    objects and pickled copies give the same pixels, and other seeds others."""
    picture, image = noise(0, 40, 30), Image(size=24)
    names = [stable_int(f"id {i}") for i in range(60)]
    view = Augmenter(EVERYTHING, image, 3)
    first = [view(picture, 5, name) for name in names]
    again = [view(picture, 5, name) for name in reversed(names)][::-1]
    fresh, other = Augmenter(EVERYTHING, image, 3), Augmenter(EVERYTHING, image, 4)
    fresh(noise(1), 9, 12345)
    sent = pickle.loads(pickle.dumps(view))
    for name, expected, repeated in zip(names, first, again, strict=True):
        np.testing.assert_array_equal(repeated, expected)
        np.testing.assert_array_equal(fresh(picture, 5, name), expected)
        np.testing.assert_array_equal(sent(picture, 5, name), expected)
        assert not np.array_equal(other(picture, 5, name), expected)
        assert not np.array_equal(view(picture, 6, name), expected)


def test_cached_picture_is_not_written_to(picture):
    """Check every operation, and erasing, on a picture that already has the network's size."""
    kept, image = picture.copy(), Image(size=SIDE)
    picture.flags.writeable = False
    views = [Augmenter(Augment(rand_augment=1, **OFF), image, 0)]
    views.append(Augmenter(Augment(erasing=1, saturation=0.5, hue=0.5, **OFF), image, 0))
    for view in views:
        for i in range(100):
            out = view(picture, 0, stable_int(f"id {i}"))
            assert out.shape == (SIDE, SIDE, 3) and out.dtype == np.uint8
    np.testing.assert_array_equal(picture, kept)


@pytest.mark.parametrize("sign", [0, 1])
def test_sharpness_equals_that_of_pillow_on_noise(sign, noise):
    """Check it where it changes most, inside the border of one pixel that Pillow leaves alone."""
    picture = noise(0, SIDE, SIDE) // 3 + 80
    step = operations(10)["sharpness"].transforms[sign]
    ours = step(image=picture)["image"]
    theirs = np.asarray(peer.adjust_sharpness(Pillow.fromarray(picture), (1.9, 0.1)[sign]))
    assert distance(ours, picture) > 10
    assert distance(ours[1:-1, 1:-1], theirs[1:-1, 1:-1]) < 1.1
