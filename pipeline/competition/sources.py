"""From the YAML to frames of text: tables as they stand, or made from a folder per class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.competition.csv import checked_ids, read_csv
from pipeline.competition.labels import FOLDER_LABEL, label_columns
from pipeline.competition.pictures import Shelf, walk
from pipeline.config.competition import Competition, External
from pipeline.config.project import Project
from pipeline.errors import PodiumError, nearest


@dataclass(frozen=True)
class Source:
    """A table as text, where it stands, where its pictures lie, and what is so of all its rows."""

    path: Path
    frame: pd.DataFrame
    id_column: str
    image_column: str
    shelf: Shelf
    prefix: str = ""
    weight: float = 1.0
    external: bool = False

    def ids(self) -> np.ndarray:
        """Return the ids (n,), unique and not blank, with the source's prefix."""
        ids = checked_ids(self.frame, self.id_column, self.path).tolist()
        return np.array([self.prefix + name for name in ids], dtype=np.str_)


@dataclass(frozen=True)
class Reader:
    """Reads the tables of one competition; `yaml` names its YAML in errors."""

    project: Project
    competition: Competition

    @property
    def folder(self) -> Path:
        return self.competition.folder(self.project)

    @property
    def yaml(self) -> str:
        return self.project.shown(self.project.competition(self.competition.name))

    def training(self) -> list[Source]:
        """Return the training table and the external ones."""
        competition = self.competition
        if competition.folders:
            frames = [self._class_folder(name) for name in competition.folders.train]
            frame = pd.concat(frames, ignore_index=True)
            return [Source(self.folder, frame, "id", "id", Shelf(self.folder.resolve()))]
        first = self._table(competition.tables.train, self._training_columns(), "train")
        return [first, *(self._external(external) for external in competition.external)]

    def test(self) -> Source | None:
        """Return the test table, None where the competition has none."""
        competition = self.competition
        if competition.folders:
            return self._test_folder(competition.folders.test)
        name = competition.tables.test
        if name is None:
            return None
        columns, box = competition.columns, competition.crop.columns or ()
        if name == competition.tables.sample_submission:  # which has names of its own, or none
            return self._table(name, [*box], "test", sample=True)
        wanted = [columns.id, *([columns.image] if columns.image else []), *box]
        return self._table(name, wanted, "test")

    def sample_path(self) -> Path | None:
        """Return where the sample submission lies; None where the YAML names none and there is none
        by the usual name."""
        tables = self.competition.tables
        if tables.sample_submission is None:
            return None
        path = self.folder / tables.sample_submission
        named = "sample_submission" in tables.model_fields_set
        return path if named or path.exists() else None

    def listed(self, name: str) -> Path:
        """Return where a file of the YAML lies: below `data`, or from the project's root."""
        below = self.folder / name
        rooted = self.project.root / name
        return rooted if rooted.is_file() and not below.exists() else below

    def exclude_path(self) -> Path:
        """Return where the list of `exclude` lies."""
        return self.listed(self.competition.exclude or "")

    def excluded(self) -> dict[str, int]:
        """Return the ids of `exclude` and the row of each; none without that file."""
        if self.competition.exclude is None:
            return {}
        path = self.exclude_path()
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise PodiumError(
                f"{path}: cannot be read ({error}); put it there, or there from the project's "
                f"root, or mend `exclude` in {self.yaml}"
            ) from None
        rows = {line.strip(): row for row, line in enumerate(lines, start=1) if line.strip()}
        if rows.get(self.competition.columns.id) == 1:
            del rows[self.competition.columns.id]  # the header of a table of one column
        return rows

    def _training_columns(self) -> list[str]:
        columns = self.competition.columns
        named = [columns.image, columns.group, columns.weight, columns.train_only]
        wanted = [columns.id, *label_columns(self.competition), *(name for name in named if name)]
        return [*wanted, *(self.competition.crop.columns or ())]

    def _table(self, name: str, wanted: list[str], images: str, *, sample: bool = False) -> Source:
        path, columns = self.folder / name, self.competition.columns
        frame = read_csv(path, wanted, self.yaml, self.competition.tables.delimiter)
        column = sample_id_column(list(frame), columns.id) if sample else columns.id
        image = columns.image if columns.image in frame.columns else column
        shelf = self._shelf(self.competition.image_folder(images))
        prefix = self.competition.test_prefix if images == "test" else ""
        return Source(path, frame, column, image, shelf, prefix)

    def _shelf(self, images: str) -> Shelf:
        folder = (self.folder / images).resolve()
        return Shelf(folder, self.competition.extension, self.competition.nested)

    def _external(self, external: External) -> Source:
        columns, path = self.competition.columns, self.folder / external.table
        wanted = [columns.id, *label_columns(self.competition)]
        wanted += [name for name in (columns.image, columns.group) if name]
        wanted += self.competition.crop.columns or ()
        frame = read_csv(path, wanted, self.yaml, self.competition.tables.delimiter)
        images = external.images or self.competition.image_folder("train")
        same = external.prefix, external.weight, True
        image = columns.image or columns.id
        return Source(path, frame, columns.id, image, self._shelf(images), *same)

    def _class_folder(self, name: str) -> pd.DataFrame:
        """Return id and label of every picture in the folders of `name`, sorted by path."""
        place = self.folder / name
        if not place.is_dir():
            raise PodiumError(f"{place}: no such folder; mend `folders.train` in {self.yaml}")
        rows = []
        for folder in sorted(p for p in place.iterdir() if p.is_dir() and p.name[0] != "."):
            found = [f"{name}/{folder.name}/{picture}" for picture in walk(folder)]
            if not found:
                raise PodiumError(
                    f"{folder}: no picture in the folder of this class; put some there, or move it"
                )
            rows += [(picture.removeprefix("./"), folder.name) for picture in found]
        if not rows:
            raise PodiumError(
                f"{place}: no folder of a class in it; it must hold CLASS/PICTURE, or mend "
                f"`folders.train` in {self.yaml}"
            )
        return pd.DataFrame(rows, columns=["id", FOLDER_LABEL], dtype=str)

    def _test_folder(self, name: str | None) -> Source | None:
        if name is None:
            return None
        place = self.folder / name
        found = [f"{name}/{picture}".removeprefix("./") for picture in walk(place)]
        if not found:
            raise PodiumError(
                f"{place}: no picture in it; put the test pictures there, or mend `folders.test` "
                f"in {self.yaml}"
            )
        frame = pd.DataFrame({"id": self._names_in_sample(found), "image": found}, dtype=str)
        shelf = Shelf(self.folder.resolve())
        return Source(place, frame, "id", "image", shelf, self.competition.test_prefix)

    def _names_in_sample(self, found: list[str]) -> list[str]:
        """Return the ids of test pictures: their paths, or, where the sample submission calls them
        by their file names, with extension or without, these."""
        path = self.sample_path()
        if path is None:
            return found
        frame = read_csv(path, [], self.yaml, self.competition.tables.delimiter)
        wanted = set(frame[sample_id_column(list(frame), self.competition.columns.id)])
        return next((names for names in file_names(found) if set(names) == wanted), found)


def file_names(paths: list[str]) -> list[list[str]]:
    """Return the file names of pictures, with extension and without, where they are unique."""
    with_it = [path.rpartition("/")[2] for path in paths]
    forms = [with_it, [name.rpartition(".")[0] for name in with_it]]
    return [names for names in forms if len(set(names)) == len(names)]


def sample_id_column(columns: Sequence[str], id_column: str) -> str:
    """Return which of its columns is the id of a sample submission, which sites call Id where a
    table says id: the tables' own `id_column` if it is there, else the first."""
    return id_column if id_column in columns else columns[0]


def left_out(excluded: dict[str, int], ids: np.ndarray, path: Path) -> np.ndarray:
    """Return which of the training ids (n,) are excluded; one that is no id is named by its row."""
    known = set(ids.tolist())
    for name, row in excluded.items():
        if name not in known:
            raise PodiumError(
                f"{path}: row {row}: {name!r} is not a training id{nearest(name, known)}; "
                "take it out of the list"
            )
    return np.isin(ids, list(excluded))
