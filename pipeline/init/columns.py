"""Which columns of a table are ids and pictures, and what the others look like."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.errors import PodiumError
from pipeline.init.asked import Asked
from pipeline.init.look import Look, words
from pipeline.init.places import names_files, share_found
from pipeline.init.tables import Table

GROUP = (
    "patient user sender photographer location site sequence seq group subject lesion station "
    "camera farm plot session owner author case study series video scene person source batch "
    "device plate well specimen animal individual"
)
GROUPS = set(GROUP.split())
WEIGHTS = {"weight", "weights", "confidence", "importance"}
FLAGS = {"train", "fold", "kfold", "external", "split", "usage", "is_train"}
MEASURES = (
    "width height age size area date time datetime timestamp year month day hour url path "
    "filepath file filename folder lat lon latitude longitude rows cols frame frames num"
)
MEASURED = set(MEASURES.split()) | FLAGS
BOXES = (
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
    ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"),
)
_DECIMAL = re.compile(r"-?\d*\.\d+(e[+-]?\d+)?|-?\d+\.|-?\d+e[+-]?\d+", re.IGNORECASE)


def box_columns(header: Sequence[str]) -> tuple[str, ...]:
    """Return the columns x0, y0, x1, y1 of a box by their usual names, or none."""
    by_name = {name.lower(): name for name in header}
    fits = (names for names in BOXES if all(name in by_name for name in names))
    return tuple(by_name[name] for name in next(fits, ()))


def looks_like_weight(name: str, values: pd.Series) -> bool:
    """Whether a column may weigh rows: by its name, and numbers of 0 or more that differ."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    sound = bool(np.isfinite(numbers).all() and (numbers >= 0).all())
    return bool(words(name) & WEIGHTS) and sound and len(set(numbers.tolist())) > 1


def is_decimal(text: str) -> bool:
    """Whether a text is a number with a fraction or an exponent."""
    return bool(_DECIMAL.fullmatch(text))


def is_unique(values: pd.Series) -> bool:
    return not values.duplicated().any() and not (values.str.strip() == "").any()


def find_id(
    look: Look, train: Table, sample: Table | None, tests: list[Table], asked: Asked
) -> str:
    """Return the column of ids: the sample's, else a unique one that the test table has too."""
    if asked.get("columns.id"):
        return asked.get("columns.id")
    frame = train.frame
    there = set(train.header)
    if sample is not None:
        first = sample.header[0]
        same = [name for name in train.header if name.lower() == first.lower()]
        if first in there or same:
            return first if first in there else same[0]
    unique = [name for name in train.header if is_unique(frame[name])]
    if not unique:
        raise PodiumError(
            f"{train.path}: no column holds a different id in each row; give it one row per "
            f"picture, or say which is the id: {asked.command('columns.id', train.header[0])}"
        )
    if sample is not None:
        wanted = set(sample.frame[sample.header[0]])
        for test in tests:
            unique_too = [name for name in unique if name in test.header]
            for name in unique_too:
                if set(test.frame[name]) == wanted:
                    return name
    shared = [name for name in unique if any(name in test.header for test in tests)]
    pool = shared or unique
    named = [name for name in pool if words(name) & {"id", "ids", "uuid"}]
    if named:
        return named[0]
    leading = [name for name in pool if share_found(look, frame[name].tolist()) > 0]
    return next(iter(leading or pool))


def find_image(look: Look, train: Table, id_column: str, test: Table | None, asked: Asked) -> str:
    """Return the column that names pictures: the id unless another one names files, or only that
    leads to them. `test` must have it too."""
    if asked.get("columns.image"):
        return asked.get("columns.image")
    if asked.has("columns.image"):
        return id_column
    shares = {id_column: _share(look, train, id_column)}
    for name in train.header:
        values = train.frame[name]
        if name != id_column and values.nunique() > len(values) / 2:
            shares[name] = _share(look, train, name)
    best = max(shares.values())
    leading = [name for name, share in shares.items() if share >= 0.95 * best and share > 0]
    others = [name for name in leading if name != id_column]
    usable = [name for name in others if test is None or name in test.header]
    if id_column in leading:
        files = [name for name in usable if names_files(train.frame[name].tolist())]
        return files[0] if files and not names_files(train.frame[id_column].tolist()) else id_column
    if others and not usable and test is not None:
        raise PodiumError(
            f"{test.path}: has no column {others[0]!r}, by which {train.name} names its pictures; "
            "add it, or name the pictures by their ids"
        )
    return usable[0] if usable else id_column


def _share(look: Look, table: Table, column: str) -> float:
    return share_found(look, table.frame[column].tolist()) if column in table.header else 0.0
