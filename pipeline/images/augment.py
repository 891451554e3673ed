"""Random changes of training images as a pure function of (seed, epoch, image id).

albumentations repeats its random stream in every worker and epoch unless it is seeded per image.
Here all transforms of a pipeline share two generators, one of Python's and one of numpy's (Philox;
some transforms draw from the one, some from the other), both seeded by image and epoch: 0, 2 or 8
workers, in any order, give the same pixels.
(Compose.set_random_seed would give every transform the same seed, so that the flip of an image
would go with its crop.)
"""

import os
import random

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its version

import albumentations as A
import cv2

from pipeline.config.pictures import Augment, Image
from pipeline.images.decode import scaled, square

cv2.setNumThreads(0)  # one picture per call is too little work to share among threads


def build(augment: Augment, size: int) -> A.Compose:
    """Return the albumentations pipeline of a recipe; its output is (size, size, 3) uint8."""
    steps: list[A.BasicTransform] = []
    if augment.scale is not None:
        area = {"scale": augment.scale, "ratio": augment.ratio}
        steps.append(A.RandomResizedCrop((size, size), interpolation=cv2.INTER_LINEAR, **area))
    if augment.horizontal_flip:
        steps.append(A.HorizontalFlip(p=augment.horizontal_flip))
    if augment.vertical_flip:
        steps.append(A.VerticalFlip(p=augment.vertical_flip))
    if augment.rotate:
        reflect = {"border_mode": cv2.BORDER_REFLECT_101}
        steps.append(A.Rotate((-augment.rotate, augment.rotate), p=1.0, **reflect))
    if augment.brightness or augment.contrast:
        limits = {"brightness_limit": augment.brightness, "contrast_limit": augment.contrast}
        steps.append(A.RandomBrightnessContrast(p=1.0, **limits))
    return A.Compose(steps)


class Augmenter:
    """Turn a cached picture (h, w, 3) uint8 into a training image (size, size, 3) uint8."""

    def __init__(self, augment: Augment, image: Image, seed: int) -> None:
        self._image, self._seed = image, seed
        self._shrink_first = augment.scale is None
        self._compose = build(augment, image.size)
        self._bits = np.random.Philox(0)
        self._fresh = self._bits.state
        self._python = random.Random(0)
        self._compose.set_random_state(np.random.Generator(self._bits), self._python)

    def __call__(self, pixels: np.ndarray, epoch: int, id_hash: int) -> np.ndarray:
        """Augment `pixels` as image `id_hash` (64 bits, stable) is augmented in `epoch`."""
        key = (id_hash, (self._seed << 32) ^ epoch)
        self._fresh["state"]["key"][:] = key
        self._bits.state = self._fresh
        self._python.seed(key[0] ^ (key[1] << 64))
        pixels = square(pixels, self._image.fit)
        if self._shrink_first:
            pixels = scaled(pixels, self._image.size)
        return self._compose(image=pixels)["image"]


class Evaluator:
    """Turn a cached picture (h, w, 3) uint8 into the one view that validation and test see."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def __call__(self, pixels: np.ndarray, epoch: int = 0, id_hash: int = 0) -> np.ndarray:
        return scaled(square(pixels, self._image.fit), self._image.size)
