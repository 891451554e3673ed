"""The form of a submission, told from the sample's columns, and the text of each form as arrays.

The writer makes a frame of this form, the grader reads one; both go through `decode`, so that what
is written can be graded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.competition import CompetitionData
from pipeline.competition.csv import checked_ids, read_csv
from pipeline.errors import PodiumError, nearest

Kind = Literal["name", "names", "binary", "probability"]


@dataclass(frozen=True)
class Sample:
    """What the sample submission asks for: `ids` (n,) and `columns` in its order.

    `kind` says what the value columns hold: a class 'name', the 'names' joined by the separator, or
    a column per class that is 'binary' (0 or 1) or a 'probability'.
    """

    path: Path
    ids: np.ndarray
    columns: tuple[str, ...]
    id_column: str
    kind: Kind

    @property
    def values(self) -> tuple[str, ...]:
        """The columns beside the id."""
        return tuple(name for name in self.columns if name != self.id_column)


def read_sample(data: CompetitionData) -> Sample:
    """Read the sample submission; its ids must be the test table's, its columns of a known form."""
    competition = data.competition
    yaml = _yaml(data)
    path = competition.folder(data.project) / competition.tables.sample_submission
    frame = read_csv(path, [competition.columns.id], yaml)
    ids = checked_ids(frame, competition.columns.id, path)
    rule = f"it must hold the ids of {competition.tables.test}; mend `tables` in {yaml}"
    check_same_ids(ids, data.test.ids, path, rule)
    columns = tuple(str(name) for name in frame.columns)
    values = [name for name in columns if name != competition.columns.id]
    return Sample(path, ids, columns, competition.columns.id, _kind(values, data, path))


def _yaml(data: CompetitionData) -> str:
    return data.project.shown(data.project.competition(data.competition.name))


def _kind(values: list[str], data: CompetitionData, path: Path) -> Kind:
    columns, task = data.competition.columns, data.competition.task
    needs_probs = data.metric.needs == "probs"
    if sorted(values) == sorted(data.classes):
        return "probability" if needs_probs else "binary"
    labels = {columns.label, columns.labels}
    if len(values) != 1 or (values[0] in data.classes and values[0] not in labels):
        raise _wrong_columns(values, data, path)
    if needs_probs:
        per_class = ",".join([columns.id, *data.classes[:3]]) + ",..." * (len(data.classes) > 3)
        raise PodiumError(
            f"{path}: metric {data.competition.metric!r} needs a probability per class, but the "
            f"only column beside the id is {values[0]!r}; give it a column each: {per_class}"
        )
    if task == "multilabel":
        _check_separable(data)
    return "name" if task == "multiclass" else "names"


def _wrong_columns(values: list[str], data: CompetitionData, path: Path) -> PodiumError:
    rule = "it takes the id and one column of names, or the id and one column per class"
    unknown = [name for name in values if name not in data.classes]
    if not values:
        return PodiumError(f"{path}: no column beside the id; {rule}")
    if unknown:
        hint = nearest(unknown[0], data.classes)
        return PodiumError(f"{path}: column {unknown[0]!r} is not a class{hint}; {rule}")
    missing = [name for name in data.classes if name not in values]
    return PodiumError(f"{path}: no column for class {missing[0]!r}; {rule}")


def _check_separable(data: CompetitionData) -> None:
    """Joined names must come apart again: no class may hold the separator or outer spaces."""
    separator = data.competition.columns.separator
    for name in data.classes:
        if not separator or separator in name or name != name.strip() or not name:
            raise PodiumError(
                f"{_yaml(data)}: class {name!r} cannot be joined by the separator {separator!r}; "
                "choose a columns.separator that no class holds, such as ';'"
            )


def check_same_ids(ids: np.ndarray, wanted: np.ndarray, path: Path | str, rule: str) -> None:
    """Refuse ids that are not exactly `wanted`, in whatever order; name the first that differs."""
    known, given = set(wanted.tolist()), set(ids.tolist())
    foreign = [row for row, one in enumerate(ids.tolist()) if one not in known]
    if foreign:
        row = foreign[0]
        raise PodiumError(f"{path}: row {row + 2}: id {str(ids[row])!r} is unknown; {rule}")
    missing = [one for one in wanted.tolist() if one not in given]
    if missing:
        raise PodiumError(
            f"{path}: {len(missing)} of {len(wanted)} ids are missing, first {missing[0]!r}; {rule}"
        )


def decode(
    frame: pd.DataFrame, sample: Sample, data: CompetitionData, path: Path | str
) -> np.ndarray:
    """Return the answer that the text of a submission gives, its rows as they stand.

    (n,) int64 class indices, (n, c) int8, or (n, c) float64 probabilities, classes in the
    competition's order. The first value that is not allowed is named by row and column.
    """
    if sample.kind in ("name", "names"):
        return _decode_names(frame, sample, data, path)
    numbers = _numbers(frame, list(data.classes), sample.kind, path)
    if data.competition.task == "multilabel":
        return numbers if sample.kind == "probability" else numbers.astype(np.int8)
    sums = numbers.sum(axis=1)
    odd = sums <= 0 if sample.kind == "probability" else sums != 1
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        rule = "more than 0" if sample.kind == "probability" else "1: one class per row"
        raise PodiumError(
            f"{path}: row {row + 2}: the values of its classes sum to {sums[row]:g}, "
            f"but must sum to {rule}; mend that row"
        )
    if sample.kind == "binary":
        return numbers.argmax(axis=1).astype(np.int64)
    return numbers  # rows that do not quite sum to 1 are scaled by the metrics that need it


def _decode_names(
    frame: pd.DataFrame, sample: Sample, data: CompetitionData, path: Path | str
) -> np.ndarray:
    column = sample.values[0]
    index = {name: i for i, name in enumerate(data.classes)}
    several = sample.kind == "names"
    found = np.zeros((len(frame), len(index)), dtype=np.int8)
    for row, text in enumerate(frame[column].tolist()):
        parts = text.split(data.competition.columns.separator) if several else [text]
        for name in [part.strip() for part in parts if part.strip()] if several else parts:
            if name not in index:
                raise PodiumError(
                    f"{path}: row {row + 2}, column {column!r}: {name!r} is not one of the "
                    f"{len(index)} classes{nearest(name, index)}; mend that row"
                )
            found[row, index[name]] = 1
    return found if several else found.argmax(axis=1).astype(np.int64)


def _numbers(frame: pd.DataFrame, columns: list[str], kind: Kind, path: Path | str) -> np.ndarray:
    values = np.empty((len(frame), len(columns)))
    for place, column in enumerate(columns):
        numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(float)
        in_range = (numbers >= 0) & (numbers <= 1)  # False for NaN, too
        allowed = np.isin(numbers, [0, 1]) if kind == "binary" else in_range
        if not allowed.all():
            row = int(np.flatnonzero(~allowed)[0])
            rule = "0 or 1" if kind == "binary" else "a probability from 0 to 1"
            raise PodiumError(
                f"{path}: row {row + 2}, column {column!r} is {frame[column].iloc[row]!r}, "
                f"not {rule}; mend that row"
            )
        values[:, place] = numbers
    return values
