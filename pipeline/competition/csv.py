"""Read a competition's CSV tables as text; an odd one is refused by file, row, column, value."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import PodiumError, nearest


def read_csv(path: Path, columns: list[str], source: str) -> pd.DataFrame:
    """Return the table as text, nothing read as a number or as missing: 007 and NA stay names.

    `columns` must be there. `source` names the YAML that asked for them.
    """
    try:
        _check_fields(path)
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
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


def _check_fields(path: Path) -> None:
    """Refuse repeated columns and rows with more or fewer fields than the header.

    pandas reads all of these without a word: it renames the columns, takes a surplus field for an
    index, and fills a missing one with blank.
    """
    with open(path, encoding="utf-8-sig", newline="") as handle:
        lines = (line for line in csv.reader(handle) if line)
        header = next(lines, [])
        for place, column in enumerate(header):
            if column in header[:place]:
                raise PodiumError(f"{path}: column {column!r} stands twice; keep one of them")
        for row, line in enumerate(lines, start=2):
            if len(line) != len(header):
                raise PodiumError(
                    f"{path}: row {row} has {len(line)} fields, the header has {len(header)}; "
                    "mend that row"
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
