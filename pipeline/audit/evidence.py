"""What a finding rests on: tokens, values and ranges whose rows are of one class, and columns in
which test and training rows differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from pipeline.audit.auc import roc_area
from pipeline.audit.hunt import features
from pipeline.audit.rows import Rows
from pipeline.audit.traits import PRESENT, Column, Trait

SHOWN, PICTURES, RANGES, BINS, NAMED = 8, 4, 8, 20, 3


@dataclass(frozen=True)
class Evidence:
    """Rows of one value or range, and the class that most of them are of. `column`: place in the
    trait's columns, None for the label of a neighbour. `rows`: positions among the chosen."""

    column: int | None
    says: str
    name: str
    right: int
    rows: np.ndarray
    weight: float

    def as_item(self, ids: np.ndarray) -> dict[str, Any]:
        """Return it for a finding, with a few of its rows' ids (n,) to show."""
        title = f"{self.says}: {self.right:,} of {len(self.rows):,} rows are {self.name}"
        shown = ids[self.rows[:PICTURES]].tolist()
        return {"title": title, "count": len(self.rows), "right": self.right, "rows": shown}


def evidence(trait: Trait, rows: Rows, y: np.ndarray, names: Sequence[str]) -> list[Evidence]:
    """Return what weighs most of all values and ranges of a trait, best first.

    The weight is n KL(classes of these rows || classes of all): half the likelihood ratio by which
    they differ. It is of the rows that a model was fitted to, an explanation and no test.
    """
    everything = rows.folds.refit_rows
    table, titles = features([trait], rows, everything, y[:, None])
    truth, found = y[rows.chosen], []
    for place, title in enumerate(titles):
        own = place < len(trait.train)
        column = trait.train[place] if own else Column(title, table[:, place], tuple(names))
        for says, mask in _cells(column, truth):
            made = _weighed(place if own else None, says, mask, truth, names)
            if made.weight > 0:
                found.append(made)
    found.sort(key=lambda e: -e.weight)
    kept: dict[bytes, Evidence] = {}
    for one in found:
        kept.setdefault(one.rows.tobytes(), one)
        if len(kept) == SHOWN:
            break
    return list(kept.values())


def _cells(column: Column, truth: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return the values of a column of kinds, or the ranges of numbers that a small tree cuts by
    class, in words and as masks (n,)."""
    values = column.values
    if column.codes == PRESENT:
        return [(column.name, values == 1)]
    if column.codes:
        return [(f"{column.name}: {c}", values == k) for k, c in enumerate(column.codes)]
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return []
    ranks = np.unique(values[known], return_inverse=True)[1].ravel()  # trees compute in 32 bits
    least = max(2, len(known) // 1000)
    tree = DecisionTreeClassifier(max_leaf_nodes=RANGES, min_samples_leaf=least, random_state=0)
    leaf = tree.fit(ranks[:, None], truth[known]).apply(ranks[:, None])
    cells = []
    for number in np.unique(leaf):
        mask = np.zeros(len(values), bool)
        mask[known[leaf == number]] = True
        low, high = values[mask].min(), values[mask].max()
        span = f"{low:,.6g}" if low == high else f"{low:,.6g} to {high:,.6g}"
        cells.append((f"{column.name} {span}", mask))
    return cells


def _weighed(
    column: int | None, says: str, mask: np.ndarray, truth: np.ndarray, names: Sequence[str]
) -> Evidence:
    rows = np.flatnonzero(mask)
    counts = np.bincount(truth[rows], minlength=len(names))
    shares = counts / max(len(rows), 1)
    overall = np.bincount(truth, minlength=len(names)) / len(truth)
    there = counts > 0
    weight = float((counts[there] * np.log(shares[there] / overall[there])).sum())
    best = int(counts.argmax())
    weight = weight if 0 < len(rows) < len(truth) else 0.0
    return Evidence(column, says, names[best] or "rarer classes", int(counts[best]), rows, weight)


def overlap(train: Column, test: Column) -> float:
    """Return how much two distributions of a column agree: the sum over its values, or over
    twentieths of the training rows, of the smaller of both shares; 1 where they are the same. Of
    tokens and folders only the rows that have it count, since all others have it in common to lack
    it."""
    if train.codes == PRESENT:
        here, there = train.values.mean(), test.values.mean()
        return float(min(here, there) / here) if here else 0.0
    if train.codes:
        cuts = np.arange(len(train.codes)) + 0.5
    else:
        known = train.values[~np.isnan(train.values)]
        # The outermost bins begin beyond the training rows' values, where none of these lie.
        ends = (np.nextafter(known.min(), -np.inf), known.max()) if len(known) else (0.0, 0.0)
        cuts = np.unique(np.r_[ends, np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])])
    shares = []
    for values in (train.values, test.values):
        place = np.searchsorted(cuts, values, "left")  # NaN comes after all
        place = np.where(np.isnan(values), len(cuts) + 1, place)
        shares.append(np.bincount(place, minlength=len(cuts) + 2) / len(values))
    return float(np.minimum(*shares).sum())


def single_areas(columns: Sequence[Column], test: np.ndarray) -> list[tuple[float, Column]]:
    """Return how well each column alone tells which rows are of the test table, (r,) bool: the AUC
    of its larger or of its smaller values, the best first; those without a name are passed over."""
    found = []
    for one in columns:
        if one.name:
            value = roc_area(test, np.nan_to_num(one.values, nan=-1.0)).value
            found.append((max(value, 1 - value), one))
    return sorted(found, key=lambda pair: -pair[0])


def differences(areas: Sequence[tuple[float, Column]], test: np.ndarray) -> str:
    """Name the columns that differ most, with both their medians or shares."""
    return "; ".join(_difference(one, test) for area, one in areas[:NAMED] if area > 0.5) or "-"


def _difference(column: Column, test: np.ndarray) -> str:
    """Say how a column differs: by the value whose share does most, or by its median or mean."""
    values = column.values
    if column.codes:
        codes = range(len(column.codes))
        shares = np.array([[(values[side] == k).mean() for k in codes] for side in (test, ~test)])
        k = 1 if column.codes == PRESENT else int(np.abs(shares[0] - shares[1]).argmax())
        what = column.name if column.codes == PRESENT else f"{column.name} {column.codes[k]}"
        return f"{what}: {shares[0, k]:.0%} against {shares[1, k]:.0%}"
    what, both = "median", _of_both(np.nanmedian, values, test)
    if both[0] == both[1]:
        what, both = "mean", _of_both(np.nanmean, values, test)
    return f"{column.name}: {what} {both[0]:,.4g} against {both[1]:,.4g}"


def _of_both(
    statistic: Callable[[np.ndarray], float], values: np.ndarray, test: np.ndarray
) -> list[float]:
    known = ~np.isnan(values)
    sides = [values[known & side] for side in (test, ~test)]
    return [float(statistic(side)) if len(side) else np.nan for side in sides]
