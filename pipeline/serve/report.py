"""What a server did, ready to be shown when it ends."""

from dataclasses import dataclass

Part = str | tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class Served:
    """A server that has ended: what it served, how many pictures it answered, and its time."""

    source: str
    pictures: int
    seconds: float


def report_parts(done: Served) -> list[Part]:
    """Return what to print: one line."""
    return [f"{done.source}: stopped; {done.pictures:,} pictures answered in {done.seconds:,.0f} s"]
