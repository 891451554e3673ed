"""The oddities of single pictures: how each is told from a look, and what it costs.

A kind is a row of KINDS. Its `odd` gives every look (n,) a number: how odd it is, 0 for not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts.findings import Level

FLAT = 2.0  # levels of standard deviation, of every colour, under which hardly anything is shown
SMALL, LONG = 32, 4.0  # pixels of the short side; the long side in short ones
CLEAR = 0.01  # share of see-through pixels that is worth a warning
DARK = 32.0  # levels of 255: deep pictures that stay below have lost most of what they held
_FORMATS = {  # what a suffix promises; a phone's MPO is a JPEG to any reader
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".gif": ("GIF",),
    ".bmp": ("BMP", "DIB"),
    ".webp": ("WEBP",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".ppm": ("PPM",),
    ".pgm": ("PPM",),
    ".avif": ("AVIF",),
    ".jp2": ("JPEG2000",),
}
_NOT_TURNED = ("AVIF",)  # its turn is not obeyed by what decodes for training
_CONVERTED = ("CMYK", "LAB", "HSV")  # colours that are converted without a profile

Looks = np.ndarray


@dataclass(frozen=True)
class Kind:
    """One way to be odd. `what` begins its sentence. `level` says how bad the odd looks are, and
    `title` what is odd about one of them, with its number."""

    name: str
    what: str
    odd: Callable[[Looks], np.ndarray]
    title: Callable[[np.void], str]
    why: str
    level: Callable[[Looks], Level]


def note(_: Looks) -> Level:
    return "note"


def warn(_: Looks) -> Level:
    return "warn"


def _warn_if(bad: Callable[[Looks], np.ndarray]) -> Callable[[Looks], Level]:
    return lambda looks: "warn" if bad(looks).any() else "note"


def short_side(looks: Looks) -> np.ndarray:
    return np.minimum(looks["width"], looks["height"])


def pixels(looks: Looks) -> np.ndarray:
    return looks["width"].astype(np.int64) * looks["height"]


def _aspect(looks: Looks) -> np.ndarray:
    return np.maximum(looks["width"], looks["height"]) / np.maximum(short_side(looks), 1)


def _nearly_constant(looks: Looks) -> np.ndarray:
    spread = looks["std"].max(axis=1)
    return np.where(~looks["constant"] & (spread < FLAT), FLAT - spread, 0.0)


def _misnamed(looks: Looks) -> np.ndarray:
    return np.array(
        [
            bool(form) and suffix in _FORMATS and form not in _FORMATS[suffix]
            for suffix, form in zip(looks["suffix"].tolist(), looks["format"].tolist(), strict=True)
        ],
        float,
    )


def _brightest(looks: Looks) -> np.ndarray:
    """Return a level that hardly any pixel of a look is above."""
    return (looks["mean"] + 3 * looks["std"]).max(axis=1)


def _turn_ignored(looks: Looks) -> np.ndarray:
    return np.isin(looks["format"], _NOT_TURNED)


def _turn_title(look: np.void) -> str:
    ignored = " (not obeyed)" if look["format"] in _NOT_TURNED else ""
    return f"orientation {look['orientation']}{ignored}"


def _size(look: np.void) -> str:
    return f"{look['width']} x {look['height']} px"


KINDS = (
    Kind(
        "constant-pictures",
        "pictures of one colour everywhere",
        lambda looks: looks["constant"].astype(float),
        lambda look: "rgb " + ", ".join(f"{value:.0f}" for value in look["mean"]),
        "They show nothing to learn from, and their labels teach noise: look at them, and leave "
        "them out by `exclude`, or fetch them anew.",
        warn,
    ),
    Kind(
        "nearly-constant-pictures",
        "pictures of nearly one colour",
        _nearly_constant,
        lambda look: f"standard deviation {look['std'].max():.1f} of 255",
        f"Their standard deviation is under {FLAT:g} levels of 255, at 64 px: look whether they "
        "show anything, and leave them out by `exclude` if not.",
        note,
    ),
    Kind(
        "see-through-pictures",
        "pictures with see-through pixels",
        lambda looks: looks["clear"].astype(float),
        lambda look: f"{look['clear']:.1%} see-through ({look['format']})",
        "Training drops the opacity: of PNG and WebP it sees the colours that are hidden below, "
        "which may differ from file to file and hint at their maker; put them on one background "
        "first.",
        _warn_if(lambda looks: looks["clear"] > CLEAR),
    ),
    Kind(
        "cmyk-pictures",
        "pictures in CMYK or LAB",
        lambda looks: np.isin(looks["mode"], _CONVERTED).astype(float),
        lambda look: f"{look['format']} in {look['mode']}",
        "Their colours are converted without a profile, so they differ from what was meant, and a "
        "CMYK JPEG that does not store its inks inverted, as Adobe does, comes out as a negative; "
        "convert them to sRGB.",
        warn,
    ),
    Kind(
        "rotated-pictures",
        "pictures with a turn in their EXIF",
        lambda looks: (looks["orientation"] > 1) * (1.0 + _turn_ignored(looks)),
        _turn_title,
        "They are turned when decoded, and a crop counts in the turned picture; the turn of an "
        "AVIF is not obeyed: convert it.",
        _warn_if(_turn_ignored),
    ),
    Kind(
        "tiny-pictures",
        f"pictures with a short side under {SMALL} px",
        lambda looks: np.maximum(SMALL - short_side(looks), 0).astype(float),
        _size,
        "They are enlarged to image.size and hold no detail beyond theirs: where all are so, a "
        "small image.size trains faster to the same score.",
        note,
    ),
    Kind(
        "long-pictures",
        f"pictures more than {LONG:g} times as long as wide",
        lambda looks: np.where(_aspect(looks) > LONG, _aspect(looks), 0.0),
        _size,
        "image.fit=squash distorts them and cover cuts most of them off: try image.fit=pad, or a "
        "crop.",
        note,
    ),
    Kind(
        "films-and-pages",
        "files of several frames or pages",
        lambda looks: (looks["frames"] > 1) * (looks["frames"] + 1e6 * (looks["format"] != "MPO")),
        lambda look: f"{look['frames']} frames ({look['format']})",
        "Only the first frame is used: make sure that it is the one the label is about. (The MPO "
        "of a phone keeps a preview or a depth map behind the picture.)",
        _warn_if(lambda looks: looks["format"] != "MPO"),
    ),
    Kind(
        "deep-pictures",
        "pictures of more than 8 bits a channel",
        lambda looks: np.where(looks["bits"] > 8, 1 + 255 / (1 + _brightest(looks)), 0.0),
        lambda look: (
            f"{look['bits']} bits; as 8 bits, mean {look['mean'].mean():.1f} of 255"
            f"{', one colour' if look['constant'] else ''}"
        ),
        "Training keeps the upper 8 bits: values that fill only the lower ones (below 256 of "
        "65,536: all of them) become black; scale them to 8 bits first.",
        _warn_if(lambda looks: _brightest(looks) < DARK),
    ),
    Kind(
        "misnamed-pictures",
        "pictures of another format than their suffix says",
        _misnamed,
        lambda look: f"a {look['format']} named {look['suffix']}",
        "They are decoded by content, so nothing is lost here; other programs may stumble.",
        note,
    ),
    Kind(
        "colour-profiles",
        "pictures with an embedded colour profile",
        lambda looks: looks["profile"].astype(float),
        lambda look: f"ICC profile ({look['format']}, {look['mode']})",
        "Training ignores profiles: where they are not sRGB (Adobe RGB, Display P3) colours come "
        "out paler; convert to sRGB if colour matters.",
        note,
    ),
)
