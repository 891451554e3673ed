"""What a section of a page is made of; `macros.html.j2` shows each kind."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.page.cards import Card
from pipeline.page.tables import Table

DEEPEST = 10  # shades of a matrix


@dataclass(frozen=True)
class Words:
    """A sentence; text between backticks is code. `muted` ones are of less weight; `link` is a file
    beside the page that the sentence leads to."""

    text: str
    muted: bool = False
    link: str = ""
    kind: str = "words"


@dataclass(frozen=True)
class Grid:
    """A table below its caption."""

    table: Table
    kind: str = "grid"


@dataclass(frozen=True)
class Charts:
    """Charts side by side, each with what it shows in words."""

    charts: tuple[tuple[str, Markup], ...]
    kind: str = "charts"


@dataclass(frozen=True)
class Square:
    """One cell of a matrix: what stands in it, how dark it is (0 to 10), and what it says aloud."""

    text: str
    shade: int
    says: str


@dataclass(frozen=True)
class Matrix:
    """A matrix of shares with the names of its rows and columns."""

    caption: str
    corner: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    squares: tuple[tuple[Square, ...], ...]
    kind: str = "matrix"


@dataclass(frozen=True)
class Gallery:
    """Items with pictures under a heading of their own; `more` are left out, `where` they are
    listed; `nothing` is said where there is none."""

    title: str
    says: str
    cards: tuple[Card, ...]
    more: int = 0
    where: str = ""
    nothing: str = ""
    kind: str = "gallery"


@dataclass(frozen=True)
class Shot:
    """A picture as a data: URI, with its size in pixels."""

    title: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Shots:
    """Pictures that other verbs drew, on their own white ground."""

    shots: tuple[Shot, ...]
    kind: str = "shots"


@dataclass(frozen=True)
class Commands:
    """Lines to copy, under what they are for."""

    title: str
    text: str
    kind: str = "commands"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Folded:
    """Blocks that are opened by their summary, without a script."""

    summary: str
    blocks: "tuple[Block, ...]"
    open: bool = False
    kind: str = "folded"


Block = Words | Grid | Charts | Matrix | Gallery | Shots | Commands | Heading | Folded


@dataclass(frozen=True)
class Section:
    """A part of a page; `nothing` says in one line why it is empty, and how to fill it."""

    id: str
    title: str
    blocks: tuple[Block, ...] = ()
    nothing: str = ""


def matrix(
    caption: str,
    corner: str,
    names: Sequence[str],
    shares: Sequence[Sequence[float | None]],
    counts: Sequence[Sequence[int]],
) -> Matrix:
    """Return a square matrix: in each cell its share in per cent, nothing where it is 0 or None."""
    squares = tuple(
        tuple(
            Square(_percent(share), _shade(share), f"{count:,} rows")
            for share, count in zip(line, numbers, strict=True)
        )
        for line, numbers in zip(shares, counts, strict=True)
    )
    return Matrix(caption, corner, tuple(names), tuple(names), squares)


def _percent(share: float | None) -> str:
    if not share:
        return ""
    return "<1" if share < 0.005 else f"{100 * share:.0f}"


def _shade(share: float | None) -> int:
    return 0 if not share else max(1, min(DEEPEST, round(DEEPEST * share**0.6)))
