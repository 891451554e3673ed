"""The trainings behind a learning curve: their folder, identity and jobs.

`experiments/runs/COMP/curve-NAME/` holds `curve.json` and a folder per point, and no `run.json`: so
nothing takes it for a run that could be blended or submitted.
"""

import contextlib
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object, write_json
from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.predictions import Predictions
from pipeline.config.recipe import Recipe
from pipeline.ensemble.members import list_runs, read_record
from pipeline.errors import PodiumError
from pipeline.images.cache import Pixels
from pipeline.training.fold import DONE, is_finished, train_fold
from pipeline.training.job import FoldJob
from pipeline.training.run import REMEDY, Run


@dataclass(frozen=True, order=True)
class Point:
    """One training: on 1 / `part` of the rows of a fold, by a seed."""

    seed: int
    part: int
    fold: int

    @property
    def size(self) -> str:
        """The share of the rows in words: 'full' or '1/8'."""
        return size_name(self.part)

    @property
    def folder(self) -> str:
        return f"size-1-{self.part}.seed-{self.seed}.fold-{self.fold}"

    @property
    def title(self) -> str:
        return f"size {self.size}, seed {self.seed}, fold {self.fold}"


def size_name(part: int) -> str:
    """Return what 1 / `part` of the rows is called."""
    return "full" if part == 1 else f"1/{part}"


@dataclass(frozen=True)
class Outcome:
    """What a finished point has: predictions of its fold's rows, and the record of its training."""

    predictions: Predictions
    record: dict[str, Any]


@dataclass(frozen=True)
class Study(Run):
    """All trainings of one recipe for one curve. `recipe` is that of seed 0, whichever seeds are
    asked for, so that more of them, or more sizes and folds, can join later."""

    recipes: dict[int, Recipe] = field(kw_only=True)

    @property
    def record_path(self) -> Path:
        return self.folder / "curve.json"

    def point_folder(self, point: Point) -> Path:
        return self.folder / point.folder

    def point_meta(self, point: Point, rows: np.ndarray) -> dict[str, Any]:
        """What the predictions of a point say about their origin, the training rows among it: no
        file holds the subsets, and a later version may draw others."""
        own = {"recipe_hash": self.recipes[point.seed].hash, "size": f"1/{point.part}"}
        ids = sorted(self.data.train.ids[rows].tolist())
        return {**self.meta, **own, "seed": point.seed, "rows_hash": json_hash(ids)}

    def identity(self) -> dict[str, Any]:
        whole = super().identity()
        return {k: v for k, v in whole.items() if k not in ("seed", "seedless_hash")}

    def pool(self, fold: int) -> np.ndarray:
        """Return the rows that the full size trains on when `fold` validates."""
        return self.parts.trained(self.folds.train_rows(fold))

    @cached_property
    def validated(self) -> dict[int, np.ndarray]:
        """The rows that each fold validates."""
        return {k: self.parts.kept(self.folds.valid_rows(k)) for k in self.folds.numbers}

    def is_finished(self, point: Point) -> bool:
        return is_finished(self.point_folder(point))

    def finish(self, point: Point, rows: np.ndarray, pixels: Pixels) -> dict[str, Any]:
        """Train a point, or take it over from a finished run; return its record.

        Its weights are of no use, and go: those of a dozen networks would fill a disk.
        """
        with self.lock_job(point.folder):
            self.check_same()  # another process may have started it anew meanwhile
            if not self.is_finished(point) and not (
                point.part == 1 and self._take_over(point, rows)
            ):
                parts = {"valid": self.validated[point.fold]}
                own = self.recipes[point.seed], self.data, pixels, rows, parts
                place = self.point_folder(point), point.fold
                train_fold(FoldJob(*place, *own, self.point_meta(point, rows)))
            self._tidy(point)
            return self.outcome(point, rows).record

    def outcome(self, point: Point, rows: np.ndarray) -> Outcome:
        """Return the predictions and the record of a finished point, trained on `rows`."""
        folder = self.point_folder(point)
        shown = self.data.project.shown(folder)
        remedy = f"delete {shown} and run the same command again, or FRESH=1 starts anew"
        found = Predictions.load(folder / "valid.npz", remedy)
        odd = [k for k, v in self.point_meta(point, rows).items() if found.meta.get(k) != v]
        if odd or found.meta.get("fold") != point.fold:
            what = odd[0] if odd else "fold"
            raise PodiumError(
                f"{folder / 'valid.npz'}: of another curve or point (its {what} differs); {remedy}"
            )
        ids = self.data.train.ids[self.validated[point.fold]]
        keys = "score", "seconds", "rows"
        aligned = found.with_classes(self.data.classes, str(folder)).rows(ids, str(folder))
        return Outcome(aligned, read_object(folder / DONE, keys, remedy))

    def _tidy(self, point: Point) -> None:
        for name in ("last.pt", "model.safetensors"):
            (self.point_folder(point) / name).unlink(missing_ok=True)

    def _take_over(self, point: Point, rows: np.ndarray) -> bool:
        """Copy the fold's predictions from an ordinary run of the same recipe, rows and folds,
        where there is one; return whether there was."""
        wanted = self.point_meta(point, rows) | {"fold": point.fold}
        for name in list_runs(self.data):
            # A run that cannot be read, or is being deleted, is no reason not to train.
            with contextlib.suppress(PodiumError):
                source = self.data.project.run(self.data.competition.name, name)
                fold = source / f"fold-{point.fold}"
                if not is_finished(fold) or not self._began_alike(read_record(self.data, name)):
                    continue
                found = Predictions.load(fold / "valid.npz")
                record = read_object(fold / DONE, ("score", "seconds", "rows"), REMEDY)
                keys = "recipe_hash", "folds_hash", "data_hash", "fold"
                if any(found.meta.get(key) != wanted[key] for key in keys):
                    continue
                arrays = found.ids, found.classes, found.logits, found.probs
                Predictions(*arrays, {**wanted, "part": "valid"}).save(
                    self.point_folder(point) / "valid.npz"
                )
                taken = {**record, "taken_from": name}
                write_json(self.point_folder(point) / DONE, taken)
                return True
        return False

    def _began_alike(self, record: dict[str, Any]) -> bool:
        """Whether a run began from the same weights, and chose its epochs, if it did, by the same
        metric: what the hashes in its predictions do not say."""
        training = self.recipe.training
        chosen = training.checkpoint == "best" or training.patience is not None
        weights = [_without_words(w) for w in (record.get("weights"), self.weights)]
        return weights[0] == weights[1] and not (
            chosen and record.get("metric") != self.data.metric.identity
        )

    def _check_folder(self) -> None:
        if not self.record_path.exists() and self._is_foreign():
            raise PodiumError(
                f"{self._shown()}: not a learning curve (it has no curve.json); " + REMEDY
            )
        super()._check_folder()

    def _delete(self) -> None:
        """Delete the folder under the locks of all its points, so that nobody works in it."""
        with contextlib.ExitStack() as held:
            for path in sorted(self.folder.glob("size-*")):
                held.enter_context(self.lock_job(path.name))
            shutil.rmtree(self.folder)


def _without_words(weights: Any) -> dict[str, Any]:
    return {k: v for k, v in (weights or {}).items() if k != "said"}
