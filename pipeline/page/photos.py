"""A picture that another verb drew, made small enough to stand in a page."""

import base64
from pathlib import Path

import cv2

from pipeline.page.blocks import Shot

QUALITIES = (80, 60, 40, 20)  # of the WebP, until it fits


def photo(path: Path, title: str, wide: int, characters: int) -> Shot | None:
    """Return a picture at most `wide` pixels wide, of at most so many characters; None where it
    cannot be read or made to fit."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    if width > wide:
        size = (wide, max(1, round(height * wide / width)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    for quality in QUALITIES:
        written = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
        uri = f"data:image/webp;base64,{base64.b64encode(written).decode('ascii')}"
        if len(uri) <= characters:
            return Shot(title, uri, pixels.shape[1], pixels.shape[0])
    return None
