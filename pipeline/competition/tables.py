"""Load a competition: its YAML's tables as aligned arrays. Answers are not among them."""

import contextlib
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.hashing import json_hash
from pipeline.competition.absent import Absent, find_absent, sentence
from pipeline.competition.corrections import Corrections, read_corrections
from pipeline.competition.labels import class_names
from pipeline.competition.rows import Rows, joined, no_rows, rows_of, with_pictures_grouped
from pipeline.competition.sample import Sample, SampleReader
from pipeline.competition.sources import Reader, Source, left_out
from pipeline.config.competition import Competition, load_competition
from pipeline.config.project import Project
from pipeline.errors import PodiumError
from pipeline.metrics import CustomMetric, Metric, Undefined, custom_metric, get_metric


@dataclass(frozen=True)
class CompetitionData:
    """A competition with its tables: everything that training, blending and deciding may see.

    `absent` lists the pictures that are missing or broken. `test` has no rows, and `sample` is
    None, where the competition has no test table.
    """

    project: Project
    competition: Competition
    classes: tuple[str, ...]
    train: Rows
    test: Rows
    sample: Sample | None
    absent: tuple[Absent, ...]
    metric: Metric
    corrections: Corrections | None = None

    @property
    def labels(self) -> np.ndarray:
        """The training labels: (n,) int64 for multiclass, (n, c) int8 for multilabel."""
        if self.train.labels is None:
            raise AssertionError("a training table always has labels")
        return self.train.labels

    @cached_property
    def uncorrected(self) -> "CompetitionData":
        """The same with the labels of the competition's own table; itself where none is corrected.
        Rows that corrections drop stay out."""
        if self.corrections is None or not self.corrections.before:
            return self
        return replace(self, train=self.corrections.undo(self.train), corrections=None)

    @property
    def sentences(self) -> list[str]:
        """What whoever works on these tables should know of them: missing pictures, corrections."""
        said = []
        if self.absent:
            policy = self.competition.missing_images
            said.append(sentence(self.project, self.competition.name, self.absent, policy))
        if self.corrections is not None:
            said.append(self.corrections.sentence(self.project.shown(self.corrections.path)))
        return said

    @property
    def yaml(self) -> str:
        """The competition's YAML as a user of the project would type it."""
        return self.project.shown(self.project.competition(self.competition.name))

    def label_in_words(self, row: int) -> str:
        """Return the names of the classes of a training row; 'no label' where it has none."""
        label = self.labels[row]
        if label.ndim == 0:
            return self.classes[label]
        return ", ".join(self.classes[i] for i in np.flatnonzero(label)) or "no label"

    @cached_property
    def hash(self) -> str:
        """Changes with the task, a class, an id, a training label, a box, a weight, a row that is
        only trained on, or a picture's name, size in bytes or absence; not with the order of rows
        or the place of the folder."""
        labels = dict(zip(self.train.ids.tolist(), self.labels.tolist(), strict=True))
        pictures = {**self._pictures(self.train), **self._pictures(self.test)}
        return json_hash([self.competition.task, self.classes, labels, pictures, *self._extras()])

    def _extras(self) -> list[Any]:
        """Return what few competitions have, so that the hash of the others stays what it was."""
        train, ids, extras = self.train, self.train.ids.tolist(), []
        if train.weights is not None:
            extras.append(dict(zip(ids, train.weights.tolist(), strict=True)))
        if train.train_only.any():
            extras.append(["train only", sorted(train.ids[train.train_only].tolist())])
        if self.absent:
            extras.append(["absent", sorted([a.table, a.id] for a in self.absent)])
        default = Competition.model_fields["max_megapixels"].default
        if self.competition.max_megapixels != default:
            extras.append(["max_megapixels", self.competition.max_megapixels])
        return extras

    def _pictures(self, rows: Rows) -> dict[str, list[Any]]:
        """Return name, size and box by id. Size and name are cheap; times change with a copy."""
        folder = self.competition.folder(self.project)
        if isinstance(self.competition.images, str) and not self.competition.folders:
            folder = folder / self.competition.images
        folder = folder.resolve()
        boxes = [None] * len(rows) if rows.boxes is None else rows.boxes.tolist()
        return {
            name: [os.path.relpath(path, folder), _bytes_of(path), box]
            for name, path, box in zip(rows.ids.tolist(), rows.images, boxes, strict=True)
        }


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # what becomes of a missing picture is up to `missing_images`


def load_data(project: Project, comp: str) -> CompetitionData:
    """Load competition `comp`; one that the pipeline makes is first made if it is not there."""
    competition = load_competition(project, comp)
    if competition.built_in:
        from pipeline.competition.built_in import ensure_made

        ensure_made(competition.built_in, competition.folder(project))
    return read_data(project, competition)


def read_data(project: Project, competition: Competition) -> CompetitionData:
    """Read and check the tables that `competition` describes."""
    reader = Reader(project, competition)
    metric = competition_metric(project, competition)
    training, source = reader.training(), reader.test()
    classes = class_names(training[0].frame, competition, training[0].path)
    if len(classes) < 2 and competition.task == "multiclass":
        raise PodiumError(
            f"{training[0].path}: fewer than two classes ({list(classes)}); nothing to learn"
        )
    train = joined([rows_of(competition, s, classes) for s in training], training)
    train = train.take(~left_out(reader.excluded(), train.ids, reader.exclude_path()))
    train = with_pictures_grouped(train)
    _try_metric(metric, train)
    test = no_rows() if source is None else rows_of(competition, source, None)
    _refuse_shared_ids(reader, train, test, source, training[0])
    corrections = read_corrections(reader, train, classes, test.ids)
    train = train if corrections is None else corrections.apply(train)
    sample = None
    if source is not None:
        sample = SampleReader(reader, classes, metric.needs == "probs", test.ids).read()
    train, test, absent = find_absent(project, competition, train, test)
    tables = classes, train, test, sample
    return CompetitionData(project, competition, *tables, absent, metric, corrections)


def competition_metric(project: Project, competition: Competition) -> Metric:
    """Return the competition's metric: by its usual name (f1.0_macro is f1_macro), or the host's
    own from a Python file beside the YAML or the tables."""
    if not competition.metric.endswith(".py"):
        return get_metric(competition.metric, competition.task)
    beside = project.competitions / competition.metric
    path = beside if beside.exists() else competition.folder(project) / competition.metric
    return custom_metric(path, competition.task)


def _try_metric(metric: Metric, train: Rows) -> None:
    """Let a metric of the host's own score the labels themselves, so that a broken one is named
    before anything is trained."""
    if not isinstance(metric, CustomMetric) or train.labels is None:
        return
    perfect = train.labels
    if metric.needs == "probs":
        several = train.labels.ndim == 2
        perfect = train.labels if several else np.eye(train.labels.max() + 1)[train.labels]
    with contextlib.suppress(Undefined):
        metric.score(train.labels, np.asarray(perfect, float if metric.needs == "probs" else None))


def _refuse_shared_ids(
    reader: Reader, train: Rows, test: Rows, source: Source | None, first: Source
) -> None:
    both = np.intersect1d(train.ids, test.ids)
    if source is not None and len(both):
        row = int(np.flatnonzero(test.ids == both[0])[0])
        raise PodiumError(
            f"{source.path}: row {row + 2}: id {str(both[0])!r} is also in {first.path.name}; a "
            "test row must not be a training row (if they are different pictures, "
            f"test_prefix: test- in {reader.yaml} tells them apart)"
        )
