"""Text on its way into a page: harmless whatever its bytes, numbers with commas, hashes of code."""

import base64
import hashlib
import re
from typing import Any

from markupsafe import Markup

# Characters that HTML forbids, and those that turn the direction of all text after them.
_HARMFUL = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


def printable(value: Any) -> Any:
    """Make text of whatever bytes something that can be written and shown; whole numbers get
    commas."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _HARMFUL.sub("\ufffd", value.encode("utf-8", "backslashreplace").decode("utf-8"))


def source_hash(text: str) -> str:
    """Return what a Content-Security-Policy knows an inline style or script by."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def in_words(value: Any) -> str:
    """Return a value of a record as it is read: lists with commas, four figures, '' of None."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
