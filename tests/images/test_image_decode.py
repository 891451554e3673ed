"""Tests of pipeline.images.decode: every crop, fit, format and fault of one picture."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pil

from pipeline.config.pictures import Crop
from pipeline.errors import PodiumError
from pipeline.images.decode import canonical, crop_box, decode, scaled, square

WIDTH, HEIGHT = 120, 80
LARGE = 10_000  # a short side that shrinks nothing


@pytest.mark.parametrize(
    ("crop", "box", "expected"),
    [
        (Crop(), None, (0, 0, 120, 80)),
        (Crop(kind="sides", top=3, bottom=5, left=7, right=11), None, (7, 3, 109, 75)),
        (Crop(kind="sides", top=0.1, bottom=0.2, left=0.05, right=0.25), None, (6, 8, 90, 64)),
        (Crop(kind="sides", top=1, left=0.5), None, (60, 1, 120, 80)),
        (Crop(kind="centre", width=50, height=21), None, (35, 29, 85, 50)),
        (Crop(kind="centre", width=500, height=30), None, (0, 25, 120, 55)),
        (Crop(kind="centre", width=500, height=500), None, (0, 0, 120, 80)),
        (Crop(kind="box", columns=tuple("abcd")), [4, 9, 100, 60], (4, 9, 100, 60)),
        (Crop(kind="box", columns=tuple("abcd")), [4.6, 9.2, 99.1, 59.9], (4, 9, 100, 60)),
        (Crop(kind="box", columns=tuple("abcd")), [90, 70, 400, 300], (90, 70, 120, 80)),
    ],
)
def test_crop_takes_the_pixels_it_names(crop, box, expected, coordinates, written):
    """Check that each crop form cuts exactly its pixels out of the original picture."""
    box = None if box is None else np.array(box, float)
    pixels = canonical(written(coordinates(WIDTH, HEIGHT)), crop, LARGE, box)
    x0, y0, x1, y1 = expected
    np.testing.assert_array_equal(pixels, coordinates(WIDTH, HEIGHT)[y0:y1, x0:x1])


@pytest.mark.parametrize(
    ("crop", "box"),
    [
        (Crop(kind="sides", left=70, right=50), None),
        (Crop(kind="sides", top=80), None),
        (Crop(kind="sides", top=40, bottom=0.5), None),
        (Crop(kind="box", columns=tuple("abcd")), [130, 0, 140, 10]),
        (Crop(kind="box", columns=tuple("abcd")), [50, 60, 20, 70]),
        (Crop(kind="box", columns=tuple("abcd")), [5, 5, 5, 70]),
    ],
)
def test_crop_that_leaves_nothing_names_the_file(crop, box, coordinates, written):
    """Check that a crop without pixels is one error with file, size and the key to change."""
    path = written(coordinates(WIDTH, HEIGHT))
    with pytest.raises(PodiumError, match=r"leaves nothing of 120 x 80.*image\.crop") as caught:
        canonical(path, crop, LARGE, None if box is None else np.array(box, float))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    sides=st.tuples(*[st.one_of(st.floats(0, 0.999), st.integers(1, 40))] * 4),
)
def test_crop_box_stays_inside(width, height, sides):
    """Check that sides leave a box inside the picture with pixels in it, or raise ValueError."""
    top, bottom, left, right = sides
    try:
        crop = Crop(kind="sides", top=top, bottom=bottom, left=left, right=right)
        x0, y0, x1, y1 = crop_box(crop, width, height)
    except ValueError:  # pydantic's error is one too
        return
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


def test_crop_comes_before_scaling(coordinates, written):
    """Check that a crop counts original pixels, whatever the canonical short side is."""
    crop = Crop(kind="sides", left=40, right=40, top=20, bottom=20)
    pixels = canonical(written(coordinates(WIDTH, HEIGHT)), crop, 20)
    assert pixels.shape == (20, 20, 3)
    blocks = coordinates(WIDTH, HEIGHT)[20:60, 40:80].reshape(20, 2, 20, 2, 3).mean((1, 3))
    assert np.abs(pixels - blocks).max() <= 0.5  # area averaging, rounded


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(width=st.integers(1, 90), height=st.integers(1, 90), short=st.integers(1, 60))
def test_canonical_never_enlarges(width, height, short, noise, written):
    """Check the short side: at most the one asked for, never above the picture's, shape kept."""
    pixels = canonical(written(noise(0, width, height)), Crop(), short)
    h, w = pixels.shape[:2]
    assert min(h, w) == min(short, width, height)
    assert (
        (h, w) == (height, width) if min(width, height) <= short else max(h, w) < max(width, height)
    )
    assert abs(h * width - w * height) <= max(width, height)  # within a pixel of the same shape


def test_fit_squash_pad_cover(coordinates):
    """Check that pad keeps all pixels with black around, cover the middle, squash the picture."""
    wide = coordinates(100, 60)
    assert square(wide, "squash") is wide
    padded = square(wide, "pad")
    assert padded.shape == (100, 100, 3)
    np.testing.assert_array_equal(padded[20:80], wide)
    assert not padded[:20].any() and not padded[80:].any()
    np.testing.assert_array_equal(square(wide, "cover"), wide[:, 20:80])
    tall = np.ascontiguousarray(wide.transpose(1, 0, 2))
    np.testing.assert_array_equal(square(tall, "pad"), padded.transpose(1, 0, 2))
    np.testing.assert_array_equal(square(tall, "cover"), tall[20:80])


@pytest.mark.parametrize("size", [8, 50, 64, 150])
def test_scaled_keeps_the_ends(size, coordinates):
    """Check that scaling spans the whole picture: column means run evenly from end to end."""
    columns = scaled(coordinates(100, 60), size)[..., 0].mean(0)
    expected = np.clip((np.arange(size) + 0.5) * 100 / size - 0.5, 0, 99)
    assert scaled(coordinates(100, 60), size).shape == (size, size, 3)
    assert np.abs(columns - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(orientation, tmp_path):
    """Check against Pillow's own transposition that a camera's turn is undone."""
    from PIL import ImageOps

    quarters = np.zeros((32, 48, 3), np.uint8)
    quarters[:16, :24], quarters[:16, 24:], quarters[16:, :24] = 255, (200, 0, 0), (0, 0, 200)
    exif = Pil.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Pil.fromarray(quarters).save(path, quality=100, subsampling=0, exif=exif)
    with Pil.open(path) as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored).convert("RGB")).astype(int)
    pixels = decode(path)
    assert pixels.shape == upright.shape
    assert np.abs(pixels - upright).mean() < 2


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "LA", "P", "1", "RGB16"])
def test_every_png_becomes_rgb_uint8(mode, noise, tmp_path):
    """Check that grey, alpha, palette, one-bit and 16-bit files decode to (h, w, 3) uint8 RGB."""
    import cv2

    path, rgb = tmp_path / "odd.png", noise(3)
    grey = rgb[..., 0]
    expected = np.dstack([grey] * 3)
    if mode == "RGB16":
        cv2.imwrite(str(path), rgb[..., ::-1].astype(np.uint16) * 257)
        expected = rgb
    elif mode == "I;16":
        cv2.imwrite(str(path), grey.astype(np.uint16) * 257)
    elif mode == "RGBA":
        Pil.fromarray(np.dstack([rgb, np.full_like(grey, 200)])).save(path)
        expected = rgb
    elif mode == "1":
        Pil.fromarray(grey).point(lambda v: 255 * (v > 99)).convert("1").save(path)
        expected = np.where(expected > 99, 255, 0)
    else:
        Pil.fromarray(grey).convert(mode).save(path)
    pixels = decode(path)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


def test_colours_are_not_swapped(tmp_path):
    """Check that the first channel is red."""
    Pil.new("RGB", (4, 3), (250, 120, 10)).save(tmp_path / "red.png")
    assert (decode(tmp_path / "red.png") == (250, 120, 10)).all()


@pytest.mark.parametrize("fault", ["missing", "empty", "text", "half", "folder"])
def test_faulty_file_is_one_error_that_names_it(fault, noise, written, tmp_path):
    """Check that a file which is no picture is one line with its name and the remedy."""
    path = tmp_path / "bad.png"
    if fault == "empty":
        path.touch()
    elif fault == "text":
        path.write_text("<html>404</html>")
    elif fault == "half":
        path.write_bytes(written(noise(1)).read_bytes()[:40])
    elif fault == "folder":
        path.mkdir()
    with pytest.raises(PodiumError, match="take its row out of the table") as caught:
        decode(path)
    assert str(caught.value).startswith(f"{path}: ")
