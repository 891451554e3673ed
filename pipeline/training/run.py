"""A run: one recipe on every fold, in a folder of its own, resumed but never mixed up."""

import contextlib
import platform
import shutil
import subprocess
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_object, write_json
from pipeline.artifacts.hashing import stable_int
from pipeline.artifacts.locks import lock
from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.config.schema import differing
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.images.cache import open_rows
from pipeline.training.fold import FoldJob, is_finished

REMEDY = "choose another NAME=, or FRESH=1 to delete it and start anew"
PACKAGES = ("torch", "torchvision", "timm", "albumentations", "opencv-python-headless", "numpy")


@dataclass(frozen=True)
class Run:
    """A run's name, its resolved recipe and the data and folds that it is trained on."""

    name: str
    recipe_name: str
    recipe: Recipe
    data: CompetitionData
    folds: Folds

    @cached_property
    def folder(self) -> Path:
        return self.data.project.run(self.data.competition.name, self.name)

    @property
    def record_path(self) -> Path:
        return self.folder / "run.json"

    @property
    def meta(self) -> dict[str, Any]:
        """What every prediction file of this run says about its origin."""
        return {
            "competition": self.data.competition.name,
            "run": self.name,
            "recipe_hash": self.recipe.hash,
            "folds_hash": self.folds.hash,
            "data_hash": self.data.hash,
        }

    def fold_folder(self, fold: int) -> Path:
        return self.folder / f"fold-{fold}"

    def lock_path(self, job: str) -> Path:
        """Locks lie beside the run folders, so that FRESH=1 can delete a folder under its lock."""
        return self.folder.parent / ".locks" / f"{self.name}.{job}.lock"

    def finished_folds(self) -> list[int]:
        return [fold for fold in self.folds.numbers if is_finished(self.fold_folder(fold))]

    def open(self, *, fresh: bool = False) -> None:
        """Make the run's folder and record, or check that the one there is of the same run."""
        with lock(self.lock_path("run"), f"run {self.name}", wait=60):
            if fresh and self.folder.exists():
                self._delete()
            if self.record_path.exists():
                self.check_same()
            elif self._is_foreign():
                raise PodiumError(f"{self._shown()}: not a run (it has no run.json); " + REMEDY)
            else:
                write_json(self.record_path, self._identity() | {"folds": {}, "warnings": []})

    def _is_foreign(self) -> bool:
        """Whether the folder holds anything but what a kill in the first write leaves behind."""
        if not self.folder.exists():
            return False
        return any(path.suffix != ".tmp" for path in self.folder.iterdir())

    def _delete(self) -> None:
        """Delete the folder under the locks of all its folds, so that nobody works in it."""
        there = [path.name.removeprefix("fold-") for path in self.folder.glob("fold-*")]
        folds = {*self.folds.numbers, *(int(name) for name in there if name.isdecimal())}
        with contextlib.ExitStack() as held:
            for fold in sorted(folds):  # those of former folds too
                held.enter_context(self.lock_fold(fold))
            shutil.rmtree(self.folder)

    def lock_fold(self, fold: int) -> contextlib.AbstractContextManager[None]:
        return lock(self.lock_path(f"fold-{fold}"), f"fold {fold} of run {self.name}")

    def check_same(self) -> None:
        """Refuse to go on in a folder whose run differs, saying how it differs."""
        new, remedy = self.meta | {"metric": self.data.metric.name}, REMEDY
        old = read_object(self.record_path, (*self.meta, "recipe"), remedy)
        if old.get("recipe_hash") != new["recipe_hash"]:
            old_science = {
                k: v for k, v in old["recipe"].items() if k not in ("runtime", "describe")
            }
            keys = "; ".join(differing(old_science, self.recipe.science())) or "its hash"
            raise PodiumError(f"{self._shown()}: trained by another recipe ({keys}); {remedy}")
        judged = [("metric", "a metric that chose its epochs")]
        checks = judged if self.recipe.training.checkpoint == "best" else []
        checks += [("folds_hash", "folds"), ("data_hash", "labels, ids or pictures")]
        for key, what in checks:
            if old.get(key) != new[key]:
                pair = f"{old.get(key)} -> {new[key]}"
                raise PodiumError(f"{self._shown()}: trained with other {what} ({pair}); {remedy}")

    def _identity(self) -> dict[str, Any]:
        return {
            **self.meta,
            "metric": self.data.metric.name,
            "arch": self.recipe.model.arch,
            "recipe_name": self.recipe_name,
            "seed": self.recipe.training.seed,
            "seedless_hash": self.recipe.seedless_hash,
            "recipe": self.recipe.model_dump(mode="json"),
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "git_commit": git_commit(self.data.project.root),
            "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        }

    def _shown(self) -> str:
        return self.data.project.shown(self.folder)

    def jobs(self, only: list[int] | None) -> tuple[list[FoldJob], str]:
        """Return the jobs of the folds asked for, and where their pictures come from."""
        data, crop = self.data, self.recipe.image.crop
        if crop.kind == "box" and crop.columns != data.competition.crop.columns:
            raise PodiumError(
                f"image.crop.columns: {crop.columns} are not the columns that the competition's "
                f"`crop` names ({data.competition.crop.columns}); set the box there"
            )
        boxes = None
        if data.train.boxes is not None and data.test.boxes is not None:
            boxes = np.concatenate([data.train.boxes, data.test.boxes])
        paths, folds = [*data.train.images, *data.test.images], self.folds
        rows = np.concatenate([np.flatnonzero(self._limit_keeps), self._test_rows()])
        cache = data.project.cache, paths, boxes, rows
        pixels, said = open_rows(*cache, self.recipe.image, data.competition.name)
        jobs = []
        for fold in folds.numbers if only is None else only:
            parts = {"valid": self.kept(folds.valid_rows(fold)), "test": self._test_rows()}
            if len(folds.test_rows):
                parts["local-test"] = self.kept(folds.test_rows)
            train = self.kept(folds.train_rows(fold))
            folder = self.fold_folder(fold)
            jobs.append(FoldJob(folder, fold, self.recipe, data, pixels, train, parts, self.meta))
        return jobs, said

    def kept(self, rows: np.ndarray) -> np.ndarray:
        """Return those of the training rows that LIMIT keeps."""
        return rows[self._limit_keeps[rows]]

    @cached_property
    def _limit_keeps(self) -> np.ndarray:
        """Which training rows LIMIT keeps, (n,) bool: the same share of every fold."""
        share, keeps = self._share(len(self.data.train)), np.zeros(len(self.data.train), bool)
        for fold in np.unique(self.folds.fold):
            rows = np.flatnonzero(self.folds.fold == fold)
            keeps[_limited(rows, self.data.train.ids[rows], share)] = True
        return keeps

    def _test_rows(self) -> np.ndarray:
        rows, ids = np.arange(len(self.data.test)), self.data.test.ids
        return len(self.data.train) + _limited(rows, ids, self._share(len(rows)))

    def _share(self, rows: int) -> float:
        limit = self.recipe.data.limit
        return 1.0 if limit is None else min(1.0, limit / rows)


def _limited(rows: np.ndarray, ids: np.ndarray, share: float) -> np.ndarray:
    """Return a share of `rows`, at least two, chosen by the ids alone."""
    if share >= 1:
        return rows
    order = np.argsort([stable_int(name) for name in ids.tolist()], kind="stable")
    return np.sort(rows[order[: max(2, round(share * len(rows)))]])


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
