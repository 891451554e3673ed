"""The folds file: `folds/COMP.csv` (id,fold,group) and `folds/COMP.json` (hash, seed, balance).

Folds are made once and shared by all runs of a competition: predictions join only where they carry
the same folds hash. They are a function of ids, labels, groups and arguments, not of the order of
the rows. An existing file is never remade unless asked for.

    from pipeline.folds.file import load_folds, make_folds
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object, write_json, write_text
from pipeline.artifacts.hashing import text_hash
from pipeline.artifacts.locks import lock
from pipeline.errors import PodiumError
from pipeline.folds.balance import balance
from pipeline.folds.plan import TEST, VARIABLES, Plan
from pipeline.folds.table import check_groups, check_unique, csv_text, read_table

ANEW = (
    "FRESH=1 makes them anew, and runs trained on the old folds can then no longer be joined "
    "with new ones"
)
WAIT = 60.0  # seconds for another process that makes the same folds


@dataclass(frozen=True, eq=False)
class Folds:
    """The fold of every id. Rows are positions in `ids`, in the order these were asked for."""

    ids: np.ndarray  # (n,) str
    fold: np.ndarray  # (n,) int64; -1 never validated on, -2 local test split
    group: np.ndarray | None  # (n,) str
    hash: str
    info: dict[str, Any]

    @property
    def numbers(self) -> list[int]:
        """Return the folds to validate on, sorted."""
        return sorted(set(self.fold[self.fold >= 0].tolist()))

    @property
    def test_rows(self) -> np.ndarray:
        """Return the rows kept apart as the local test split."""
        return np.flatnonzero(self.fold == TEST)

    def train_rows(self, k: int) -> np.ndarray:
        """Return the rows to train on when fold k validates."""
        return np.flatnonzero((self.fold != k) & (self.fold != TEST))

    def valid_rows(self, k: int) -> np.ndarray:
        """Return the rows of fold k."""
        return np.flatnonzero(self.fold == k)


def make_folds(
    path: Path,
    ids: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray | None,
    *,
    n_folds: int = 5,
    holdout: float | None = None,
    test: float = 0.0,
    seed: int = 0,
    fresh: bool = False,
) -> tuple[Folds, bool]:
    """Make the folds, or load those made before with the same arguments on the same rows.

    The rows are ids and groups: a corrected label keeps the folds. One fold means a hold-out:
    `holdout` of all rows are fold 0, the others -1. `test` of all rows become fold -2 first.

    Returns
    -------
    The folds in the order of `ids`, and whether they were made now.

    Raises
    ------
    PodiumError
        Where an argument breaks its rule, or the file was made otherwise and `fresh` is not set.
    """
    plan = Plan.checked(n_folds=n_folds, holdout=holdout, test=test, seed=seed)
    ids, groups = _checked_rows(path, ids, labels, groups)
    with lock(path.with_suffix(".lock"), f"{path}", wait=WAIT):
        if path.exists() and not fresh:
            made_before = load_folds(path)
            _check_same(path, made_before, plan, ids, groups)
            return _aligned(made_before, ids), False
        # Sorted by id first, so that the order of the table's rows does not matter.
        order = np.argsort(ids, kind="stable")
        group = None if groups is None else groups[order]
        fold = plan.assign(labels[order], group)
        report = balance(fold, labels[order], classes, group, asked=plan.fractions())
        made = _write(path, plan, ids[order], fold, group, report)
    return _aligned(made, ids), True


def load_folds(path: Path, ids: np.ndarray | None = None) -> Folds:
    """Load and check the folds; with `ids`, those of the competition, in their order.

    Raises
    ------
    PodiumError
        Where the file is missing, broken or edited by hand, or has other ids than `ids`.
    """
    names, fold, group = read_table(path)
    beside = path.with_suffix(".json")
    keys = ("hash", "scheme", "balance")
    info = read_object(beside, keys, f"restore it beside {path.name}, or: {ANEW}")
    found = text_hash(csv_text(names, fold, group))
    if found != info["hash"]:
        raise PodiumError(
            f"{path}: its content has hash {found}, {beside.name} says {info['hash']}: it was "
            f"edited, or FRESH=1 was interrupted; restore both files, or: {ANEW}"
        )
    folds = Folds(names, fold, group, found, info)
    if ids is None:
        return folds
    ids = np.asarray(ids, dtype=str)
    differs = _ids_differ(names, ids)
    if differs:
        raise PodiumError(f"{path}: made for other rows than the competition's: {differs}; {ANEW}")
    return _aligned(folds, ids)


def _checked_rows(
    path: Path, ids: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return ids and groups as str; refuse duplicate ids and empty groups."""
    ids = np.asarray(ids, dtype=str)
    if len(labels) != len(ids) or (groups is not None and len(groups) != len(ids)):
        raise ValueError("ids, labels and groups must have the same length")
    check_unique(path, ids, "drop the duplicate rows of the table")
    if groups is None:
        return ids, None
    groups = np.asarray(groups, dtype=str)
    check_groups(path, ids, groups, "fill the group column, for example with the id of the row")
    return ids, groups


def _write(
    path: Path,
    plan: Plan,
    ids: np.ndarray,
    fold: np.ndarray,
    group: np.ndarray | None,
    report: dict[str, Any],
) -> Folds:
    text = csv_text(ids, fold, group)
    scheme = plan.scheme(grouped=group is not None)
    info = {"hash": text_hash(text), "scheme": scheme, **plan.arguments(), "rows": len(ids)}
    info["balance"] = report
    # JSON first: killed in between, a first attempt leaves no table, and is simply made again; a
    # FRESH=1 leaves a table whose hash does not match, which the next call explains.
    write_json(path.with_suffix(".json"), info)
    write_text(path, text)
    return Folds(ids, fold, group, info["hash"], info)


def _check_same(
    path: Path, old: Folds, plan: Plan, ids: np.ndarray, groups: np.ndarray | None
) -> None:
    """Refuse folds made with other arguments or on other rows, and say what differs."""
    differs = [
        f"{VARIABLES[key]} {old.info.get(key)} -> {value}"
        for key, value in plan.arguments().items()
        # One fold has a hold-out, several have none: FOLDS, which differs too, says it.
        if old.info.get(key) != value and None not in (old.info.get(key), value)
    ]
    rows = _ids_differ(old.ids, ids)
    if rows:
        differs.append(rows)
    elif (groups is None) != (old.group is None):
        words = ["none" if group is None else "given" for group in (old.group, groups)]
        differs.append(f"groups {words[0]} -> {words[1]}")
    elif groups is not None:
        was = _aligned(old, ids).group
        changed = np.flatnonzero(was != groups)
        if len(changed):
            i = changed[0]
            differs.append(f"group of id '{ids[i]}' '{was[i]}' -> '{groups[i]}'")
    if differs:
        raise PodiumError(f"{path}: exists, but made otherwise ({', '.join(differs)}); {ANEW}")


def _ids_differ(old: np.ndarray, new: np.ndarray) -> str:
    """Say how two sets of ids differ, naming the first of each kind; '' where they do not."""
    words = [f"rows {len(old)} -> {len(new)}"] if len(old) != len(new) else []
    missing, foreign = np.setdiff1d(new, old), np.setdiff1d(old, new)
    if len(missing):
        words.append(f"id '{missing[0]}' is not in the file")
    if len(foreign):
        words.append(f"id '{foreign[0]}' is not in the competition")
    return ", ".join(words)


def _aligned(folds: Folds, ids: np.ndarray) -> Folds:
    order = np.argsort(folds.ids)
    at = order[np.searchsorted(folds.ids, ids, sorter=order)]
    group = None if folds.group is None else folds.group[at]
    return Folds(ids, folds.fold[at], group, folds.hash, folds.info)
