"""Tests of pipeline.images.shrunk: large pictures keep size and crop, with copies or without."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image as Pil

from pipeline.config.pictures import Crop, Image
from pipeline.images import encoded, shrunk
from pipeline.images.cache import Source
from pipeline.images.decode import canonical, crop_box
from pipeline.images.encoded import jpeg_header, read_encoded
from pipeline.images.shrunk import copy_path, copy_size, make_copies, pixel_limit
from pipeline.training.parts import Parts

LIMIT = 50_000
LARGE = 17  # of the photos
BOX = Crop(kind="box", columns=tuple("abcd"))
SIDES = Crop(kind="sides", left=31, top=0.2, right=5)
CROPS = [(Crop(), None), (SIDES, None), (Crop(kind="centre", width=180, height=90), None)]
CROPS += [(BOX, np.array([20.5, 3, 190, 140.2])), (BOX, np.array([40.0, 7, 41, 8]))]
ROOM = 1e12


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.jpg")}


def size_of(path: Path) -> tuple[int, int]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return pixels.shape[1], pixels.shape[0]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**8))
@example(2095, 2095, 225)
def test_copy_size(width, height, limit):
    """Check that a copy has at most the pixels allowed and nearly as many, in the same shape."""
    wide, high = copy_size(width, height, limit)
    assert 1 <= wide <= 65_500 and 1 <= high <= 65_500 and wide * high <= limit
    if min(wide, high) > 1 and max(wide, high) < 65_500 and width * height > limit:
        assert (wide + 1) * (high + 1) > limit
        assert abs(wide * height - high * width) <= max(width, height)  # within a pixel
        assert wide <= width and high <= height


def test_with_copies_and_without_are_the_same_bytes(photos, tmp_path, monkeypatch):
    """Check for all forms, strips and crops that the copies on the disk change no byte, that they
    are read, and that small pictures have none and keep the pixels of no limit at all."""
    folder = tmp_path / "shrunk"
    made = make_copies(photos, LIMIT, folder, ROOM)
    assert made.large == LARGE == len(files(folder))
    cases = [(path, crop, side, box) for path in photos for crop, box in CROPS for side in (9, 64)]
    cases = [case for case in cases if "thin" not in case[0].name and "flat" not in case[0].name]
    cases = [c for c in cases if not ("strip" in c[0].name and c[1].kind == "box")]
    cases += [(path, Crop(), side, None) for path in photos for side in (1, 40)]
    without = [canonical(*case, LIMIT) for case in cases]
    untouched = [canonical(*c) if c[0].name.startswith("small") else None for c in cases]
    read = []

    def watched(path):
        read.append(path.name)
        return read_encoded(path)

    monkeypatch.setattr(shrunk, "read_encoded", watched)
    for case, expected, old in zip(cases, without, untouched, strict=True):
        pixels = canonical(*case, LIMIT, folder)
        assert pixels.flags["C_CONTIGUOUS"] and pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected)
        if old is not None:
            np.testing.assert_array_equal(pixels, old)
    assert read and all(name.startswith("small") for name in read)


def test_a_copy_is_the_picture_by_area_averaging(form, tmp_path, save):
    """Check size, orientation, and closeness to full decoding and area averaging."""
    path = save("large", form, 1001, 700)
    make_copies([path], LIMIT, tmp_path / "shrunk", ROOM)
    (copy,) = (tmp_path / "shrunk").rglob("*.jpg")
    width, height = size_of(path)
    with Pil.open(copy) as stored:
        assert stored.format == "JPEG" and not stored.getexif()
        assert stored.size == copy_size(width, height, LIMIT)
        assert stored.layer[0][1:3] == stored.layer[1][1:3] == (1, 1)  # 4:4:4
        pixels = np.asarray(stored.convert("RGB")).astype(int)
    original = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
    expected = cv2.resize(original, pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(pixels - expected).mean() < 1.5
    assert copy_path(tmp_path / "shrunk", path, LIMIT) == copy


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    short_side=st.integers(1, 300),
    limit=st.integers(1, 60_000),
    data=st.data(),
)
def test_size_is_that_of_the_original_where_the_copy_has_it(
    width, height, short_side, limit, data, save
):
    """Check the rule of sizes: as without shrinking if the copy's part of the crop has as many
    pixels, else that part as it is; and that nothing is enlarged."""
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    box = np.array([x0, y0, x1, y1], float)
    path = save("picture", "png", width, height)
    high, wide = canonical(path, BOX, short_side, box).shape[:2]
    found = canonical(path, BOX, short_side, box, limit).shape[1::-1]
    if width * height <= limit:
        assert found == (wide, high)
        return
    copy = copy_size(width, height, limit)
    scales = copy[0] / width, copy[1] / height
    edges = (x0 * scales[0], x1 * scales[0]), (y0 * scales[1], y1 * scales[1])
    part = [max(1, round(b) - round(a)) for a, b in edges]  # half pixels may go either way
    if wide <= part[0] - 1 and high <= part[1] - 1:
        assert found == (wide, high)
    elif wide > part[0] + 1 or high > part[1] + 1:
        assert all(abs(a - b) <= 1 for a, b in zip(found, part, strict=True))
    assert found[0] <= max(part[0] + 1, 1) and found[1] <= max(part[1] + 1, 1)


@pytest.mark.parametrize("form", ["jpg", "turned jpg", "png"])
@pytest.mark.parametrize(("crop", "box"), CROPS[:4])
def test_crops_stay_in_pixels_of_the_original(form, crop, box, save):
    """Check that the same part of the picture is seen as without shrinking, to a copy's pixel."""
    path = save("large", form, 1001, 700)
    old = canonical(path, crop, 30, box).astype(int)
    new = canonical(path, crop, 30, box, 90_000)
    assert new.shape == old.shape
    assert np.abs(new - old).mean() < 1.5
    x0, y0, x1, y1 = crop_box(crop, *size_of(path), box)
    assert (x1 - x0) * (y1 - y0) < 1001 * 700 or crop.kind == "whole"


def test_a_crop_smaller_than_the_canonical_side_is_not_enlarged(save):
    """Check a crop of 100 px that the copy has 50 px of: 50 where 64 are wanted, 32 where 32."""
    path = save("large", "png", 800, 800)
    crop = Crop(kind="centre", width=100, height=100)
    sizes = [canonical(path, crop, side, None, 160_000).shape[0] for side in (200, 64, 50, 32)]
    assert sizes == [50, 50, 50, 32]
    assert canonical(path, crop, 200).shape[0] == 100


@pytest.mark.parametrize(
    ("limit", "factor"),
    [(1_919_999, 1), (500_000, 1), (480_000, 2), (121_000, 2), (120_000, 4), (30_000, 8), (99, 8)],
)
def test_shrinking_decodes_no_more_than_the_copy_needs(limit, factor, monkeypatch, save):
    """Check the largest reduction of 1600 x 1200 pixels that has the copy's in both sides."""
    path, seen = save("large", "turned jpg", 1600, 1200), []
    decode = encoded.decoded_pixels

    def watched(path, data, reduction=1):
        seen.append(reduction)
        return decode(path, data, reduction)

    monkeypatch.setattr(encoded, "decoded_pixels", watched)
    shrunk.shrink(read_encoded(path), limit)
    assert seen == [factor]


def test_limit_decides_the_key(photos):
    """Check that a blob made under another limit is not taken."""
    keys = {Source(photos, None, Crop(), 18, limit).key("raw") for limit in (None, 1, 2)}
    keys.add(Source(photos, None, Crop(), 18, 1, Path("copies")).key("raw"))
    assert len(keys) == 3


@pytest.mark.parametrize("which", ["hdr", "bomb"])
def test_what_pillow_cannot_open_is_counted_by_opencv(which, noise, tmp_path, monkeypatch):
    """Check a format of OpenCV's alone, and more pixels than Pillow dares to open."""
    path = tmp_path / f"large.{which.replace('bomb', 'png')}"
    pixels = noise(0, 400, 300).astype(np.float32 if which == "hdr" else np.uint8)
    assert cv2.imwrite(str(path), pixels)
    monkeypatch.setattr(Pil, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises((Pil.DecompressionBombError, Pil.UnidentifiedImageError)):
        Pil.open(path)
    assert shrunk.pixel_count(path) == 120_000
    assert make_copies([path], LIMIT, tmp_path / "shrunk", ROOM).large == 1
    assert len(files(tmp_path / "shrunk")) == 1


def test_pixels_are_counted_without_decoding(form, monkeypatch, save):
    """Check the count of every form by its header alone, and of a JPEG without Pillow."""
    path = save("large", form)
    monkeypatch.setattr(shrunk, "decoded_pixels", None)
    if form.endswith("jpg"):
        monkeypatch.setattr(shrunk.Image, "open", None)
    assert shrunk.pixel_count(path) == 500 * 333


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_has_no_pixels(content, tmp_path):
    """Check that counting leaves the complaint to whoever needs the pixels."""
    (tmp_path / "bad.jpg").write_bytes(content)
    assert shrunk.pixel_count(tmp_path / "bad.jpg") == 0
    assert shrunk.pixel_count(tmp_path / "none.jpg") == 0


def test_a_strip_at_the_default_limit(save):
    """Check that 30,000 x 30 pixels are below 4 megapixels and 1 x 20,000 too: nothing changes."""
    for width, height in ((30_000, 30), (1, 20_000)):
        path = save(f"{width}", "png", width, height)
        expected = canonical(path, Crop(), 20)
        found = canonical(path, Crop(), 20, None, pixel_limit(4.0))
        np.testing.assert_array_equal(found, expected)
        assert min(found.shape[:2]) == min(20, width)


def test_limit_of_a_competition():
    """Check that megapixels are millions, and that the smallest limit is a pixel."""
    assert [pixel_limit(value) for value in (None, 4.0, 0.05, 1e-9)] == [None, 4_000_000, 50_000, 1]


def test_training_sees_the_limit_of_its_competition(tiny):
    """Check that `max_megapixels` of the YAML reaches the pixels of both tables."""
    tiny.configure(max_megapixels=0.0001)  # of the 256 pixels a picture
    data = tiny.data
    pixels, said = Parts(data, tiny.folds(), None).open(Image(size=8))
    assert said.endswith("; 60 of more than 0.0001 megapixels shrunk")
    for i, path in enumerate([*data.train.images, *data.test.images]):
        np.testing.assert_array_equal(pixels.read(i), canonical(path, Crop(), 10, None, 100))
        assert pixels.read(i).shape == (10, 10, 3)
    assert len(files(tiny.project.cache / "shrunk")) == 60


def test_copy_remembers_the_size_of_the_original(save):
    """Check the comment, by which crops are placed without opening the original."""
    path = save("large", "turned jpg")
    data = shrunk.shrink(read_encoded(path), LIMIT)
    assert jpeg_header(data).comment == b"shrunk from 333 x 500"
    assert shrunk.shrink(read_encoded(path), 333 * 500) is None
