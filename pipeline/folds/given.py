"""Folds from a table that somebody else made: `make folds DATA=folds.csv`.

The table has an id, a fold and perhaps a group per training row: folds 0 and up are validated, -1
is only trained on, -2 is the local test split. What else it holds is not looked at.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import file_hash
from pipeline.artifacts.hashing import text_hash
from pipeline.artifacts.locks import lock
from pipeline.competition import CompetitionData
from pipeline.competition.csv import checked_ids, read_csv
from pipeline.errors import PodiumError
from pipeline.folds.assignment import Folds, aligned, refuse_other
from pipeline.folds.balance import balance
from pipeline.folds.file import WAIT, load_folds, write_folds
from pipeline.folds.plan import TEST, TRAIN_ONLY
from pipeline.folds.shared import GIVEN, grouped, groups_hash
from pipeline.folds.table import Table, check_groups, csv_text

SHOWN = 40  # characters of an id in a message
_WHOLE = re.compile(r"(-?\d{1,6})(\.0+)?")


def install_given(data: CompetitionData, table: str, *, fresh: bool = False) -> tuple[Folds, bool]:
    """Make the folds of `table`, a path from the project's root, those of the competition.

    Returns
    -------
    The folds in the order of the training table, and whether they were written now: the same folds
    again change nothing.

    Raises
    ------
    PodiumError
        Where the table has not every training id exactly once, a fold is no number from -2 up, a
        train-only row is validated, a fold would leave nothing to train on, or other folds are
        there and `fresh` is not set.
    """
    source = data.project.root / table
    ids, fold, group = read_given(source, data.competition.columns.id)
    fold, group = _of_training_rows(data, source, ids, fold, group)
    known, found = grouped(data)
    apart = fold != TRAIN_ONLY
    straddling = _straddling(fold[apart], None if known is None else known[apart])
    own = group is not None
    if own:
        straddling = max(straddling, _straddling(fold[apart], group[apart]))
    made = _folds(data, fold, group if own else known)
    made.info["given"] = {
        "file": source.name,
        "hash": file_hash(source),
        "groups": "the file's" if own else groups_hash(data),
        "straddling": straddling,
        "duplicates": found["rows"] if found else None,
    }
    if straddling:
        made.info["balance"]["warnings"].append(
            f"groups in more than one fold of {source.name}: {straddling:,}; networks validate on "
            "rows whose group, or very picture, they were trained on: scores may be too good"
        )
    path = data.project.folds(data.competition.name)
    with lock(path.with_suffix(".lock"), f"{path}", wait=WAIT):
        if path.exists() and not fresh:
            old = load_folds(path)
            if old.hash != made.hash:
                refuse_other(path, [f"{old.info['scheme']} -> those of {source.name}"])
            return aligned(old, data.train.ids), False
        write_folds(path, made)
    return made, True


def read_given(path: Path, id_column: str) -> Table:
    """Return ids, folds and groups (None without a column of that name) of a table."""
    if not path.is_file():
        raise PodiumError(f"{path}: no such file; DATA= names a CSV with the columns id,fold")
    frame = read_csv(path, [], "DATA=")
    names = [str(name) for name in frame.columns]
    column = id_column if id_column in names else "id"
    for wanted in (column, "fold"):
        if wanted not in names:
            there = ", ".join(names[:8])
            raise PodiumError(f"{path}: no column {wanted!r}; it has: {there}; name one so")
    ids = checked_ids(frame, column, path)
    folds = np.empty(len(ids), np.int64)
    for row, text in enumerate(frame["fold"].tolist()):
        number = _WHOLE.fullmatch(text.strip())
        if number is None or int(number[1]) < TEST:
            raise PodiumError(
                f"{path}: row {row + 2}: fold of id {shown_id(ids[row])} must be a whole "
                f"number from {TEST} up (-1 only trained on, -2 local test split), got "
                f"{shown_id(text)}"
            )
        folds[row] = int(number[1])
    if "group" not in names or id_column == "group":
        return ids, folds, None
    groups = frame["group"].to_numpy(np.str_)
    check_groups(path, ids, groups, "fill the column, or leave it out", none_allowed=True)
    return ids, folds, groups if (groups != "").any() else None


def shown_id(text: str) -> str:
    """Return an id, or another cell of a table, in quotes and cut to 40 characters."""
    text = str(text)
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}..."


def _of_training_rows(
    data: CompetitionData,
    source: Path,
    ids: np.ndarray,
    fold: np.ndarray,
    group: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return fold and group in the order of the training table, every row of which must be there;
    rows that are only trained on anyway need not be, and absent pictures may be."""
    train = data.train
    absent = {one.id for one in data.absent if one.table == "train"}
    known = set(train.ids.tolist())
    foreign = [name for name in ids.tolist() if name not in known and name not in absent]
    if foreign:
        raise PodiumError(
            f"{source}: {len(foreign)} of {len(ids)} ids are no training rows of "
            f"{data.competition.name}, first {shown_id(foreign[0])}; take them out"
        )
    at = {name: i for i, name in enumerate(ids.tolist())}
    places = np.array([at.get(name, -1) for name in train.ids.tolist()])
    missing = (places < 0) & ~train.train_only
    if missing.any():
        raise PodiumError(
            f"{source}: {int(missing.sum())} of {len(train)} training ids have no fold, first "
            f"{shown_id(train.ids[missing][0])}; give each a row (fold -1: only trained on)"
        )
    found = np.where(places < 0, TRAIN_ONLY, fold[places])
    dealt = train.train_only & (found != TRAIN_ONLY)
    if dealt.any():
        raise PodiumError(
            f"{source}: id {shown_id(train.ids[dealt][0])} has fold {found[dealt][0]}, but "
            f"{data.yaml} says it is only trained on; give it fold -1"
        )
    _refuse_useless(source, found)
    if group is None:
        return found, None
    own = train.ids if train.groups is None else train.groups
    return found, np.where(places < 0, own, group[places])


def _refuse_useless(source: Path, fold: np.ndarray) -> None:
    """Refuse folds that validate nothing, or that leave a network nothing to train on."""
    numbers = np.unique(fold[fold >= 0])
    if not len(numbers):
        raise PodiumError(f"{source}: no row has a fold to validate on (0 or more); give some")
    if len(numbers) == 1 and not (fold == TRAIN_ONLY).any():
        raise PodiumError(
            f"{source}: every row to train on is in fold {numbers[0]}, which leaves none when it "
            "validates; give two folds, or some rows fold -1"
        )


def _straddling(fold: np.ndarray, group: np.ndarray | None) -> int:
    """Return how many groups have rows in two folds or more."""
    if group is None:
        return 0
    group = np.unique(group, return_inverse=True)[1]
    pairs = np.unique(np.stack([group, fold]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())


def _folds(data: CompetitionData, fold: np.ndarray, group: np.ndarray | None) -> Folds:
    """Return the folds with their record, in the order of the training table."""
    ids = data.train.ids
    made = text_hash(csv_text(ids, fold, group))
    info: dict[str, Any] = {
        "hash": made,
        "scheme": GIVEN,
        "n_folds": len(np.unique(fold[fold >= 0])),
        "holdout": None,
        "test": float((fold == TEST).mean()),
        "seed": 0,  # of repeats
        "rows": len(ids),
        "balance": balance(fold, data.labels, data.classes, group),
    }
    return Folds(ids, fold, group, made, info)
