"""Train one fold of one recipe: a job that is a pure function of (recipe, fold, seed).

Generators are seeded anew from (seed, fold, epoch) at every epoch, augmentation from (seed, epoch,
id), so that an epoch depends on the weights it starts from and on nothing that happened before.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.artifacts.files import write_json, write_with
from pipeline.artifacts.hashing import stable_int
from pipeline.artifacts.predictions import Predictions, probabilities
from pipeline.decisions.rules import default_rule
from pipeline.errors import PodiumError
from pipeline.images.augment import Augmenter, Evaluator
from pipeline.images.batches import Batches, Images, loader
from pipeline.metrics import Metric
from pipeline.training import checkpoint
from pipeline.training.device import resolve
from pipeline.training.history import write_history
from pipeline.training.job import FoldJob
from pipeline.training.loop import Epoch, Learner, Normalise, predict, train_epoch
from pipeline.training.optim import build_ema, build_loss, build_optimizer
from pipeline.training.origin import normalisation, weights_note
from pipeline.training.zoo import build_model, parameter_count

DONE = "fold.json"  # written last: a fold that has it is finished


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
            raise PodiumError(f"{job.title}: no rows to train on; make other folds, or drop LIMIT")
        self.steps = len(self.batches) * recipe.training.epochs
        scaler = torch.amp.GradScaler(self.setup.kind, enabled=self.setup.precision == "float16")
        self.learner = Learner(
            model,
            build_ema(recipe, model, self.steps),
            build_optimizer(recipe.optimizer, model),
            scaler,
            build_loss(job.data.competition.task, recipe.loss.label_smoothing),
        )
        weights = job.loss_weights()
        self.weights = None if weights is None else torch.from_numpy(weights)
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
        bar = tqdm(epochs, self.job.title, unit="epoch", disable=None, leave=False)
        for number in bar:
            torch.manual_seed(_seed(recipe.training.seed, self.job.fold, number))
            self.batches.epoch = number
            context = recipe, self.setup, self.normalise, self.steps
            started = time.perf_counter()
            epoch = train_epoch(self.learner, batches, targets, *context, self.weights)
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
        valid_loss, score = self._validate()
        self.history.append(
            {
                "epoch": number + 1,
                "lr": epoch.lr,
                "train_loss": epoch.loss,
                "train_score": self._score(epoch.rows, epoch.logits),
                "valid_loss": valid_loss,
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

    def _validate(self) -> tuple[float | None, float | None]:
        """Return loss and score of the fold's rows; None where it has none, as in a refit."""
        rows = self.job.parts.get("valid", np.array([], np.int64))
        if not len(rows):
            return None, None
        logits = self.predict("valid")
        truth = torch.from_numpy(self.job.data.labels[rows])
        loss = self.learner.loss(torch.from_numpy(logits), truth).item()
        return loss, self._score(rows, logits)

    def predict(self, part: str) -> np.ndarray:
        """Return logits (n, c) of the rows of a part, by the weights that are kept; rows without a
        picture get the classes' frequencies."""
        rows = self.job.parts[part]
        pictured = self.job.pictured[rows]
        logits = np.tile(self.job.prior_logits, (len(rows), 1))
        if pictured.any():
            logits[pictured] = self._seen(part, rows[pictured])
        return logits

    def _seen(self, part: str, rows: np.ndarray) -> np.ndarray:
        """Return the network's logits of rows that have a picture."""
        if part not in self.loaders:  # kept, so that its workers start once
            recipe = self.job.recipe
            images = Images(self.job.pixels, self.job.ids, Evaluator(recipe.image))
            batches = Batches(rows, 2 * recipe.training.batch_size, None)
            self.loaders[part] = loader(images, batches, self.setup.workers, self.pin)
        context = self.setup, self.normalise, part
        return predict(self.learner.judged, self.loaders[part], *context)

    def finish(self) -> dict[str, Any]:
        """Write weights, predictions and, last of all, the record that says the fold is done."""
        job, started, score = self.job, time.perf_counter(), None
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
        note = weights_note(job.recipe, job.data.classes, job.meta)
        # safetensors makes files for their owner alone; `save` gives the usual rights.
        content = save(weights, note)
        write_with(job.folder / "model.safetensors", lambda path: path.write_bytes(content))
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
