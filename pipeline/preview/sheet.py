"""Draw a contact sheet: headlines, and per picture a block of its original and its views."""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.preview.cells import CELL, Box

GAP, MARGIN, LINE, SIZE = 10, 12, 18, 12  # pixels: of cells, of the sheet, of a text line, of text
ACROSS = 7  # cells of a line, if a block is not wider
WHITE, BLACK, GREY, PALE = (255, 255, 255), (20, 20, 20), (105, 105, 105), (205, 205, 205)
CROP, SQUARE = (225, 0, 40), (0, 110, 255)  # the colours of the two rectangles
_FONT = "mpl-data/fonts/ttf/DejaVuSans.ttf"  # comes with matplotlib, and has most alphabets


@dataclass(frozen=True)
class Shown:
    """A picture on a sheet: its id and label, its original scaled to a cell (h, w, 3) uint8 with
    the crop and, where `cover` cuts more, the square in pixels of it, and what it became."""

    id: str
    label: str
    original: np.ndarray
    crop: Box
    square: Box | None
    views: list[np.ndarray]


def draw_sheet(
    headlines: Sequence[str], titles: Sequence[str], shown: Sequence[Shown]
) -> Image.Image:
    """Return a sheet as a picture; `titles` stand above the cells of a block."""
    columns = len(titles)
    blocks = max(1, ACROSS // columns)
    step = columns * (CELL + GAP) + GAP
    width = 2 * MARGIN + max(ACROSS * (CELL + GAP), blocks * step - 2 * GAP)
    font = _font()
    wrapped = [line for text in headlines for line in _wrapped(text, font, width - 2 * MARGIN)]
    top = MARGIN + LINE * (len(wrapped) + 1)
    first = top + LINE + GAP  # of the blocks
    lines = math.ceil(len(shown) / blocks)
    height = first + lines * (LINE + CELL + GAP) + MARGIN
    sheet = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(wrapped):
        at = MARGIN, MARGIN + number * LINE
        draw.text(at, line, fill=GREY if number else BLACK, font=font)
    for block in range(min(blocks, len(shown))):
        for column, title in enumerate(titles):
            at = MARGIN + block * step + column * (CELL + GAP), top
            draw.text(at, _cut(title, font, CELL), fill=GREY, font=font)
    for number, one in enumerate(shown):
        line, block = divmod(number, blocks)
        at = MARGIN + block * step, first + line * (LINE + CELL + GAP)
        _draw_block(draw, sheet, at, one, font)
    return sheet


def _draw_block(
    draw: ImageDraw.ImageDraw,
    sheet: Image.Image,
    at: tuple[int, int],
    one: Shown,
    font: ImageFont.FreeTypeFont,
) -> None:
    """Draw a picture's caption, its original with the rectangles and its views."""
    x, y = at
    room = (1 + len(one.views)) * (CELL + GAP) - 2 * GAP
    draw.text(at, _caption(one, font, room), fill=BLACK, font=font)
    y += LINE
    left, upper = _paste(sheet, one.original, (x, y))
    x0, y0, x1, y1 = one.crop
    # Around the crop, not on it, so that what is inside the line is what is kept.
    around = left + x0 - 2, upper + y0 - 2, left + x1 + 1, upper + y1 + 1
    draw.rectangle(around, outline=CROP, width=2)
    if one.square is not None:
        x0, y0, x1, y1 = one.square
        draw.rectangle(
            (left + x0, upper + y0, left + x1 - 1, upper + y1 - 1), outline=SQUARE, width=2
        )
    for view in one.views:
        x += CELL + GAP
        left, upper = _paste(sheet, view, (x, y))
        edge = left + view.shape[1], upper + view.shape[0]
        draw.rectangle((left - 1, upper - 1, *edge), outline=PALE)


def _paste(sheet: Image.Image, pixels: np.ndarray, at: tuple[int, int]) -> tuple[int, int]:
    """Put pixels into the middle of the cell `at`; return where they begin."""
    height, width = pixels.shape[:2]
    start = at[0] + (CELL - width) // 2, at[1] + (CELL - height) // 2
    sheet.paste(Image.fromarray(pixels), start)
    return start


def _caption(one: Shown, font: ImageFont.FreeTypeFont, room: int) -> str:
    """Return id and label in `room` pixels; of both the longer is cut first."""
    name, label = clean(one.id), clean(one.label)
    if not label:
        return _cut(name, font, room)
    room -= math.ceil(font.getlength(":  "))
    half = room // 2
    label = _cut(label, font, max(half, room - math.ceil(font.getlength(name))))
    return f"{_cut(name, font, room - math.ceil(font.getlength(label)))}:  {label}"


def clean(text: str) -> str:
    """Return text on one line that can be drawn and printed, whatever bytes it was made of."""
    encoded = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in encoded).split())


def _cut(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, font: ImageFont.FreeTypeFont, room: int) -> list[str]:
    lines = [""]
    for word in clean(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > room:
            lines.append(_cut(word, font, room))
        else:
            lines[-1] = _cut(longer, font, room)
    return lines


def _font() -> ImageFont.FreeTypeFont:
    """Return the font of matplotlib, which knows more alphabets than Pillow's own, if it is there;
    without the layout engine, which not every Pillow has."""
    found = importlib.util.find_spec("matplotlib")
    for place in (found.submodule_search_locations or []) if found else []:
        if (Path(place) / _FONT).is_file():
            basic = ImageFont.Layout.BASIC
            return ImageFont.truetype(str(Path(place) / _FONT), SIZE, layout_engine=basic)
    return ImageFont.load_default(size=SIZE)
