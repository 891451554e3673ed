"""Train one fold of one recipe: a job that is a pure function of (recipe, fold, seed).

Generators are seeded anew from (seed, fold, epoch) at every epoch, augmentation from (seed, epoch,
id), so that an epoch depends on the weights it starts from and on nothing that happened before.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.artifacts.files import write_json, write_with
from pipeline.artifacts.hashing import json_hash, stable_int
from pipeline.artifacts.predictions import Predictions, probabilities
from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.decisions.rules import default_rule
from pipeline.errors import PodiumError
from pipeline.images.augment import Augmenter, Evaluator
from pipeline.images.batches import Batches, Images, loader
from pipeline.images.cache import Pixels
from pipeline.metrics import Metric
from pipeline.training import checkpoint
from pipeline.training.device import resolve
from pipeline.training.history import write_history
from pipeline.training.loop import Epoch, Learner, Normalise, predict, train_epoch
from pipeline.training.optim import build_ema, build_loss, build_optimizer
from pipeline.training.zoo import build_model, normalisation, parameter_count

DONE = "fold.json"  # written last: a fold that has it is finished


@dataclass(frozen=True)
class FoldJob:
    """All that decides a fold's artefacts. Row numbers count through train, then test.

    `parts` names the rows to predict when training is over: `valid`, `test` and, where the folds
    keep one apart, `local-test`.
    """

    folder: Path
    fold: int
    recipe: Recipe
    data: CompetitionData
    pixels: Pixels
    train: np.ndarray
    parts: dict[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def ids(self) -> np.ndarray:
        return np.concatenate([self.data.train.ids, self.data.test.ids])

    @property
    def identity(self) -> str:
        """Changes with anything that decides the weights; keeps foreign checkpoints out."""
        rows = [self.ids[self.train].tolist(), self.recipe.hash, self.fold, self.meta]
        return json_hash(rows)


def is_finished(folder: Path) -> bool:
    """Whether the fold in `folder` is complete."""
    return (folder / DONE).exists()


def train_fold(job: FoldJob) -> dict[str, Any]:
    """Train, or go on training, and write the fold's artefacts; return its record."""
    session = FoldSession(job)
    session.train()
    return session.finish()


class FoldSession:
    """A fold in work: the learner and its history, from the first epoch or the last checkpoint."""

    def __init__(self, job: FoldJob) -> None:
        self.job, recipe = job, job.recipe
        self.metric = job.data.metric
        torch.manual_seed(_seed(recipe.training.seed, job.fold, -1))
        model = build_model(recipe, len(job.data.classes))
        self.setup = resolve(recipe, model)
        model = model.to(self.setup.device, memory_format=self.setup.memory_format)
        self.normalise = Normalise(*normalisation(recipe), self.setup)
        self.batches = Batches(
            job.train, recipe.training.batch_size, (recipe.training.seed, job.fold)
        )
        if not len(self.batches):
            raise PodiumError(
                f"fold {job.fold}: no rows to train on; make other folds, or drop LIMIT"
            )
        self.steps = len(self.batches) * recipe.training.epochs
        scaler = torch.amp.GradScaler(self.setup.kind, enabled=self.setup.precision == "float16")
        self.learner = Learner(
            model,
            build_ema(recipe, model, self.steps),
            build_optimizer(recipe.optimizer, model),
            scaler,
            build_loss(job.data.competition.task, recipe.loss.label_smoothing),
        )
        self.pin = self.setup.kind == "cuda"
        self.loaders: dict[str, DataLoader] = {}
        self.last = job.folder / "last.pt"
        found = checkpoint.restore(self.last, self.learner, job.identity, self.setup.device)
        self.history, self.best = found
        self.resumed_at = len(self.history)

    def train(self) -> None:
        """Run the epochs that are missing, validating each, with checkpoints between them."""
        recipe = self.job.recipe
        view = Augmenter(recipe.augment, recipe.image, recipe.training.seed)
        images = Images(self.job.pixels, self.job.ids, view)
        batches = loader(images, self.batches, self.setup.workers, self.pin)
        targets = torch.from_numpy(self.job.data.labels)
        saved = time.perf_counter()
        epochs = range(len(self.history), recipe.training.epochs)
        bar = tqdm(epochs, f"fold {self.job.fold}", unit="epoch", disable=None, leave=False)
        for number in bar:
            torch.manual_seed(_seed(recipe.training.seed, self.job.fold, number))
            self.batches.epoch = number
            context = recipe, self.setup, self.normalise, self.steps
            started = time.perf_counter()
            epoch = train_epoch(self.learner, batches, targets, *context)
            self._record(number, epoch, started)
            bar.set_postfix_str(f"{self.metric.name} {_shown(self.history[-1]['valid_score'])}")
            write_history(self.job.folder / "history.csv", self.history)
            last = number + 1 == recipe.training.epochs
            if last or time.perf_counter() - saved >= recipe.runtime.checkpoint_seconds:
                state = self.learner, self.history, self.best, self.job.identity
                checkpoint.save(self.last, *state)
                saved = time.perf_counter()

    def _record(self, number: int, epoch: Epoch, started: float) -> None:
        """Validate on the fold and add a line to the history; keep the best epoch if asked to."""
        rows = self.job.parts["valid"]
        logits = self.predict("valid")
        truth = torch.from_numpy(self.job.data.labels[rows])
        score = self._score(rows, logits)
        self.history.append(
            {
                "epoch": number + 1,
                "lr": epoch.lr,
                "train_loss": epoch.loss,
                "train_score": self._score(epoch.rows, epoch.logits),
                "valid_loss": self.learner.loss(torch.from_numpy(logits), truth).item(),
                "valid_score": score,
                "seconds": time.perf_counter() - started,
                "images_per_second": len(epoch.rows) / epoch.seconds,
            }
        )
        if self.job.recipe.training.checkpoint != "best" or score is None:
            return
        if self.best is None or self.metric.sign * (score - self.best["score"]) > 0:
            weights = {k: v.clone() for k, v in self.learner.judged.state_dict().items()}
            self.best = {"epoch": number + 1, "score": score, "weights": weights}

    def predict(self, part: str) -> np.ndarray:
        """Return logits (n, c) of the rows of a part, by the weights that are kept."""
        if part not in self.loaders:  # kept, so that its workers start once
            recipe, rows = self.job.recipe, self.job.parts[part]
            images = Images(self.job.pixels, self.job.ids, Evaluator(recipe.image))
            batches = Batches(rows, 2 * recipe.training.batch_size, None)
            self.loaders[part] = loader(images, batches, self.setup.workers, self.pin)
        context = self.setup, self.normalise, part
        return predict(self.learner.judged, self.loaders[part], *context)

    def finish(self) -> dict[str, Any]:
        """Write weights, predictions and, last of all, the record that says the fold is done."""
        job, started = self.job, time.perf_counter()
        if self.best is not None:
            self.learner.judged.load_state_dict(self.best["weights"])
        for part, rows in job.parts.items():
            logits = self.predict(part)
            probs = probabilities(logits, job.data.competition.task)
            classes = np.asarray(job.data.classes, np.str_)
            meta = {**job.meta, "fold": job.fold, "part": part}
            name = job.folder / f"{part}.npz"
            Predictions(job.ids[rows], classes, logits, probs, meta).save(name)
            if part == "valid":
                score = self._score(rows, logits)
        weights = {k: v.contiguous() for k, v in self.learner.judged.state_dict().items()}
        write_with(job.folder / "model.safetensors", lambda path: save_file(weights, path))
        seconds = sum(line["seconds"] for line in self.history) + time.perf_counter() - started
        record = {
            "fold": job.fold,
            "score": score,
            "rows": {"train": len(job.train), **{p: len(r) for p, r in job.parts.items()}},
            "seconds": round(seconds, 2),
            "epochs": len(self.history),
            "best_epoch": None if self.best is None else self.best["epoch"],
            "resumed_at_epoch": self.resumed_at,
            "parameters": parameter_count(self.learner.model),
            "setup": self.setup.record(),
        }
        write_json(job.folder / DONE, record)
        self.last.unlink(missing_ok=True)
        return record

    def _score(self, rows: np.ndarray, logits: np.ndarray) -> float | None:
        return score_logits(self.metric, self.job.data.labels[rows], logits)


def score_logits(metric: Metric, labels: np.ndarray, logits: np.ndarray) -> float | None:
    """Return the metric under the rule that needs no fitting; None where it is not defined."""
    answer = default_rule(metric).apply(probabilities(logits, metric.task))
    try:
        return float(metric.score(labels, answer))
    except PodiumError:
        return None


def _seed(seed: int, fold: int, epoch: int) -> int:
    return stable_int(f"{seed}/{fold}/{epoch}") % 2**63


def _shown(score: float | int | None) -> str:
    return "-" if score is None else f"{score:.4f}"
