"""What a draft amounts to: read as training would read it, counted, and refused if it cannot do."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.competition import CompetitionData, Rows, read_data
from pipeline.competition.faults import fault
from pipeline.config.competition import Competition, parse_competition
from pipeline.config.project import Project
from pipeline.errors import PodiumError

FEWEST_ROWS = 10
FOLDS = 5  # of a plain `make folds`
DECODED = 200  # pictures of each table that are decoded
EXAMPLES = 5


@dataclass(frozen=True)
class ClassRow:
    """A class, its training rows, and its share of them."""

    name: str
    rows: int
    share: float


@dataclass(frozen=True)
class Example:
    """A training row as it will be trained on."""

    id: str
    image: str
    labels: str


@dataclass(frozen=True)
class Pictures:
    """The pictures of one table: how many are there, are not, were decoded, and were broken."""

    table: str
    found: int
    missing: int
    decoded: int
    broken: int
    first: str  # path of the first that is broken, or else missing


@dataclass(frozen=True)
class Checked:
    """A draft that reads well."""

    competition: Competition
    data: CompetitionData
    classes: tuple[ClassRow, ...]
    unlabelled: int
    examples: tuple[Example, ...]
    pictures: tuple[Pictures, ...]
    warnings: tuple[str, ...]


def read_draft(project: Project, comp: str, content: dict[str, Any]) -> CompetitionData:
    """Read what the draft describes; nothing is written, whatever becomes of missing pictures."""
    yaml = project.shown(project.competition(comp))
    try:
        parsed = parse_competition(comp, {**content, "missing_images": "error"}, "SET")
        return read_data(project, parsed)
    except PodiumError as error:
        said = str(error).replace(f"in {yaml}", "by SET=").replace("in the YAML", "by SET=")
        raise PodiumError(f"{said}; nothing was written") from None


def checked(project: Project, comp: str, content: dict[str, Any], data: CompetitionData) -> Checked:
    """Count classes and pictures; refuse what cannot be trained in five folds."""
    competition = parse_competition(comp, content, "SET")
    _require_rows(data)
    pictures = tuple(pictures_of(data, kind) for kind in ("train", "test"))
    counts = _counts(data)
    rows = tuple(
        ClassRow(name, count, count / len(data.train))
        for name, count in zip(data.classes, counts, strict=True)
    )
    several = data.labels.ndim == 2
    unlabelled = int((data.labels.sum(axis=1) == 0).sum()) if several else 0
    warnings = tuple(_warnings(data, rows, pictures))
    return Checked(competition, data, rows, unlabelled, _examples(data), pictures, warnings)


def pictures_of(data: CompetitionData, kind: str) -> Pictures:
    """Look whether every picture of a table is there, and decode up to 200 of those that are."""
    rows: Rows = data.train if kind == "train" else data.test
    there = np.array([os.path.isfile(path) for path in rows.images], bool)
    found = np.flatnonzero(there)
    tried = found[:: max(1, -(-len(found) // DECODED))]
    broken = [i for i in tried.tolist() if fault(rows.images[i])]
    odd = [*broken, *np.flatnonzero(~there).tolist()]
    first = str(rows.images[odd[0]]) if odd else ""
    missing = len(there) - len(found)
    return Pictures(kind, len(found), missing, len(tried), len(broken), first)


def _counts(data: CompetitionData) -> list[int]:
    if data.labels.ndim == 2:
        return data.labels.sum(axis=0, dtype=int).tolist()
    return np.bincount(data.labels, minlength=len(data.classes)).tolist()


def _require_rows(data: CompetitionData) -> None:
    folder = data.competition.folder(data.project)
    place = folder if data.competition.folders else folder / data.competition.tables.train
    n, used = len(data.train), sum(count > 0 for count in _counts(data))
    need = 2 if data.competition.task == "multiclass" else 1
    if n < FEWEST_ROWS:
        raise PodiumError(
            f"{place}: {n} training rows; at least {FEWEST_ROWS} are needed; is this the whole "
            "table? SET='tables.train=...' names another"
        )
    if used < need:
        raise PodiumError(
            f"{place}: {used} of its classes have a row, at least {need} are needed; is it the "
            "right column? SET='columns.label=...' names another"
        )
    numbers = all(name.replace(".", "", 1).lstrip("-").isdecimal() for name in data.classes)
    if data.competition.task == "multiclass" and numbers and 2 * used > n:
        raise PodiumError(
            f"{place}: {used:,} classes in {n:,} rows; numbers to be predicted are not supported, "
            "and if this is not the label: SET='columns.label=...' names another column"
        )
    groups = data.train.groups
    if groups is not None and len(set(groups.tolist())) < FOLDS:
        raise PodiumError(
            f"{place}: column {data.competition.columns.group!r} has {len(set(groups.tolist()))} "
            f"groups, fewer than the {FOLDS} folds; group by a finer column or by none"
        )


def _examples(data: CompetitionData) -> tuple[Example, ...]:
    rows, examples = data.train, []
    folder = data.competition.folder(data.project).resolve()
    for i in np.linspace(0, len(rows) - 1, EXAMPLES).astype(int).tolist():
        label = data.labels[i]
        told = np.flatnonzero(label).tolist() if data.labels.ndim == 2 else [int(label)]
        named = ", ".join(data.classes[c] for c in told) or "(none)"
        shown = os.path.relpath(rows.images[i], folder)
        examples.append(Example(str(rows.ids[i]), shown, named))
    return tuple(examples)


def _warnings(
    data: CompetitionData, rows: tuple[ClassRow, ...], pictures: tuple[Pictures, ...]
) -> list[str]:
    found = _alike([row.name for row in rows])
    few = [row for row in rows if row.rows < FOLDS]
    if few:
        shown = ", ".join(f"{row.name!r} ({row.rows})" for row in few[:4])
        found.append(
            f"{len(few)} of {len(rows)} classes have fewer rows than the {FOLDS} folds: {shown}"
        )
    if not data.competition.folders and any("/" in name for name in data.train.ids.tolist()):
        found.append(
            "ids look like paths; if they are only file names, another column may be the id"
        )
    found += [
        f"{p.broken} of {p.decoded} {p.table} pictures that were tried are broken, first {p.first}"
        for p in pictures
        if p.broken
    ]
    copies = Counter(map(str, data.train.images))
    shared = sum(count - 1 for count in copies.values())
    if shared:
        found.append(f"{shared:,} training rows share their picture with another row")
    return found


def _alike(names: list[str]) -> list[str]:
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault("".join(name.lower().split()), []).append(name)
    return [
        f"classes {' and '.join(map(repr, same))} differ only by case or spaces; one class?"
        for same in by_key.values()
        if len(same) > 1
    ]
