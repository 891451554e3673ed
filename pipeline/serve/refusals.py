"""What the server refuses: a status and one line that never names a path."""

RETRY_SECONDS = 2  # after which it is worth asking a busy server again


class Refused(Exception):
    """A request, or one picture of it, that cannot be answered; `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = " ".join(message.split())

    @property
    def content(self) -> dict[str, object]:
        """The body of the answer."""
        return {"error": self.message, "status": self.status}

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(RETRY_SECONDS)} if self.status in (429, 503) else {}


def megabytes(count: float) -> str:
    """Return a number of bytes in megabytes, with three digits at most."""
    return f"{count / 1_000_000:,.3g} MB"
