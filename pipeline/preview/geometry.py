"""What becomes of a picture's area on its way into the network: crop, square, scale."""

from dataclasses import dataclass

import numpy as np

from pipeline.config.pictures import Crop, Image
from pipeline.images.decode import crop_box
from pipeline.preview.cells import Box


@dataclass(frozen=True)
class Geometry:
    """A picture of `width` x `height` pixels, turned upright: its `crop`, the `square` within it
    that `fit: cover` leaves (None for other fits), and `scaled`, the crop's width and height in the
    pixels that the cache holds."""

    width: int
    height: int
    crop: Box
    square: Box | None
    scaled: tuple[int, int]

    @property
    def left(self) -> float:
        """The share of the picture that the network sees."""
        x0, y0, x1, y1 = self.square or self.crop
        return (x1 - x0) * (y1 - y0) / (self.width * self.height)

    @property
    def bars(self) -> float:
        """The share of the square that would be black bars if the crop were padded."""
        return 1 - min(self.scaled) / max(self.scaled)

    def side(self, fit: str) -> float:
        """Return the side in kept pixels that is scaled to the network's: the short one, and of a
        padded crop the long one."""
        return max(self.scaled) if fit == "pad" else min(self.scaled)


def geometry(
    image: Image, size: tuple[int, int], box: np.ndarray | None, scaled: tuple[int, int]
) -> Geometry:
    """Return what the recipe's `image` does to a picture of `size` (width, height), of which the
    cache holds `scaled` pixels."""
    width, height = size
    crop = x0, y0, x1, y1 = crop_box(image.crop, width, height, box)
    wide, high = x1 - x0, y1 - y0
    square = None
    if image.fit == "cover":
        side = min(wide, high)
        x, y = x0 + (wide - side) // 2, y0 + (high - side) // 2
        square = x, y, x + side, y + side
    return Geometry(width, height, crop, square, scaled)


def crop_words(crop: Crop) -> str:
    """Say what a crop keeps."""
    if crop.kind == "centre":
        return f"the middle {crop.width} x {crop.height} px"
    if crop.kind == "box":
        return f"the box in the columns {', '.join(crop.columns or ())}"
    sides = {name: getattr(crop, name) for name in ("top", "bottom", "left", "right")}
    cut = [f"{name} {_amount(value)}" for name, value in sides.items() if value]
    if crop.kind == "sides" and cut:
        return f"without {', '.join(cut)}"
    return "the whole picture"


def left_words(found: list[Geometry]) -> str:
    """Say how much of the pictures the network sees."""
    shares = sorted(one.left for one in found)
    if shares[-1] - shares[0] < 0.005:
        return f"{shares[0]:.0%} of each picture"
    return f"{shares[0]:.0%} to {shares[-1]:.0%} of each picture"


def _amount(value: float) -> str:
    return f"{100 * value:.3g}%" if value < 1 else f"{round(value)} px"
