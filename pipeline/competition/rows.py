"""The rows of a table as aligned arrays: ids, pictures, labels, groups, boxes, weights."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from pipeline.competition.labels import encode
from pipeline.competition.sources import Source
from pipeline.config.competition import Competition
from pipeline.errors import PodiumError


@dataclass(frozen=True)
class Rows:
    """The rows of one table: `ids` (n,), `images` n paths, `labels` (n,) or (n, c) or None,
    `groups` (n,) or None, `boxes` (n, 4) pixels x0, y0, x1, y1 or None, `weights` (n,) of the
    training loss or None, `train_only` (n,) bool, `pictured` (n,) bool: whose picture is there and
    whole, as far as `missing_images` asks for that."""

    ids: np.ndarray
    images: list[Path]
    labels: np.ndarray | None
    groups: np.ndarray | None
    boxes: np.ndarray | None
    weights: np.ndarray | None
    train_only: np.ndarray
    pictured: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, chosen: np.ndarray) -> "Rows":
        """Return the rows at the positions, or where the mask, `chosen` is set."""
        places = np.arange(len(self))[chosen]
        rest = (self.labels, self.groups, self.boxes, self.weights, self.train_only, self.pictured)
        taken = [None if values is None else values[places] for values in rest]
        return Rows(self.ids[places], [self.images[i] for i in places], *taken)


def rows_of(competition: Competition, source: Source, classes: tuple[str, ...] | None) -> Rows:
    """Return the rows of a table; training rows where `classes` are given."""
    columns, frame, path = competition.columns, source.frame, source.path
    ids = source.ids()
    names = frame[source.image_column]
    images = [source.shelf.find(name, path, row) for row, name in enumerate(names)]
    train = classes is not None
    labels = encode(frame, competition, classes, path) if classes is not None else None
    groups = _groups(frame, columns.group, path) if train and columns.group else None
    boxes = _boxes(frame, competition.crop.columns, path)
    apart = np.full(len(ids), source.external)
    if train and columns.train_only and not source.external:
        apart = _flags(frame, columns.train_only, path)
    weights = _weights(competition, source) if train else None
    return Rows(ids, images, labels, groups, boxes, weights, apart, np.ones(len(ids), bool))


def no_rows() -> Rows:
    """Return the test rows of a competition that has none."""
    none = np.array([], bool)
    return Rows(np.array([], np.str_), [], None, None, None, None, none, none)


def joined(parts: list[Rows], sources: list[Source]) -> Rows:
    """Join the training table and the external ones; an id that two of them have is named."""
    if len(parts) == 1:
        return parts[0]
    seen: dict[str, Source] = {}
    for part, source in zip(parts, sources, strict=True):
        for row, name in enumerate(part.ids.tolist()):
            if name in seen:
                raise PodiumError(
                    f"{source.path}: row {row + 2}: id {name!r} is also in "
                    f"{seen[name].path.name}; give the external table a `prefix`"
                )
            seen[name] = source
    arrays = {}
    for key in ("ids", "labels", "groups", "boxes", "weights", "train_only", "pictured"):
        values = [getattr(part, key) for part in parts]
        arrays[key] = None if any(v is None for v in values) else np.concatenate(values)
    return Rows(images=[path for part in parts for path in part.images], **arrays)


def with_pictures_grouped(rows: Rows) -> Rows:
    """Return the rows in groups that join those which share a picture, so that no fold validates
    what it trains on; unchanged where every row has a picture of its own.

    Groups of the table that share a picture become one, named like the first of them.
    """
    pictures = np.unique([str(path) for path in rows.images], return_inverse=True)[1]
    return replace(rows, groups=joined_groups(rows.ids, rows.groups, pictures.ravel()))


def joined_groups(
    ids: np.ndarray, groups: np.ndarray | None, cluster: np.ndarray
) -> np.ndarray | None:
    """Return the groups (n,) str that join the rows of one group, and those of one cluster.

    Each is named like the first of the groups that it joins, in order of their names; without
    groups, every row is one of its own, named by its id. Where nothing is joined, `groups` come
    back as they are.
    """
    if len(ids) == 0 or np.bincount(cluster).max() == 1:
        return groups
    names, group = np.unique(ids if groups is None else groups, return_inverse=True)
    numbers = np.unique(cluster, return_inverse=True)[1].ravel()
    size = len(names) + len(ids)
    links = sparse.coo_array(
        (np.ones(len(ids)), (group.ravel(), len(names) + numbers)), (size, size)
    )
    joined_by = connected_components(links, directed=False)[1][: len(names)]
    first = np.full(joined_by.max() + 1, len(names))
    np.minimum.at(first, joined_by, np.arange(len(names)))  # names are sorted
    return names[first[joined_by[group.ravel()]]]


def _weights(competition: Competition, source: Source) -> np.ndarray | None:
    """Return the weights of rows (n,), None where neither a column nor an external table has any;
    an external table without the column counts as 1 there."""
    column = competition.columns.weight
    if column is None and all(external.weight == 1 for external in competition.external):
        return None
    weights = np.ones(len(source.frame))
    if column is not None and column in source.frame.columns:
        weights = _numbers(source.frame, [column], source.path)[:, 0]
        if not weights.any():
            raise PodiumError(f"{source.path}: column {column!r} is 0 everywhere; weigh some row")
    return weights * source.weight


def _groups(frame: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    groups = frame[column].to_numpy(np.str_)
    blank = np.char.strip(groups) == ""
    if blank.any():
        row = int(np.flatnonzero(blank)[0])
        raise PodiumError(
            f"{path}: row {row + 2}, column {column!r} is blank; every row needs a group, "
            "for example its own id"
        )
    return groups


def _boxes(frame: pd.DataFrame, columns: tuple[str, ...] | None, path: Path) -> np.ndarray | None:
    if columns is None:
        return None
    boxes = _numbers(frame, list(columns), path)
    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    if empty.any():
        row = int(np.flatnonzero(empty)[0])
        x0, y0, x1, y1 = (f"{value:g}" for value in boxes[row])
        raise PodiumError(
            f"{path}: row {row + 2}: the box from {x0}, {y0} to {x1}, {y1} holds no pixel; mend "
            "the table, or the order of crop.columns: [x0, y0, x1, y1]"
        )
    return boxes


def _flags(frame: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    texts = frame[column].str.lower()
    ones, zeros = texts.isin(("1", "1.0", "true")), texts.isin(("0", "0.0", "false"))
    odd = ~(ones | zeros).to_numpy()
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        raise PodiumError(
            f"{path}: row {row + 2}, column {column!r} is {frame[column].iloc[row]!r}, not 0 or 1; "
            "mend the table"
        )
    return ones.to_numpy()


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
