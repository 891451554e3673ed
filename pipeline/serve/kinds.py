"""What kind of picture some bytes are, and how large, by their first bytes; nothing is decoded.

A name or a content type is what somebody says; a decoder goes by the content, and so does this. The
pixels that a header promises are counted before a decoder makes room for them.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.images.encoded import jpeg_header
from pipeline.serve.limits import Limits
from pipeline.serve.refusals import Refused, megabytes

READ = "JPEG, PNG, WebP, BMP, GIF and TIFF"
MOST_SCANS = 100  # of a JPEG, each of which costs a pass over all pixels; usual are 10 at most


@dataclass(frozen=True)
class Kind:
    """A picture's format, and its width and height by its header."""

    name: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def picture_kind(data: bytes) -> Kind | None:
    """Return kind and size of a picture; None of bytes that begin like none that is read. A size of
    0 x 0 is that of a header that cannot be read."""
    for start, name, size in _SIZES:
        if data.startswith(start) and (name != "WebP" or data[8:12] == b"WEBP"):
            try:
                return Kind(name, *size(data))
            except (struct.error, IndexError):
                return Kind(name, 0, 0)
    return None


def check_picture(data: bytes, limits: Limits) -> Refused | None:
    """Return why a picture is not given to a decoder, None where it is."""
    if not data:
        return Refused(422, "the picture is empty (0 bytes)")
    if len(data) > limits.picture_bytes:
        return too_heavy(limits)
    kind = picture_kind(data)
    if kind is None:
        return Refused(415, f"not a picture that can be read here; {READ} can")
    if not kind.pixels:
        return Refused(422, f"a {kind.name} whose header is broken; save it anew")
    if kind.pixels > limits.pixels:
        return Refused(
            413,
            f"{kind.width:,} x {kind.height:,} pixels, and at most {limits.megapixels:g} million "
            "are taken; shrink the picture",
        )
    if kind.name == "JPEG" and data.count(b"\xff\xda") > MOST_SCANS:
        return Refused(422, f"a JPEG of more than {MOST_SCANS} scans; save it anew")
    return None


def too_heavy(limits: Limits) -> Refused:
    most = megabytes(limits.picture_bytes)
    return Refused(413, f"a picture of more than {most}, the most that is taken; shrink it")


def _jpeg(data: bytes) -> tuple[int, int]:
    header = jpeg_header(data)
    return (header.width, header.height) if header else (0, 0)


def _png(data: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else (0, 0)


def _gif(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the header of OS/2
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # a negative height: stored from the top


def _webp(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        low = struct.unpack_from("<HBHB", data, 24)
        return 1 + low[0] + (low[1] << 16), 1 + low[2] + (low[3] << 16)
    if chunk == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _tiff(data: bytes) -> tuple[int, int]:
    """Return the size by the first directory; that of its tiles where they are larger, since room
    is made for whole tiles."""
    order, large = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    at = struct.unpack_from(f"{order}{'8xQ' if large else '4xI'}", data)[0]
    count = struct.unpack_from(f"{order}{'Q' if large else 'H'}", data, at)[0]
    step, start = (20, at + 8) if large else (12, at + 2)
    found: dict[int, int] = {}
    for entry in range(start, start + step * min(count, 4096), step):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (256, 257, 322, 323):
            form = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind, "I")
            place = entry + (12 if large else 8)
            found[tag] = struct.unpack_from(order + form, data, place)[0]
    wide, high = found.get(256, 0), found.get(257, 0)
    return (max(wide, found.get(322, 0)), max(high, found.get(323, 0))) if wide and high else (0, 0)


_SIZES: tuple[tuple[bytes, str, Callable[[bytes], tuple[int, int]]], ...] = (
    (b"\xff\xd8\xff", "JPEG", _jpeg),
    (b"\x89PNG\r\n\x1a\n", "PNG", _png),
    (b"GIF87a", "GIF", _gif),
    (b"GIF89a", "GIF", _gif),
    (b"BM", "BMP", _bmp),
    (b"RIFF", "WebP", _webp),
    (b"II*\0", "TIFF", _tiff),
    (b"MM\0*", "TIFF", _tiff),
    (b"II+\0", "TIFF", _tiff),
    (b"MM\0+", "TIFF", _tiff),
)
