"""Load a competition: its YAML's tables as aligned arrays. Answers are not among them."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.artifacts.hashing import json_hash
from pipeline.competition.csv import checked_ids, read_csv
from pipeline.competition.labels import class_names, encode, label_columns
from pipeline.config.competition import Competition, load_competition
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.metrics import Metric, get_metric


@dataclass(frozen=True)
class Rows:
    """The rows of one table: `ids` (n,), `images` n paths, `labels` (n,) or (n, c) or None,
    `groups` (n,) or None, `boxes` (n, 4) pixels x0, y0, x1, y1 or None."""

    ids: np.ndarray
    images: list[Path]
    labels: np.ndarray | None = None
    groups: np.ndarray | None = None
    boxes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class CompetitionData:
    """A competition with its tables: everything that training, blending and deciding may see."""

    project: Project
    competition: Competition
    classes: tuple[str, ...]
    train: Rows
    test: Rows

    @property
    def labels(self) -> np.ndarray:
        """The training labels: (n,) int64 for multiclass, (n, c) int8 for multilabel."""
        if self.train.labels is None:
            raise AssertionError("a training table always has labels")
        return self.train.labels

    @cached_property
    def metric(self) -> Metric:
        """The competition's metric, under its usual name (f1.0_macro is f1_macro)."""
        return get_metric(self.competition.metric, self.competition.task)

    @cached_property
    def hash(self) -> str:
        """Changes with the task, a class, an id, a training label, a box, or a picture's name or
        size in bytes; not with the order of rows or the place of the folder."""
        labels = dict(zip(self.train.ids.tolist(), self.labels.tolist(), strict=True))
        pictures = {**self._pictures(self.train), **self._pictures(self.test)}
        return json_hash([self.competition.task, self.classes, labels, pictures])

    def _pictures(self, rows: Rows) -> dict[str, list[Any]]:
        """Return name, size and box by id. Size and name are cheap; times change with a copy."""
        folder = (self.competition.folder(self.project) / self.competition.images).resolve()
        boxes = [None] * len(rows) if rows.boxes is None else rows.boxes.tolist()
        return {
            name: [os.path.relpath(path, folder), _bytes_of(path), box]
            for name, path, box in zip(rows.ids.tolist(), rows.images, boxes, strict=True)
        }


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # a missing picture is refused when it is read


def load_data(project: Project, comp: str) -> CompetitionData:
    """Load competition `comp`; a built-in one is first made if its data are not there."""
    competition = load_competition(project, comp)
    if competition.built_in:
        from pipeline.competition.built_in import ensure_made

        ensure_made(competition.built_in, competition.folder(project))
    source = project.shown(project.competition(comp))
    train, test = (_read(project, competition, kind, source) for kind in ("train", "test"))
    classes = class_names(train[1], competition)
    if len(classes) < 2 and competition.task == "multiclass":
        raise PodiumError(f"{train[0]}: fewer than two classes ({list(classes)}); nothing to learn")
    both = np.intersect1d(train[1][competition.columns.id], test[1][competition.columns.id])
    if len(both):
        raise PodiumError(
            f"{test[0]}: id {str(both[0])!r} is also in {train[0].name}; "
            "a test row must not be a training row"
        )
    labels = encode(train[1], competition, classes, train[0])
    return CompetitionData(
        project,
        competition,
        classes,
        _rows(project, competition, *train, labels),
        _rows(project, competition, *test, None),
    )


def _read(
    project: Project, competition: Competition, kind: str, source: str
) -> tuple[Path, pd.DataFrame]:
    columns = competition.columns
    wanted = [columns.id, *([columns.image] if columns.image else [])]
    if kind == "train":
        wanted += label_columns(competition)
        wanted += [columns.group] if columns.group else []
    if competition.crop.columns:
        wanted += competition.crop.columns
    path = competition.folder(project) / getattr(competition.tables, kind)
    return path, read_csv(path, wanted, source)


def _rows(
    project: Project,
    competition: Competition,
    path: Path,
    frame: pd.DataFrame,
    labels: np.ndarray | None,
) -> Rows:
    columns = competition.columns
    ids = checked_ids(frame, columns.id, path)
    folder = (competition.folder(project) / competition.images).resolve()
    names = frame[columns.image or columns.id] + competition.extension
    images = [_inside(folder, name, path, row) for row, name in enumerate(names)]
    train = labels is not None
    groups = frame[columns.group].to_numpy(np.str_) if train and columns.group else None
    boxes = _numbers(frame, list(competition.crop.columns or ()), path)
    return Rows(ids, images, labels, groups, boxes if boxes.size else None)


def _inside(folder: Path, name: str, path: Path, row: int) -> Path:
    """Join without resolving every file (slow for many); only a suspicious name is looked at."""
    image = folder / name
    suspicious = ".." in name or name.startswith(("/", "~"))
    if suspicious and not image.resolve().is_relative_to(folder):
        raise PodiumError(
            f"{path}: row {row + 2}: image {name!r} lies outside {folder}; "
            "paths are relative to the image folder"
        )
    return image


def _numbers(frame: pd.DataFrame, columns: list[str], path: Path) -> np.ndarray:
    values = np.empty((len(frame), len(columns)))
    for place, column in enumerate(columns):
        numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(float)
        bad = ~np.isfinite(numbers) | (numbers < 0)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise PodiumError(
                f"{path}: row {row + 2}, column {column!r} is {frame[column].iloc[row]!r}, "
                "not a number of 0 or more; mend the table"
            )
        values[:, place] = numbers
    return values
