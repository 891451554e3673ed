"""What the page's events may bring: numbers, and files that were uploaded to this server.

The page's package takes an event for what it says: a path or an address in it may be any. So events
are checked before it sees them, and only what was checked is passed on.
"""

import json
import math
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serve.addresses import JOIN
from pipeline.serve.guard import send_refusal
from pipeline.serve.refusals import Refused

EVENT_BYTES, FILE_BYTES = 10_000, 2_000  # of an event and of each of its files; less is sent
FILE, FILES, NUMBER = "a file", "files", "a number"  # what an event brings


class Events:
    """An ASGI application around the page's; `inputs` are the kinds of what each event brings, by
    its number, `folder` is where uploads lie, and `files` the most that an event is about."""

    def __init__(
        self, app: ASGIApp, inputs: Mapping[int, Sequence[str]], folder: Path, files: int
    ) -> None:
        self._app, self._inputs, self._folder = app, inputs, folder.resolve()
        self._most = EVENT_BYTES + files * FILE_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", JOIN):
            await self._app(scope, receive, send)
            return
        try:
            content = checked_event(await _body(receive, self._most), self._inputs, self._folder)
        except Refused as refused:
            await send_refusal(send, refused)
            return
        body = json.dumps(content).encode()
        sizes = (b"content-length", b"transfer-encoding", b"content-type")
        headers = [(name, value) for name, value in scope["headers"] if name not in sizes]
        headers += [(b"content-type", b"application/json"), (sizes[0], str(len(body)).encode())]
        await self._app({**scope, "headers": headers}, _replayed(body, receive), send)


def checked_event(body: bytes, inputs: Mapping[int, Sequence[str]], folder: Path) -> dict[str, Any]:
    """Return what is known of an event's JSON; what is not an event of the page is refused."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "no event of the page: not JSON; reload the page") from None
    if not isinstance(event, dict):
        raise _odd("not an object")
    number, session, data = (event.get(key) for key in ("fn_index", "session_hash", "data"))
    if type(number) is not int or number not in inputs:
        raise _odd("fn_index")
    if not isinstance(session, str) or not (session.isalnum() and session.isascii()):
        raise _odd("session_hash")
    if not isinstance(data, list) or len(data) != len(inputs[number]):
        raise _odd("data")
    values = [_value(one, kind, folder) for one, kind in zip(data, inputs[number], strict=True)]
    trigger = event.get("trigger_id")
    return {
        "data": values,
        "fn_index": number,
        "session_hash": session,
        "trigger_id": trigger if type(trigger) is int else None,
    }


def _value(value: Any, kind: str, folder: Path) -> Any:
    if value is None:
        return None
    if kind == FILES and isinstance(value, list):
        return [_file(one, folder) for one in value]
    if kind == FILE and isinstance(value, dict):
        return _file(value, folder)
    if kind == NUMBER and type(value) in (int, float) and math.isfinite(value):
        return value
    raise _odd(f"data has something else than {kind}")


def _file(value: Any, folder: Path) -> dict[str, Any]:
    """Return an uploaded file by its path alone, whatever else is said of it."""
    path = value.get("path") if isinstance(value, dict) else None
    try:
        fine = isinstance(path, str) and Path(path).resolve().is_relative_to(folder)
        fine = fine and not stat.S_ISDIR(Path(path).lstat().st_mode)
    except FileNotFoundError:
        pass  # it was removed in the meantime, which is told when it is opened
    except (ValueError, OSError, RuntimeError):  # a null byte, a name too long, links in a ring
        fine = False
    if not fine:
        raise _odd("a file that was not uploaded to this server")
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def _odd(what: str) -> Refused:
    return Refused(400, f"no event of the page: {what}; reload the page")


async def _body(receive: Receive, most: int) -> bytes:
    found, more = bytearray(), True
    while more:
        message = await receive()
        found += message.get("body", b"")
        more = message.get("more_body", False)
        if len(found) > most:
            raise Refused(413, f"an event of more than {most:,} bytes; drop fewer files")
    return bytes(found)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what receives the whole body, then what comes after it."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_next() -> Message:
        return left.pop() if left else await receive()

    return receive_next
