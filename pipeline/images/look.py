"""One look at a picture's file: all that can be told of it, from one reading and one decoding.

What is wrong with it, its form (format, colours, size, how it was compressed), hashes of its bytes
and of what it shows, and a few statistics of its pixels.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image, ImageOps

from pipeline.competition.pictures import opened, read_picture

LOOK = np.dtype(
    [
        ("fault", "U80"),  # why it cannot be used; the fields of the pixels are then 0
        ("bytes", "i8"),
        ("time", "f8"),  # of the last change, seconds
        ("content", "S32"),  # SHA-256 of the bytes, shortened; '' without any
        ("suffix", "U12"),  # of the file's name, small letters
        ("format", "U12"),  # by content, as Pillow calls it; '' where OpenCV alone can read it
        ("mode", "U8"),  # colours, as Pillow calls them: RGB, L, CMYK, I;16, ...
        ("width", "i4"),  # pixels, turned as the EXIF says
        ("height", "i4"),
        ("orientation", "i1"),  # of the EXIF, 1 to 8; 1 without
        ("frames", "i4"),  # of a film, or pages
        ("quality", "i2"),  # of a JPEG, 1 to 100, estimated; 0 of others
        ("camera", "U40"),  # make, model and software of the EXIF
        ("profile", "?"),  # whether a colour profile is embedded
        ("clear", "f4"),  # share of pixels that are mostly see-through
        ("grey", "?"),  # all channels are the same
        ("constant", "?"),  # all pixels are the same
        ("mean", "f4", (3,)),  # of red, green and blue, 0 to 255
        ("std", "f4", (3,)),
        ("sharpness", "f4"),  # standard deviation of the Laplacian at 64 px
        ("dhash", "u1", (32,)),  # 256 bits
        ("thumb", "u1", (8, 8, 3)),
    ]
)
HASH_SIDE = 16  # comparisons a side of the dHash
DECODED_SIDE = 256  # pixels that a JPEG is decoded to at least; its dHash is then as of all pixels
_SEEN_SIDE = 64  # pixels a side of what the statistics are of
_BY_PILLOW = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_GREY = 2  # levels by which the channels of a grey picture may differ after compression
_ORIENTATION, _CAMERA = 0x0112, (0x010F, 0x0110, 0x0131)  # EXIF: make, model, software
# Luminance quantisation of the JPEG standard (ITU-T T.81, table K.1); quality scales it.
_LUMINANCE = np.sort(
    np.fromstring(
        "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 "
        "80 62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 "
        "92 95 98 112 100 103 99",
        dtype=int,
        sep=" ",
    )
)


def look(path: Path) -> np.ndarray:
    """Return what is to be told of a picture, () of dtype LOOK; a bad file is not raised."""
    told = np.zeros((), LOOK)
    data, fault = read_picture(path)
    told["suffix"], told["bytes"], told["orientation"], told["frames"] = (
        path.suffix,
        len(data),
        1,
        1,
    )
    if not fault:
        told["content"] = hashlib.sha256(data).hexdigest()[:32]
        told["time"] = path.stat().st_mtime
        _tell(told, _header(data))
        picture, fault = opened(data, DECODED_SIDE)
    if not fault:
        fault = _look_at_pixels(told, data, picture)
    told["fault"] = fault
    return told


def _tell(told: np.ndarray, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        told[name] = value


def _header(data: bytes) -> dict[str, Any]:
    """Return what the file says of itself, as far as Pillow can read it."""
    facts: dict[str, Any] = {}
    try:
        with Image.open(io.BytesIO(data)) as picture:
            facts["format"], facts["mode"] = picture.format, picture.mode
            facts["width"], facts["height"] = picture.size
            facts["profile"] = bool(picture.info.get("icc_profile"))
            facts["quality"] = _quality(getattr(picture, "quantization", None))
            exif = picture.getexif()
            orientation = exif.get(_ORIENTATION, 1)
            facts["orientation"] = orientation if orientation in range(1, 9) else 1
            facts["camera"] = " ".join(str(exif.get(tag, "")) for tag in _CAMERA).strip("\0 ")
            if facts["orientation"] > 4:
                facts["width"], facts["height"] = facts["height"], facts["width"]
            facts["frames"] = getattr(picture, "n_frames", 1)  # reads all of a film
    except Exception:  # a broken header ends the list early; `opened` says what is wrong
        return facts
    return facts


def _quality(tables: dict[int, list[int]] | None) -> int:
    """Return the quality of a JPEG by the rule of its reference encoder, from the median ratio of
    its luminance table to the standard's (both sorted, since the order of storage differs)."""
    if not tables or 0 not in tables or len(tables[0]) != len(_LUMINANCE):
        return 0
    scale = 100 * float(np.median(np.sort(tables[0]) / _LUMINANCE))
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return int(np.clip(round(quality), 1, 100))


def _look_at_pixels(told: np.ndarray, data: bytes, picture: Image.Image | None) -> str:
    """Fill in what the pixels tell; return what is wrong where they cannot be decoded after all."""
    if picture is None or picture.mode not in _BY_PILLOW:  # 16 bits or more: as training sees them
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            return "not an image"
        grey = told["mode"] in ("I", "F") or str(told["mode"]).startswith("I;16")
        picture = Image.fromarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
        told["height"], told["width"] = decoded.shape[:2]
        turned = picture  # OpenCV has turned it
    else:
        told["clear"] = _clear(picture)
        grey = picture.mode in ("1", "L", "LA")
        turned = _turned(picture)
    colours = turned.convert("RGB")
    told["constant"] = all(low == high for low, high in colours.getextrema())
    told["dhash"] = np.packbits(imagehash.dhash(colours, hash_size=HASH_SIDE).hash)
    seen = colours.resize((_SEEN_SIDE, _SEEN_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    told["thumb"] = np.asarray(seen.resize((8, 8), Image.Resampling.BOX))
    pixels = np.asarray(seen, np.float32)
    told["mean"], told["std"] = pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))
    told["grey"] = grey or float(np.ptp(pixels, axis=2).max()) <= _GREY
    told["sharpness"] = cv2.Laplacian(pixels.mean(axis=2), cv2.CV_32F).std()
    return ""


def _turned(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # an EXIF that Pillow cannot write back
        return picture


def _clear(picture: Image.Image) -> float:
    """Return the share of pixels of less than half opacity."""
    if not picture.has_transparency_data:
        return 0.0
    opacity = np.asarray(picture.convert("RGBA").getchannel("A"))
    return float((opacity < 128).mean())
