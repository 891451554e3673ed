"""The sections of a recipe that say what the network sees: crop, size, augmentation, test views."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.schema import Section

Rate = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Pixels = Annotated[int, Field(ge=1)]
Range = tuple[Positive, Positive]


class Crop(Section):
    """What to cut out of the original picture, before anything is scaled.

    `sides`: so much off each side, in pixels (1 or more) or as a fraction (below 1).
    `centre`: the middle `width` x `height` pixels. `box`: the columns x0, y0, x1, y1 of the table,
    in pixels. `whole`: the picture as it is.
    """

    kind: Literal["whole", "sides", "centre", "box"] = "whole"
    top: Annotated[float, Field(ge=0)] = 0
    bottom: Annotated[float, Field(ge=0)] = 0
    left: Annotated[float, Field(ge=0)] = 0
    right: Annotated[float, Field(ge=0)] = 0
    width: Pixels | None = None
    height: Pixels | None = None
    columns: tuple[str, str, str, str] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Crop":
        if self.kind == "centre" and not (self.width and self.height):
            raise ValueError("crop kind 'centre' needs width and height in pixels")
        if self.kind == "box" and not self.columns:
            raise ValueError("crop kind 'box' needs columns: [x0, y0, x1, y1]")
        for first, second in (("top", "bottom"), ("left", "right")):
            a, b = getattr(self, first), getattr(self, second)
            if max(a, b) < 1 <= a + b:
                raise ValueError(f"crop {first} and {second} together leave nothing of the picture")
        return self


class Image(Section):
    """From the original picture to the network's square input of `size` pixels.

    `fit`: how a crop that is not square becomes square: `squash` (scaled without keeping its
    shape), `pad` (black bars) or `cover` (the middle square). `short_side`: pixels kept in the
    cache; 8/7 of `size` if not given. `cache`: `auto` keeps raw pixels where they fit on the disk
    and decodes each time where they do not (the same pixels); `jpeg` keeps them at quality 95,
    a tenth of the room, and is part of the science. `mean`, `std`: of the pixels in 0..1; the
    weights' own if not given. `channels`: 3, or 1 to feed the picture's luma alone (the first layer
    of pretrained weights is summed over its colours, as timm does).
    """

    size: Annotated[int, Field(ge=8, le=4096)] = 224
    crop: Crop = Crop()
    fit: Literal["squash", "pad", "cover"] = "squash"
    short_side: Pixels | None = None
    cache: Literal["auto", "jpeg"] = "auto"
    mean: tuple[Rate, Rate, Rate] | None = None
    std: tuple[Positive, Positive, Positive] | None = None
    channels: Literal[1, 3] = 3

    @property
    def canonical_side(self) -> int:
        return self.short_side or -(-self.size * 8 // 7)


class Augment(Section):
    """Random changes of training images, in this order; 0 or null turns one off.

    `scale` and `ratio`: area and aspect of a random crop. Flips: probability. `rotate`: largest
    angle in degrees either way. `brightness`, `contrast`, `saturation`: largest relative change;
    `hue`: largest shift as a share of the colour circle. `rand_augment`: so many operations per
    image, drawn from those of RandAugment, at `magnitude` 0 to 10. `erasing`: probability of one
    erased rectangle. `first_size`: the size of the first epochs in pixels, from which it grows to
    `image.size`, reached after the share `full_size_from` of all epochs (progressive resizing).
    """

    scale: Range | None = (0.35, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    horizontal_flip: Rate = 0.5
    vertical_flip: Rate = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    brightness: Rate = 0.0
    contrast: Rate = 0.0
    saturation: Rate = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    rand_augment: Annotated[int, Field(ge=0, le=10)] = 0
    magnitude: Annotated[float, Field(ge=0, le=10)] = 9.0
    erasing: Rate = 0.0
    first_size: Annotated[int, Field(ge=8, le=4096)] | None = None
    full_size_from: Rate = 0.75

    @field_validator("scale", "ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("a range is [smallest, largest]")
        return value

    @field_validator("scale")
    @classmethod
    def _area(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[1] > 1:
            raise ValueError("scale is a share of the picture's area, at most 1")
        return value


class TestViews(Section):
    """Test-time augmentation: the views of a picture whose answers are averaged.

    `flips`: `none`, `horizontal`, `both` (the picture, its two mirror images and both at once) or
    `dihedral` (all eight turns and mirror images of the square). `crops`: 5 adds the corners and
    the middle of the picture, each of `crop_share` of its side, to the whole. `sizes`: the sizes in
    pixels at which each is seen; `image.size` if none is given. `average`: of probabilities or of
    logits; `auto` takes whichever scores better out of fold.
    """

    flips: Literal["none", "horizontal", "both", "dihedral"] = "none"
    crops: Literal[1, 5] = 1
    crop_share: Annotated[float, Field(gt=0, lt=1)] = 0.875
    sizes: tuple[Annotated[int, Field(ge=8, le=4096)], ...] = ()
    average: Literal["auto", "probs", "logits"] = "auto"

    @field_validator("sizes")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a size that stands twice would count twice")
        return value

    @property
    def is_single(self) -> bool:
        """Whether a picture has one view, as without test-time augmentation."""
        return self.flips == "none" and self.crops == 1 and len(self.sizes) < 2
