"""Labels that a person corrected: a table beside the competition's own, which is never edited.

`corrections` of the YAML names a table `id,corrected`, of several labels `id,class,corrected`; the
one that `make label-errors` writes is such a table. A blank is no correction.
"""

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.competition.csv import read_csv, usual_delimiter
from pipeline.competition.rows import Rows
from pipeline.competition.sources import Reader
from pipeline.errors import PodiumError, nearest

DROP = "drop"  # in place of a class: the row is left out, as `exclude` does it
ONES, ZEROS = ("1", "1.0"), ("0", "0.0")


@dataclass(frozen=True, eq=False)
class Corrections:
    """What a table of corrections says of the training rows.

    `after` are the labels by id of the rows whose label it changes, a class index () or 0/1 (c,);
    `before` are those that the competition's table gives them; `same` counts corrections that say
    what the table says, and `dropped` are the ids that are left out.
    """

    path: Path
    before: dict[str, np.ndarray] = field(default_factory=dict)
    after: dict[str, np.ndarray] = field(default_factory=dict)
    same: int = 0
    dropped: tuple[str, ...] = ()

    def apply(self, rows: Rows) -> Rows:
        """Return the training rows with their labels corrected, those of `dropped` left out."""
        if self.dropped:
            rows = rows.take(~np.isin(rows.ids, self.dropped))
        return _with_labels(rows, self.after)

    def undo(self, rows: Rows) -> Rows:
        """Return the training rows with the labels of the competition's table; none comes back."""
        return _with_labels(rows, self.before)

    def sentence(self, shown: str) -> str:
        """Say what was corrected; `shown` is the path as the user would type it."""
        said = f"labels corrected by {shown}: {_counted(len(self.after), 'training row')}"
        if self.same:
            said += f"; {self.same:,} of the table's own are confirmed"
        return said + (f"; {_counted(len(self.dropped), 'row')} dropped" if self.dropped else "")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Line:
    """A line of the table: its number in the file, and what stands in it."""

    number: int
    id: str
    name: str  # of the class, of several labels
    stated: str | None  # the label that was corrected; None where the file does not say
    corrected: str


def read_corrections(
    reader: Reader, rows: Rows, classes: tuple[str, ...], test_ids: np.ndarray
) -> Corrections | None:
    """Read the YAML's table of corrections for the training rows; None where it names none."""
    name = reader.competition.corrections
    if name is None:
        return None
    path = reader.listed(name)
    several = reader.competition.task == "multilabel"
    table = _Table(path, rows, classes, set(test_ids.tolist()))
    remedy = (
        "put the table there, or there from the project's root, or mend `corrections` in "
        f"{reader.yaml}"
    )
    left_out = reader.excluded()
    lines = [line for line in filled_lines(path, several, remedy) if line.id not in left_out]
    return table.cells(lines) if several else table.labels(lines)


def _with_labels(rows: Rows, wanted: dict[str, np.ndarray]) -> Rows:
    if rows.labels is None or not wanted:
        return rows
    labels = rows.labels.copy()
    for row, name in enumerate(rows.ids.tolist()):
        if name in wanted:
            labels[row] = wanted[name]
    return replace(rows, labels=labels)


def filled_lines(path: Path, several: bool, remedy: str) -> list[Line]:
    """Return the lines of a table of corrections whose `corrected` is not blank; what is wrong with
    the file is named with `remedy`."""
    columns = ["id", *(["class"] if several else []), "corrected"]
    try:
        frame = table_of_corrections(path)
        numbers = _row_numbers(path, len(frame))
    except OSError as error:
        raise PodiumError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    for column in columns:
        if column not in frame.columns:
            raise PodiumError(
                f"{path}: no column {column!r}{nearest(column, frame.columns)}; a table of "
                f"corrections has {', '.join(columns)}"
            )
    names = frame["class"] if several else [""] * len(frame)
    stated = frame["label"] if "label" in frame.columns else [None] * len(frame)
    lines = map(Line, numbers, frame["id"], names, stated, frame["corrected"])
    return [line for line in lines if line.corrected]


def table_of_corrections(path: Path) -> pd.DataFrame:
    """Return the whole table as text without outer spaces."""
    header, _, rest = path.read_bytes().removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    between = _between(header)
    if header.strip() and not rest.strip():  # nothing to correct
        names = header.decode(errors="replace").strip().split(between or usual_delimiter(path))
        return pd.DataFrame(columns=names, dtype=str)
    return read_csv(path, [], path.name, between).apply(lambda column: column.str.strip())


def _between(header: bytes) -> str | None:
    """Return the delimiter that a header shows, as some spreadsheets write it: None for a comma."""
    return next((mark for mark in ";\t" if mark.encode() in header and b"," not in header), None)


def _row_numbers(path: Path, rows: int) -> list[int]:
    """Return the line of the file that each row of its table begins with."""
    numbers, start = [], 1
    with open(path, encoding="utf-8-sig", newline="") as handle:
        table = csv.reader(handle, delimiter=_between(path.read_bytes().partition(b"\n")[0]) or ",")
        for fields in table:
            if any(field.strip() for field in fields) or len(fields) > 1:  # else a blank line
                numbers.append(start)
            start = table.line_num + 1
    return numbers[1:] if len(numbers) == rows + 1 else list(range(2, rows + 2))


@dataclass(frozen=True, eq=False)
class _Table:
    """Turns filled lines into corrections; what is wrong is named by its line."""

    path: Path
    rows: Rows
    classes: tuple[str, ...]
    test_ids: set[str]

    def labels(self, lines: list[Line]) -> Corrections:
        """Return the corrections of one class per row."""
        said, given = self._agreed(lines), self._given()
        after, same, dropped = {}, 0, []
        for line in lines:
            old = self.classes[given[line.id]]
            if line.stated not in (None, "", old):
                raise self._stale(line, old)
        for line in said:
            old = given[line.id]
            if line.corrected == DROP and DROP not in self.classes:
                dropped.append(line.id)
            elif self._class(line, line.corrected) == old:
                same += 1
            else:
                after[line.id] = np.array(self._class(line, line.corrected))
        if len(dropped) == len(given):
            raise PodiumError(
                f"{self.path}: drops all {len(given):,} training rows; leave some, or take "
                "`corrections` out of the YAML"
            )
        before = {name: given[name] for name in after}
        return Corrections(self.path, before, after, same, tuple(dropped))

    def cells(self, lines: list[Line]) -> Corrections:
        """Return the corrections of 0/1 per row and class."""
        said, given = self._agreed(lines), self._given()
        after, same = {}, 0
        for line in lines:
            old = given[line.id][self._class(line, line.name)]
            if line.stated and line.stated not in (ONES if old else ZEROS):
                raise self._stale(line, str(old))
        for line in said:
            column = self._class(line, line.name)
            old, new = given[line.id][column], self._bit(line)
            if new == old:
                same += 1
                continue
            after.setdefault(line.id, given[line.id].copy())[column] = new
        return Corrections(self.path, {name: given[name] for name in after}, after, same)

    def _given(self) -> dict[str, np.ndarray]:
        if self.rows.labels is None:
            raise AssertionError("a training table always has labels")
        return dict(zip(self.rows.ids.tolist(), self.rows.labels, strict=True))

    def _agreed(self, lines: list[Line]) -> list[Line]:
        """Return one line for each row or cell; refuse ids that are none of training, and two
        lines that say different things."""
        known, seen = set(self.rows.ids.tolist()), {}
        for line in lines:
            if line.id in self.test_ids:
                raise self._fault(
                    line, f"{line.id!r} is a test id, whose label nobody corrects; take it out"
                )
            if line.id not in known:
                hint = nearest(line.id, known)
                raise self._fault(line, f"{line.id!r} is not a training id{hint}; take it out")
            first = seen.setdefault((line.id, line.name), line)
            if first.corrected != line.corrected:
                what = f"class {line.name!r} of id {line.id!r}" if line.name else f"id {line.id!r}"
                raise self._fault(
                    line,
                    f"{what} is {line.corrected!r} here and {first.corrected!r} in row "
                    f"{first.number}; keep one of them",
                )
        return list(seen.values())

    def _class(self, line: Line, name: str) -> int:
        if name in self.classes:
            return self.classes.index(name)
        raise self._fault(
            line,
            f"{name!r} is not one of the {len(self.classes)} classes"
            f"{nearest(name, self.classes)}; mend it, or leave `corrected` blank",
        )

    def _bit(self, line: Line) -> int:
        if line.corrected in ONES or line.corrected in ZEROS:
            return int(line.corrected in ONES)
        raise self._fault(
            line,
            f"'corrected' is {line.corrected!r}, not 0 or 1; mend it, leave it blank, or leave "
            "the whole row out by `exclude`",
        )

    def _stale(self, line: Line, now: str) -> PodiumError:
        return self._fault(
            line,
            f"corrects the label {line.stated!r} of id {line.id!r}, which is {now!r} in the "
            "competition's table: the table changed since; look again, and mend `label` here",
        )

    def _fault(self, line: Line, said: str) -> PodiumError:
        return PodiumError(f"{self.path}: row {line.number}: {said}")
