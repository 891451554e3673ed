"""What a run learns from another one: rows of the test table, labelled fold by fold.

The network of the teacher's fold k has seen neither these rows nor a label of those that fold k
validates, and so the student's fold k may learn from it. The mean over the teacher's folds may not
be learnt from: all but one of its networks have seen the labels that the student's fold validates.

References: Lee (2013), Pseudo-Label; Hinton, Vinyals and Dean (2015), Distilling the knowledge in a
neural network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import file_hash, read_object, write_json
from pipeline.artifacts.predictions import Predictions
from pipeline.config.learning import Teacher
from pipeline.config.project import checked_name
from pipeline.errors import PodiumError, nearest
from pipeline.training.fold import is_finished
from pipeline.training.job import Lessons
from pipeline.training.notes import SELECTED
from pipeline.training.parts import Parts

KEY = "teacher.run"
AGAIN = "train it again"
KEYS = "competition", "folds_hash", "data_hash", "recipe_hash"
SAME = {
    "folds_hash": "other folds",
    "data_hash": "other labels, ids or pictures",
    "repeat_hashes": "other repeated folds",
}


@dataclass(frozen=True)
class Teaching:
    """What a run learns as its recipe's `asked` says; `meta` and `parts` are its own.

    `refit_of`: the student's run, where the student is a refit. A refit has seen all rows, and so
    it learns from the teacher's refit, which has no part in any score.
    """

    asked: Teacher
    meta: dict[str, Any]
    parts: Parts
    refit_of: str | None = None

    @property
    def name(self) -> str:
        """The run whose networks label: the teacher, or its refit."""
        return f"{self.asked.run}-refit" if self.refit_of else self.asked.run

    def check(self, jobs: Iterable[Path]) -> None:
        """Refuse what cannot be learnt from; `jobs` are the student's folders."""
        self._check_table()
        self._check_record(self.asked.run, None)
        if self.refit_of:
            self._check_refit()
        folders = [folder.name for folder in jobs]
        unfinished = [name for name in folders if not is_finished(self._folder(self.name) / name)]
        if unfinished:
            what = ", ".join(name.replace("-", " ") for name in unfinished)
            raise PodiumError(
                f"{KEY}: {self.name} has not finished {what}; train it to the end first"
                + ("" if self.refit_of else ", or ask with ONLY= for folds that it has")
            )
        for name in folders:
            self.lessons(name)

    def lessons(self, job: str) -> Lessons:
        """Return what the job in the folder `job`, 'fold-3' for example, learns."""
        found = self._answers(job)
        rows = self._rows
        ids = self.parts.data.test.ids[rows - len(self.parts.data.train)]
        if not set(ids.tolist()) <= set(found.ids.tolist()):
            raise PodiumError(f"{KEY}: {self.name} lacks answers to test rows; {AGAIN}")
        probs = found.rows(ids).probs
        multiclass = self.parts.data.competition.task == "multiclass"
        sure = confidence(probs, multiclass)
        kept = sure >= self.asked.confidence
        if not kept.any():
            raise PodiumError(
                f"teacher.confidence: no test row's is {self.asked.confidence:g} or more in "
                f"{job.replace('-', ' ')} of {self.name}, the highest is {sure.max():.4f}; lower it"
            )
        probs = probs[kept]
        targets = hard_labels(probs, multiclass) if self.asked.hard else probs
        return Lessons(rows[kept], np.ascontiguousarray(targets, np.float32), self.asked.weight)

    def record(self) -> dict[str, Any]:
        """Return what the student's record pins: which recipe the teacher has, the hashes of what
        it answered in the folds that are finished, and whether these were used to choose it."""
        folder = self._folder(self.name)
        path = folder / "run.json"
        said = read_object(path, (), AGAIN) if path.exists() else {}
        answers = {p.parent.name: file_hash(p) for p in sorted(folder.glob("*/test.npz"))}
        return {
            "run": self.name,
            "recipe_hash": said.get("recipe_hash"),
            "answers": {name: h for name, h in answers.items() if is_finished(folder / name)},
            "selected": any(w.startswith(SELECTED) for w in said.get("warnings", ())),
        }

    def pinned(self, path: Path) -> dict[str, Any]:
        """Return what the student's record in `path` pins, or will when it is made."""
        content = read_object(path, (), AGAIN) if path.exists() else {}
        return content.get("teacher") or self.record()

    def pin(self, path: Path) -> None:
        """Add to the student's record the folds that the teacher has finished since."""
        old, new = self.pinned(path), self.record()
        pins = new | {
            "recipe_hash": old["recipe_hash"] or new["recipe_hash"],
            "answers": new["answers"] | old["answers"],
            "selected": old["selected"] or new["selected"],
        }
        if pins != old:
            write_json(path, read_object(path, (), AGAIN) | {"teacher": pins})

    def check_same(self, path: Path, student: str, remedy: str) -> None:
        """Refuse a teacher that was trained anew since the student's record in `path` was made. One
        that is no longer there keeps nobody from reading what was learnt from it."""
        old, new = self.pinned(path), self.record()
        if new["recipe_hash"] is None:
            return
        pairs = {"recipe": (old["recipe_hash"], new["recipe_hash"])}
        answers = new["answers"].items()
        pairs |= {job: (old["answers"].get(job), now) for job, now in answers}
        for what, (was, now) in pairs.items():
            if was not in (None, now):
                raise PodiumError(
                    f"{student}: {KEY} {self.name} was trained anew meanwhile "
                    f"({what.replace('-', ' ')} {was} -> {now}); {remedy}"
                )

    @property
    def _rows(self) -> np.ndarray:
        """The test rows that can be learnt from: those that have a picture, and that LIMIT keeps.
        Rows of the training table that are kept apart as a local test are none of them."""
        pictured = self.parts.data.test.pictured
        return self.parts.test[pictured[self.parts.test - len(self.parts.data.train)]]

    def _folder(self, name: str) -> Path:
        data = self.parts.data
        return data.project.runs(data.competition.name) / checked_name(name, KEY)

    def _check_table(self) -> None:
        if not len(self.parts.data.test):
            raise PodiumError(
                f"{KEY}: {self.asked.run} would label rows of the test table, and this competition "
                f"has none; set {KEY}=''"
            )
        if not len(self._rows):
            raise PodiumError(f"{KEY}: no row of the test table has a picture; set {KEY}=''")

    def _check_record(self, name: str, refit_of: str | None) -> dict[str, Any]:
        """Return the record of the run `name`; refuse one that cannot teach."""
        folder = self._folder(name)
        if name in (self.meta["run"], self.refit_of):
            raise PodiumError(f"{KEY}: {name} cannot learn from itself; choose another NAME=")
        if (folder / "ensemble.json").exists():
            raise PodiumError(
                f"{KEY}: {name} is an ensemble, whose test answers are means over folds, made with "
                "the labels that a fold is scored on; name one of its runs"
            )
        path = folder / "run.json"
        if not path.exists():
            known = sorted(p.parent.name for p in folder.parent.glob("*/run.json"))
            hint = nearest(name, known) or f"; there are: {', '.join(known) or 'none yet'}"
            raise PodiumError(f"{KEY}: no run {name}{hint}; train it first")
        record = read_object(path, KEYS, AGAIN)
        if record.get("refit_of") != refit_of:
            other = record.get("refit_of")
            what = f"the refit of {other}, which saw all rows" if other else "a run of its own"
            remedy = f"name {other}" if other else f"rename it, and train {self.asked.run} REFIT=1"
            raise PodiumError(f"{KEY}: {name} is {what}; {remedy}")
        self._check_same(f"{name} was trained", record)
        recipe = record.get("recipe", {})
        if record.get("limited") or recipe.get("data", {}).get("limit") is not None:
            raise PodiumError(
                f"{KEY}: {name} is a smoke run on a LIMIT of rows; train it without LIMIT"
            )
        return record

    def _check_refit(self) -> None:
        run = self.asked.run
        if not (self._folder(self.name) / "run.json").exists():
            raise PodiumError(
                f"{KEY}: REFIT=1 learns from the refit of {run}, and there is no {self.name}; "
                f"train {run} with REFIT=1 first"
            )
        record = self._check_record(self.name, run)
        if record.get("oof_hash") != file_hash(self._folder(run) / "oof.npz"):
            raise PodiumError(
                f"{KEY}: {self.name} was made from a former {run}; train {run} with REFIT=1 again"
            )

    def _check_same(self, what: str, content: dict[str, Any]) -> None:
        """Refuse a record, or a file's meta, of other competition, folds or data."""
        if content.get("competition") != self.meta["competition"]:
            raise PodiumError(
                f"{KEY}: {what} for {content.get('competition')}, not "
                f"{self.meta['competition']}; name a run of this competition"
            )
        for key, other in SAME.items():
            if content.get(key) != self.meta.get(key):
                pair = f"{content.get(key)}, now {self.meta.get(key)}"
                raise PodiumError(
                    f"{KEY}: {what} with {other} ({key} {pair}), so that its folds are not these; "
                    f"{AGAIN}, under another NAME="
                )

    def _answers(self, job: str) -> Predictions:
        """Return the answers of one of the teacher's networks, by the student's classes."""
        folder = self._folder(self.name)
        path, shown = folder / job / "test.npz", f"{self.name}, {job.replace('-', ' ')}:"
        found = Predictions.load(path, f"{AGAIN} ({KEY}={self.asked.run})")
        record = read_object(folder / "run.json", ("recipe_hash",), AGAIN)
        self._check_same(f"{shown} its answers were made", found.meta)
        if (found.meta.get("recipe_hash"), found.meta.get("part")) != (
            record["recipe_hash"],
            "test",
        ):
            raise PodiumError(f"{KEY}: {shown} its test.npz is of another run or part; {AGAIN}")
        number = found.meta.get("fold")
        if not self.refit_of and job != f"fold-{number}":
            raise PodiumError(f"{KEY}: {shown} its test.npz is of fold {number}; {AGAIN}")
        own, classes = found.classes.tolist(), self.parts.data.classes
        if sorted(own) != sorted(classes):
            odd = sorted(set(own) ^ set(classes))[0]
            raise PodiumError(f"{KEY}: {shown} has other classes, first {odd!r}; {AGAIN}")
        return found.with_classes(classes)


def confidence(probs: np.ndarray, multiclass: bool) -> np.ndarray:
    """Return how sure a network is of each row, (n,), from probabilities (n, c): the largest of
    them or, of several labels, max(p, 1 - p) of the least certain one."""
    return probs.max(axis=1) if multiclass else np.maximum(probs, 1 - probs).min(axis=1)


def hard_labels(probs: np.ndarray, multiclass: bool) -> np.ndarray:
    """Return 0 and 1 (n, c) float32 from probabilities (n, c): the likeliest class, the first of
    equal ones, or every label of at least one half."""
    if not multiclass:
        return (probs >= 0.5).astype(np.float32)
    return np.eye(probs.shape[1], dtype=np.float32)[probs.argmax(axis=1)]
