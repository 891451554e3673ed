"""Pictures at the size of a sheet's cell, and where a crop lies in them."""

import cv2
import numpy as np

CELL = 128  # pixels of the longest side

Box = tuple[int, int, int, int]


def cell(pixels: np.ndarray) -> np.ndarray:
    """Scale a picture (h, w, 3) uint8 to a cell: down by area averaging, up by repeating pixels, so
    that the pixels of small ones can be told apart."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= CELL:
        times = CELL // longest
        return np.repeat(np.repeat(pixels, times, axis=0), times, axis=1)
    size = tuple(max(1, round(side * CELL / longest)) for side in (width, height))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def box_in_cell(box: Box, picture: tuple[int, int], thumbnail: tuple[int, int]) -> Box:
    """Return where a box of a picture (width, height) lies in its thumbnail (width, height)."""
    sides = (*zip(picture, thumbnail, strict=True),) * 2
    return tuple(
        round(edge * small / large) for edge, (large, small) in zip(box, sides, strict=True)
    )
