"""Labels between a table's text and arrays: (n,) class indices or (n, c) zeros and ones."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.errors import PodiumError, nearest


def label_columns(competition: Competition) -> list[str]:
    """Return the columns of a table that hold its labels."""
    columns = competition.columns
    if columns.classes:
        return list(columns.classes)
    return [columns.label or columns.labels or ""]


def class_names(frame: pd.DataFrame, competition: Competition) -> tuple[str, ...]:
    """Return the classes in their order: as the YAML lists them, else sorted as found."""
    if competition.classes:
        return competition.classes
    columns = competition.columns
    if columns.classes:
        return columns.classes
    if columns.label:
        names = set(frame[columns.label]) - {""}
        if all(name.isdecimal() for name in names):
            return tuple(sorted(names, key=lambda name: (int(name), name)))  # 10 after 9
        if competition.metric == "qwk":
            raise PodiumError(
                f"{competition.name}: metric qwk needs the order of its classes, but their names "
                f"are no numbers ({', '.join(sorted(names)[:4])}); list `classes` in the YAML"
            )
        return tuple(sorted(names))
    names = {name for text in frame[columns.labels] for name in _split(text, columns.separator)}
    return tuple(sorted(names))


def encode(
    frame: pd.DataFrame, competition: Competition, classes: tuple[str, ...], path: Path
) -> np.ndarray:
    """Return labels: (n,) int64 class indices, or (n, c) int8; an unknown label is named by row."""
    columns = competition.columns
    if columns.classes:
        return _encode_columns(frame, columns.classes, path)
    index = {name: i for i, name in enumerate(classes)}
    column = columns.label or columns.labels or ""
    if competition.task == "multiclass":
        named = [_lookup(index, text, row, column, path) for row, text in enumerate(frame[column])]
        return np.array(named, dtype=np.int64)
    encoded = np.zeros((len(frame), len(classes)), dtype=np.int8)
    for row, text in enumerate(frame[column]):
        for name in _split(text, columns.separator):
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


def _lookup(index: dict[str, int], name: str, row: int, column: str, path: Path) -> int:
    if name in index:
        return index[name]
    raise PodiumError(
        f"{path}: row {row + 2}, column {column!r}: {name!r} is not one of the "
        f"{len(index)} classes{nearest(name, index)}; mend the table or `classes` in the YAML"
    )


def _split(text: str, separator: str) -> list[str]:
    return [name.strip() for name in text.split(separator) if name.strip()]
