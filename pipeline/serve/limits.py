"""How much the server takes: sizes, numbers and times, each changed by SET."""

from pydantic import Field

from pipeline.config.schema import Section, parse, parse_overrides

MB = 1_000_000


class Limits(Section):
    """What is refused, as numbers. Sizes in megabytes of 1,000,000 bytes, times in seconds.

    `pictures` are those of one HTTP request, `batch` those that the page takes at once, counting
    the members of a zip. `requests` are in work or waiting at a time, `client` of them from one
    address.
    """

    picture_mb: float = Field(16, gt=0, le=1000)
    request_mb: float = Field(64, gt=0, le=4000)
    pictures: int = Field(64, ge=1, le=10_000)
    batch: int = Field(500, ge=1, le=10_000)
    megapixels: float = Field(64, gt=0, le=1000)
    zip_ratio: float = Field(100, ge=1)
    read_seconds: float = Field(60, gt=0, le=3600)
    answer_seconds: float = Field(60, gt=0, le=3600)
    requests: int = Field(16, ge=1, le=1000)
    client: int = Field(12, ge=1, le=1000)
    connections: int = Field(256, ge=2, le=10_000)

    @property
    def picture_bytes(self) -> int:
        return int(self.picture_mb * MB)

    @property
    def request_bytes(self) -> int:
        return int(self.request_mb * MB)

    @property
    def pixels(self) -> int:
        return int(self.megapixels * MB)


def parse_limits(text: str) -> Limits:
    """Return the limits that SET names, as in 'picture_mb=32 pictures=8'; the rest as usual."""
    return parse(Limits, parse_overrides(text, "picture_mb=32"), "SET")
