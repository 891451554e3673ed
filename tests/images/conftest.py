"""Pictures whose pixels say where they come from: red is the column, green the row."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image


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


@pytest.fixture
def save(tmp_path) -> Callable[..., Path]:
    """Write a smooth picture of some form (a file's ending, after its colours if they are unusual),
    whose red is the column and green the row, and return its path."""

    def write(name: str, form: str, width: int = 500, height: int = 333) -> Path:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        red, green = 255 * x / max(1, width - 1), 255 * y / max(1, height - 1)
        pixels = np.dstack([red, green, np.full_like(red, 127)]).astype(np.uint8)
        colours, _, ending = form.rpartition(" ")
        path = tmp_path / f"{name}.{ending}"
        if colours == "16-bit":
            assert cv2.imwrite(str(path), pixels.astype(np.uint16) * 257)
            return path
        mode = colours if colours and colours != "turned" else "RGB"
        exif = Image.Exif()
        exif[0x0112] = 6 if colours == "turned" else 1
        options = {"exif": exif} if ending in ("jpg", "png") else {}
        Image.fromarray(pixels).convert(mode).save(path, **options)
        return path

    return write


FORMS = ["jpg", "turned jpg", "L jpg", "CMYK jpg", "png", "turned png", "L png", "16-bit png"]
FORMS += ["RGBA png", "P png", "tif", "webp", "bmp"]


@pytest.fixture(params=FORMS)
def form(request) -> str:
    """Each form of a picture in turn, as `save` takes it."""
    return request.param


@pytest.fixture
def photos(save) -> list[Path]:
    """Write a picture of every form above 50,000 pixels and one below (named small), and four
    strips that are above it by their length alone."""
    large = [save(f"large {form}", form) for form in FORMS]
    small = [save(f"small {form}", form, 210, 150) for form in FORMS]
    strips = [save(f"strip {form}", form, 30_000, 30) for form in ("jpg", "png")]
    strips += [save("thin", "png", 1, 60_000), save("flat", "png", 60_000, 1)]
    return [*large, *small, *strips]
