"""Test-time augmentation: the views of one picture whose answers are averaged.

A view is a look at the picture (which part of it, at which size) that is then turned or mirrored,
as exact copies of pixels. Looks cost the scaling and turns next to nothing, so that who wants many
views of a picture makes each look once.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.config.pictures import Image, TestViews
from pipeline.images.decode import scaled, square

# A corner or the middle: where its upper left end lies, in halves of the room that the crop leaves
# above it and to its left.
CROPS = {
    "top left": (0, 0),
    "top right": (0, 2),
    "bottom left": (2, 0),
    "bottom right": (2, 2),
    "middle": (1, 1),
}


@dataclass(frozen=True)
class Look:
    """The whole of a picture, or the share `share` of its sides at the place `part` of `CROPS`, as
    a square of `size` pixels."""

    fit: str
    size: int
    part: str = ""
    share: float = 1.0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:  # (h, w, 3) -> (size, size, 3)
        pixels = square(pixels, self.fit)
        if self.part:
            down, right = CROPS[self.part]
            high, wide = (max(1, round(self.share * side)) for side in pixels.shape[:2])
            y = (pixels.shape[0] - high) * down // 2
            x = (pixels.shape[1] - wide) * right // 2
            pixels = pixels[y : y + high, x : x + wide]
        return scaled(pixels, self.size)


@dataclass(frozen=True)
class Turn:
    """One of the eight symmetries of the square: mirrored left to right, or not, then turned
    anticlockwise by so many quarters."""

    flipped: bool = False
    quarters: int = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Turn one image (s, s, 3) or each of several (n, s, s, 3); the result is contiguous."""
        if self.flipped:
            images = np.flip(images, axis=-2)
        return np.ascontiguousarray(np.rot90(images, self.quarters, axes=(-3, -2)))

    @property
    def name(self) -> str:
        turned = f"turned by {90 * self.quarters}" if self.quarters else ""
        return ", ".join(filter(None, ["flipped" if self.flipped else "", turned]))


@dataclass(frozen=True)
class View:
    """A look that is turned: takes a cached picture (h, w, 3) uint8 to (size, size, 3) uint8, the
    same in every epoch and for every id."""

    look: Look
    turn: Turn = Turn()

    def __call__(self, pixels: np.ndarray, epoch: int = 0, id_hash: int = 0) -> np.ndarray:
        return self.turn(self.look(pixels))

    @property
    def name(self) -> str:
        """The view in words: '224 px, flipped, top left'."""
        words = f"{self.look.size} px", self.turn.name, self.look.part
        return ", ".join(filter(None, words))


def test_looks(views: TestViews, image: Image) -> list[Look]:
    """Return the looks of a recipe at a picture: per size the whole of it and, where five crops are
    asked for, its corners and its middle."""
    parts = CROPS if views.crops == 5 else ()
    looks = []
    for size in views.sizes or (image.size,):
        looks.append(Look(image.fit, size))
        looks += [Look(image.fit, size, part, views.crop_share) for part in parts]
    return looks


def test_turns(views: TestViews) -> list[Turn]:
    """Return the turns in which every look is seen; the first one leaves it as it is."""
    quarters = {"none": (0,), "horizontal": (0,), "both": (0, 2), "dihedral": (0, 1, 2, 3)}
    mirrored = (False,) if views.flips == "none" else (False, True)
    return [Turn(flipped, number) for number in quarters[views.flips] for flipped in mirrored]


def test_views(views: TestViews, image: Image) -> list[View]:
    """Return all views of a recipe: every look in every turn.

    The first is the whole picture as it is, at the first of the sizes; without sizes, it is what
    `Evaluator` sees.
    """
    return [View(look, turn) for look in test_looks(views, image) for turn in test_turns(views)]
