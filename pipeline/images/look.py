"""One look at a picture's file: all that can be told of it, from one reading and one decoding.

What is wrong with it, its form (format, colours, size, how it was compressed), hashes of its bytes
and of what it shows, and a few statistics of its pixels.
"""

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image

from pipeline.artifacts.hashing import text_hash
from pipeline.competition.faults import opened, read_picture
from pipeline.images.shrunk import BUDGET, Budget

LOOK = np.dtype(
    [
        ("fault", "U72"),  # why it cannot be used; the fields of the pixels are then 0
        ("bytes", "i8"),
        ("time", "f8"),  # of the last change, seconds
        ("content", "S32"),  # SHA-256 of the bytes, shortened; '' without any
        ("suffix", "U8"),  # of the file's name, small letters
        ("format", "U8"),  # by content, as Pillow calls it; '' where OpenCV alone can read it
        ("mode", "U6"),  # colours, as Pillow calls them: RGB, L, CMYK, I;16, ...
        ("bits", "u1"),  # of a channel, in the file; 0 where that is not known
        ("width", "i4"),  # pixels, as training decodes them: turned as the EXIF says
        ("height", "i4"),
        ("orientation", "i1"),  # of the EXIF, 1 to 8; 1 without. An AVIF's is not obeyed
        ("frames", "i4"),  # of a film, or pages
        ("quality", "i2"),  # of a JPEG, 1 to 100, estimated; 0 of others
        ("camera", "U24"),  # make, model and software of the EXIF, shortened
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
UNKNOWN = BUDGET  # bytes that a picture without a readable header is taken to need
HASH_SIDE = 16  # comparisons a side of the dHash
DECODED_SIDE = 256  # pixels that a JPEG is decoded to at least; its dHash is then as of all pixels
_SEEN_SIDE = 64  # pixels a side of what the statistics are of
_BY_PILLOW = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_GREY = 2  # levels by which the channels of a grey picture may differ after compression
_TURNED_BY_EXIF = ("JPEG", "MPO", "PNG", "WEBP")  # here; Pillow itself turns a TIFF as it opens it
_BYTES = 10  # of memory a pixel, decoded whole: Pillow's picture, a copy of it, and its greys
_BYTES_SCALED = 1  # of a JPEG that is decoded at an eighth
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS_OF_MODE = {"1": 1, "I": 32, "F": 32}
_HIDES = ("JPEG", "MPO", "PNG", "WEBP")  # OpenCV drops what is see-through; of others: black
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


def look(path: Path, budget: Budget | None = None) -> np.ndarray:
    """Return what is to be told of a picture, () of dtype LOOK; a bad file is not raised.

    `budget` holds the memory for its pixels meanwhile: all of it where no header tells how many.
    """
    told = np.zeros((), LOOK)
    data, fault = read_picture(path)
    told["suffix"], told["bytes"] = path.suffix.lower(), len(data)
    told["orientation"], told["frames"] = 1, 1
    if not fault:
        told["content"] = hashlib.sha256(data).hexdigest()[:32]
        with contextlib.suppress(OSError):  # gone since it was read
            told["time"] = path.stat().st_mtime
        facts, needed = _header(data)
        _tell(told, facts)
        with budget.taken(needed) if budget else contextlib.nullcontext():
            picture, fault = opened(data, DECODED_SIDE)
            if not fault:
                fault = _look_at_pixels(told, data, picture)
            del picture  # before its memory is given back
    room = LOOK["fault"].itemsize // 4
    told["fault"] = fault if len(fault) <= room else f"{fault[: room - 3]}..."
    return told


def _tell(told: np.ndarray, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        told[name] = value


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return what the file says of itself, as far as Pillow can read it, and about how many bytes
    of memory its decoding takes."""
    facts: dict[str, Any] = {}
    needed = UNKNOWN
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data)) as picture:
        # A broken header ends this early; `opened` says what is wrong.
        facts["format"], facts["mode"] = picture.format, picture.mode
        facts["width"], facts["height"] = picture.size
        needed = _needed_bytes(picture)
        facts["bits"] = _bits(picture, data)
        facts["profile"] = bool(picture.info.get("icc_profile"))
        facts["quality"] = _quality(getattr(picture, "quantization", None))
        with contextlib.suppress(Exception):  # a broken EXIF is that of no turn, as in training
            facts |= _exif_facts(picture)
        if facts.get("orientation", 1) > 4 and picture.format in _TURNED_BY_EXIF:
            facts["width"], facts["height"] = facts["height"], facts["width"]
        facts["frames"] = getattr(picture, "n_frames", 1)  # reads all of a film
    return facts, needed


def _needed_bytes(picture: Image.Image) -> int:
    # A progressive JPEG keeps all its coefficients, at whatever scale it is decoded.
    scaled = picture.format in ("JPEG", "MPO") and not picture.info.get("progressive")
    return picture.width * picture.height * (_BYTES_SCALED if scaled else _BYTES)


def _bits(picture: Image.Image, data: bytes) -> int:
    if picture.format == "PNG":
        return data[24]
    if picture.format == "TIFF":
        return min(max(picture.tag_v2.get(258, (1,))), 255)
    return 16 if picture.mode.startswith("I;16") else _BITS_OF_MODE.get(picture.mode, 8)


def _exif_facts(picture: Image.Image) -> dict[str, Any]:
    """Return turn and camera of the EXIF. A turn in the XMP, which Pillow would follow too, is not
    obeyed by what decodes for training."""
    exif = Image.Exif()
    if picture.format == "TIFF":
        exif = picture.getexif()
    else:
        exif.load(picture.info.get("exif", b""))
    orientation = exif.get(_ORIENTATION, 1)
    return {
        "orientation": orientation if orientation in range(1, 9) else 1,
        "camera": _camera([str(exif.get(tag, "")).strip("\0 ") for tag in _CAMERA]),
    }


def _camera(parts: list[str]) -> str:
    """Return make, model and software as one text; of a long one, the beginning and a few digits
    that tell it from others which begin alike."""
    text, room = " ".join(filter(None, parts)), LOOK["camera"].itemsize // 4
    return text if len(text) <= room else f"{text[: room - 6]}~{text_hash(text, 5)}"


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
    if picture is not None:
        told["clear"] = _clear(picture)
    if picture is None or _seen_otherwise(picture):
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            return "not an image"
        if picture is None:
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            told["bits"] = 8 * stored.itemsize
        grey = told["mode"] in ("I", "F") or str(told["mode"]).startswith("I;16")
        turned = Image.fromarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))  # OpenCV has turned it
        told["height"], told["width"] = decoded.shape[:2]
    else:
        grey = picture.mode in ("1", "L", "LA")
        turns = _TURNS if picture.format in _TURNED_BY_EXIF else {}
        turn = turns.get(int(told["orientation"]))
        turned = picture if turn is None else picture.transpose(turn)
    colours = turned if turned.mode == "RGB" else turned.convert("RGB")  # which would copy it
    told["constant"] = all(low == high for low, high in colours.getextrema())
    told["dhash"] = np.packbits(imagehash.dhash(colours, hash_size=HASH_SIDE).hash)
    seen = colours.resize((_SEEN_SIDE, _SEEN_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    told["thumb"] = np.asarray(seen.resize((8, 8), Image.Resampling.BOX))
    pixels = np.asarray(seen)  # OpenCV's sums of small pictures are ten times faster than numpy's
    mean, std = cv2.meanStdDev(pixels)
    told["mean"], told["std"] = mean.ravel(), std.ravel()
    channels = cv2.split(pixels)
    apart = max(cv2.absdiff(channels[i], channels[i - 1]).max() for i in range(3))
    told["grey"] = grey or apart <= _GREY
    greys = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    told["sharpness"] = cv2.meanStdDev(cv2.Laplacian(greys, cv2.CV_32F))[1].item()
    return ""


def _seen_otherwise(picture: Image.Image) -> bool:
    """Whether training sees other colours than Pillow: of 16 bits, rare modes, or see-through."""
    if picture.mode not in _BY_PILLOW:
        return True
    return picture.has_transparency_data and picture.format not in _HIDES


def _clear(picture: Image.Image) -> float:
    """Return the share of pixels of less than half opacity."""
    if not picture.has_transparency_data:
        return 0.0
    # A palette's opacity, or that of one colour, has to be looked up; a channel is there.
    has_channel = picture.mode in ("RGBA", "LA", "PA")
    whole = picture if has_channel else picture.convert("RGBA")
    return sum(whole.getchannel("A").histogram()[:128]) / (picture.width * picture.height)
