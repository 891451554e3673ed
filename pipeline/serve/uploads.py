"""The pictures in a request: a raw body, or the files of multipart/form-data.

The body is read as it comes. What is too large is refused as soon as that many bytes are there; no
length that somebody declared is trusted, and nothing goes to the disk.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipeline.serve.kinds import too_heavy
from pipeline.serve.limits import Limits
from pipeline.serve.refusals import Refused

HOW = "send pictures as multipart/form-data, or one with a content type such as image/jpeg"
LONGEST_NAME = 255  # characters that are repeated
_HEADER_BYTES = 65_536  # of a part's header, so that a long name is no fault


@dataclass(frozen=True)
class Upload:
    """A picture by the name that came with it, which is only ever repeated; `reason` says why there
    are no bytes."""

    name: str
    data: bytes
    reason: str = ""


def shown_name(name: str) -> str:
    """Return a name as it is repeated: what no text can hold is replaced, what is long cut."""
    clean = name.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= LONGEST_NAME else clean[: LONGEST_NAME - 1] + "…"


async def read_uploads(
    content_type: str, chunks: AsyncIterator[bytes], limits: Limits
) -> list[Upload]:
    """Return the pictures of a body, as `content_type` says that they are packed."""
    kind, options = parse_options_header(content_type)
    if kind.startswith(b"image/"):
        return [Upload("picture", await _whole(chunks, limits))]
    if kind != b"multipart/form-data":
        got = shown_name(content_type)[:80] or "none"
        raise Refused(415, f"the content type is {got!r}; {HOW}")
    if not options.get(b"boundary"):
        raise Refused(
            400, "multipart/form-data without a boundary; let the client's library add it"
        )
    return await _files(options[b"boundary"], chunks, limits)


async def _whole(chunks: AsyncIterator[bytes], limits: Limits) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > limits.picture_bytes:
            raise too_heavy(limits)
    if not data:
        raise Refused(400, f"the body is empty; {HOW}")
    return bytes(data)


async def _files(boundary: bytes, chunks: AsyncIterator[bytes], limits: Limits) -> list[Upload]:
    reader = _Reader(limits)
    try:
        parser = MultipartParser(boundary, reader.callbacks(), max_header_size=_HEADER_BYTES)
        async for chunk in chunks:
            parser.write(chunk)
    except FormParserError:
        raise Refused(400, "the multipart/form-data is broken; let a library pack it") from None
    if not reader.ended:
        raise Refused(400, "the multipart/form-data ends early; send all of it")
    if not reader.found:
        raise Refused(400, f"no file in the multipart/form-data; {HOW}")
    return reader.found


class _Reader:
    """Gathers the files of a multipart body while it is parsed."""

    def __init__(self, limits: Limits) -> None:
        self.found: list[Upload] = []
        self.ended = False
        self._limits = limits
        self._header, self._value, self._disposition = b"", b"", b""
        self._data = bytearray()

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.found) == self._limits.pictures:
            raise Refused(413, f"more than {self._limits.pictures} pictures; send fewer at a time")
        self._disposition, self._data = b"", bytearray()
        self._header, self._value = b"", b""

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        if len(self._data) > self._limits.picture_bytes:
            raise too_heavy(self._limits)

    def _end_part(self) -> None:
        options = parse_options_header(self._disposition.decode("latin-1"))[1]
        if b"filename" not in options:
            field = shown_name(options.get(b"name", b"").decode("utf-8", "replace"))[:80]
            raise Refused(422, f"the field {field!r} holds no file; send pictures as files")
        name = options[b"filename"].decode("utf-8", "replace")
        self.found.append(Upload(name, bytes(self._data)))

    def _end(self) -> None:
        self.ended = True
