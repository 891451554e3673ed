"""Pictures are told by their content, and their pixels counted before they are decoded."""

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.serve.kinds import check_picture, picture_kind
from pipeline.serve.limits import Limits

FORMS = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP", "BMP": "BMP", "GIF": "GIF", "TIFF": "TIFF"}


def written(form: str, width: int, height: int, mode: str = "RGB", **options) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), None).save(out, form, **options)
    return out.getvalue()


@settings(max_examples=60)
@given(st.sampled_from([*FORMS]), st.integers(1, 700), st.integers(1, 700))
def test_size_is_that_of_pillow(form, width, height):
    """Check that kind and size read from a header are what Pillow wrote, for all six formats."""
    kind = picture_kind(written(form, width, height))
    assert (kind.name, kind.width, kind.height) == (FORMS[form], width, height)


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("WEBP", "RGBA", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
        ("TIFF", "I;16", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"big_tiff": True}),
        ("PNG", "1", {}),
        ("JPEG", "L", {"progressive": True}),
        ("GIF", "P", {"save_all": True, "append_images": [Image.new("P", (57, 31))]}),
    ],
)
def test_kinds_of_each_format(form, mode, options):
    """Check that the size is right for other kinds of a format, too."""
    kind = picture_kind(written(form, 57, 31, mode, **options))
    assert (kind.width, kind.height) == (57, 31)


def test_other_byte_orders():
    """Check TIFF from the other end, a BMP of OS/2, and one stored from the top."""
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">H", 2)
    tiff += struct.pack(">HHIHH", 256, 3, 1, 57, 0) + struct.pack(">HHII", 257, 4, 1, 31)
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 57, 31, 1, 24)
    top = b"BM" + bytes(12) + struct.pack("<Iii", 40, 57, -31) + bytes(30)
    for data in (tiff, old, top):
        kind = picture_kind(data)
        assert (kind.width, kind.height) == (57, 31)


def test_large_tiles_count():
    """Check that a small TIFF of enormous tiles is refused, since room is made for a whole tile."""
    tags = {256: 10, 257: 10, 322: 60_000, 323: 60_000}
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    tiff += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    assert check_picture(tiff, Limits()).status == 413


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff\xe1", b"RIFF\0\0\0\0WEBP"]))
def test_any_bytes_have_an_answer(data, start):
    """Check that no bytes whatever raise anything, and what is no picture is never passed."""
    found = check_picture(start + data, Limits())
    assert found is None or found.status in (413, 415, 422)


@pytest.mark.parametrize(("side", "status"), [(1000, None), (1001, 413)])
def test_pixels_up_to_the_limit(side, status):
    """Check that a picture of exactly the most pixels is taken, and one of a row more is not."""
    found = check_picture(written("PNG", 1000, side), Limits(megapixels=1))
    assert (found and found.status) == status


@pytest.mark.parametrize(("more", "status"), [(0, None), (1, 413)])
def test_bytes_up_to_the_limit(more, status):
    """Check that a picture of exactly the most bytes is taken, and one byte more is not."""
    picture = written("PNG", 20, 20)
    data = picture + bytes(10_000 - len(picture) + more)
    found = check_picture(data, Limits(picture_mb=0.01))
    assert (found and found.status) == status
