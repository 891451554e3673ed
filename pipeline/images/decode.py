"""Decode, crop and scale one picture: the same pixels every time, cached or not."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.config.recipe import Crop
from pipeline.errors import PodiumError


def decode(path: Path) -> np.ndarray:
    """Return the picture (h, w, 3) uint8 RGB, turned as its EXIF says; grey as three channels."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise PodiumError(
            f"{path}: image cannot be read ({error.strerror or error}); "
            "put it there, or take its row out of the table"
        ) from None
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise PodiumError(
            f"{path}: not an image that can be decoded ({data.size} bytes); "
            "replace it, or take its row out of the table"
        )
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def crop_box(
    crop: Crop, width: int, height: int, box: np.ndarray | None = None
) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of `crop` in a picture of `width` x `height` pixels.

    A centre crop or a box larger than the picture ends at its edge. A crop that leaves nothing
    raises ValueError.
    """
    if crop.kind == "sides":
        x0, y0 = _pixels(crop.left, width), _pixels(crop.top, height)
        x1, y1 = width - _pixels(crop.right, width), height - _pixels(crop.bottom, height)
    elif crop.kind == "centre":
        wide, high = min(crop.width or width, width), min(crop.height or height, height)
        x0, y0 = (width - wide) // 2, (height - high) // 2
        x1, y1 = x0 + wide, y0 + high
    elif crop.kind == "box":
        if box is None:
            raise ValueError("crop 'box' needs the box's columns in both tables")
        x0, y0 = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
        x1, y1 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    else:
        x0, y0, x1, y1 = 0, 0, width, height
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"crop {crop.kind!r} leaves nothing of {width} x {height} pixels")
    return x0, y0, x1, y1


def _pixels(amount: float, side: int) -> int:
    return round(amount * side) if amount < 1 else round(amount)


def canonical(path: Path, crop: Crop, short_side: int, box: np.ndarray | None = None) -> np.ndarray:
    """Return the cropped picture (h, w, 3) uint8 with a short side of at most `short_side` pixels.

    It is shrunk by area averaging and never enlarged.
    """
    pixels = decode(path)
    height, width = pixels.shape[:2]
    try:
        x0, y0, x1, y1 = crop_box(crop, width, height, box)
    except ValueError as error:
        raise PodiumError(f"{path}: {error}; change `crop` in the YAML or image.crop") from None
    pixels = pixels[y0:y1, x0:x1]
    height, width = pixels.shape[:2]
    scale = short_side / min(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(pixels)


def square(pixels: np.ndarray, fit: str) -> np.ndarray:
    """Make a picture (h, w, 3) square by `pad` or `cover`; `squash` leaves that to the scaling."""
    height, width = pixels.shape[:2]
    if fit == "squash" or height == width:
        return pixels
    if fit == "cover":
        side = min(height, width)
        y, x = (height - side) // 2, (width - side) // 2
        return pixels[y : y + side, x : x + side]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    edges = top, side - height - top, left, side - width - left
    return cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_CONSTANT, value=(0, 0, 0))


def scaled(pixels: np.ndarray, size: int) -> np.ndarray:
    """Scale a picture (h, w, 3) to `size` x `size`: area averaging down, bilinear up."""
    if pixels.shape[:2] == (size, size):
        return pixels
    method = cv2.INTER_AREA if min(pixels.shape[:2]) > size else cv2.INTER_LINEAR
    return cv2.resize(pixels, (size, size), interpolation=method)
