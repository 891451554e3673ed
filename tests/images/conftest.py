"""Pictures whose pixels say where they come from: red is the column, green the row."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def coordinates() -> Callable[[int, int], np.ndarray]:
    """Make a picture (height, width, 3) uint8 with red = x, green = y, blue = 7; sides <= 256."""

    def make(width: int, height: int) -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        return np.dstack([x, y, np.full_like(x, 7)]).astype(np.uint8)

    return make


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Make a picture (height, width, 3) uint8 of noise, the same for the same seed."""

    def make(seed: int, width: int = 24, height: int = 20) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    return make


@pytest.fixture
def written(tmp_path) -> Callable[..., Path]:
    """Write an RGB picture (h, w, 3) without loss and return its path."""

    def write(pixels: np.ndarray, name: str = "picture.png") -> Path:
        path = tmp_path / name
        assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        return path

    return write
