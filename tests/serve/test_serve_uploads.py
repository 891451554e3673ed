"""What a body holds: multipart in any pieces, zips within limits, limits by name, the door."""

import asyncio
import io
import struct
import zipfile
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("python_multipart", reason="comes with gradio; make setup EXTRAS=serve")

from pipeline.errors import PodiumError
from pipeline.serve.archive import is_zip, unpacked
from pipeline.serve.door import Door
from pipeline.serve.limits import Limits, parse_limits
from pipeline.serve.refusals import Refused
from pipeline.serve.uploads import Upload, read_uploads


def read(body: bytes, kind: str, cuts: list[int], limits: Limits) -> list[Upload]:
    """Read a body that arrives cut at some places."""

    async def chunks():
        places = sorted({0, *(cut % (len(body) + 1) for cut in cuts), len(body)})
        for start, stop in pairwise(places):
            yield body[start:stop]

    return asyncio.run(read_uploads(kind, chunks(), limits))


@given(
    st.lists(st.tuples(st.text("ab /.é", max_size=9), st.binary(max_size=200)), min_size=1),
    st.lists(st.integers(0, 5000), max_size=12),
)
def test_multipart_is_read_as_httpx_wrote_it(files, cuts):
    """Check that files packed by another library come out the same, however the body is cut."""
    sent = httpx.Request("POST", "http://x", files=[("file", (n or "a", d)) for n, d in files])
    found = read(sent.read(), sent.headers["content-type"], cuts, Limits(pictures=1000))
    assert [one.data for one in found] == [data for _, data in files]
    assert [one.name for one in found] == [name or "a" for name, _ in files]


def test_a_picture_is_refused_while_it_comes():
    """Check that reading ends as soon as a picture is too large, in a raw body and in a part."""
    taken = 0

    async def endless(start: bytes):
        nonlocal taken
        yield start
        while True:
            taken += 1000
            yield bytes(1000)

    part = b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\n'
    for kind, start in (("image/png", b""), ("multipart/form-data; boundary=b", part)):
        taken = 0
        with pytest.raises(Refused) as refused:
            asyncio.run(read_uploads(kind, endless(start), Limits(picture_mb=0.01)))
        assert refused.value.status == 413
        assert taken <= 11_000


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_members_of_a_zip():
    """Check that members come with their names, folders and hidden files are left out, and a path
    is nothing but a name."""
    data = packed({"a.png": b"1", "b/": b"", "b/.c": b"2", "__MACOSX/a": b"3", "../../d": b"4"})
    assert is_zip(data)
    assert unpacked(data, Limits()) == [Upload("a.png", b"1"), Upload("../../d", b"4")]


@pytest.mark.parametrize(
    ("members", "limits", "word"),
    [
        ({"a": bytes(3_000_000)}, {}, "packed"),
        ({"a": bytes(3_000_000)}, {"picture_mb": 1}, "more than 1 MB"),
    ],
)
def test_bombs_in_a_zip_are_not_unpacked(members, limits, word):
    """Check that a member of too high a ratio, or too large, has no bytes and says why."""
    (only,) = unpacked(packed(members), Limits(**limits))
    assert only.data == b"" and word in only.reason


def test_a_member_that_lies_about_its_size():
    """Check that what a zip says of a member's size is not believed: reading ends at the limit."""
    data = bytearray(packed({"a": bytes(2_000_000)}))
    real, said = struct.pack("<I", 2_000_000), struct.pack("<I", 5000)
    assert data.count(real) >= 1
    data = bytes(data).replace(real, said)
    (only,) = unpacked(data, Limits(picture_mb=1))
    assert only.data == b"" and only.reason


def test_a_zip_that_is_too_much():
    """Check that too many members, or too much in all, refuse the whole zip."""
    many = packed({f"{k}.png": b"x" for k in range(11)})
    with pytest.raises(Refused, match="10 are taken"):
        unpacked(many, Limits(batch=10))
    large = packed({str(k): bytes(900_000) for k in range(5)}, zipfile.ZIP_STORED)
    with pytest.raises(Refused, match="unpacked"):
        unpacked(large, Limits(request_mb=2))
    thousands = packed({f"{k}.png": b"" for k in range(5000)}, zipfile.ZIP_STORED)
    with pytest.raises(Refused, match="too many files"):
        unpacked(thousands, Limits(batch=10))


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 255))
def test_a_broken_zip_is_told(data, place, value):
    """Check that no change of a zip's bytes raises anything but a refusal."""
    whole = bytearray(packed({"a.png": b"12345" * 20, "b.png": data}))
    whole[place % len(whole)] = value
    try:
        unpacked(bytes(whole), Limits())
    except Refused as refused:
        assert refused.status in (413, 422)


def test_encrypted_members_are_told():
    """Check that a member marked as encrypted has no bytes and says so."""
    data = bytearray(packed({"a.png": b"1"}))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    data[6] |= 1
    (only,) = unpacked(bytes(data), Limits())
    assert only.reason == "encrypted in its zip"


def test_limits_by_name():
    """Check that limits are read as SET is, and that a wrong one is an error of one line."""
    assert parse_limits("picture_mb=2.5 pictures=3") == Limits(picture_mb=2.5, pictures=3)
    for text, word in (("pictre_mb=2", "picture_mb"), ("pictures=0", "pictures is 0")):
        with pytest.raises(PodiumError, match=word):
            parse_limits(text)


def test_the_door_counts_each_address_and_all():
    """Check that the third of one address gets 429, the fourth in all 503, and that places are free
    again when their requests end, refused ones included."""
    door = Door(Limits(requests=3, client=2))
    with door.entered("a"), door.entered("a"):
        with pytest.raises(Refused) as refused, door.entered("a"):
            pass
        assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "2"})
        with door.entered("b"):
            with pytest.raises(Refused) as refused, door.entered("c"):
                pass
            assert refused.value.status == 503
            assert door.inside == 3
    assert door.inside == 0
