"""Columns that look like groups, weights or boxes: proposed in a comment, never set."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.init.columns import GROUPS, MEASURED, box_columns, is_decimal, looks_like_weight
from pipeline.init.look import words
from pipeline.init.tables import Table

FEWEST = 10  # values of a column whose name does not say that it is a group
FOLDS = 5


@dataclass(frozen=True)
class Proposal:
    """A key that may be meant: of the section `columns` or of the top, its value, and why."""

    section: str
    key: str
    value: object
    why: str

    @property
    def dotted(self) -> str:
        return f"{self.section}.{self.key}" if self.section else self.key


def proposals(
    train: Table, test: Table | None, taken: set[str], labels: Sequence[str]
) -> list[Proposal]:
    """Return what the columns beside ids, pictures and labels may be."""
    frame = train.frame
    box = box_columns(train.header)
    rest = [name for name in train.header if name not in taken and name not in box]
    weights = [name for name in rest if looks_like_weight(name, frame[name])]
    found = [
        Proposal("columns", "group", name, why)
        for name in rest
        if name not in weights and (why := _group(frame, name, labels))
    ]
    found += [Proposal("columns", "weight", name, "weighs the row's loss") for name in weights]
    if box and (test is None or set(box) <= set(test.header)):
        crop = {"kind": "box", "columns": list(box)}
        found.append(Proposal("", "crop", crop, "the table has the corners of a box"))
    return found


def _group(frame: pd.DataFrame, name: str, labels: Sequence[str]) -> str:
    """Return why a column may be a group, '' if it is none: its values recur, they are many, and
    the label does not tell them."""
    values = frame[name]
    distinct, blank = values.nunique(), int((values.str.strip() == "").sum())
    said = words(name)
    by_name = bool(said & (GROUPS | {"id", "uuid"})) and not said & MEASURED
    if distinct < (FOLDS if by_name else FEWEST) or distinct == len(values):
        return ""
    numbers = all(text.isdecimal() or is_decimal(text) for text in set(values))
    if not by_name and (said & MEASURED or numbers or blank or distinct > 0.9 * len(values)):
        return ""
    told = pd.util.hash_pandas_object(frame[list(labels)], index=False).to_numpy()
    if values.groupby(told).nunique().max() <= 1:
        return ""
    blanks = f"; {blank:,} rows are blank and would need one" if blank else ""
    return (
        f"{distinct:,} values, {len(values) / distinct:.1f} rows each: set it if the test rows are "
        f"of other ones{blanks}"
    )
