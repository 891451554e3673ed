"""Short, stable hashes of what decides a result."""

import hashlib
import json
from typing import Any


def text_hash(text: str, length: int = 16) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of `text`."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:length]


def json_hash(content: Any, length: int = 16) -> str:
    """Hash anything that JSON can hold; the order of keys does not count."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text_hash(canonical, length)


def bytes_hash(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:16]


def stable_int(text: str) -> int:
    """Return 64 bits that depend on `text` alone, not on the process (unlike `hash`)."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")
