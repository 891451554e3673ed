"""Tables whose columns of numbers are told from text, so that they line up and sort as numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.page.text import in_words

LINES = 200  # of a table
_NUMBER = re.compile(r"\s*([-+−]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?)\s*%?(?:\s*±.*)?\s*")
_NOTHING = ("", "-", "–", "—")  # cells without a value


@dataclass(frozen=True)
class Cell:
    """A cell of a table; `value` is what a column of numbers is sorted by, '' of an empty cell."""

    text: str
    value: str = ""


@dataclass(frozen=True)
class Table:
    """A table as it is shown; `numeric`: which columns are of numbers; `more` lines are left out.
    `caption` says what it is of, where no heading does."""

    headers: tuple[str, ...] = ()
    numeric: tuple[bool, ...] = ()
    lines: tuple[tuple[Cell, ...], ...] = ()
    more: int = 0
    caption: str = ""


def table_of(table: Sequence[Sequence[str]], most: int = LINES, caption: str = "") -> Table:
    """Return a table of headers and lines, all as long as the headers, with `most` lines."""
    if not table:
        return Table(caption=caption)
    headers = tuple(map(in_words, table[0]))
    lines = [[*map(in_words, line), *[""] * len(headers)][: len(headers)] for line in table[1:]]
    columns = list(zip(*lines, strict=True)) or [()] * len(headers)
    numeric = tuple(map(_is_numeric, columns))
    cells = (
        tuple(
            Cell(text, _value(text) if number else "")
            for text, number in zip(line, numeric, strict=True)
        )
        for line in lines[:most]
    )
    return Table(headers, numeric, tuple(cells), max(0, len(lines) - most), caption)


def _is_numeric(column: Sequence[str]) -> bool:
    texts = [text for text in column if text.strip() not in _NOTHING]
    return bool(texts) and all(map(_NUMBER.fullmatch, texts))


def _value(text: str) -> str:
    found = _NUMBER.fullmatch(text)
    return found[1].replace(",", "").replace("−", "-") if found else ""
