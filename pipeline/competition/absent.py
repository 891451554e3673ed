"""Pictures that are missing or broken: refused, dropped or kept without, as `missing_images` says.

Under `drop` and `predict-prior` they are listed in `experiments/runs/COMP/missing-images.csv`.
"""

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import write_text
from pipeline.competition.faults import faults
from pipeline.competition.rows import Rows
from pipeline.competition.sources import Reader
from pipeline.config.competition import Competition
from pipeline.config.project import Project
from pipeline.errors import PodiumError

COLUMNS = ["table", "id", "image", "reason"]


@dataclass(frozen=True)
class Absent:
    """A picture that cannot be used: of which table ('train' or 'test') and id, and why."""

    table: str
    id: str
    image: Path
    reason: str


def find_absent(
    project: Project, competition: Competition, train: Rows, test: Rows
) -> tuple[Rows, Rows, tuple[Absent, ...]]:
    """Look for absent pictures where the competition has a policy for them; return the rows to use.

    Training rows without a picture are dropped, or kept with `pictured` unset (`predict-prior`, but
    not rows that are only trained on); test rows are always kept.
    """
    if competition.missing_images == "error":
        return train, test, ()
    known = len(train)
    found = faults([*train.images, *test.images], project.cache)
    pictured = np.ones(known + len(test), bool)
    pictured[list(found)] = False
    absent = tuple(_describe(train, test, place, reason) for place, reason in found.items())
    train = replace(train, pictured=pictured[:known])
    if not train.pictured.any():
        yaml = Reader(project, competition).yaml
        raise PodiumError(
            f"{train.images[0]}: {absent[0].reason}, and none of the {known} training pictures can "
            f"be used; mend `images` or `extension` in {yaml}"
        )
    drop = ~train.pictured & (train.train_only | (competition.missing_images == "drop"))
    test = replace(test, pictured=pictured[known:])
    _write_list(list_path(project, competition.name), absent)
    return train.take(~drop), test, absent


def list_path(project: Project, comp: str) -> Path:
    """Return where the absent pictures of a competition are listed."""
    return project.runs(comp) / "missing-images.csv"


def _describe(train: Rows, test: Rows, place: int, reason: str) -> Absent:
    if place < len(train):
        return Absent("train", str(train.ids[place]), train.images[place], reason)
    place -= len(train)
    return Absent("test", str(test.ids[place]), test.images[place], reason)


def _write_list(path: Path, absent: tuple[Absent, ...]) -> None:
    if not absent:
        path.unlink(missing_ok=True)
        return
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([a.table, a.id, a.image.as_posix(), a.reason] for a in absent)
    if not path.exists() or path.read_bytes() != out.getvalue().encode():
        write_text(path, out.getvalue())


def require_pictures(
    project: Project, competition: Competition, train: Rows, test: Rows, rows: np.ndarray
) -> None:
    """Refuse absent pictures among `rows`, which count through train, then test: how many there
    are, and the file and row of the first."""
    paths = [*train.images, *test.images]
    found = faults([paths[i] for i in rows], project.cache, keep=False)
    if not found:
        return
    first, reason = next(iter(found.items()))
    one = _describe(train, test, int(rows[first]), reason)
    reader = Reader(project, competition)
    more = f"; {len(found)} of {len(rows)} pictures are absent or broken" if len(found) > 1 else ""
    raise PodiumError(
        f"{_table_row(reader, one)}: image {one.image}: {reason}{more}; put it there, or say "
        f"missing_images: predict-prior (or drop) in {reader.yaml}"
    )


def _table_row(reader: Reader, one: Absent) -> str:
    test = reader.test()
    for source in [test] if one.table == "test" and test else reader.training():
        at = np.flatnonzero(source.ids() == one.id)
        if len(at):
            return f"{source.path}: row {at[0] + 2}"
    return f"{reader.folder}: id {one.id!r}"


def sentence(project: Project, comp: str, absent: tuple[Absent, ...], policy: str) -> str:
    """Say how many pictures cannot be used and what becomes of their rows."""
    train = sum(one.table == "train" for one in absent)
    what = "dropped" if policy == "drop" else "not trained on, answered without looking at pixels"
    return (
        f"missing or broken pictures: {train:,} of training rows ({what}), "
        f"{len(absent) - train:,} of test rows (answered without looking at pixels); listed in "
        f"{project.shown(list_path(project, comp))}"
    )
