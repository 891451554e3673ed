"""The rows that the sheets show, and a copy of the competition that holds these alone."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.preview.choose import Candidates, choose_whole
from pipeline.preview.sheet import clean
from pipeline.training.parts import Parts

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Chosen:
    """What a sheet shows of a part: `rows`, which count through train, then test, out of `pool`
    rows; `wrong` is what is wrong with pictures that were chosen first, by row. `classes` is how
    many classes the rows show, `lacking` which no row of the pool has."""

    part: str
    rows: list[int]
    pool: int
    wrong: dict[int, str]
    classes: int
    lacking: tuple[str, ...]


def choose_rows(parts: Parts, fold: int, n: int, seed: int) -> dict[str, Chosen]:
    """Choose at most `n` pictures that fold `fold` trains on, validates, and predicts as test."""
    folds, known = parts.folds, len(parts.data.train)
    test = parts.test[parts.data.test.pictured[parts.test - known]]
    pools = parts.trained(folds.train_rows(fold)), parts.trained(folds.valid_rows(fold)), test
    found = {
        part: _choose(parts, part, pool, n, seed) for part, pool in zip(PARTS, pools, strict=True)
    }
    if not found["train"].rows:
        raise PodiumError(_no_picture(parts, found["train"], fold))
    return found


def _choose(parts: Parts, part: str, pool: np.ndarray, n: int, seed: int) -> Chosen:
    data = parts.data
    labels = np.zeros((len(pool), 0), np.int8)
    if part != "test":
        labels = data.labels[pool]
        labels = np.eye(len(data.classes), dtype=np.int8)[labels] if labels.ndim == 1 else labels
    paths = [path_of(parts, row) for row in pool.tolist()]
    ids = np.concatenate([data.train.ids, data.test.ids])[pool]
    one_each = data.competition.task == "multiclass"
    rows, wrong = choose_whole(Candidates(pool, ids, paths, labels, one_each), n, seed)
    shown = labels[np.isin(pool, rows)].any(axis=0)
    lacking = () if part == "test" else _named(data.classes, ~labels.any(axis=0))
    return Chosen(part, rows, len(pool), wrong, int(shown.sum()), lacking)


def _named(classes: tuple[str, ...], which: np.ndarray) -> tuple[str, ...]:
    return tuple(classes[k] for k in np.flatnonzero(which))


def _no_picture(parts: Parts, chosen: Chosen, fold: int) -> str:
    if not chosen.wrong:
        return f"preview: fold {fold} trains on no row; make other folds, or drop data.limit"
    row, reason = next(iter(chosen.wrong.items()))
    return (
        f"{path_of(parts, row)}: {reason}, and so are all {len(chosen.wrong)} training pictures "
        f"that were tried; mend `images` or `extension` in {parts.data.yaml}"
    )


def path_of(parts: Parts, row: int) -> Path:
    """Return where the picture of a row lies."""
    known = len(parts.data.train)
    return parts.data.train.images[row] if row < known else parts.data.test.images[row - known]


def id_of(parts: Parts, row: int) -> str:
    """Return the id of a row."""
    known = len(parts.data.train)
    return str(parts.data.train.ids[row] if row < known else parts.data.test.ids[row - known])


def label_of(parts: Parts, row: int) -> str:
    """Return the names of a row's classes; of a test row nothing is known."""
    data = parts.data
    if row >= len(data.train):
        return ""
    return data.label_in_words(row)


def wrong_words(parts: Parts, chosen: Chosen) -> list[str]:
    """Say what is wrong with the pictures that could not be shown."""
    return [
        f"{chosen.part} {clean(id_of(parts, row))}: {clean(str(path_of(parts, row)))}: {reason}"
        for row, reason in chosen.wrong.items()
    ]


def copy_of_few(parts: Parts, rows: np.ndarray, scratch: Project) -> Parts:
    """Return `rows` (sorted) as if the competition had no others, and `scratch` as its project, so
    that opening them fills no cache but that of `scratch`."""
    data, known = parts.data, len(parts.data.train)
    train, test = data.train.take(rows[rows < known]), data.test.take(rows[rows >= known] - known)
    at, folds = rows[rows < known], parts.folds
    group = None if folds.group is None else folds.group[at]
    few = Folds(train.ids, folds.fold[at], group, folds.hash, folds.info)
    return Parts(replace(data, project=scratch, train=train, test=test), few, None)
