"""Which columns are the labels: the sample submission tells, else what looks like it."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.competition.labels import split
from pipeline.competition.sources import sample_id_column
from pipeline.errors import PodiumError, nearest
from pipeline.init.asked import Asked
from pipeline.init.columns import (
    BOXES,
    GROUPS,
    MEASURED,
    WEIGHTS,
    is_decimal,
)
from pipeline.init.look import words
from pipeline.init.split import SEPARATORS, likeliest, separator_of, undecided
from pipeline.init.tables import Table

LABEL = (
    "label labels class classes target targets category categories tag tags diagnosis species "
    "breed dx attribute attributes disease y"
)
LABELS = set(LABEL.split())
BINARY = {"0", "1", "0.0", "1.0"}
KEYS = ("label", "labels", "classes")


@dataclass(frozen=True)
class Labels:
    """The labels: `key` of `columns` and its `columns`, the task, the separator of `labels`, the
    classes where the sample lists them, and why."""

    key: str
    columns: tuple[str, ...]
    task: str
    separator: str | None
    why: str
    task_why: str
    classes: tuple[str, ...] = ()

    @property
    def value(self) -> str | list[str]:
        return list(self.columns) if self.key == "classes" else self.columns[0]

    def names(self, frame: pd.DataFrame) -> list[str]:
        """Return the classes, sorted where they have no order of their own."""
        if self.key == "classes" or self.classes:
            return list(self.classes or self.columns)
        texts = frame[self.columns[0]].tolist()
        if self.separator:
            return sorted({part for text in set(texts) for part in split(text, self.separator)})
        return sorted(set(texts) - {""})


def find_labels(
    train: Table, id_column: str, image: str, sample: Table | None, asked: Asked
) -> Labels:
    """Return the labels of the training table, in none of the columns of ids and pictures."""
    given = next((key for key in KEYS if asked.get(f"columns.{key}")), None)
    if given:
        value = asked.get(f"columns.{given}")
        columns = tuple(map(str, value)) if isinstance(value, list) else (str(value),)
        return _described(train, columns, asked, "", key=given)
    rest = [name for name in train.header if name not in (id_column, image)]
    if sample is not None:
        first = sample_id_column(sample.header, id_column)
        values = tuple(name for name in sample.header if name != first)
        told = _from_sample(train, rest, sample, values, asked)
        if told is not None:
            return told
    groups = candidates(train, rest)
    if not groups:
        raise PodiumError(
            f"{train.path}: none of its columns ({', '.join(train.header[:8])}) looks like labels; "
            f"say which is: {asked.command('columns.label', rest[-1] if rest else 'label')}"
        )
    if len(groups) > 1:
        raise _ask(train, groups, asked)
    return _described(train, groups[0], asked, "the only column that looks like labels")


def candidates(train: Table, rest: list[str]) -> list[tuple[str, ...]]:
    """Return what the labels could be: columns of names one by one, 0/1 columns all together.

    Where the name of a column says that it is the label, the others are out.
    """
    frame = train.frame
    fit = [name for name in rest if not words(name) & (MEASURED | WEIGHTS)]
    fit = [name for name in fit if not any(name.lower() in box for box in BOXES)]
    plain = [name for name in fit if not words(name) & GROUPS] or fit
    binary = tuple(name for name in plain if _is_binary(frame[name]))
    named = [name for name in fit if words(name) & LABELS and frame[name].nunique() > 1]
    strict = [name for name in named if name.lower() in LABELS]
    if named and len(binary) < 3:
        return [(name,) for name in (strict if len(strict) == 1 else named)]
    found = [(name,) for name in plain if name not in binary and _is_name(frame[name])]
    return [*([binary] if binary else []), *found]


def _is_binary(values: pd.Series) -> bool:
    return set(values) <= BINARY


def _is_name(values: pd.Series) -> bool:
    """Whether a column may hold class names: repeated, no decimals; or sets of names."""
    distinct = set(values)
    if any(map(is_decimal, distinct)):
        return False
    if len(distinct) > 1 and "" not in distinct and len(distinct) <= len(values) / 2:
        return True
    return separator_of(values.tolist()) is not None


def _from_sample(
    train: Table, rest: list[str], sample: Table, values: tuple[str, ...], asked: Asked
) -> Labels | None:
    """Return the labels where the sample's columns beside the id, `values`, or what they hold tell
    them."""
    frame = train.frame
    if values and set(values) <= set(rest):
        odd = [name for name in values if not _is_binary(frame[name])]
        if len(values) > 1 and odd:
            raise PodiumError(
                f"{train.path}: {sample.name} asks for the columns {', '.join(values[:4])}, but "
                f"{odd[0]!r} holds other values than 0 and 1; several labels of more than two "
                "values each are not supported"
            )
        return _described(train, values, asked, f"as in {sample.name}")
    if len(values) > 1:
        return _columns_are_names(train, rest, sample, values, asked)
    several = [columns for columns in candidates(train, rest) if len(columns) == 1 and values]
    fits = [c for c in several if set(sample.frame[values[0]]) <= set(frame[c[0]])]
    if len(several) > 1 and len(fits) == 1:
        return _described(train, fits[0], asked, f"its values are those of {sample.name}")
    return None


def _columns_are_names(
    train: Table, rest: list[str], sample: Table, values: tuple[str, ...], asked: Asked
) -> Labels | None:
    """Return the column whose class names are the columns of the sample: all of them rather than
    some, single names rather than separated ones."""
    fits: dict[tuple[bool, bool], list[tuple[str, str | None]]] = defaultdict(list)
    for name in rest:
        texts = set(train.frame[name])
        for separator in (None, *SEPARATORS):
            parts = texts if separator is None else {p for t in texts for p in split(t, separator)}
            if len(parts - {""}) > 1 and parts - {""} <= set(values):
                fits[parts - {""} < set(values), separator is not None].append((name, separator))
                break
    if not fits:
        return None
    best = min(fits)
    if len(fits[best]) > 1:
        raise _ask(train, [(name,) for name, _ in fits[best]], asked)
    name, separator = fits[best][0]
    return _described(
        train,
        (name,),
        asked,
        f"its names are the columns of {sample.name}",
        key="label" if separator is None else "labels",
        separator=separator,
        # A class that no training row has is known from the sample alone.
        classes=values if best[0] else (),
    )


def _described(
    train: Table,
    columns: tuple[str, ...],
    asked: Asked,
    why: str,
    *,
    key: str = "",
    separator: str | None = None,
    classes: tuple[str, ...] = (),
) -> Labels:
    """Return the labels in `columns`, with the task and the separator that their values show."""
    task = asked.get("task")
    missing = [name for name in columns if name not in train.header]
    if missing:
        raise PodiumError(
            f"{train.path}: no column {missing[0]!r}{nearest(missing[0], train.header)}; "
            f"SET names one of: {', '.join(train.header[:8])}"
        )
    if key == "classes" or len(columns) > 1:
        ones = np.isin(train.frame[list(columns)].to_numpy(object), ["1", "1.0"]).sum(axis=1)
        single = bool((ones == 1).all())
        told = "every row has exactly one 1" if single else _sums(ones)
        task_why = f"a 0/1 column per class, and {told}"
        chosen = task or ("multiclass" if single else "multilabel")
        return Labels("classes", columns, chosen, None, why, task_why, classes)
    texts = train.frame[columns[0]].tolist()
    mark = separator or asked.get("columns.separator")
    if not mark and key != "label" and task != "multiclass":
        mark = separator_of(texts)
    if key == "labels" or task == "multilabel":
        mark = mark or likeliest(texts)
    if not mark:
        return Labels("label", columns, "multiclass", None, why, _single(texts, asked), classes)
    task_why = f"names separated by {SEPARATORS.get(mark, repr(mark))}, which recur in other sets"
    if mark == " " and not asked.has("columns.labels"):
        task_why += "; if the whole text is one name: task=multiclass"
    return Labels("labels", columns, "multilabel", mark, why, task_why, classes)


def _sums(ones: np.ndarray) -> str:
    low, high = int(ones.min()), int(ones.max())
    return f"a row has {low} to {high} of them" if low < high else f"every row has {low} of them"


def _single(texts: list[str], asked: Asked) -> str:
    mark = undecided(texts)
    if mark is None or asked.has("task"):
        return "one class per row"
    return (
        f"one class per row: {SEPARATORS[mark]} are taken for part of a name; if they separate "
        "names: task=multilabel"
    )


def _ask(train: Table, groups: list[tuple[str, ...]], asked: Asked) -> PodiumError:
    shown = [
        f"column {g[0]!r}" if len(g) == 1 else f"the {len(g)} columns {g[0]!r} to {g[-1]!r}"
        for g in groups[:6]
    ]
    first = groups[0]
    key = "columns.label" if len(first) == 1 else "columns.classes"
    said = asked.command(key, first[0] if len(first) == 1 else list(first))
    return PodiumError(f"{train.path}: the labels could be {' or '.join(shown)}; say which: {said}")
