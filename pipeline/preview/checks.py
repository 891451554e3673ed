"""What the machine sees in a preview: numbers of the network's input, and what is plainly wrong."""

from dataclasses import dataclass

import numpy as np

from pipeline.config.pictures import Image
from pipeline.preview.feed import Fed
from pipeline.preview.geometry import Geometry

ENOUGH = 8  # pictures from which chance leaves none of an epoch unchanged
LITTLE, MUCH = 0.25, 0.5  # of a picture that is left; of a square that is black bars
FAR, NARROW, WIDE = 3.0, 0.1, 10.0  # of the input's mean from 0, and its std

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Numbers:
    """Of the training pictures of a preview, by channel: mean and std of the pixels in 0..1, those
    that training takes for them (`used`), and those of what comes of it; and the range of that."""

    pixels: tuple[Three, Three]
    used: tuple[Three, Three]
    fed: tuple[Three, Three]
    low: float
    high: float


def numbers(fed: Fed, used: tuple[Three, Three]) -> Numbers:
    """Return the numbers of what was fed."""
    before, after = (
        tuple(tuple(map(float, values)) for values in fed.tally.moments(state))
        for state in (False, True)
    )
    return Numbers(before, used, after, fed.tally.low, fed.tally.high)


def number_warnings(found: Numbers) -> list[str]:
    """Say where mean and std have little to do with the pictures."""
    (mean, std), said = found.fed, []
    if any(not NARROW <= value <= WIDE for value in std) or max(map(abs, mean)) > FAR:
        said.append(
            f"the network's input has mean {_words(mean)} and std {_words(std)}, far from 0 and 1: "
            f"the pictures have mean {_words(found.pixels[0])} and std {_words(found.pixels[1])} "
            f"in 0..1, not {_words(found.used[0])} and {_words(found.used[1])}; "
            "change image.mean and image.std"
        )
    return said


def augment_warnings(fed: Fed, plain: Fed, on: bool) -> list[str]:
    """Say where augmentation is on, but pictures stay as they are or the same in all epochs.

    `plain` is what the same pictures become without it. A flip leaves half the pictures as they
    are, so that few pictures are judged over all epochs alone.
    """
    if not on:
        return []
    unchanged = (fed.prints == plain.prints).all(axis=0)  # (epochs,)
    if unchanged.all() or (unchanged.any() and len(fed.prints) >= ENOUGH):
        epochs = ", ".join(str(number + 1) for number in np.flatnonzero(unchanged))
        return [
            f"augmentation is on, but every picture of epoch {epochs} is what validation would "
            "see; raise what `augment` changes"
        ]
    if (fed.prints == fed.prints[:, :1]).all():
        return ["augmentation is on, but every picture is the same in all epochs"]
    return []


def geometry_warnings(image: Image, found: list[Geometry]) -> list[str]:
    """Say where little is left of pictures, where bars fill the input, where they are enlarged."""
    little = [one for one in found if one.left < LITTLE]
    barred = [one for one in found if image.fit == "pad" and one.bars > MUCH]
    small = [one for one in found if one.side(image.fit) < image.size]
    said = []
    if little and image.crop.kind != "box":  # a box round an object may well be small
        what = "crop and `fit: cover` leave" if image.fit == "cover" else "the crop leaves"
        said.append(
            f"{what} under {LITTLE:.0%} of {_of(little, found)}, down to "
            f"{min(one.left for one in little):.1%}; look at the sheets, change image.crop"
        )
    if barred:
        said.append(
            f"fit pad: black bars are more than half of the input in {_of(barred, found)}; "
            "image.fit=squash or cover, or a crop nearer to a square, uses it"
        )
    if small:
        said.append(_enlarged(image, small, found))
    return said


def _enlarged(image: Image, small: list[Geometry], found: list[Geometry]) -> str:
    sides = sorted({round(one.side(image.fit)) for one in small})
    span = f"{sides[0]}" if len(sides) == 1 else f"{sides[0]} to {sides[-1]}"
    what = f"pictures of {span} px after the crop are enlarged to {image.size}"
    kept = image.canonical_side
    if kept < image.size and any(
        kept < image.size <= min(one.crop[2] - one.crop[0], one.crop[3] - one.crop[1])
        for one in small
    ):
        return f"{what}, since image.short_side keeps {kept} px: {_of(small, found)}; raise it"
    return f"{what}, which adds no detail: {_of(small, found)}"


def _of(some: list[Geometry], found: list[Geometry]) -> str:
    return f"{len(some)} of {len(found)} pictures"


def _words(values: Three) -> str:
    return " ".join(f"{value:.3g}" for value in values)
