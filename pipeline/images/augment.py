"""Random changes of training images as a pure function of (seed, epoch, image id).

albumentations repeats its random stream in every worker and epoch unless it is seeded per image.
Here all transforms of a pipeline share two generators, one of Python's and one of numpy's (Philox;
some transforms draw from the one, some from the other), both seeded by image and epoch: 0, 2 or 8
workers, in any order, give the same pixels.
(Compose.set_random_seed would give every transform the same seed, so that the flip of an image
would go with its crop.)
"""

import math
import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its version

import albumentations as A
import cv2
from albumentations.augmentations.geometric import functional as geometry

from pipeline.config.pictures import Augment, Image
from pipeline.errors import PodiumError
from pipeline.images.decode import scaled, square

cv2.setNumThreads(0)  # one picture per call is too little work to share among threads

Transform = A.BasicTransform | A.BaseCompose


class _CropAndResize(A.RandomResizedCrop):
    """The same crops and pixels, without what albumentations does for more than four channels."""

    def apply(
        self, img: np.ndarray, crop_coords: tuple[int, int, int, int], **params: Any
    ) -> np.ndarray:
        left, top, right, bottom = crop_coords
        cut, (height, width) = img[top:bottom, left:right], self.size
        if cut.shape[:2] == (height, width):
            return cut
        method = self._get_interpolation_for_resize(cut.shape[:2], "image")
        return cv2.resize(cut, (width, height), interpolation=method)


class _Rotate(A.Rotate):
    """The same angles and pixels, without what albumentations does for boxes and borders."""

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        angle, still = self.py_random.uniform(*self.limit), {"x": 0, "y": 0}
        unscaled, centre = {"x": 1, "y": 1}, geometry.center(params["shape"][:2])
        matrix = geometry.create_affine_transformation_matrix
        return {"matrix": matrix(still, still, unscaled, angle, centre)}

    def apply(self, img: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        side = img.shape[1], img.shape[0]
        how = {"flags": self.interpolation, "borderMode": self.border_mode}
        return cv2.warpAffine(img, matrix[:2], side, **how)


def build(augment: Augment, size: int, reduced: bool = False) -> A.Compose:
    """Return the albumentations pipeline of a recipe; its output is (size, size, 3) uint8.

    `reduced`: `size` is below that of the recipe, as in the first epochs of progressive resizing;
    crops are then averaged down, where bilinear scaling would skip pixels.
    """
    steps: list[Transform] = []
    if augment.scale is not None:
        area = {"scale": augment.scale, "ratio": augment.ratio}
        area["area_for_downscale"] = "image" if reduced else None
        steps.append(_CropAndResize((size, size), interpolation=cv2.INTER_LINEAR, **area))
    if augment.horizontal_flip:
        steps.append(A.HorizontalFlip(p=augment.horizontal_flip))
    if augment.vertical_flip:
        steps.append(A.VerticalFlip(p=augment.vertical_flip))
    if augment.rotate:
        reflect = {"border_mode": cv2.BORDER_REFLECT_101}
        steps.append(_Rotate((-augment.rotate, augment.rotate), p=1.0, **reflect))
    if augment.brightness or augment.contrast:
        limits = {"brightness_limit": augment.brightness, "contrast_limit": augment.contrast}
        steps.append(A.RandomBrightnessContrast(p=1.0, **limits))
    if augment.saturation or augment.hue:
        saturation = 1 - augment.saturation, 1 + augment.saturation
        steps.append(_jitter(saturation=saturation, hue=(-augment.hue, augment.hue)))
    if augment.rand_augment:
        each = list(operations(augment.magnitude).values())
        steps.append(A.RandomOrder(each, n=augment.rand_augment, replace=True, p=1.0))
    if augment.erasing:
        # Scale and ratio of the paper; albumentations keeps to 30 % of a square's area.
        erased = {"scale": (0.02, 0.4), "ratio": (0.3, 1 / 0.3), "fill": "random"}
        steps.append(A.Erasing(p=augment.erasing, **erased))
    return A.Compose(steps)


def operations(magnitude: float) -> dict[str, Transform]:
    """Return the 14 operations of RandAugment, each applied whenever it is called.

    Parameters
    ----------
    magnitude : float in 0..10
        A tenth is the share of each operation's range, which is that of
        ``torchvision.transforms.RandAugment``: 30 degrees, a shear of 0.3, a shift by 150/331 of
        the side, a factor of 1 +- 0.9, 4 bits, a threshold of 0. What is signed is as often
        positive as negative. What comes in from outside the picture is black.

    Returns
    -------
    dict of albumentations' transforms, by name

    References
    ----------
    E. D. Cubuk and others, "RandAugment: Practical automated data augmentation with a reduced
    search space", NeurIPS 2020.
    """
    share = magnitude / 10
    slope, shift, factor = 0.3 * share, 150 / 331 * share, 0.9 * share
    bits = 8 - round(4 * share)
    return {
        "identity": A.NoOp(p=1.0),
        "autocontrast": A.AutoContrast(cutoff=0, method="pil", p=1.0),
        "equalize": A.Equalize(mode="cv", p=1.0),
        "rotate": _signed(lambda angle: A.Affine(rotate=(angle, angle), p=1.0), 30 * share),
        "solarize": A.Solarize((1 - share, 1 - share), p=1.0),
        "color": _signed(lambda by: _jitter(saturation=(1 + by, 1 + by)), factor),
        "posterize": A.Posterize(bits, p=1.0) if bits < 8 else A.NoOp(p=1.0),
        "contrast": _signed(lambda by: _jitter(contrast=(1 + by, 1 + by)), factor),
        "brightness": _signed(lambda by: _jitter(brightness=(1 + by, 1 + by)), factor),
        "sharpness": _signed(_sharpness, factor),
        "shear x": _signed(lambda by: _sheared("x", by), slope),
        "shear y": _signed(lambda by: _sheared("y", by), slope),
        "translate x": _signed(lambda by: _shifted("x", by), shift),
        "translate y": _signed(lambda by: _shifted("y", by), shift),
    }


def _signed(make: Callable[[float], Transform], amount: float) -> A.OneOf:
    return A.OneOf([make(amount), make(-amount)], p=1.0)


def _jitter(**ranges: tuple[float, float]) -> A.ColorJitter:
    """Return a change of colours that leaves alone what is not named."""
    still = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
    return A.ColorJitter(**{**still, **ranges}, p=1.0)


def _sharpness(by: float) -> A.Sharpen:
    """Return Pillow's sharpness of factor 1 + `by`, away from or towards a mean of 3 x 3 pixels in
    which the middle one counts five times."""
    sharpen = A.Sharpen(lightness=(1, 1), method="kernel", p=1.0)
    sharpen.alpha = (by / 13, by / 13)  # its schema refuses below 0, where its formula softens
    return sharpen


def _sheared(axis: str, slope: float) -> A.Affine:
    degrees = math.degrees(math.atan(slope))
    return A.Affine(shear={"x": (0, 0), "y": (0, 0), axis: (degrees, degrees)}, p=1.0)


def _shifted(axis: str, share: float) -> A.Affine:
    return A.Affine(translate_percent={"x": (0, 0), "y": (0, 0), axis: (share, share)}, p=1.0)


def sizes(augment: Augment, image: Image, epochs: int) -> list[int]:
    """Return the side of training images in each epoch (progressive resizing).

    Parameters
    ----------
    augment : Augment
        `first_size` in pixels and `full_size_from`, a share of the epochs.
    image : Image
        `size` in pixels.
    epochs : int

    Returns
    -------
    list of `epochs` int
        Linear from `first_size` to `size`, reached at that share, rounded to multiples of 32 px (of
        8 px below 128 px) and never above `size`; all of them `size` without a `first_size`.

    Raises
    ------
    PodiumError
        If `first_size` is above `size`.
    """
    first, full = augment.first_size, image.size
    if first is None:
        return [full] * epochs
    if first > full:
        raise PodiumError(
            f"augment.first_size must not be above image.size, {full}; got {first}; set another by "
            f"SET='augment.first_size={max(8, full // 2)}'"
        )
    grown = []
    for epoch in range(epochs):
        share = epoch / epochs
        if share >= augment.full_size_from:
            grown.append(full)
            continue
        exact = first + (full - first) * share / augment.full_size_from
        step = 8 if exact < 128 else 32
        grown.append(min(full, step * int(exact / step + 0.5)))
    return grown


class Augmenter:
    """Turn a cached picture (h, w, 3) uint8 into a training image (size, size, 3) uint8.

    `epochs` of the training are needed for progressive resizing; without them every image has the
    full size.
    """

    def __init__(
        self, augment: Augment, image: Image, seed: int, epochs: int | None = None
    ) -> None:
        self._image, self._seed = image, seed
        self._shrink_first = augment.scale is None
        self._sizes = sizes(augment, image, epochs or 1) if epochs else [image.size]
        self._bits = np.random.Philox(0)
        self._fresh = self._bits.state
        self._python = random.Random(0)
        generators = np.random.Generator(self._bits), self._python
        self._steps: dict[int, list[Transform]] = {}
        for size in set(self._sizes):
            compose = build(augment, size, reduced=size < image.size)
            compose.set_random_state(*generators)
            self._steps[size] = list(compose.transforms)

    def __call__(self, pixels: np.ndarray, epoch: int, id_hash: int) -> np.ndarray:
        """Augment `pixels` as image `id_hash` (64 bits, stable) is augmented in `epoch`."""
        key = (id_hash, (self._seed << 32) ^ epoch)
        self._fresh["state"]["key"][:] = key
        self._bits.state = self._fresh
        self._python.seed(key[0] ^ (key[1] << 64))
        size = self._sizes[min(epoch, len(self._sizes) - 1)]
        pixels = square(pixels, self._image.fit)
        if self._shrink_first:
            pixels = scaled(pixels, size)
        self._python.random()  # Compose would draw it to decide whether to run at all
        for step in self._steps[size]:
            pixels = _applied(step, pixels)
        return pixels


def _applied(step: Transform, pixels: np.ndarray) -> np.ndarray:
    """Return `step(image=pixels)["image"]`; of a plain transform without albumentations' checks of
    names, shapes and masks, which cost more than most transforms of a small image."""
    if isinstance(step, A.BaseCompose):
        return step(image=pixels)["image"]
    if not step.should_apply():
        return pixels
    data = {"image": pixels}
    params = step.update_transform_params(step.get_params(), data)
    params.update(step.get_params_dependent_on_data(params, data))
    return np.ascontiguousarray(step.apply(np.ascontiguousarray(pixels), **params))


class Evaluator:
    """Turn a cached picture (h, w, 3) uint8 into the one view that validation and test see."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def __call__(self, pixels: np.ndarray, epoch: int = 0, id_hash: int = 0) -> np.ndarray:
        return scaled(square(pixels, self._image.fit), self._image.size)
