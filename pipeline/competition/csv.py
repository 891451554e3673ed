"""Read a competition's CSV tables as text; an odd one is refused by file, row, column, value."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import PodiumError, nearest

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


def read_csv(
    path: Path, columns: list[str], source: str, delimiter: str | None = None
) -> pd.DataFrame:
    """Return the table as text, nothing read as a number or as missing: 007 and NA stay names.

    `columns` must be there. `source` names the YAML that asked for them. Without a `delimiter`, a
    name that ends in .tsv says a tab and any other a comma.
    """
    between = delimiter or usual_delimiter(path)
    try:
        _check_text(path)
        _check_fields(path, between, source)
        options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
        frame = pd.read_csv(path, sep=between, **options)
    except FileNotFoundError:
        raise PodiumError(
            f"{path}: no such table; put it there or mend `tables` in {source}"
        ) from None
    except (OSError, ValueError, csv.Error) as error:  # pandas' parser errors are ValueErrors
        raise PodiumError(f"{path}: not a readable CSV table ({error}); mend it") from None
    if frame.empty:
        raise PodiumError(f"{path}: has no rows; put the table there or mend `tables` in {source}")
    for column in columns:
        if column not in frame.columns:
            there = [str(name) for name in frame.columns]
            hint = nearest(column, there) or f"; it has: {', '.join(there[:8])}"
            raise PodiumError(f"{path}: no column {column!r}{hint}; mend `columns` in {source}")
    return frame


def usual_delimiter(path: Path) -> str:
    """Return what the name of a table says about its delimiter."""
    return "\t" if path.suffix.lower() in (".tsv", ".tab") else ","


def _check_text(path: Path) -> None:
    """Refuse an empty file and text that is not UTF-8, by row."""
    row = 1
    with open(path, "rb") as handle:
        for row, line in enumerate(handle, start=1):
            if row == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise PodiumError(f"{path}: row 1: UTF-16 text; save the table as UTF-8")
            if b"\0" in line:
                raise PodiumError(f"{path}: row {row}: a zero byte; this is not a text table")
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                odd = line[error.start : error.start + 1]
                raise PodiumError(
                    f"{path}: row {row}: byte {odd!r} is not UTF-8; save the table as UTF-8, "
                    "for example by iconv -f latin1 -t utf-8"
                ) from None
        if handle.tell() == 0:
            raise PodiumError(f"{path}: the file is empty; put the table there")


def _check_fields(path: Path, between: str, source: str) -> None:
    """Refuse another delimiter, repeated columns, and rows with more or fewer fields than the
    header.

    pandas reads all of these without a word: it renames the columns, takes a surplus field for an
    index, and fills a missing one with blank.
    """
    with open(path, encoding="utf-8-sig", newline="") as handle:
        lines = (line for line in csv.reader(handle, delimiter=between) if line)
        header = next(lines, [])
        if len(header) == 1:
            _check_delimiter(path, header[0], between, source)
        for place, column in enumerate(header):
            if place and not column.strip():  # the first is the index that pandas writes
                raise PodiumError(f"{path}: row 1: column {place + 1} has no name; give it one")
            if column in header[:place]:
                raise PodiumError(f"{path}: column {column!r} stands twice; keep one of them")
        for row, line in enumerate(lines, start=2):
            if len(line) != len(header):
                raise PodiumError(
                    f"{path}: row {row} has {len(line)} fields, the header has {len(header)}; "
                    "mend that row"
                )


def _check_delimiter(path: Path, header: str, between: str, source: str) -> None:
    other = [mark for mark in DELIMITERS if mark != between and mark in header]
    if other:
        raise PodiumError(
            f"{path}: row 1: {header[:60]!r} is one column when cut at each "
            f"{DELIMITERS.get(between, between)}; if a {DELIMITERS[other[0]]} is between the "
            f"fields, say tables.delimiter: {other[0]!r} in {source}"
        )


def checked_ids(frame: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """Return the ids (n,) as text; blank and repeated ones are refused with their row."""
    ids = frame[column].to_numpy(dtype=np.str_)
    for row, value in enumerate(ids.tolist()):
        if not value.strip():
            raise PodiumError(f"{path}: row {row + 2}, column {column!r} is blank; give it an id")
    repeated = frame[column].duplicated().to_numpy()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise PodiumError(
            f"{path}: row {row + 2}, column {column!r}: id {str(ids[row])!r} stands twice; "
            "keep one row per id"
        )
    return ids
