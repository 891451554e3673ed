"""A refit: one more model on all rows, as long as the folds found right, as a run of its own.

Its test predictions are those of the one model. It has no rows to be judged on: the out-of-fold
predictions of its run stand for it, and a rule that is fitted on them applies to its answers.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import file_hash, read_object
from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.predictions import Predictions
from pipeline.config.project import checked_name
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.images.cache import Pixels
from pipeline.training.assemble import Summary, assemble
from pipeline.training.fold import is_finished
from pipeline.training.job import FoldJob
from pipeline.training.run import REMEDY, Run
from pipeline.training.teacher import Teaching

REFIT = "refit"  # the folder of its one job


@dataclass(frozen=True)
class Refit(Run):
    """The run that trains `base`, whose folds are finished, on all rows but the local test split.

    `oof_hash` is of the base's `oof.npz`: with other ones, the refit is made anew.
    """

    base: Run = field(kw_only=True)
    oof_hash: str = field(kw_only=True)

    @classmethod
    def of(cls, base: Run, summary: Summary) -> "Refit":
        """Return the refit of a finished run."""
        recipe = settled_recipe(base.recipe, list(summary.record["folds"].values()))
        return cls._from(base, recipe, file_hash(base.folder / "oof.npz"))

    @classmethod
    def _from(cls, base: Run, recipe: Recipe, oof_hash: str) -> "Refit":
        same = base.recipe_name, recipe, base.data, base.folds, base.repeats
        return cls(refit_name(base.name), *same, base=base, oof_hash=oof_hash)

    @property
    def origin(self) -> str:
        return self.base.name

    @property
    def warnings(self) -> list[str]:
        return self.base.warnings  # of the scores, which are the base's

    def notes(self, records: list[dict[str, Any]]) -> list[str]:
        """Return what the folds of the base add to its scores' warnings, and the refit itself."""
        old = read_object(self.base.record_path, (), self.anew).get("warnings", [])
        return [said for said in old if said not in self.warnings] + super().notes(records)

    @cached_property
    def teaching(self) -> Teaching | None:
        asked = self.recipe.teacher
        return Teaching(asked, self.meta, self.parts, self.origin) if asked.run else None

    @property
    def anew(self) -> str:
        return "delete that folder and run the same command again"  # FRESH=1 would cost the base

    @property
    def numbers(self) -> list[int]:
        """The one job's number comes after those of all folds, and so do its seeds."""
        return [len(self.splits.numbers)]

    def label(self, number: int) -> str:
        return REFIT

    def fold_folder(self, fold: int) -> Path:
        return self.folder / REFIT

    @cached_property
    def meta(self) -> dict[str, Any]:
        return super().meta | {"refit_of": self.base.name}

    def outdated(self) -> bool:
        """Whether the folder holds a refit from other out-of-fold predictions of the same run."""
        if not self.record_path.exists():
            return False
        old = read_object(self.record_path, (), REMEDY)
        return old.get("refit_of") == self.origin and old.get("oof_hash") != self.oof_hash

    @staticmethod
    def refuse_foreign(base: Run, *, fresh: bool = False) -> None:
        """Refuse a folder of the refit's name that is a run of its own, or cannot be told from one,
        and a refit that is to be trained, but whose teacher has no refit to learn from.

        It asks for no finished base, so that it can be called before anything is trained. FRESH=1
        is no remedy: it must not delete such a run, and would delete the base.
        """
        there = replace(base, name=refit_name(base.name))
        foreign = there._is_foreign()
        if there.record_path.exists():
            remedy = f"delete that folder, {there._shown()}, and run the same command again"
            foreign = read_object(there.record_path, (), remedy).get("refit_of") != base.name
        if foreign:
            raise PodiumError(
                f"{there._shown()}: not the refit of {base.name}; rename that folder, or train "
                f"{base.name} under another NAME="
            )
        if base.recipe.teacher.run and (fresh or not is_finished(there.folder / REFIT)):
            refit = Refit._from(base, base.recipe, "")
            refit.teaching.check([refit.fold_folder(n) for n in refit.numbers])

    def check_same(self) -> None:
        super().check_same()
        if self.outdated():  # a process that refits a newer base took the folder over
            raise PodiumError(
                f"{self._shown()}: {self.origin} was trained anew meanwhile; run the same command "
                "again"
            )

    def identity(self) -> dict[str, Any]:
        return super().identity() | {
            "seedless_hash": json_hash([REFIT, self.base.recipe.seedless_hash]),
            "refit_of": self.origin,
            "oof_hash": self.oof_hash,
        }

    def _job(self, number: int, pixels: Pixels) -> FoldJob:
        train = self.parts.trained(self.folds.refit_rows)
        same = self.recipe, self.data, pixels, train, self.apart(), self.meta
        return FoldJob(self.fold_folder(number), number, *same, self.lessons(number))

    def assemble(self) -> Summary:
        """Write the run's predictions and record; its out-of-fold ones are the base's."""
        path = self.base.folder / "oof.npz"
        oof = Predictions.load(path, "run the same command again: finished folds are kept")
        if file_hash(path) != self.oof_hash:
            raise PodiumError(f"{path}: made anew meanwhile; run the same command again")
        meta = oof.meta | self.meta
        return assemble(self, Predictions(oof.ids, oof.classes, oof.logits, oof.probs, meta))


def refit_name(run: str) -> str:
    """Return the name of the refit of a run."""
    return checked_name(f"{run}-refit", "NAME")


def settled_recipe(recipe: Recipe, folds: list[dict[str, Any]]) -> Recipe:
    """Return the recipe with the epochs that cross-validation settled, all of them kept.

    These are the recipe's own, but for what a fold chose: the median of the folds' best epochs for
    the checkpoint `best`, of the epochs that they trained where `patience` ended them, halves
    rounded up; the schedule then anneals over as many. Folds that collapsed settle nothing. No
    fold is left to stop by, or for `plateau` to follow: it follows the training loss.
    """
    training, epochs = recipe.training, recipe.training.epochs
    sound = [f for f in folds if (f.get("stopped") or {}).get("kind") != "collapsed"] or folds
    key = "best_epoch" if training.checkpoint == "best" else "epochs"
    chosen = [fold[key] for fold in sound if fold.get(key)]
    if chosen and (training.checkpoint == "best" or training.patience is not None):
        epochs = max(1, math.floor(float(np.median(chosen)) + 0.5))
    settled = {"epochs": epochs, "checkpoint": "last", "patience": None}
    return recipe.model_copy(
        update={
            "training": training.model_copy(update=settled),
            "schedule": recipe.schedule.model_copy(update={"monitor": "train"}),
        }
    )
