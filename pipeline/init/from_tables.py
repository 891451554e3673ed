"""The draft of a competition whose labels are in a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.competition.pictures import ANY
from pipeline.competition.sources import sample_id_column
from pipeline.config.competition import Tables
from pipeline.errors import PodiumError
from pipeline.init.asked import Asked
from pipeline.init.columns import find_id, find_image
from pipeline.init.draft import ASSUMED_METRIC, Draft
from pipeline.init.labels import Labels, find_labels
from pipeline.init.look import Look, words
from pipeline.init.places import ENOUGH, Place, place_of, together
from pipeline.init.proposals import proposals
from pipeline.init.roles import (
    Shelved,
    common_delimiter,
    find_answers,
    find_leaderboard,
    find_test,
)
from pipeline.init.submission import Form
from pipeline.init.tables import TRAIN, Table

SPLITS = {"split", "subset", "partition", "dataset", "set", "phase"}


@dataclass(frozen=True)
class _Found:
    """The tables of a competition, which of their columns are what, and where the pictures lie."""

    train: Table
    test: Table | None
    sample: Table | None
    id_column: str
    image: str
    labels: Labels
    places: tuple[Place, Place | None]

    @property
    def form(self) -> Form:
        classes = self.labels.names(self.train.frame)
        return Form(self.labels.task, classes, self.sample, self.id_column)

    @property
    def columns(self) -> dict[str, Any]:
        """The section `columns`."""
        columns: dict[str, Any] = {"id": self.id_column}
        columns |= {"image": self.image} if self.image != self.id_column else {}
        columns |= {self.labels.key: self.labels.value}
        return columns | ({"separator": self.labels.separator} if self.labels.separator else {})

    def content(self, data: str, tables: dict[str, Any]) -> dict[str, Any]:
        """Return the keys of the YAML."""
        content = {"task": self.labels.task, "metric": self.form.metric, "data": data}
        content |= {"tables": tables} if tables else {}
        content |= {"columns": self.columns, **together(*self.places)}
        return content | ({"classes": list(self.labels.classes)} if self.labels.classes else {})

    def notes(self, tables: dict[str, Any]) -> dict[str, str]:
        """Return why each key is what it is."""
        labels, notes = self.labels, {"task": self.labels.task_why}
        notes["metric"] = f"{ASSUMED_METRIC}; {self.form.describe()}"
        notes |= _table_notes(self.train, self.test, self.sample)
        if "answers" in tables:
            notes["tables.answers"] = "by its name and columns; opened by make score alone"
        notes["columns.id"] = "another one in every row"
        if self.image != self.id_column:
            notes["columns.image"] = "leads to the pictures"
        notes[f"columns.{labels.key}"] = labels.why
        notes |= _place_notes(self.train, self.test, self.places)
        if labels.classes and self.sample:
            notes["classes"] = f"as in {self.sample.name}"
        return notes


def from_tables(shelved: Shelved, train: Table, sample: Table | None) -> Draft:
    """Return the draft for a training table and what belongs to it."""
    look, asked = shelved.look, shelved.asked
    id_column = find_id(look, train, sample, shelved.kinds("test"), asked)
    _require(train, id_column, "columns.id")
    test = find_test(shelved, train, id_column, sample)
    image = find_image(look, train, id_column, test, asked)
    _require(train, image, "columns.image")
    labels = find_labels(train, id_column, image, sample, asked)
    places = _places(look, train, test, id_column, image, asked)
    found = _Found(train, test, sample, id_column, image, labels, places)
    tables = _tables(shelved, train, test, sample, [id_column, *labels.columns])
    given = asked.get("columns") or {}
    told = {id_column, image, *labels.columns, *(v for v in given.values() if isinstance(v, str))}
    maybe = proposals(train, test, told, labels.columns)
    return Draft(
        content=found.content(asked.data, tables),
        notes=found.notes(tables),
        proposals=tuple(proposal for proposal in maybe if not asked.has(proposal.dotted)),
        warnings=tuple(_warnings(shelved, train, test, labels.columns)),
    )


def _require(table: Table, column: str, key: str) -> None:
    if column not in table.header:
        raise PodiumError(
            f"{table.path}: no column {column!r}, which SET names by {key}; it has: "
            f"{', '.join(table.header[:8])}"
        )


def _places(
    look: Look, train: Table, test: Table | None, id_column: str, image: str, asked: Asked
) -> tuple[Place, Place | None]:
    """Return where the pictures of both tables lie; too few of them are an error."""
    values = train.frame[image].tolist()
    found = place_of(look, values, "train", asked, train.name)
    _require_pictures(look, train, image, values, found)
    if test is None:
        return found, None
    column = image if image in test.header else sample_id_column(test.header, id_column)
    wanted = test.frame[column].tolist()
    tested = place_of(look, wanted, "test", asked, test.name)
    _require_pictures(look, test, column, wanted, tested)
    return found, tested


def _require_pictures(look: Look, table: Table, column: str, values: list, place: Place) -> None:
    if place.found >= ENOUGH * len(values):
        return
    counts = {folder: len(names) for folder, names in look.pictures.items()}
    most = sorted(counts, key=lambda folder: -counts[folder])[:4]
    where = ", ".join(f"{folder} ({counts[folder]:,})" for folder in most) or "no folder"
    named = f"{place.images}/{values[0]}{place.extension}"
    raise PodiumError(
        f"{table.path}: of its {len(values):,} pictures only {place.found:,} were found; the first "
        f"would be {named} by column {column!r}; there are pictures in {where}; put them there, "
        "or say where: SET='images=... extension=...' (columns.image names the column)"
    )


def _tables(
    shelved: Shelved, train: Table, test: Table | None, sample: Table | None, graded: list[str]
) -> dict[str, Any]:
    """Return the section `tables`: names that differ from the defaults, and what lies beside."""
    named: dict[str, Any] = {"train": train.name}
    named["test"] = test.name if test else None
    named["sample_submission"] = sample.name if sample else None
    if test is not None and (answers := find_answers(shelved, train, graded)):
        named["answers"] = answers
    if test is not None and (leaderboard := find_leaderboard(shelved)):
        named["leaderboard"] = leaderboard
    mark = common_delimiter([train, *(table for table in (test, sample) if table)])
    named |= {"delimiter": mark} if mark else {}
    usual = Tables()
    return {k: v for k, v in named.items() if v != getattr(usual, k)}


def _table_notes(train: Table, test: Table | None, sample: Table | None) -> dict[str, str]:
    why = {"tables.train": "has labels, and pictures"}
    if test is None:
        return why | {"tables.test": "no test table and no sample submission: nothing to submit"}
    if test is sample:
        said = "no other table has the ids of the sample submission, so its own are taken"
        return why | {"tables.test": said}
    if sample is not None:
        return why | {"tables.test": f"its ids are those of {sample.name}"}
    missing = "none found: the submission will look like the labels"
    return why | {"tables.test": "by its name", "tables.sample_submission": missing}


def _place_notes(
    train: Table, test: Table | None, places: tuple[Place, Place | None]
) -> dict[str, str]:
    """Say how many pictures were found, and why names are taken as they are."""
    found, tested = places
    counts = f"{found.found:,} of {len(train.frame):,} training"
    if tested is not None and test is not None:
        counts += f" and {tested.found:,} of {len(test.frame):,} test"
    notes = {"images": f"{counts} pictures are there"}
    keys = together(*places)
    if keys.get("extension") == ANY:
        notes["extension"] = "whichever there is: they differ, or from those in the table"
    elif "extension" in keys:
        notes["extension"] = "the table leaves it out"
    return notes | ({"nested": "they lie in folders below it"} if "nested" in keys else {})


def _warnings(
    shelved: Shelved, train: Table, test: Table | None, labels: Sequence[str]
) -> list[str]:
    """Return what of the tables is not used, though it may be meant to be."""
    found = []
    valid = [t.name for t in shelved.kinds("valid") if set(train.header) <= set(t.header)]
    if valid and valid[0] != train.name:
        found.append(
            f"{valid[0]} has the columns of {train.name} and is not used; append its rows, or name "
            "it in `external` (trained on, never validated on)"
        )
    if test is not None and set(labels) <= set(test.header) and test.kind != "sample":
        found.append(
            f"{test.name} has the labels too, which are not used; to grade with them: "
            f"SET='tables.answers={test.name}'"
        )
    for name in train.header:
        values = set(train.frame[name]) if words(name) & SPLITS else set()
        if 1 < len(values) < 6 and any(words(value) & TRAIN for value in values):
            found.append(
                f"column {name!r} of {train.name} holds {', '.join(sorted(values))}: every row is "
                "trained on; put the others into tables of their own if they are not to be"
            )
    return found
