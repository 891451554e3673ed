"""Which requests of the page are let in: the page's package has many more addresses than this page
asks for, among them some that write files, start programs or call other hosts.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import Scope

from pipeline.serve.refusals import Refused

_API = "/page/gradio_api"
# What Chromium asks for; a name that ends so stands for all below it.
_READ = ("/page", "/page/", "/page/config", "/page/theme.css", "/page/favicon.ico")
_READ_BELOW = ("/page/assets/", "/page/static/", f"{_API}/heartbeat/", f"{_API}/file=/")
_READ_API = tuple(f"{_API}/{name}" for name in ("queue/data", "upload_progress", "startup-events"))
JOIN = f"{_API}/queue/join"  # where the page sends its events
_WRITTEN = (f"{_API}/upload", JOIN)
_SAFE = ("GET", "HEAD")


def check_address(scope: Scope) -> None:
    """Refuse an address below the page that the page itself never asks for."""
    path = scope["path"]
    if path != "/page" and not path.startswith("/page/"):
        return  # of the HTTP interface, which knows its own
    if scope["method"] in _SAFE:
        known = path in (*_READ, *_READ_API) or path.startswith(_READ_BELOW)
    else:
        known = scope["method"] == "POST" and path in _WRITTEN
    if not known:
        raise Refused(404, "no such address of the page; the page itself is at /")


def check_origin(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Refuse what a page of another host sends: a browser sends its pictures without being asked to
    whatever address a page names."""
    if scope["method"] in _SAFE:
        return
    foreign = headers.get(b"sec-fetch-site", b"").lower() == b"cross-site"
    origin = headers.get(b"origin")
    if origin is not None:
        foreign |= _place(origin) != headers.get(b"host", b"").decode("latin-1").lower()
    if foreign:
        raise Refused(403, "sent by a page of another host; only this server's own page may")


def _place(origin: bytes) -> str | None:
    """Return host and port of an origin, None of one that is none."""
    try:
        return urlsplit(origin.decode("latin-1").lower()).netloc or None
    except ValueError:
        return None
