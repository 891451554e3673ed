"""Decode, crop and scale one picture: the same pixels every time, cached or not."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.config.pictures import Crop
from pipeline.errors import PodiumError
from pipeline.images.encoded import Encoded, read_encoded
from pipeline.images.shrunk import opened

REDUCING_GAP = 2  # pixels a side that scaled decoding leaves for each one that is wanted


def decode(path: Path) -> np.ndarray:
    """Return the picture (h, w, 3) uint8 RGB, turned as its EXIF says; grey as three channels."""
    return cv2.cvtColor(read_encoded(path).at(1).pixels, cv2.COLOR_BGR2RGB)


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


def canonical(
    path: Path,
    crop: Crop,
    short_side: int,
    box: np.ndarray | None = None,
    limit: int | None = None,
    copies: Path | None = None,
) -> np.ndarray:
    """Return the cropped picture (h, w, 3) uint8 with a short side of at most `short_side` pixels.

    It is shrunk by area averaging and never enlarged. A picture of more than `limit` pixels is seen
    through its shrunk copy, kept in the folder `copies` or made for this call: the same pixels. The
    crop counts in the original's pixels, and its size decides the result's; where the copy has
    fewer, its part of the crop is the result as it is.
    """
    picture = opened(path, limit, copies)
    edges, size = _edges_and_size(path, picture.size, crop, short_side, box)
    decoded = picture.at(_reduction(picture, edges, min(size)))
    if decoded.size != picture.size:  # its header was not what it is
        edges, size = _edges_and_size(path, decoded.size, crop, short_side, box)
    pixels = decoded.cut(edges)
    height, width = pixels.shape[:2]
    if size != (width, height) and size[0] <= width and size[1] <= height:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _edges_and_size(
    path: Path, whole: tuple[int, int], crop: Crop, short_side: int, box: np.ndarray | None
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Return the edges x0, y0, x1, y1 of the crop in a picture of size `whole`, and the width and
    height that it is scaled to."""
    try:
        x0, y0, x1, y1 = crop_box(crop, *whole, box)
    except ValueError as error:
        raise PodiumError(f"{path}: {error}; change `crop` in the YAML or image.crop") from None
    width, height = x1 - x0, y1 - y0
    scale = min(1.0, short_side / min(width, height))
    return (x0, y0, x1, y1), (max(1, round(width * scale)), max(1, round(height * scale)))


def _reduction(picture: Encoded, edges: tuple[int, int, int, int], short_side: int) -> int:
    """Return by how much to shrink a JPEG while decoding it: so far that twice the pixels that are
    wanted remain. This is the default, `reducing_gap=2.0`, of Pillow's Image.thumbnail, "very close
    to fair resampling" by its manual.
    """
    (width, height), (own_width, own_height) = picture.size, picture.own_size
    across, down = (edges[2] - edges[0]) * own_width, (edges[3] - edges[1]) * own_height
    for factor in picture.reductions:
        least = REDUCING_GAP * factor * short_side
        if across >= least * width and down >= least * height:
            return factor
    return 1


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
