"""The text of `folds/COMP.csv`: columns id,fold,group, sorted by id, and its strict reading."""

import csv
import io
import re
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import read_text
from pipeline.errors import PodiumError
from pipeline.folds.plan import TEST

COLUMNS = ["id", "fold", "group"]
RESTORE = "restore it as it was made, or FRESH=1 makes it anew"

# ids, fold, group or None, as everywhere else
Table = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def csv_text(ids: np.ndarray, fold: np.ndarray, group: np.ndarray | None) -> str:
    """Return the canonical text, which is also what is hashed: the order of rows does not count."""
    order = np.argsort(ids, kind="stable")
    groups = [""] * len(ids) if group is None else group[order].tolist()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(ids[order].tolist(), fold[order].tolist(), groups, strict=True))
    return out.getvalue()


def read_table(path: Path) -> Table:
    """Read the file; everything is text (id 007 keeps its zeros) but the fold."""
    text = read_text(path, "make folds writes it")
    try:
        header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
    except csv.Error as error:
        raise PodiumError(f"{path}: not a CSV table ({error}); {RESTORE}") from None
    if header != COLUMNS:
        got = ",".join(header)
        raise PodiumError(f"{path}: columns must be {','.join(COLUMNS)}, got '{got}'; {RESTORE}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            raise PodiumError(f"{path}: row {number} must have 3 values, got {row}; {RESTORE}")
        if not re.fullmatch(r"-?\d{1,6}", row[1]) or int(row[1]) < TEST:
            rule = f"fold of id '{row[0]}' must be a whole number from {TEST} up"
            raise PodiumError(f"{path}: {rule}, got '{row[1]}'; {RESTORE}")
    ids = np.array([row[0] for row in rows], dtype=str)
    fold = np.array([int(row[1]) for row in rows], dtype=np.int64)
    if not (fold >= 0).any():
        raise PodiumError(f"{path}: no row has a fold to validate on (0 or more); {RESTORE}")
    check_unique(path, ids, RESTORE)
    group = np.array([row[2] for row in rows], dtype=str)
    check_groups(path, ids, group, RESTORE, none_allowed=True)
    return ids, fold, group if (group != "").any() else None


def check_unique(path: Path, ids: np.ndarray, remedy: str) -> None:
    """Refuse an id that comes twice."""
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise PodiumError(f"{path}: ids must be unique, but '{twice[0]}' comes twice; {remedy}")


def check_groups(
    path: Path, ids: np.ndarray, group: np.ndarray, remedy: str, *, none_allowed: bool = False
) -> None:
    """Refuse rows without a group where others have one: an empty one cannot be told from none."""
    empty = group == ""
    if empty.any() and not (none_allowed and empty.all()):
        raise PodiumError(
            f"{path}: every row needs a group, but id '{ids[empty][0]}' has an empty one; {remedy}"
        )
