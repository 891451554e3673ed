"""The pictures of a zip, in memory: their number, sizes and ratio limited, no path ever used."""

import io
import struct
import zipfile
import zlib

from pipeline.serve.limits import Limits
from pipeline.serve.refusals import Refused, megabytes
from pipeline.serve.uploads import Upload

_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_ENTRY_BYTES = 1024  # of a zip's list of members, for each one that is taken
_SMALL = 1_000_000  # bytes, below which any ratio is harmless
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


def is_zip(data: bytes) -> bool:
    return data.startswith((b"PK\x03\x04", _END))


def unpacked(data: bytes, limits: Limits) -> list[Upload]:
    """Return the pictures of a zip by their names in it; folders and hidden files are passed over.

    A member that cannot be had has no bytes and says why. A zip that is too much is refused whole.
    """
    _check_list(data, limits)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [one for one in archive.infolist() if _is_taken(one)]
            if len(members) > limits.batch:
                raise Refused(413, f"a zip of {len(members):,} files; {limits.batch:,} are taken")
            return _read(archive, members, limits)
    except (zipfile.BadZipFile, ValueError, struct.error, UnicodeError, RuntimeError):
        raise Refused(422, "a zip that cannot be read; pack it anew") from None


def _check_list(data: bytes, limits: Limits) -> None:
    """Refuse a zip whose list of members is too long, before it is read into memory."""
    at = data.rfind(_END)
    if at < 0 or len(data) < at + 22:
        raise Refused(422, "a zip that ends early; pack it anew")
    (size,) = struct.unpack_from("<I", data, at + 12)
    if size > _ENTRY_BYTES * limits.batch or data[at - 20 : at - 16] == _END_64:
        raise Refused(413, f"a zip of too many files; {limits.batch:,} are taken")


def _is_taken(member: zipfile.ZipInfo) -> bool:
    last = member.filename.rpartition("/")[2]
    hidden = last.startswith(".") or member.filename.startswith("__MACOSX/")
    return not member.is_dir() and not hidden


def _read(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], limits: Limits) -> list[Upload]:
    found, left = [], limits.request_bytes
    for member in members:
        reason = _why_not(member, limits)
        data = b""
        if not reason:
            data, reason = _member(archive, member, limits.picture_bytes)
        left -= len(data)
        if left < 0:
            most = megabytes(limits.request_bytes)
            raise Refused(413, f"a zip of more than {most} unpacked, the most that is taken")
        found.append(Upload(member.filename, data, reason))
    return found


def _why_not(member: zipfile.ZipInfo, limits: Limits) -> str:
    if member.flag_bits & _ENCRYPTED:
        return "encrypted in its zip"
    if member.compress_type not in _METHODS:
        return "packed in a way that is not read here"
    if member.file_size > limits.picture_bytes:
        return f"more than {megabytes(limits.picture_bytes)}, the most that is taken"
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > _SMALL and ratio > limits.zip_ratio:
        return f"packed {ratio:,.0f} to 1, and at most {limits.zip_ratio:g} to 1 is taken"
    return ""


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> tuple[bytes, str]:
    """Return a member's bytes, no more than `most` whatever its header says, or why there are
    none."""
    try:
        with archive.open(member) as stream:
            data = stream.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError):
        return b"", "broken in its zip"
    except RuntimeError:  # a password, or a method that zipfile does not know
        return b"", "packed in a way that is not read here"
    if len(data) > most:
        return b"", f"more than {megabytes(most)}, the most that is taken"
    return data, ""
