"""Servers as processes of their own, and requests as bytes on a socket."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
# The server's whole life: no package of training can be imported, and no other host be called.
_MAIN = """
import importlib.abc, sys
FORBIDDEN = {"torch", "timm", "torchvision", "albumentations"}
class Forbid(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} may not be imported here", name=name)
sys.meta_path.insert(0, Forbid())
def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        if arguments[1][0] not in ("127.0.0.1", "::1", "localhost"):
            print("CALLED", arguments[1], flush=True)
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost", None):
        print("CALLED", arguments[0], flush=True)
sys.addaudithook(watch)
from pathlib import Path
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.serve import report_parts, serve
root, comp, source, port, limits = sys.argv[1:]
say = lambda sentence: print(sentence, flush=True)
try:
    done = serve(Project(Path(root)), comp, source, port=int(port), limits=limits, say=say)
except PodiumError as error:
    print(f"error: {error}", flush=True)
    sys.exit(2)
assert not FORBIDDEN & set(sys.modules)
print(*report_parts(done), sep="\\n", flush=True)
"""


@dataclass
class Reply:
    """An answer as it came: `status` is 0 where the connection was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server's process, its port and the lines that it printed so far."""

    process: subprocess.Popen
    port: int
    root: Path
    lines: list[str] = field(default_factory=list)

    def alive(self) -> bool:
        return self.process.poll() is None and self.get("/health").json["status"] == "ok"

    def peak_mb(self) -> float:
        """Return the most memory that the process had, of its own or mapped."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) / 1000

    def get(self, path: str) -> Reply:
        return self.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")

    def post(self, body: bytes, kind: str = "image/png", path: str = "/v1/predict") -> Reply:
        return self.send(request(body, kind, path))

    def send(self, data: str | bytes, timeout: float = 60) -> Reply:
        """Send bytes and read an answer to its end; the rest of a body that is refused stays."""
        data = data.encode("latin-1") if isinstance(data, str) else data
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            return read_reply(connection, data.startswith(b"HEAD "), started)

    def stop(self) -> float:
        """Press Ctrl-C and return the seconds until the last line was said."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        while not any("stopped" in line for line in self.lines):
            assert time.monotonic() - started < 30, self.lines
            time.sleep(0.01)
        return time.monotonic() - started


def request(
    body: bytes, kind: str = "image/png", path: str = "/v1/predict", more: str = ""
) -> bytes:
    """Return a request that posts a body."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: {kind}\r\n" if kind else ""
    return (head + more + "Connection: close\r\n\r\n").encode("latin-1") + body


def multipart(files: list[tuple[str | bytes, bytes]], boundary: str = "xXx") -> tuple[bytes, str]:
    """Return files by name as a multipart body, and its content type."""
    parts = []
    for name, data in files:
        name = name if isinstance(name, bytes) else name.encode()
        head = b'Content-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
        parts.append(b"--" + boundary.encode() + b"\r\n" + head + data + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def read_reply(connection: socket.socket, head_only: bool, started: float) -> Reply:
    """Read one answer, by its Content-Length."""
    stream = connection.makefile("rb")
    try:
        first = stream.readline(1000)
        headers = {}
        while (line := stream.readline(10_000)).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length")
        body = b"" if head_only else stream.read(int(length) if length else -1)
    except ConnectionResetError:
        return Reply(0, {}, b"", time.monotonic() - started)
    status = int(first.split()[1]) if first.startswith(b"HTTP/") else 0
    return Reply(status, headers, body, time.monotonic() - started)


def png(red: int, green: int, blue: int, side: int = 24) -> bytes:
    """Return a PNG of one colour."""
    pixels = np.full((side, side, 3), (blue, green, red), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(root: Path, comp: str, source: str, port: int, limits: str = "") -> subprocess.Popen:
    """Start a server's process without waiting for it."""
    command = [sys.executable, "-c", _MAIN, str(root), comp, source, str(port), limits]
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | quiet,
    )


@contextlib.contextmanager
def running(root: Path, comp: str, source: str = "", limits: str = "") -> Iterator[Running]:
    """Run a server until the end of the context; it must live until then."""
    port = free_port()
    process = launch(root, comp, source, port, limits)
    server = Running(process, port, root)
    reader = threading.Thread(target=lambda: server.lines.extend(process.stdout), daemon=True)
    try:
        reader.start()
        started = time.monotonic()
        while not any("Ctrl-C" in line for line in server.lines):
            assert process.poll() is None and time.monotonic() - started < 120, server.lines
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()  # not kill, which leaves the server's folder behind
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        process.stdout.close()
