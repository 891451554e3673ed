"""The tables of a folder: how each is cut, and what its name says it is. Content decides later."""

import csv
import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from pipeline.competition.csv import DELIMITERS, read_csv, usual_delimiter
from pipeline.init.look import Look, words

TRAIN = {"train", "training", "label", "labels"}
TEST = {"test", "testing", "tests", "eval"}
VALID = {"val", "valid", "validation"}
SAMPLE = {"submission", "submissions", "submit", "sub"}
ANSWERS = {"answer", "answers", "solution", "solutions", "truth", "groundtruth"}
SNIFFED = 20  # lines that show the delimiter


@dataclass(frozen=True)
class Table:
    """A table: `name` below the data folder, how it is cut, and its columns. Rows are read late."""

    name: str
    path: Path
    delimiter: str
    header: tuple[str, ...]

    @property
    def unusual(self) -> str | None:
        """The delimiter that the YAML must name, or None."""
        said = len(self.header) < 2 or self.delimiter == usual_delimiter(self.path)
        return None if said else self.delimiter

    @cached_property
    def frame(self) -> pd.DataFrame:
        return read_csv(self.path, [], "SET=", self.delimiter)

    @property
    def kind(self) -> str:
        return kind_of(self.name)


def tables_of(look: Look) -> list[Table]:
    """Return the tables at the top or one folder deep, of which only the first lines are read."""
    near = [name for name in look.tables if look.depth(name) <= 1]
    return [sniffed(look, name) for name in near]


def kind_of(name: str) -> str:
    """Return what the name of a table says: train, test, valid, sample, answers or ''."""
    said = words(Path(name).stem)
    if said & SAMPLE or ("sample" in said and not said & TRAIN):
        return "sample"
    if (said & ANSWERS and not said & TRAIN) or (said & TEST and said & {"label", "labels"}):
        return "answers"
    roles = (("test", TEST), ("valid", VALID), ("train", TRAIN))
    return next((kind for kind, marks in roles if said & marks), "")


def sniffed(look: Look, name: str) -> Table:
    """Return a table with the delimiter that cuts its first lines into the same number of fields:
    that of its suffix if it does, else the one with the most fields."""
    path = look.folder / name
    best = usual_delimiter(path)
    lines = 1 if kind_of(name) == "answers" else SNIFFED  # no answer decides anything
    widths = {mark: _width(path, mark, lines) for mark in (best, *DELIMITERS)}
    if not widths[best]:
        best = max(widths, key=lambda mark: widths[mark])
    return Table(name, path, best, _header(path, best))


def _width(path: Path, delimiter: str, lines: int) -> int:
    """Return into how many fields every first line is cut; 0 where they differ or nothing is."""
    found = {len(line) for line in _lines(path, delimiter, lines) if line}
    width = found.pop() if len(found) == 1 else 0
    return width if width > 1 else 0


def _header(path: Path, delimiter: str) -> tuple[str, ...]:
    return tuple(next(iter(_lines(path, delimiter, 1)), ()))


def _lines(path: Path, delimiter: str, most: int) -> list[list[str]]:
    """Return the first lines, cut; none of a file that is no text, which the reader then names."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as handle:
            return list(itertools.islice(csv.reader(handle, delimiter=delimiter), most))
    except (OSError, csv.Error):
        return []
