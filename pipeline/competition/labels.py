"""Labels between a table's text and arrays: (n,) class indices or (n, c) zeros and ones."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.errors import PodiumError, nearest

FOLDER_LABEL = "label"  # the column of a table that is made from a folder per class
_INTEGER = re.compile(r"-?\d+")
_FLOAT = re.compile(r"-?\d*\.\d+(e-?\d+)?|-?\d+\.", re.IGNORECASE)


def label_columns(competition: Competition) -> list[str]:
    """Return the columns of a table that hold its labels."""
    columns = competition.columns
    if columns.classes:
        return list(columns.classes)
    return [name_column(competition)]


def name_column(competition: Competition) -> str:
    """Return the one column of class names, where labels are not a column per class."""
    return competition.columns.label or competition.columns.labels or FOLDER_LABEL


def class_names(frame: pd.DataFrame, competition: Competition, path: Path) -> tuple[str, ...]:
    """Return the classes in their order: as the YAML lists them, else sorted as found.

    Names that are numbers are in the order of numbers; anything else among them is refused, since
    that is what a broken column looks like.
    """
    if competition.classes or competition.columns.classes:
        return competition.classes or competition.columns.classes or ()
    column = name_column(competition)
    if competition.task == "multilabel":
        separator = competition.columns.separator
        names = {name for text in frame[column] for name in split(text, separator)}
        return tuple(sorted(names))
    _check_one_type(frame[column].tolist(), column, path)
    names = set(frame[column]) - {""}
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))  # 10 after 9
    if competition.metric == "qwk":
        raise PodiumError(
            f"{competition.name}: metric qwk needs the order of its classes, but their names "
            f"are no numbers ({', '.join(sorted(names)[:4])}); list `classes` in the YAML"
        )
    return tuple(sorted(names))


def _check_one_type(values: list[str], column: str, path: Path) -> None:
    """Refuse another kind of name in a column of numbers, and names with outer spaces.

    A number in a column of names is let through: a car can be a 911.
    """
    kinds = [_kind(value) for value in values]
    common = Counter(kind for value, kind in zip(values, kinds, strict=True) if value)
    usual = common.most_common(1)[0][0] if common else "a name"
    for row, (value, kind) in enumerate(zip(values, kinds, strict=True)):
        if value != value.strip():
            raise PodiumError(
                f"{path}: row {row + 2}, column {column!r}: {value!r} has spaces around it, which "
                "would make it a class of its own; mend the table or list `classes` in the YAML"
            )
        if value and kind != usual != "a name":
            raise PodiumError(
                f"{path}: row {row + 2}, column {column!r}: {value!r} is {kind} where most are "
                f"{usual}; mend the table, or list `classes` in the YAML if it is a class"
            )


def _kind(value: str) -> str:
    if _INTEGER.fullmatch(value):
        return "a whole number"
    return "a decimal number" if _FLOAT.fullmatch(value) else "a name"


def encode(
    frame: pd.DataFrame, competition: Competition, classes: tuple[str, ...], path: Path
) -> np.ndarray:
    """Return labels: (n,) int64 class indices, or (n, c) int8; an unknown label is named by row."""
    if competition.columns.classes:
        found = _encode_columns(frame, competition.columns.classes, path)
        return _one_per_row(found, path) if competition.task == "multiclass" else found
    index = {name: i for i, name in enumerate(classes)}
    column = name_column(competition)
    if competition.task == "multiclass":
        named = [_lookup(index, text, row, column, path) for row, text in enumerate(frame[column])]
        return np.array(named, dtype=np.int64)
    encoded = np.zeros((len(frame), len(classes)), dtype=np.int8)
    for row, text in enumerate(frame[column]):
        for name in split(text, competition.columns.separator):
            encoded[row, _lookup(index, name, row, column, path)] = 1
    return encoded


def _encode_columns(frame: pd.DataFrame, names: tuple[str, ...], path: Path) -> np.ndarray:
    values = frame[list(names)].to_numpy(dtype=object)
    ones = np.isin(values, ["1", "1.0"])
    odd = ~(ones | np.isin(values, ["0", "0.0"]))
    if odd.any():
        row, column = np.argwhere(odd)[0]
        raise PodiumError(
            f"{path}: row {row + 2}, column {names[column]!r} is {values[row, column]!r}, "
            "not 0 or 1; mend the table"
        )
    return ones.astype(np.int8)


def _one_per_row(encoded: np.ndarray, path: Path) -> np.ndarray:
    sums = encoded.sum(axis=1)
    if (sums != 1).any():
        row = int(np.flatnonzero(sums != 1)[0])
        raise PodiumError(
            f"{path}: row {row + 2}: {sums[row]} of its class columns are 1; a multiclass row has "
            "exactly one, so mend it, or say task: multilabel"
        )
    return encoded.argmax(axis=1).astype(np.int64)


def _lookup(index: dict[str, int], name: str, row: int, column: str, path: Path) -> int:
    if name in index:
        return index[name]
    raise PodiumError(
        f"{path}: row {row + 2}, column {column!r}: {name!r} is not one of the "
        f"{len(index)} classes{nearest(name, index)}; mend the table or `classes` in the YAML"
    )


def split(text: str, separator: str) -> list[str]:
    """Return the names in a text of separated names, without outer spaces and blanks."""
    return [name.strip() for name in text.split(separator) if name.strip()]
