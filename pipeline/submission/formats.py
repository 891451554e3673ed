"""The text of a submission as arrays, in each of the forms that a sample can ask for.

The writer makes a frame of this form, the grader reads one; both go through `decode`, so that what
is written can be graded.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.competition import CompetitionData, Kind, Sample
from pipeline.errors import PodiumError, nearest


def sample_of(data: CompetitionData) -> Sample:
    """Return the form of a submission; refuse a competition that has no test rows."""
    if data.sample is None:
        yaml = data.yaml
        raise PodiumError(f"{yaml}: no test table or folder, so nothing can be submitted; name one")
    return data.sample


def decode(
    frame: pd.DataFrame, sample: Sample, data: CompetitionData, path: Path | str
) -> np.ndarray:
    """Return the answer that the text of a submission gives, its rows as they stand.

    (n,) int64 class indices, (n, c) int8, or (n, c) float64 probabilities, classes in the
    competition's order. The first value that is not allowed is named by row and column.
    """
    if sample.kind in ("name", "names"):
        return _decode_names(frame, sample, data, path)
    if sample.kind == "positive":
        positive = _numbers(frame, list(sample.values), sample.kind, path)
        return np.hstack([1 - positive, positive])
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
