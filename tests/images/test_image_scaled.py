"""Tests of scaled decoding: a JPEG's header, where reduced pixels lie, and how close they come."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.config.pictures import Crop
from pipeline.images import encoded
from pipeline.images.decode import canonical, crop_box
from pipeline.images.encoded import Header, jpeg_header

STORED = {  # from the picture as shown to the one that a camera stores under that orientation
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: np.rot90(p.transpose(1, 0, 2), 2),
    8: lambda p: np.rot90(p, -1),
}
FLAGS = {cv2.IMREAD_COLOR: 1, cv2.IMREAD_REDUCED_COLOR_2: 2}
FLAGS |= {cv2.IMREAD_REDUCED_COLOR_4: 4, cv2.IMREAD_REDUCED_COLOR_8: 8}
ANY = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)


def smooth(width: int, height: int) -> np.ndarray:
    """Return a picture (h, w, 3) uint8 whose colours say where a pixel lies, without edges."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    red, green = 255 * x / max(1, width - 1), 255 * y / max(1, height - 1)
    wave = 127 + 40 * np.sin((red + green) * (2 * np.pi / 255))
    return np.dstack([red, green, wave]).astype(np.uint8)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def exif(orientation: int, order: str = "<") -> bytes:
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, 1)
    return b"Exif\0\0" + start + entry + b"\0\0\0\0"


def jpeg(pixels: np.ndarray, *segments: bytes, quality: int = 95) -> bytes:
    """Encode RGB pixels without chroma subsampling, with segments of its own at the start."""
    full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *full])[1].tobytes()
    return data[:2] + b"".join(segments) + data[2:]


def turned(pixels: np.ndarray, orientation: int) -> bytes:
    """Encode a picture as a camera does that was held otherwise."""
    return jpeg(STORED[orientation](pixels), segment(0xE1, exif(orientation)))


def reference(path: Path, crop: Crop, short_side: int, box: np.ndarray | None = None) -> np.ndarray:
    """Return canonical pixels by full decoding and area averaging alone."""
    pixels = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    x0, y0, x1, y1 = crop_box(crop, pixels.shape[1], pixels.shape[0], box)
    pixels = pixels[y0:y1, x0:x1]
    scale = short_side / min(pixels.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return pixels


@pytest.fixture
def reductions(monkeypatch) -> list[int]:
    """The reductions at which pictures are decoded, in order."""
    seen, imdecode = [], cv2.imdecode

    def watched(data, flags):
        seen.append(FLAGS[flags])
        return imdecode(data, flags)

    monkeypatch.setattr(encoded.cv2, "imdecode", watched)
    return seen


@st.composite
def crops(draw, width: int, height: int) -> tuple[Crop, np.ndarray | None]:
    """Draw a crop of any kind that leaves pixels of width x height."""
    kind = draw(st.sampled_from(["whole", "sides", "centre", "box"]))
    if kind == "centre":
        sides = {"width": draw(st.integers(1, 2 * width)), "height": draw(st.integers(1, height))}
        return Crop(kind=kind, **sides), None
    if kind == "box":
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x1, y1 = draw(st.integers(x0 + 1, width + 9)), draw(st.integers(y0 + 1, height + 9))
        return Crop(kind=kind, columns=tuple("abcd")), np.array([x0, y0, x1, y1], float)
    if kind == "whole":
        return Crop(), None
    share = st.floats(0, 0.45)
    left = draw(st.one_of(share, st.integers(1, max(1, width // 3))))
    top = draw(st.one_of(share, st.integers(1, max(1, height // 3))))
    crop = Crop(kind=kind, left=left, top=top, right=draw(share), bottom=draw(share))
    try:
        crop_box(crop, width, height)
    except ValueError:
        assume(False)
    return crop, None


@ANY
@given(data=st.data(), orientation=st.integers(1, 8))
def test_reduction_size_and_pixels(data, orientation, reductions, tmp_path):
    """Check for all shapes, crops and turns that the size is exactly that of full decoding, that
    the reduction is the largest which leaves twice the pixels, that without one the pixels are the
    old ones bit for bit, and that with one a smooth picture is nearly the same."""
    width, height = data.draw(st.integers(1, 500)), data.draw(st.integers(1, 500))
    crop, box = data.draw(crops(width, height))
    short_side = data.draw(st.integers(1, 60))
    path = tmp_path / "picture.jpg"
    path.write_bytes(turned(smooth(width, height), orientation))
    expected = reference(path, crop, short_side, box)
    reductions.clear()
    pixels = canonical(path, crop, short_side, box)
    x0, y0, x1, y1 = crop_box(crop, width, height, box)
    short, wanted = min(x1 - x0, y1 - y0), min(short_side, x1 - x0, y1 - y0)
    factor = next((r for r in (8, 4, 2) if short >= 2 * r * wanted), 1)
    assert reductions == [factor]
    assert pixels.shape == expected.shape
    if factor == 1:
        np.testing.assert_array_equal(pixels, expected)
    else:  # edges of a crop are rounded to half a reduced pixel
        rounding = factor / 2 * 255 / min(width, height)
        assert np.abs(pixels.astype(int) - expected).mean() <= 1.5 + 2 * rounding


@pytest.mark.parametrize("side", [(1003, 770), (777, 1003), (1024, 768)])
@pytest.mark.parametrize(("factor", "short_side"), [(8, 31), (4, 60), (2, 130)])
def test_every_orientation_is_the_same_picture(side, factor, short_side, tmp_path):
    """Check at reductions 8, 4 and 2 that all eight ways to hold a camera give the same pixels,
    also where the last reduced pixel hangs over the edge of the stored picture."""
    upright, found, rounding = smooth(*side), [], factor / 2 * 255 / min(side)
    crop = Crop(kind="sides", left=13, top=7, right=0.11, bottom=0.05)
    for orientation in range(1, 9):
        path = tmp_path / f"{orientation}.jpg"
        path.write_bytes(turned(upright, orientation))
        found.append(canonical(path, crop, short_side).astype(int))
        close = np.abs(found[-1] - reference(path, crop, short_side))
        assert close.mean() < 1 + rounding and close.max() <= 4 + 4 * rounding
        assert np.abs(found[-1] - found[0]).mean() < 1 + rounding


@pytest.mark.parametrize("form", ["grey", "cmyk", "progressive", "420", "mpo"])
def test_every_kind_of_jpeg(form, tmp_path, reductions):
    """Check that grey, CMYK, progressive, subsampled and two-picture files are decoded smaller and
    look as they did."""
    from PIL import Image as Pil

    path, picture = tmp_path / "odd.jpg", Pil.fromarray(smooth(900, 703))
    options = {"quality": 95}
    if form == "grey":
        picture = picture.convert("L")
    elif form == "cmyk":
        picture = picture.convert("CMYK")
    elif form == "progressive":
        options["progressive"] = True
    elif form == "420":
        options["subsampling"] = "4:2:0"
    elif form == "mpo":
        options |= {"format": "MPO", "save_all": True, "append_images": [picture.copy()]}
    picture.save(path, **options)
    pixels = canonical(path, Crop(), 80)
    assert reductions == [4]
    expected = reference(path, Crop(), 80)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < 1.5


def test_other_formats_are_decoded_whole(written, noise, reductions):
    """Check that a PNG keeps its pixels bit for bit, however small the result is."""
    path = written(noise(5, 700, 500))
    np.testing.assert_array_equal(canonical(path, Crop(), 20), reference(path, Crop(), 20))
    assert reductions == [1]


def test_a_jpeg_is_known_by_its_content(tmp_path, reductions):
    """Check that a JPEG named .png is decoded at an eighth, and a PNG named .jpg is decoded."""
    (tmp_path / "a.png").write_bytes(jpeg(smooth(700, 500)))
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".png", smooth(700, 500))[1].tobytes())
    shapes = {canonical(tmp_path / name, Crop(), 20).shape for name in ("a.png", "a.jpg")}
    assert shapes == {(20, 28, 3)} and reductions == [8, 1]


XMP = segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="8"/>')


@pytest.mark.parametrize(
    "segments",
    [
        *([segment(0xE1, exif(o, order))] for o in (*range(11), 65535) for order in "<>"),
        [XMP],
        [XMP, segment(0xE1, exif(6))],
        [segment(0xE1, exif(6)), segment(0xE1, exif(1))],
        [segment(0xE1, exif(1)), segment(0xE1, exif(6))],
        [segment(0xE1, exif(6).replace(b"\x2a", b"\x2b"))],
        [segment(0xE1, exif(6)[:20])],
        [segment(0xE1, b"Exif\0\0" + bytes(40))],
        [segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f")],
        [segment(0xFE, b"said"), b"\xff\xff\xff", segment(0xE1, exif(6)), b"\xff\xff"],
        [segment(0xE2, bytes(65000)), segment(0xE1, exif(8))],
    ],
)
def test_header_reads_the_size_that_opencv_shows(segments):
    """Check orientations, byte orders, decoys and broken EXIF against OpenCV's own turning."""
    data = jpeg(smooth(40, 30), *segments)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert jpeg_header(data).size == (pixels.shape[1], pixels.shape[0])


@given(st.binary(max_size=200), st.booleans(), st.integers(0, 400))
def test_header_of_anything_is_none_or_a_size(noise, after_start, cut):
    """Check that no bytes make the reader of headers fail, and that half a header is none."""
    whole = jpeg(np.zeros((5, 7, 3), np.uint8), segment(0xE1, exif(6)))
    for data in (b"\xff\xd8" * after_start + noise, whole[:cut]):
        header = jpeg_header(data)
        assert header is None or min(header.size) > 0
    assert jpeg_header(whole[: whole.index(b"\xff\xda")]) is None
    assert jpeg_header(whole).size == (5, 7)


@pytest.mark.parametrize("wrong", [Header(900, 700, 6), Header(900, 699), Header(400, 300)])
def test_a_header_that_was_misread_costs_time_alone(wrong, monkeypatch, tmp_path):
    """Check that a picture which OpenCV turns otherwise than was read is decoded whole."""
    path, crop = tmp_path / "picture.jpg", Crop(kind="sides", left=100, top=30)
    path.write_bytes(jpeg(smooth(900, 700)))
    monkeypatch.setattr(encoded, "jpeg_header", lambda data: wrong)
    expected = reference(path, crop, 40)
    if wrong.size == (900, 699):  # the same at an eighth: off by a pixel of the original
        assert np.abs(canonical(path, crop, 40).astype(int) - expected).mean() < 2
    else:
        np.testing.assert_array_equal(canonical(path, crop, 40), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("factor", [8, 4, 2])
def test_reduced_pixels_lie_where_the_file_has_them(orientation, factor, tmp_path):
    """Check exactly, on a file of one grey level per block, that a box along the blocks is cut out
    of the reduced pixels along them, from whichever end the picture is stored."""
    columns, rows, over = 13, 9, max(1, 3 * factor // 4)  # by which the last blocks hang over
    levels = np.random.default_rng(0).integers(0, 256, (rows, columns), dtype=np.uint8)
    stored = np.kron(levels, np.ones((factor, factor), np.uint8))[:-over, :-over]
    path = tmp_path / "blocks.jpg"
    path.write_bytes(jpeg(np.dstack([stored] * 3), segment(0xE1, exif(orientation)), quality=100))
    whole = encoded.read_encoded(path)
    shown = whole.at(1).pixels
    x0 = 3 * factor - (over if orientation in (2, 3, 6, 7) else 0)
    y0 = 2 * factor - (over if orientation in (3, 4, 7, 8) else 0)
    box = x0, y0, x0 + 4 * factor, y0 + 5 * factor
    half = factor // 2
    expected = shown[y0 + half : box[3] : factor, x0 + half : box[2] : factor].astype(int)
    found = whole.at(factor).cut(box)
    assert found.shape == (5, 4, 3)
    assert np.abs(found - expected).max() <= 3
