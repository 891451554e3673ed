"""How even the folds are: counts per fold and class, and warnings where they are not."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.folds.plan import TEST, TRAIN_ONLY

UNEVEN = 0.1  # relative difference in rows above which a warning is due
NAMED = 5  # class names listed in one warning

PART_NAMES = {TRAIN_ONLY: "-1 (train only)", TEST: "-2 (local test)"}


def balance(
    folds: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray | None,
    *,
    asked: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """Count rows, groups and classes per fold and say what is uneven.

    Parameters
    ----------
    folds : (n,) int, -1 for rows never validated on, -2 for the local test split
    labels : (n,) int class index, or (n, c) 0/1 array
    classes : (c,) names
    groups : (n,) array of str or None
    asked : rows asked for by fold, where a share was (hold-out and test split)

    Returns
    -------
    {"folds": {fold: {"rows", "groups", "counts": {class: rows}}}, "warnings": [str]}, ready for
    JSON: folds are strings, "groups" is None without groups.
    """
    parts = sorted(set(folds.tolist()), key=lambda k: (k < 0, abs(k)))
    counts = np.stack([_counts(labels[folds == k], len(classes)) for k in parts])  # (p, c)
    rows = {k: int((folds == k).sum()) for k in parts}
    report = {
        str(k): {
            "rows": rows[k],
            "groups": None if groups is None else len(np.unique(groups[folds == k])),
            "counts": dict(zip(classes, map(int, counts[i]), strict=True)),
        }
        for i, k in enumerate(parts)
    }
    warnings = [
        *_class_warnings(parts, counts, np.asarray(classes)),
        *_size_warnings(rows, asked or {}),
    ]
    return {"folds": report, "warnings": warnings}


def _counts(labels: np.ndarray, n_classes: int) -> np.ndarray:
    if labels.ndim == 2:
        return (labels > 0).sum(axis=0)
    return np.bincount(labels, minlength=n_classes)


def _class_warnings(parts: list[int], counts: np.ndarray, classes: np.ndarray) -> list[str]:
    """Name classes with no row, with fewer rows than folds, and those missing in a part."""
    validated = np.array(parts) >= 0
    n_folds, totals = int(validated.sum()), counts.sum(axis=0)
    in_folds = counts[validated].sum(axis=0)
    none = totals == 0
    rare = (in_folds < n_folds) & ~none
    found = []
    if none.any():
        found.append(f"no row at all of {_names(classes[none])}")
    if rare.any():
        found.append(f"fewer rows than the {n_folds} folds: {_names(classes[rare])}")
    for i, k in enumerate(parts):
        if k == TRAIN_ONLY and n_folds > 1:
            continue  # rows beside the folds, which each train on most of the others too
        missing = (counts[i] == 0) & ~none & ~(rare & validated[i])
        if missing.any():
            found.append(f"fold {PART_NAMES.get(k, k)} has no row of {_names(classes[missing])}")
    return found


def _size_warnings(rows: dict[int, int], asked: Mapping[int, float]) -> list[str]:
    """Say where folds differ in rows, or a part is not of the size asked for."""
    sizes = [n for k, n in rows.items() if k >= 0]
    found = []
    if max(sizes) - min(sizes) > max(UNEVEN * np.mean(sizes), 1):
        found.append(f"folds have from {min(sizes)} to {max(sizes)} rows: large groups?")
    for k, want in asked.items():
        if abs(rows[k] - want) > max(UNEVEN * want, 1):
            name = PART_NAMES.get(k, k)
            found.append(f"fold {name} has {rows[k]} rows, asked for {want:.0f}: large groups?")
    return found


def _names(classes: np.ndarray) -> str:
    more = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    return ", ".join(map(str, classes[:NAMED])) + more


def balance_table(info: Mapping[str, Any]) -> str:
    """Lay out the balance of `folds/COMP.json` as text: one line per fold, then the warnings.

    The columns "least" and "most" are the relative deviations of class shares in a fold from the
    shares in all rows, over classes; "worst class" is the one that deviates most. Where there are
    several folds, rows that are only trained on were not dealt with, and do not count in "all".
    """
    folds = info["balance"]["folds"]
    counts = np.array([list(part["counts"].values()) for part in folds.values()], float)
    classes = list(next(iter(folds.values()))["counts"])
    rows = np.array([part["rows"] for part in folds.values()], float)
    several = sum(int(k) >= 0 for k in folds) > 1
    dealt = np.array([int(k) != TRAIN_ONLY or not several for k in folds])
    expected = rows[:, None] / rows[dealt].sum() * counts[dealt].sum(axis=0)
    deviation = np.where(expected > 0, counts / np.where(expected > 0, expected, 1) - 1, 0)
    lines = [f"{'fold':<16}{'rows':>9}{'groups':>9}{'least':>9}{'most':>9}  worst class"]
    for i, (k, part) in enumerate(folds.items()):
        groups = "-" if part["groups"] is None else part["groups"]
        worst = classes[int(np.abs(deviation[i]).argmax())]
        low, high = deviation[i].min(), deviation[i].max()
        name = PART_NAMES.get(int(k), k)
        lines.append(f"{name:<16}{part['rows']:>9}{groups:>9}{low:>+9.1%}{high:>+9.1%}  {worst}")
    return "\n".join(lines + [f"warning: {text}" for text in info["balance"]["warnings"]])
