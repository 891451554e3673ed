"""The folds file: `folds/COMP.csv` (id,fold,group) and `folds/COMP.json` (hash, seed, balance).

Folds are made once and shared by all runs of a competition: predictions join only where they carry
the same folds hash. They are a function of ids, labels, groups and arguments, not of the order of
the rows. An existing file is never remade unless asked for.

    from pipeline.folds.file import load_folds, make_folds
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.artifacts.files import read_object, write_json, write_text
from pipeline.artifacts.hashing import text_hash
from pipeline.artifacts.locks import lock
from pipeline.errors import PodiumError
from pipeline.folds.assignment import (
    ANEW,
    Folds,
    aligned,
    groups_differ,
    ids_differ,
    refuse_other,
    train_only_differs,
)
from pipeline.folds.balance import balance
from pipeline.folds.plan import TRAIN_ONLY, VARIABLES, Plan
from pipeline.folds.table import check_groups, check_unique, csv_text, read_table

WAIT = 60.0  # seconds for another process that makes the same folds


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
    train_only: np.ndarray | None = None,
    extra: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> tuple[Folds, bool]:
    """Make the folds, or load those made before with the same arguments on the same rows.

    The rows are ids and groups: a corrected label keeps the folds. One fold means a hold-out:
    `holdout` of all rows are fold 0, the others -1. `test` of all rows become fold -2 first. Rows
    of `train_only` (n,) bool are -1 and do not count: the others are split as if they were alone.
    `extra` is kept in the JSON.

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
    apart = np.zeros(len(ids), bool) if train_only is None else np.asarray(train_only, bool)
    with lock(path.with_suffix(".lock"), f"{path}", wait=WAIT):
        if path.exists() and not fresh:
            made_before = load_folds(path)
            _check_same(path, made_before, plan, ids, groups, apart)
            return aligned(made_before, ids), False
        made = _draft(plan, ids, labels, classes, groups, apart)
        made.info.update(extra or {})
        write_folds(path, made)
    return aligned(made, ids), True


def draft_folds(
    path: Path,
    ids: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray | None,
    train_only: np.ndarray,
    *,
    extra: Mapping[str, Any] | None = None,
) -> Folds:
    """Return what `make_folds` would make of these rows by default, writing nothing."""
    ids, groups = _checked_rows(path, ids, labels, groups)
    plan = Plan.checked(n_folds=5, holdout=None, test=0.0, seed=0)
    made = _draft(plan, ids, labels, classes, groups, train_only)
    made.info.update(extra or {})
    return aligned(made, ids)


def load_folds(
    path: Path,
    ids: np.ndarray | None = None,
    train_only: np.ndarray | None = None,
    *,
    groups: np.ndarray | Literal["any"] | None = "any",
) -> Folds:
    """Load and check the folds; with `ids`, those of the competition, in their order.

    `groups` (n,) are those that the folds must have been made with, None for no groups.

    Raises
    ------
    PodiumError
        Where the file is missing, broken or edited by hand, has other ids than `ids`, or validates
        rows of `train_only` (n,) bool.
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
    differs = ids_differ(names, ids)
    if differs:
        raise PodiumError(
            f"{path}: made for other rows than the competition's now, which `exclude` and what "
            f"`corrections` drop leave out: {differs}; {ANEW}"
        )
    folds = aligned(folds, ids)
    differs = [] if isinstance(groups, str) else [groups_differ(folds, groups)]
    if train_only is not None:
        # Who gives the folds may keep any row out of them.
        kept_out = (folds.fold == TRAIN_ONLY) & (info["scheme"] == "given")
        differs.append(train_only_differs(folds, train_only | kept_out))
    refuse_other(path, list(filter(None, differs)))
    return folds


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


def _draft(
    plan: Plan,
    ids: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray | None,
    apart: np.ndarray,
) -> Folds:
    # Sorted by id first, so that the order of the table's rows does not matter.
    order = np.argsort(ids, kind="stable")
    ids, labels, apart = ids[order], labels[order], apart[order]
    group = None if groups is None else groups[order]
    rest = np.flatnonzero(~apart)
    units = rest if group is None else np.unique(group[rest])
    if len(rest) < len(ids):
        plan.check_left(len(units), len(ids) - len(rest), grouped=group is not None)
    fold = np.full(len(ids), TRAIN_ONLY, np.int64)
    fold[rest] = plan.assign(labels[rest], None if group is None else group[rest])
    asked = {k: share * len(rest) for k, share in plan.fractions().items()}
    scheme = plan.scheme(grouped=group is not None)
    text = csv_text(ids, fold, group)
    info = {"hash": text_hash(text), "scheme": scheme, **plan.arguments(), "rows": len(ids)}
    if len(rest) < len(ids):
        info["train_only"] = len(ids) - len(rest)
    info["balance"] = balance(fold, labels, classes, group, asked=asked)
    return Folds(ids, fold, group, info["hash"], info)


def write_folds(path: Path, folds: Folds) -> None:
    """Write the table and its JSON."""
    # JSON first: killed in between, a first attempt leaves no table, and is simply made again; a
    # FRESH=1 leaves a table whose hash does not match, which the next call explains.
    write_json(path.with_suffix(".json"), folds.info)
    write_text(path, csv_text(folds.ids, folds.fold, folds.group))


def _check_same(
    path: Path,
    old: Folds,
    plan: Plan,
    ids: np.ndarray,
    groups: np.ndarray | None,
    train_only: np.ndarray,
) -> None:
    """Refuse folds made with other arguments or on other rows, and say what differs."""
    differs = [
        f"{VARIABLES[key]} {old.info.get(key)} -> {value}"
        for key, value in plan.arguments().items()
        # One fold has a hold-out, several have none: FOLDS, which differs too, says it.
        if old.info.get(key) != value and None not in (old.info.get(key), value)
    ]
    rows = ids_differ(old.ids, ids)
    if rows:
        differs.append(rows)
    else:
        was = aligned(old, ids)
        differs += [groups_differ(was, groups), train_only_differs(was, train_only)]
    refuse_other(path, list(filter(None, differs)))
