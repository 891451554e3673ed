"""How many requests are inside at a time: those beyond are told to come again."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from pipeline.serve.limits import Limits
from pipeline.serve.refusals import Refused


class Door:
    """Counts requests in work or waiting, in all and of each address; for one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._inside: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        return self._inside.total()

    @contextlib.contextmanager
    def entered(self, client: str) -> Iterator[None]:
        """Be inside; refused where too many are, of this address (429) or in all (503)."""
        if self._inside[client] >= self._limits.client:
            raise Refused(
                429,
                f"{self._limits.client} requests from one address are at work already; wait for "
                "an answer before the next one",
            )
        if self.inside >= self._limits.requests:
            raise Refused(503, f"{self._limits.requests} requests are waiting; ask again later")
        self._inside[client] += 1
        try:
            yield
        finally:
            self._inside[client] -= 1
            if not self._inside[client]:
                del self._inside[client]
