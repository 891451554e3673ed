"""Train one fold of one recipe: a job that is a pure function of (recipe, fold, seed).

Generators are seeded anew from (seed, fold, epoch) at every epoch, augmentation from (seed, epoch,
id), so that an epoch depends on the weights it starts from and on nothing that happened before.
"""

import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save

from pipeline.artifacts.files import write_json, write_with
from pipeline.artifacts.predictions import Predictions, probabilities
from pipeline.training.checkpoint import tensor_bytes
from pipeline.training.frozen.features import FeatureSession
from pipeline.training.job import FoldJob
from pipeline.training.learning.watch import check_room
from pipeline.training.learning.world import ALONE, World
from pipeline.training.networks.origin import weights_note
from pipeline.training.processes import train_together
from pipeline.training.scores import Scores, score_probs
from pipeline.training.session import FoldSession

DONE = "fold.json"  # written last: a fold that has it is finished


class Session(Protocol):
    """A fold in work, whatever its network learns from: pictures, or features of a frozen one."""

    scores: Scores
    history: list[dict[str, Any]]
    passed: float  # seconds that were spent before the epochs, on features of training pictures

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be trained."""

    def train(self, until: int | None = None) -> None:
        """Do what is missing, all or that of the epochs up to `until`."""

    def keep_best(self) -> None:
        """Go back to the best epoch, where the recipe keeps it."""

    def predict(self, part: str, views: bool = False) -> list[np.ndarray]:
        """Return the logits (n, c) of a part's rows, of the usual view or of each test view."""

    def state(self) -> dict[str, torch.Tensor]:
        """Return the weights of the whole network."""

    def facts(self) -> dict[str, Any]:
        """Return what the record says of the training."""


def is_finished(folder: Path) -> bool:
    """Whether the fold in `folder` is complete."""
    return (folder / DONE).exists()


def train_fold(job: FoldJob, world: World = ALONE) -> dict[str, Any]:
    """Train, or go on training, and write the fold's artefacts; return its record."""
    if job.recipe.runtime.processes > 1 and world.is_alone and job.recipe.features is None:
        return train_together(job, DONE)
    session = open_session(job, world)
    session.train()
    return finish(job, session, world)


def train_until(job: FoldJob, epochs: int) -> list[dict[str, Any]]:
    """Train, or go on training, up to a number of epochs, and pause there with a checkpoint; where
    it is all of them, or training stops of itself, the fold is finished. Return its history."""
    session = open_session(job)
    session.train(epochs)
    if session.is_over:
        finish(job, session)
    return session.history


def open_session(job: FoldJob, world: World = ALONE) -> Session:
    """Return the fold in work, from its last checkpoint if there is one."""
    return FoldSession(job, world) if job.recipe.features is None else FeatureSession(job)


def finish(job: FoldJob, session: Session, world: World = ALONE) -> dict[str, Any]:
    """Write weights, predictions and, last of all, the record that says the fold is done."""
    started = time.perf_counter()
    session.keep_best()
    weights = session.state()
    if world.is_first:
        check_room(job.folder, tensor_bytes(weights), "the fold's network")
    scores = _predict(job, session, world)
    if world.is_first:
        note = weights_note(job.recipe, job.data.classes, job.meta)
        # safetensors makes files for their owner alone; `save` gives the usual rights.
        content = save(weights, note)
        write_with(job.folder / "model.safetensors", lambda path: path.write_bytes(content))
    epochs = sum(line["seconds"] for line in session.history)
    seconds = session.passed + epochs + time.perf_counter() - started
    parts = {part: len(rows) for part, rows in job.parts.items()}
    taught = {} if job.lessons is None else {"taught": len(job.lessons.rows)}
    record = {
        "fold": job.fold,
        **scores,
        "rows": {"train": len(job.train), **taught, **parts},
        "seconds": round(seconds, 2),
        **session.facts(),
    }
    if world.is_first:
        write_json(job.folder / DONE, record)
        (job.folder / "last.pt").unlink(missing_ok=True)
    return record


def _predict(job: FoldJob, session: Session, world: World) -> dict[str, float | None]:
    """Write the predictions of every part; return the scores of the validated rows, by all views
    and, where there are several, by the first."""
    scores: dict[str, float | None] = {"score": None}
    task, metric = job.data.competition.task, job.data.metric
    for part, rows in job.parts.items():
        views = session.predict(part, views=True)
        logits, probs = _means(views, task)
        if world.is_first:
            classes = np.asarray(job.data.classes, np.str_)
            meta = {**job.meta, "fold": job.fold, "part": part}
            file = job.folder / f"{part}.npz"
            Predictions(job.ids[rows], classes, logits, probs, meta).save(file)
        if part == "valid" and len(rows):
            labels = job.data.labels[rows]
            judged = probabilities(logits, task) if job.recipe.views.average == "logits" else probs
            scores["score"] = score_probs(metric, labels, judged)
            if len(views) > 1:
                one = probabilities(views[0], task)
                scores["score_one_view"] = score_probs(metric, labels, one)
    return scores


def _means(views: list[np.ndarray], task: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the means over views of logits and of probabilities, (n, c) float32 each."""
    if len(views) == 1:
        return views[0], probabilities(views[0], task)
    logits = np.mean(views, axis=0, dtype=np.float64).astype(np.float32)
    probs = np.mean([probabilities(view, task) for view in views], axis=0, dtype=np.float64)
    return logits, probs.astype(np.float32)
