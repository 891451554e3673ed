"""Connections: how many, and how long a request's head may take to arrive; Uvicorn limits neither
in words, and the second not at all.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator
from http import HTTPStatus
from socket import socket
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.serve.guard import HEAD_BYTES, json_bytes
from pipeline.serve.limits import Limits
from pipeline.serve.refusals import Refused

_NOT_HTTP = "not a request in HTTP, or one whose head is longer than 16 kB"
_ALIVE_SECONDS = 5  # that a connection stays open between two requests


def protocol_of(limits: Limits) -> type[H11Protocol]:
    """Return Uvicorn's protocol with these limits; Uvicorn makes one of it for each connection."""

    class Limited(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if _mine(self) > max(1, limits.connections // 2):
                self._end(Refused(429, "too many connections of one address; close some"))
                return
            if len(self.connections) > limits.connections:
                self._end(Refused(503, "too many connections; ask again later"))
                return
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():
                super().data_received(data)
                self._watch()

        def send_400_response(self, msg: str) -> None:
            self._end(Refused(400, _NOT_HTTP))

        def _watch(self) -> None:
            """Have the timer run while a request's head is awaited, and only then."""
            busy = self.cycle is not None and not self.cycle.response_complete
            if busy or self.transport.is_closing():
                self._rest()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(limits.read_seconds, self._give_up)

        def _rest(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _give_up(self) -> None:
            seconds = f"{limits.read_seconds:g} s"
            self._end(Refused(408, f"the request did not arrive within {seconds}"))

        def _end(self, refused: Refused) -> None:
            """Answer without the application, unless an answer has begun, and close."""
            self._rest()
            if self.transport.is_closing():
                return
            if (
                self.cycle is None
                or self.cycle.response_complete
                or not self.cycle.response_started
            ):
                self.transport.write(_raw(refused))
            self.transport.close()

    return Limited


def _mine(connection: H11Protocol) -> int:
    """Return how many connections are open from this one's address: others keep room that way."""
    host = connection.client and connection.client[0]
    return sum(bool(one.client) and one.client[0] == host for one in connection.connections)


def _raw(refused: Refused) -> bytes:
    body = json_bytes(refused.content)
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **refused.headers,
    }
    head = f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}\r\n"
    return (head + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode() + body


class Server(uvicorn.Server):
    """Uvicorn's server, which ends at once and quietly when it is told to."""

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # the page holds one open as long as it is looked at
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at Ctrl-C and SIGTERM; Uvicorn's own way would raise the signal again afterwards."""
        signals = signal.SIGINT, signal.SIGTERM
        before = {number: signal.signal(number, self._told) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self.should_exit = True


def run(app: Any, listening: socket, limits: Limits) -> None:
    """Serve an application on a listening socket until Ctrl-C."""
    config = uvicorn.Config(
        app,
        http=protocol_of(limits),
        ws="none",
        loop="asyncio",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    Server(config).run(sockets=[listening])
