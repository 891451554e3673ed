"""A run: one recipe on every fold, in a folder of its own, resumed but never mixed up."""

import contextlib
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object, write_json
from pipeline.artifacts.locks import lock
from pipeline.competition import CompetitionData
from pipeline.config.recipe import LATER, Recipe, science_of
from pipeline.config.schema import differing, merged
from pipeline.errors import PodiumError
from pipeline.folds import Folds, Splits
from pipeline.images.cache import Pixels
from pipeline.training.fold import is_finished
from pipeline.training.job import FoldJob, Lessons
from pipeline.training.networks.origin import (
    refuse_own_weights,
    source_of,
    weights_record,
)
from pipeline.training.notes import job_notes, recipe_warnings, taught_warnings
from pipeline.training.parts import Parts
from pipeline.training.teacher import Teaching

REMEDY = "choose another NAME=, or FRESH=1 to delete it and start anew"
PACKAGES = ("torch", "torchvision", "timm", "albumentations", "opencv-python-headless", "numpy")


@dataclass(frozen=True)
class Run:
    """A run's name, its resolved recipe and the data and folds that it is trained on.

    `folds` are those that all runs share, `repeats` the further ones that the recipe asks for.
    """

    name: str
    recipe_name: str
    recipe: Recipe
    data: CompetitionData
    folds: Folds
    repeats: tuple[Folds, ...] = ()

    @cached_property
    def splits(self) -> Splits:
        """The rows that each job trains on and validates, over all repeats."""
        return Splits((self.folds, *self.repeats))

    @cached_property
    def parts(self) -> Parts:
        return Parts(self.data, self.folds, self.recipe.data.limit)

    @property
    def origin(self) -> str | None:
        """The run that this one is the refit of, if it is one."""
        return None

    @property
    def warnings(self) -> list[str]:
        """What whoever reads this run's scores must know, as it follows from the recipe."""
        said = recipe_warnings(self.recipe)
        if self.teaching is None:
            return said
        return said + taught_warnings(self.teaching.pinned(self.record_path))

    def notes(self, records: list[dict[str, Any]]) -> list[str]:
        """Return what the records of finished folds add to the warnings."""
        names = [self.fold_folder(record["fold"]).name for record in records]
        titles = [name.replace("-", " ") for name in names]
        return [
            said
            for title, record in zip(titles, records, strict=True)
            for said in job_notes(title, record)
        ]

    @cached_property
    def teaching(self) -> Teaching | None:
        """What is learnt from another run, if the recipe names one."""
        asked = self.recipe.teacher
        return Teaching(asked, self.meta, self.parts) if asked.run else None

    @property
    def numbers(self) -> list[int]:
        """The numbers of the jobs that the run is made of."""
        return self.splits.numbers

    @cached_property
    def folder(self) -> Path:
        return self.data.project.run(self.data.competition.name, self.name)

    @property
    def record_path(self) -> Path:
        return self.folder / "run.json"

    @property
    def meta(self) -> dict[str, Any]:
        """What every prediction file of this run says about its origin."""
        repeats = {"repeat_hashes": [folds.hash for folds in self.repeats]} if self.repeats else {}
        return {
            "competition": self.data.competition.name,
            "run": self.name,
            "recipe_hash": self.recipe.hash,
            "folds_hash": self.folds.hash,
            "data_hash": self.data.hash,
            **repeats,
        }

    @cached_property
    def weights(self) -> dict[str, Any] | None:
        """Where the first weights come from, in JSON's types; None for a start from scratch."""
        if source_of(self.recipe) == "scratch":
            return None
        record = asdict(weights_record(self.recipe))
        return {k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}

    def label(self, number: int) -> int | str:
        """What job `number` is called in records: a fold by its number."""
        return number

    def fold_folder(self, fold: int) -> Path:
        return self.folder / f"fold-{fold}"

    def lock_path(self, job: str) -> Path:
        """Locks lie beside the run folders, so that FRESH=1 can delete a folder under its lock."""
        return self.folder.parent / ".locks" / f"{self.name}.{job}.lock"

    def finished_folds(self) -> list[int]:
        return [fold for fold in self.numbers if is_finished(self.fold_folder(fold))]

    def open(self, *, fresh: bool = False) -> None:
        """Make the run's folder and record, or check that the one there is of the same run."""
        with lock(self.lock_path("run"), f"run {self.name}", wait=60):
            if self.folder.exists() and (fresh or self.outdated()):
                self._delete()
            self._check_folder()
            if not self.record_path.exists():
                start = {"folds": {}, "warnings": self.warnings}
                write_json(self.record_path, self.identity() | start)
            elif self.teaching is not None:
                self.teaching.pin(self.record_path)

    def check_there(self) -> None:
        """Refuse a folder that is not of this run, writing nothing."""
        if self.folder.exists():
            with lock(self.lock_path("run"), f"run {self.name}", wait=60):
                self._check_folder()

    def _check_folder(self) -> None:
        if self.record_path.exists():
            self.check_same()
        elif self._is_foreign():
            raise PodiumError(f"{self._shown()}: not a run (it has no run.json); " + REMEDY)

    def outdated(self) -> bool:
        """Whether what is there is to be made anew, because what it was made from has changed."""
        return False

    def _is_foreign(self) -> bool:
        """Whether the folder holds anything but what a kill in the first write leaves behind."""
        if not self.folder.exists():
            return False
        return any(path.suffix != ".tmp" for path in self.folder.iterdir())

    def _delete(self) -> None:
        """Delete the folder under the locks of all its jobs, so that nobody works in it."""
        names = {self.fold_folder(number).name for number in self.numbers}
        names |= {path.name for path in self.folder.glob("fold-*")}  # those of former folds too
        with contextlib.ExitStack() as held:
            for name in sorted(names):
                held.enter_context(self.lock_job(name))
            shutil.rmtree(self.folder)

    def lock_job(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Hold the lock of the job in the folder `name`, 'fold-3' for example."""
        return lock(self.lock_path(name), f"{name.replace('-', ' ')} of run {self.name}")

    def check_same(self) -> None:
        """Refuse to go on in a folder whose run differs, saying how it differs."""
        new, remedy = self.meta | {"metric": self.data.metric.identity}, REMEDY
        keys = new.keys() - {"metric", "repeat_hashes", "refit_of"}
        old = read_object(self.record_path, sorted(keys | {"recipe"}), remedy)
        if old.get("refit_of") != self.origin:
            what = f"the refit of {old['refit_of']}" if "refit_of" in old else "a run of its own"
            raise PodiumError(f"{self._shown()}: {what}; {remedy}")
        if old.get("recipe_hash") != new["recipe_hash"]:
            was = science_of(old["recipe"]) if isinstance(old["recipe"], dict) else {}
            both = [merged(LATER, science) for science in (was, self.recipe.science())]
            how = "; ".join(differing(*both)) or "its hash"
            raise PodiumError(f"{self._shown()}: trained by another recipe ({how}); {remedy}")
        judged = [("metric", "a metric that chose its epochs")]
        training = self.recipe.training
        chosen = training.checkpoint == "best" or training.patience is not None
        checks = judged if chosen else []
        checks += [("folds_hash", "folds"), ("repeat_hashes", "repeated folds")]
        checks += [("data_hash", "labels, ids or pictures")]
        for key, what in checks:
            if old.get(key) != new.get(key):
                pair = f"{old.get(key)} -> {new.get(key)}"
                raise PodiumError(f"{self._shown()}: trained with other {what} ({pair}); {remedy}")
        self._check_weights(old.get("weights"))
        if self.teaching is not None:
            self.teaching.check_same(self.record_path, self._shown(), self.anew)

    def _check_weights(self, old: dict[str, Any] | None) -> None:
        """Refuse other first weights than those of the folds that are there."""
        new = self.weights
        if not isinstance(old, dict) or new is None:  # a run made before they were recorded
            return
        if any(old.get(key) != value for key, value in new.items() if key != "said"):
            pair = f"{old.get('said')} -> {new['said']}"
            raise PodiumError(f"{self._shown()}: began from other weights ({pair}); {REMEDY}")

    @property
    def anew(self) -> str:
        """How to get rid of what was learnt from something that has changed."""
        return REMEDY

    def identity(self) -> dict[str, Any]:
        return {
            **self.meta,
            "metric": self.data.metric.identity,
            "arch": self.recipe.model.arch,
            "recipe_name": self.recipe_name,
            "seed": self.recipe.training.seed,
            "seedless_hash": self.recipe.seedless_hash,
            "recipe": self.recipe.model_dump(mode="json"),
            **({"weights": self.weights} if self.weights else {}),
            **({"teacher": self.teaching.record()} if self.teaching else {}),
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "git_commit": git_commit(self.data.project.root),
            "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        }

    def _shown(self) -> str:
        return self.data.project.shown(self.folder)

    def check_trainable(self, only: list[int] | None = None) -> None:
        """Refuse what cannot be trained, of all jobs or those asked for; nothing is written."""
        refuse_own_weights(self.recipe, self.data.competition.name, self.data.hash)
        self.parts.check(self.recipe.image.crop)
        if self.teaching is not None:
            wanted = self.numbers if only is None else only
            self.teaching.check([self.fold_folder(number) for number in wanted])

    def jobs(self, only: list[int] | None) -> tuple[list[FoldJob], str]:
        """Return the jobs of the numbers asked for, and where their pictures come from."""
        self.check_trainable(only)
        pixels, said = self.parts.open(self.recipe.image)
        return [self._job(n, pixels) for n in (self.numbers if only is None else only)], said

    def _job(self, number: int, pixels: Pixels) -> FoldJob:
        train = self.parts.trained(self.splits.train_rows(number))
        parts = {"valid": self.parts.kept(self.splits.valid_rows(number)), **self.apart()}
        place, given = (self.fold_folder(number), number), (self.recipe, self.data, pixels)
        return FoldJob(*place, *given, train, parts, self.meta, self.lessons(number))

    def lessons(self, number: int) -> Lessons | None:
        """Return what job `number` learns from the teacher, if there is one."""
        if self.teaching is None:
            return None
        return self.teaching.lessons(self.fold_folder(number).name)

    def apart(self) -> dict[str, np.ndarray]:
        """Return the rows that every job predicts and none trains on, by part."""
        local = self.parts.kept(self.folds.test_rows)
        return {"test": self.parts.test, **({"local-test": local} if len(local) else {})}


def git_commit(root: Path) -> str | None:
    """Return the commit of the checkout, with '+' if files differ from it; None outside git."""
    try:
        commands = ["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "-uno"]
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")
