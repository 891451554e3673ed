"""Grade submissions as a competition site does: the only module that opens a competition's answers.

A site reads the file, not what the pipeline meant to write, and joins it to the answers by id.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.competition import CompetitionData, check_same_ids
from pipeline.competition.csv import checked_ids, read_csv
from pipeline.competition.labels import encode, label_columns
from pipeline.errors import PodiumError
from pipeline.metrics import paired_difference, standard_error
from pipeline.submission.formats import decode, sample_of
from pipeline.submission.ledger import Entry, enter, rows

USAGE = "Usage"


@dataclass(frozen=True)
class Scores:
    """What a site knows of a submission; `public` is None where every answer is private."""

    metric: str
    public: float | None
    private: float
    all: float
    rows_public: int
    rows_private: int


@dataclass(frozen=True)
class _Answers:
    """The true labels (n,) or (n, c) of the test rows in their order, and which are public (n,)."""

    labels: np.ndarray
    public: np.ndarray
    groups: np.ndarray | None


def grade(data: CompetitionData, path: Path) -> Scores:
    """Score the submission `path`; one that a site would refuse is refused with row and column."""
    return _scores(data, _read_answers(data), path)


def grade_all(data: CompetitionData) -> list[tuple[Entry, Scores]]:
    """Grade what the ledger has without a score and enter it; a score that is there stays.

    Returns the rows graded now. A file that cannot be graded does not keep the others from it: its
    error is raised when they are done.
    """
    answers = _read_answers(data)
    project, comp = data.project, data.competition.name
    graded, faults = [], []
    for row in rows(project, comp):
        if row.private and (row.public or not answers.public.any()):
            continue
        try:
            scores = _scores(data, answers, unchanged(project.root / row.file, row))
        except PodiumError as fault:
            faults.append(fault)
            continue
        graded.append((_enter(data, row.number, scores), scores))
    if faults:
        raise faults[0]
    return graded


def public_rows(data: CompetitionData) -> int:
    """Return how many test rows the public score is of, as the answers say."""
    return int(_read_answers(data).public.sum())


def private_se(data: CompetitionData, path: Path) -> float:
    """Return the standard error of the private score, by resampling groups (rows if none)."""
    truth, groups, (answer,) = _graded_rows(data, [path], True)
    return standard_error(data.metric, truth, answer, groups=groups)


def paired_gain(
    data: CompetitionData, before: Path, after: Path, *, private: bool = True
) -> tuple[float, float]:
    """Return by how much submission `after` beats `before` (positive: better) on the private rows,
    or on all, and the standard error of that difference, both scored on the same resamples."""
    truth, groups, answers = _graded_rows(data, [before, after], private)
    return paired_difference(data.metric, truth, *answers, groups=groups)


def _graded_rows(
    data: CompetitionData, paths: list[Path], private: bool
) -> tuple[np.ndarray, np.ndarray | None, list[np.ndarray]]:
    """Return labels, groups and the submissions' answers of the private rows, or of all."""
    answers = _read_answers(data)
    wanted = ~(answers.public & private)
    groups = None if answers.groups is None else answers.groups[wanted]
    read = [read_submission(data, path)[wanted] for path in paths]
    return answers.labels[wanted], groups, read


def unchanged(path: Path, row: Entry) -> Path:
    """Return `path` if it still holds what was entered, so that no score goes to another file."""
    if not path.exists():
        raise PodiumError(
            f"{path}: no such file; make it again: make submit FROM={row.source}, "
            f"or take number {row.number} out of the ledger"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256:
        raise PodiumError(
            f"{path}: was changed after it was entered in the ledger; restore it, "
            f"or take number {row.number} out of the ledger"
        )
    return path


def _enter(data: CompetitionData, number: int, scores: Scores) -> Entry:
    found = {"public": scores.public, "private": scores.private}
    known = {column: repr(score) for column, score in found.items() if score is not None}
    return enter(data.project, data.competition.name, number, **known)


def _scores(data: CompetitionData, answers: _Answers, path: Path) -> Scores:
    metric = data.metric
    answer = read_submission(data, path)
    public = answers.public
    return Scores(
        metric=metric.name,
        public=metric.score(answers.labels[public], answer[public]) if public.any() else None,
        private=metric.score(answers.labels[~public], answer[~public]),
        all=metric.score(answers.labels, answer),
        rows_public=int(public.sum()),
        rows_private=int((~public).sum()),
    )


def read_submission(data: CompetitionData, path: Path) -> np.ndarray:
    """Return the answer that a submission gives, its rows in the order of the test table."""
    sample = sample_of(data)
    frame = read_csv(path, [], "the ledger", sample.delimiter)
    columns = [str(name) for name in frame.columns]
    if sorted(columns) != sorted(sample.columns):
        raise PodiumError(
            f"{path}: its columns are {','.join(columns)}, but must be {','.join(sample.columns)}; "
            "mend the submission"
        )
    ids = np.char.add(sample.prefix, checked_ids(frame, sample.id_column, path))
    check_same_ids(ids, data.test.ids, path, "a submission answers each test id once")
    return decode(frame, sample, data, path)[_places(ids, data.test.ids)]


def _places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where each wanted id stands in `ids`.

    Everything is scored in the order of the test table: sums of floats depend on their order.
    """
    position = {one: i for i, one in enumerate(ids.tolist())}
    return np.array([position[one] for one in wanted.tolist()], dtype=np.int64)


def _read_answers(data: CompetitionData) -> _Answers:
    competition = data.competition
    yaml = data.yaml
    if competition.tables.answers is None:
        raise PodiumError(
            f"{yaml}: names no tables.answers, so nothing can be graded here; "
            "enter the score that the site shows: "
            f"make score COMP={competition.name} SCORE=0.74"
        )
    path = competition.folder(data.project) / competition.tables.answers
    wanted = [competition.columns.id, *label_columns(competition)]
    frame = read_csv(path, wanted, yaml, competition.tables.delimiter)
    ids = np.char.add(competition.test_prefix, checked_ids(frame, competition.columns.id, path))
    rule = f"it must hold the ids of {competition.tables.test}; mend `tables` in {yaml}"
    check_same_ids(ids, data.test.ids, path, rule)
    labels = encode(frame, competition, data.classes, path)
    places = _places(ids, data.test.ids)
    return _Answers(labels[places], _public(frame, path)[places], _groups(data, frame, places))


def _public(frame: pd.DataFrame, path: Path) -> np.ndarray:
    """Return which rows are public (n,); without a column of usage none is."""
    if USAGE not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    for row, value in enumerate(frame[USAGE]):
        if value not in ("Public", "Private"):
            raise PodiumError(
                f"{path}: row {row + 2}, column {USAGE!r} is {value!r}, not Public or Private; "
                "mend that row"
            )
    public = (frame[USAGE] == "Public").to_numpy(dtype=bool)
    if public.all():
        raise PodiumError(
            f"{path}: every row of {USAGE!r} is Public; the final score needs Private rows"
        )
    return public


def _groups(data: CompetitionData, answers: pd.DataFrame, places: np.ndarray) -> np.ndarray | None:
    """Return the group of each test row, from the answers or the test table; None in neither."""
    group, tables = data.competition.columns.group, data.competition.tables
    if group is None:
        return None
    if group in answers.columns:
        return answers[group].to_numpy(np.str_)[places]
    if tables.test is None:
        return None
    path = data.competition.folder(data.project) / tables.test
    test = read_csv(path, [], "the YAML", tables.delimiter)
    return test[group].to_numpy(np.str_) if group in test.columns else None
