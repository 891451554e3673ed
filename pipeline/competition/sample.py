"""The form of a submission: told from the sample's columns, or the usual one without a sample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.competition.csv import checked_ids, read_csv, usual_delimiter
from pipeline.competition.labels import label_columns
from pipeline.competition.sources import Reader, sample_id_column
from pipeline.config.competition import Competition
from pipeline.errors import PodiumError, nearest

Kind = Literal["name", "names", "binary", "probability", "positive"]


@dataclass(frozen=True)
class Sample:
    """What a submission looks like: `ids` (n,) and `columns` in their order, the `delimiter`
    between these, and the `prefix` that the ids have within the pipeline alone.

    `kind` says what the value columns hold: a class 'name', the 'names' joined by the separator, a
    column per class that is 'binary' (0 or 1) or a 'probability', or one column with the
    probability of the 'positive', the second, of two classes.
    """

    path: Path
    ids: np.ndarray
    columns: tuple[str, ...]
    id_column: str
    kind: Kind
    delimiter: str = ","
    prefix: str = ""

    @property
    def written_ids(self) -> list[str]:
        """The ids as the site knows them, without the prefix that they have here."""
        return [name.removeprefix(self.prefix) for name in self.ids.tolist()]

    @property
    def of_probabilities(self) -> bool:
        return self.kind in ("probability", "positive")

    @property
    def values(self) -> tuple[str, ...]:
        """The columns beside the id."""
        return tuple(name for name in self.columns if name != self.id_column)


@dataclass(frozen=True)
class SampleReader:
    """Reads or makes up the sample of a competition with these classes and test ids (n,)."""

    reader: Reader
    classes: tuple[str, ...]
    needs_probs: bool
    test_ids: np.ndarray

    @property
    def competition(self) -> Competition:
        return self.reader.competition

    def read(self) -> Sample:
        """Return the form of a submission, the usual one without a sample; a sample's ids must be
        the test table's."""
        tables, yaml = self.competition.tables, self.reader.yaml
        path = self.reader.sample_path()
        if path is None:
            return self._usual()
        frame = read_csv(path, [], yaml, tables.delimiter)
        columns = tuple(str(name) for name in frame.columns)
        id_column = sample_id_column(columns, self.competition.columns.id)
        prefix = self.competition.test_prefix
        ids = np.char.add(prefix, checked_ids(frame, id_column, path))
        folders = self.competition.folders
        what = f"the ids of {tables.test}; mend `tables`"
        if folders:
            what = f"the names or paths of the pictures in {folders.test}; mend `folders`"
        check_same_ids(ids, self.test_ids, path, f"it must hold {what} in {yaml}")
        values = [name for name in columns if name != id_column]
        form = ids, columns, id_column, self._kind(values, path)
        return Sample(path, *form, tables.delimiter or usual_delimiter(path), prefix)

    def _usual(self) -> Sample:
        """Return the form where there is no sample: the labels' own columns, or one per class."""
        names = list(self.classes) if self.needs_probs else label_columns(self.competition)
        kind: Kind = "name" if self.competition.task == "multiclass" else "names"
        if self.needs_probs:
            kind = "probability"
        elif self.competition.columns.classes:
            kind = "binary"
        if kind == "names":
            self._check_separable()
        id_column = "id" if self.competition.folders else self.competition.columns.id
        path = self.reader.folder / (self.competition.tables.test or "test")
        form = self.test_ids, (id_column, *names), id_column, kind
        return Sample(path, *form, prefix=self.competition.test_prefix)

    def _kind(self, values: list[str], path: Path) -> Kind:
        columns, task = self.competition.columns, self.competition.task
        if sorted(values) == sorted(self.classes):
            return "probability" if self.needs_probs else "binary"
        if self.needs_probs and len(values) == 1 and task == "multiclass" and self._has_two():
            return "positive"
        labels = {columns.label, columns.labels}
        if len(values) != 1 or (values[0] in self.classes and values[0] not in labels):
            raise self._wrong_columns(values, path)
        if self.needs_probs:
            shown = [columns.id, *self.classes[:3]]
            per_class = ",".join(shown) + ",..." * (len(self.classes) > 3)
            raise PodiumError(
                f"{path}: metric {self.competition.metric!r} needs a probability per class, but "
                f"the only column beside the id is {values[0]!r}; give it a column each: "
                f"{per_class}, or mend `metric` in {self.reader.yaml}"
            )
        if task == "multilabel":
            self._check_separable()
        return "name" if task == "multiclass" else "names"

    def _has_two(self) -> bool:
        return len(self.classes) == 2

    def _wrong_columns(self, values: list[str], path: Path) -> PodiumError:
        rule = "it takes the id and one column of names, or the id and one column per class"
        unknown = [name for name in values if name not in self.classes]
        if not values:
            return PodiumError(f"{path}: no column beside the id; {rule}")
        if unknown:
            hint = nearest(unknown[0], self.classes)
            return PodiumError(f"{path}: column {unknown[0]!r} is not a class{hint}; {rule}")
        missing = [name for name in self.classes if name not in values]
        return PodiumError(f"{path}: no column for class {missing[0]!r}; {rule}")

    def _check_separable(self) -> None:
        """Joined names must come apart again: no class may hold the separator or outer spaces."""
        separator = self.competition.columns.separator
        for name in self.classes:
            if not separator or separator in name or name != name.strip() or not name:
                raise PodiumError(
                    f"{self.reader.yaml}: class {name!r} cannot be joined by the separator "
                    f"{separator!r}; choose a columns.separator that no class holds, such as ';'"
                )


def check_same_ids(ids: np.ndarray, wanted: np.ndarray, path: Path | str, rule: str) -> None:
    """Refuse ids that are not exactly `wanted`, in whatever order; name the first that differs."""
    known, given = set(wanted.tolist()), set(ids.tolist())
    foreign = [row for row, one in enumerate(ids.tolist()) if one not in known]
    if foreign:
        row = foreign[0]
        raise PodiumError(f"{path}: row {row + 2}: id {str(ids[row])!r} is unknown; {rule}")
    missing = [one for one in wanted.tolist() if one not in given]
    if missing:
        raise PodiumError(
            f"{path}: {len(missing)} of {len(wanted)} ids are missing, first {missing[0]!r}; {rule}"
        )
