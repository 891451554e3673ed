"""Files that are whole or absent: write to a temporary file, fsync, rename."""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.artifacts.hashing import text_hash
from pipeline.errors import PodiumError

_HOST = text_hash(socket.gethostname(), 6)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it replaces `path` atomically.

    The name of the temporary file holds host and process, so that two writers never share one; what
    a killed writer left behind is removed by the next writer of the same file on this host.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    for left in path.parent.glob(f".{path.name}.{_HOST}.*.tmp"):
        owner = left.name.rsplit(".", 2)[-2]
        if not (owner.isdigit() and is_alive(int(owner))):
            left.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems cannot sync a folder; the rename is atomic all the same
    finally:
        os.close(descriptor)


def write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file that then replaces `path`."""
    with replacing(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`, UTF-8, line ends as given."""
    write_with(path, lambda temporary: temporary.write_bytes(text.encode("utf-8")))


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by indented JSON; NaN is refused, since it is not JSON."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_text(path: Path, remedy: str) -> str:
    """Return the text of `path`; a missing or undecodable file is an error that names `remedy`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PodiumError(f"{path}: no such file; {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PodiumError(f"{path}: cannot be read ({error}); {remedy}") from None


def read_json(path: Path, remedy: str = "delete it and run the same command again") -> Any:
    """Return the JSON of `path`; a missing or broken file is an error that names `remedy`."""
    text = read_text(path, remedy)
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PodiumError(f"{path}: not valid JSON ({error}); {remedy}") from None


def read_object(path: Path, keys: Iterable[str], remedy: str) -> dict[str, Any]:
    """Return the JSON object of `path`; anything else, or one that lacks a key, is refused."""
    content = read_json(path, remedy)
    if not isinstance(content, dict):
        raise PodiumError(f"{path}: must be a JSON object, not {type(content).__name__}; {remedy}")
    missing = [key for key in keys if key not in content]
    if missing:
        raise PodiumError(f"{path}: has no {missing[0]!r}; {remedy}")
    return content


def file_hash(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256, or '' if it is not there."""
    if not path.exists():
        return ""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
