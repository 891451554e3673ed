"""One file from a public address, kept only if its checksum is the published one."""

import contextlib
import hashlib
import http.client
import urllib.request
from pathlib import Path

from tqdm import tqdm

from pipeline.artifacts.files import replacing
from pipeline.errors import PodiumError

_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 16  # bytes


def download(url: str, path: Path, md5: str, remedy: str) -> None:
    """Write what `url` holds to `path`, whole or not at all; another MD5 sum is refused.

    An error names the address and then `remedy`. A folder made for nothing is taken away again.
    """
    try:
        with replacing(path) as temporary:
            found = _fetch(url, temporary)
            if found != md5:
                raise PodiumError(f"{url}: its MD5 sum is {found}, not {md5}; {remedy}")
    except (OSError, http.client.HTTPException) as error:
        # urllib's errors are OSErrors, and so are timeouts and a full disk
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise PodiumError(f"{url}: cannot be downloaded ({reason}); {remedy}") from None
    finally:
        with contextlib.suppress(OSError):  # as a folder with something in it is no empty one
            path.parent.rmdir()


def _fetch(url: str, path: Path) -> str:
    """Write the content of `url` to `path`; return its MD5 sum."""
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, open(path, "wb") as handle:
        size = int(answer.headers.get("Content-Length") or 0) or None
        bar = {"unit": "B", "unit_scale": True, "disable": None, "leave": False}
        with tqdm(total=size, desc=url.rpartition("/")[2], **bar) as shown:
            while chunk := answer.read(_CHUNK):
                handle.write(chunk)
                digest.update(chunk)
                shown.update(len(chunk))
    return digest.hexdigest()
