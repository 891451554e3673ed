"""What stands in front of every request, the page's included: which host and which
address it asks for, who sent it, how many bytes it brings and how long that takes; and the headers
that every answer gets.

An answer that comes before all of a request was read is sent whole before the connection is closed,
and a little more of the request is read then: a client that is still sending would otherwise lose
the answer with the connection.
"""

import asyncio
import contextlib
import json
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.serve.addresses import check_address, check_origin
from pipeline.serve.door import Door
from pipeline.serve.limits import Limits
from pipeline.serve.refusals import Refused, megabytes

HEAD_BYTES = 16_384  # of a request: its address and headers
LINGER_SECONDS = 1.0
LINGER_BYTES = 8_000_000
# All from this server: the page needs what its package brings, and nothing of any other host.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "frame-ancestors 'self'; base-uri 'self'; form-action 'self'"
)
_CORS = b"access-control-"
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Guard:
    """An ASGI application around another one; `hosts` are the names it may be asked for by, any if
    there are none. Requests that bring something go through the `door`."""

    def __init__(self, app: ASGIApp, limits: Limits, hosts: tuple[str, ...], door: Door) -> None:
        self._app, self._limits, self._hosts, self._door = app, limits, hosts, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._limits)
        with contextlib.ExitStack() as inside:
            try:
                self._check(scope)
                if not exchange.complete:
                    client = scope["client"][0] if scope["client"] else ""
                    inside.enter_context(self._door.entered(client))
            except Refused as refused:
                await send_refusal(exchange.send, refused)
                return
            await self._exchange(scope, exchange)

    async def _exchange(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            if exchange.refused is None and not exchange.broken_off:
                raise
        if exchange.refused is not None:
            await exchange.send_refusal()

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        head = sum(len(name) + len(value) for name, value in scope["headers"])
        if head + len(scope["raw_path"]) + len(scope["query_string"]) > HEAD_BYTES:
            raise Refused(431, f"the head of a request may have {HEAD_BYTES:,} bytes; shorten it")
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        # Some page of the web whose name is made to lead to this machine must not ask it anything.
        if self._hosts and name not in self._hosts:
            raise Refused(400, "this server is asked for by another host name; use 127.0.0.1")
        check_origin(scope, headers)
        check_address(scope)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limits.request_bytes:
            raise _too_long(self._limits)


class _Exchange:
    """One request and its answer; `complete` says whether all of its body was read."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.refused: Refused | None = None  # what came, by this class
        self.broken_off = False  # by the client, before all of its body was there
        self._started = False
        self._receive, self._send, self._limits = receive, send, limits
        self._deadline = time.monotonic() + limits.read_seconds
        self._count = 0
        headers = dict(scope["headers"])
        has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
        self.complete = not has_body
        self._invited = b"expect" not in headers  # else nothing comes before it is asked for

    async def receive(self) -> Message:
        """Receive the next message; a body that is too long, or takes too long, is refused."""
        if self.complete:
            return await self._receive()
        self._invited = True
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            seconds = f"{self._limits.read_seconds:g} s"
            self.refused = Refused(408, f"the request did not arrive within {seconds}")
            raise self.refused from None
        self._note(message)
        if self._count > self._limits.request_bytes:
            self.refused = _too_long(self._limits)
            raise self.refused
        return message

    async def send(self, message: Message) -> None:
        """Send on what the application answers, but for what it makes of a refusal of `receive`,
        which the page's packages take for a fault of the server."""
        if self.refused is None:
            await self._pass_on(message)

    async def send_refusal(self) -> None:
        """Tell what was refused while it came, unless an answer has begun."""
        if self.refused is not None and not self._started:
            await send_refusal(self._pass_on, self.refused)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            closing = [] if self.complete else [(b"connection", b"close")]
            # The page's package lets every host's pages read its answers.
            own = [one for one in message.get("headers", ()) if not one[0].startswith(_CORS)]
            message = {**message, "headers": [*own, *_HEADERS, *closing]}
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not last or self.complete or not self._invited:
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        await self._linger()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _note(self, message: Message) -> None:
        self._count += len(message.get("body", b""))
        self.broken_off = message["type"] == "http.disconnect"
        self.complete = self.broken_off or not message.get("more_body", False)

    async def _linger(self) -> None:
        """Read on for a moment, and forget what comes."""
        most = self._count + LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.complete and self._count < most:
                    self._note(await self._receive())
        except TimeoutError:
            pass


async def send_refusal(send: Send, refused: Refused) -> None:
    """Send a refusal as JSON."""
    body = json_bytes(refused.content)
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    headers = [(k.encode(), v.encode()) for k, v in {**fields, **refused.headers}.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def json_bytes(content: Any) -> bytes:
    """Return JSON in ASCII: whatever a name holds, no terminal or parser is led astray by it."""
    return json.dumps(content, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def _too_long(limits: Limits) -> Refused:
    most = megabytes(limits.request_bytes)
    return Refused(413, f"a request of more than {most}, the most that is taken; send less")
