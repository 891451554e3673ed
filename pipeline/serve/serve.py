"""`serve`: an exported model as a page and an HTTP endpoint, for this machine alone if not told
otherwise.
"""

import errno
import ipaddress
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.serve.folder import upload_folder
from pipeline.serve.limits import Limits, parse_limits
from pipeline.serve.report import Served

HERE = "127.0.0.1"
PORT = 7860
_NAMES = (HERE, "localhost", "[::1]")  # that a browser here may ask by
_NO_HOST = "HOST: {!r} is no address of this machine; try 127.0.0.1"
_WARNING = (
    "warning: HOST={}: whoever reaches this machine can ask this server, with no password and no "
    "encryption; leave HOST out, or put a proxy that asks for a password before it"
)


def serve(
    project: Project,
    comp: str,
    source: str,
    *,
    host: str = HERE,
    port: int = PORT,
    confidence: float | None = None,
    limits: str = "",
    say: Callable[[str], None],
) -> Served:
    """Serve what was exported of run or ensemble `source`, the newest export if it is empty, until
    Ctrl-C. `limits` changes what is taken, as 'picture_mb=32 pictures=8'."""
    from pipeline.serve.find import find_export

    bounds = parse_limits(limits)
    exported = find_export(project, comp, source)
    with _listening(host, port) as listening, upload_folder() as folder:
        _prepare(folder, bounds)
        address = _address(host, listening)
        from pipeline.serve.connection import run

        local = is_local(listening.getsockname()[0])
        hosts = (*_NAMES, _in_address(host)) if local else ()
        app, engine = _application(exported, hosts, address, confidence, bounds, folder)
        name = engine.model.model["source"]
        if not local:
            say(_WARNING.format(host))
        say(f"{name}: page at {address}, POST {address}/v1/predict takes pictures; Ctrl-C ends it")
        started = time.monotonic()
        try:
            run(app, listening, bounds)
        finally:
            engine.close()
        return Served(name, engine.pictures, time.monotonic() - started)


def _application(
    exported: Path,
    hosts: tuple[str, ...],
    address: str,
    confidence: float | None,
    limits: Limits,
    folder: Path,
) -> tuple[Any, Any]:
    """Return the guarded application, and the engine that answers in it."""
    from pipeline.deploy.exported import open_exported
    from pipeline.serve.door import Door
    from pipeline.serve.endpoints import make_app
    from pipeline.serve.engine import Engine
    from pipeline.serve.facts import start_level
    from pipeline.serve.guard import Guard
    from pipeline.serve.page import mount_page

    model = open_exported(exported)
    level = start_level(model, confidence)
    engine, door = Engine(model, limits), Door(limits)
    app = mount_page(make_app(engine, level, door), engine, level, address, folder)
    return Guard(app, limits, hosts, door), engine


def _prepare(folder: Path, limits: Limits) -> None:
    """Tell packages that are not loaded yet what they read from the environment: Gradio to keep its
    files in `folder` and to call nobody, OpenCV to make no room for more pixels than are taken."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(limits.pixels)
    # It reports the faults of others' requests, which are told to those who sent them.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    try:
        import gradio  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise PodiumError(
            f"serve: {error.name} is not installed; make setup EXTRAS=serve, then again"
        ) from None


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; one that cannot is an error that says why."""
    if not 0 <= port <= 65_535:
        raise PodiumError(f"PORT: {port} is no port; give a number from 1 to 65535")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[
            0
        ]
    except OSError:
        raise PodiumError(_NO_HOST.format(host)) from None
    # Without its protocol, asyncio does not see that it is TCP, and lets small answers wait.
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise PodiumError(_NO_HOST.format(host)) from None
        raise PodiumError(
            f"PORT: {port} cannot be listened at on {host} ({error.strerror}); stop what does so "
            "now, or give another number"
        ) from None
    return listening


def is_local(bound: str) -> bool:
    """Whether only this machine reaches what listens at an address."""
    return ipaddress.ip_address(bound.partition("%")[0]).is_loopback


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def _address(host: str, listening: socket.socket) -> str:
    return f"http://{_in_address(host)}:{listening.getsockname()[1]}"
