"""What is known of a competition, read from its records: nothing is trained, and of the answers to
the test set only the scores in the ledger are seen, and how many rows are public."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.artifacts.files import read_object
from pipeline.artifacts.findings import Audit
from pipeline.artifacts.predictions import Predictions
from pipeline.competition import CompetitionData
from pipeline.decisions import as_labels, confidence
from pipeline.ensemble.answers import load_answers
from pipeline.ensemble.build import Decided, open_decided
from pipeline.ensemble.diagnostics import DIAGNOSTICS
from pipeline.ensemble.members import list_runs, read_record, validated_rows
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.leaderboard.board import Board
from pipeline.submission.ledger import Entry
from pipeline.submission.standings import Standing

Found = TypeVar("Found")
# Names of what is not a run, among the faults.
AUDIT, LEDGER, FOLDS, RUNS = "audit.json", "the ledger", "the folds", "the runs"
FLOOR, BOARD = "the majority answer", "the leaderboard"
OTHERS = (AUDIT, LEDGER, FOLDS, RUNS, FLOOR, BOARD)


@dataclass(frozen=True, eq=False)
class Subject:
    """A run or ensemble: `record` is its run.json or ensemble.json, `decided` its decision,
    `diagnostics` what that found. It has the answers to the validated rows, which no part of the
    decision had seen, and how sure its out-of-fold probabilities were of them."""

    standing: Standing
    record: dict[str, Any]
    decided: Decided
    diagnostics: dict[str, Any]
    data: CompetitionData
    folds: Folds

    @property
    def name(self) -> str:
        return self.standing.name

    @property
    def folder(self) -> Path:
        return self.decided.folder

    @property
    def blended(self) -> bool:
        return "ensemble" in self.decided.record

    @cached_property
    def rows(self) -> np.ndarray:
        """The places of the validated rows in the training table."""
        return validated_rows(self.folds)

    @cached_property
    def ids(self) -> np.ndarray:
        return self.data.train.ids[self.rows]

    @cached_property
    def labels(self) -> np.ndarray:
        """Their labels, class indices (n,) or 0/1 (n, c)."""
        return self.data.labels[self.rows]

    @cached_property
    def given(self) -> np.ndarray:
        """What they were answered, in the form that the metric scores."""
        return load_answers(self.decided, self.data, self.folds)

    @cached_property
    def answer(self) -> np.ndarray:
        """The same in the form of the labels."""
        return as_labels(self.given, self.data.competition.task)

    @cached_property
    def probs(self) -> np.ndarray:
        """Out-of-fold probabilities (n, c), rows and classes in the order of the competition."""
        path = self.folder / "oof.npz"
        stored = Predictions.load(path).with_classes(self.data.classes, str(path))
        return stored.rows(self.ids, str(path)).probs

    @cached_property
    def sure(self) -> np.ndarray:
        """How sure the probabilities are of the answers (n,)."""
        return confidence(self.probs, self.answer, self.data.competition.task)

    @cached_property
    def wrong(self) -> np.ndarray:
        """Whether the answer to each row is wrong; of several labels, whether any is (n,)."""
        other = self.answer != self.labels
        return other if other.ndim == 1 else other.any(axis=1)


@dataclass(frozen=True, eq=False)
class Scene:
    """All that the page is made from. `folds` are None before `make folds`, `audit` before `make
    audit`, `board` before there is a run. `focus` is what galleries show, the best or what FROM
    names, and `before` what it is held against; `left_out` are the runs that do not count, those
    among them that an error keeps out are `broken`; `faults` says, by what was looked at, why it
    could not be used."""

    data: CompetitionData
    folds: Folds | None
    standings: tuple[Standing, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    majority: Standing | None = None
    subjects: tuple[Subject, ...] = ()
    best: Subject | None = None
    focus: Subject | None = None
    before: Subject | None = None
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    audit: Audit | None = None
    board: Board | None = None
    entries: tuple[Entry, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def comp(self) -> str:
        return self.data.competition.name

    @property
    def runs_folder(self) -> Path:
        return self.data.project.runs(self.comp)

    @property
    def unreadable(self) -> str:
        """Why the best cannot be told or shown although runs are there: the fault of the ledger,
        the folds, all runs, or the best itself; '' where nothing is wrong."""
        best = [one.name for one in self.standings[:1]] if self.best is None else []
        broken = [] if self.records else [name for name in self.faults if name not in OTHERS]
        names = (LEDGER, FOLDS, RUNS, *best, *broken)
        return next((self.faults[name] for name in names if name in self.faults), "")

    def subject(self, name: str) -> Subject | None:
        """Return a run or ensemble that is shown in full."""
        return next((one for one in self.subjects if one.name == name), None)


def attempt(what: str, faults: dict[str, str], look: Callable[[], Found]) -> Found | None:
    """Return what `look` finds; what a user can mend is noted among the faults and is None."""
    try:
        return look()
    except PodiumError as error:
        faults[what] = str(error)
        return None


def open_subject(
    data: CompetitionData, folds: Folds, standing: Standing, faults: dict[str, str]
) -> Subject | None:
    """Return a run or ensemble with all that is known of it, None where its files are broken."""

    def look() -> Subject:
        record = read_record(data, standing.name)
        decided = open_decided(data, folds, standing.name)
        path = decided.folder / DIAGNOSTICS
        found = read_object(path, ("classes", "per_class", "reliability"), "make it again")
        subject = Subject(standing, record, decided, found, data, folds)
        _ = subject.answer  # what cannot be read is said now
        return subject

    return attempt(standing.name, faults, look)


def all_records(data: CompetitionData, faults: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the records of all runs and ensembles that can be read, finished or not."""
    found = {}
    for name in list_runs(data):
        record = attempt(name, faults, lambda name=name: read_record(data, name))
        if record is not None:
            found[name] = record
    return found


def chosen(standings: Sequence[Standing], source: str, shown: int) -> list[Standing]:
    """Return the standings that are shown in full: `source` first if one is named, and the best, of
    ensembles and of runs; `standings` come best first."""
    first = [one for one in standings if one.name == source]
    ensembles = [one for one in standings if one.blend != "-"]
    single = [one for one in standings if one.blend == "-"]
    order = [*first, *standings[:1], *ensembles[:1], *single[:1], *standings]
    return list({one.name: one for one in order}.values())[:shown]


def before_of(best: str, standings: Sequence[Standing], entries: Sequence[Entry]) -> str:
    """Return what the best is held against: the parent of its newest submission, else the
    submission before that, of another run or ensemble; else the next best; '' if there is none."""
    names = [one.name for one in standings if one.name != best and one.honest is not None]
    own = [entry for entry in entries if entry.source == best]
    if own:
        by_number = {str(entry.number): entry.source for entry in entries}
        parent = by_number.get(own[-1].parent, "")
        earlier = [entry.source for entry in entries if entry.number < own[-1].number]
        for name in (parent, *reversed(earlier)):
            if name in names:
                return name
    return names[0] if names else ""
