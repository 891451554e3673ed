"""What decides a fold's artefacts: rows, recipe, seed, and what is derived from the rows."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.artifacts.hashing import bytes_hash, json_hash
from pipeline.artifacts.predictions import logits_of
from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.decisions.constant import prior_probs
from pipeline.errors import PodiumError
from pipeline.images.cache import Pixels
from pipeline.training.learning.sampling import row_weights


@dataclass(frozen=True)
class Lessons:
    """Rows that another run's network labels: their numbers (r,), what is learnt of them (r, c)
    float32, and how much a row weighs beside 1 of the others."""

    rows: np.ndarray
    targets: np.ndarray
    weight: float


@dataclass(frozen=True)
class FoldJob:
    """All that decides a fold's artefacts. Row numbers count through train, then test.

    `parts` names the rows to predict when training is over: `valid`, but for a refit on all rows,
    `test` and, where the folds keep one apart, `local-test`.
    """

    folder: Path
    fold: int
    recipe: Recipe
    data: CompetitionData
    pixels: Pixels
    train: np.ndarray
    parts: dict[str, np.ndarray]
    meta: dict[str, Any]
    lessons: Lessons | None = None

    @property
    def learnt(self) -> np.ndarray:
        """All rows that are trained on: those of the training table, then those of a teacher."""
        if self.lessons is None:
            return self.train
        return np.concatenate([self.train, self.lessons.rows])

    @property
    def title(self) -> str:
        """The job in words: 'fold 3' or 'refit'."""
        return self.folder.name.replace("-", " ")

    @property
    def ids(self) -> np.ndarray:
        return np.concatenate([self.data.train.ids, self.data.test.ids])

    @property
    def identity(self) -> str:
        """Changes with anything that decides the weights; keeps foreign checkpoints out."""
        rows = [self.ids[self.train].tolist(), self.recipe.hash, self.fold, self.meta]
        if self.lessons is not None:
            taught = self.lessons
            digest = bytes_hash(taught.targets.tobytes())
            rows.append([self.ids[taught.rows].tolist(), digest, taught.weight])
        return json_hash(rows)

    def targets(self) -> torch.Tensor:
        """What is learnt of every row: the labels of the training table (n,) int64 or (n, c) int8,
        or float32 (n + m, c) of both tables where a teacher labels rows of the test table."""
        labels = torch.from_numpy(self.data.labels)
        if self.lessons is None:
            return labels
        classes = len(self.data.classes)
        soft = torch.zeros(len(self.ids), classes)
        hot = torch.nn.functional.one_hot(labels, classes) if labels.ndim == 1 else labels
        soft[: len(labels)] = hot.float()
        soft[self.lessons.rows] = torch.from_numpy(self.lessons.targets)
        return soft

    def draws(self) -> np.ndarray | None:
        """Return how often each of `learnt` is drawn, relative to the others, for balanced
        sampling; None where every row is seen once an epoch."""
        if self.recipe.training.sampling == "shuffle":
            return None
        labels = self.data.labels[self.train]
        if self.lessons is not None:
            soft = self.lessons.targets
            hard = soft.argmax(1) if labels.ndim == 1 else (soft >= 0.5).astype(labels.dtype)
            labels = np.concatenate([labels, hard])
        return row_weights(labels, len(self.data.classes))

    @cached_property
    def pictured(self) -> np.ndarray:
        """Which of all rows have a picture, (n,) bool."""
        return np.concatenate([self.data.train.pictured, self.data.test.pictured])

    @cached_property
    def prior_logits(self) -> np.ndarray:
        """What rows without a picture are answered with, (c,): the classes' frequencies in the rows
        that are trained on."""
        labels = self.data.labels[self.train]
        prior = prior_probs(labels, len(self.data.classes))
        return logits_of(prior, self.data.competition.task)

    def loss_weights(self) -> np.ndarray | None:
        """Return the weights of all rows (n,) float32 or, with a teacher, (n + m,), with mean 1
        over those of the training table that are trained on; None where all weigh the same."""
        weights = self.data.train.weights
        if weights is not None:
            mean = weights[self.train].mean()
            if not mean > 0:
                raise PodiumError(
                    f"{self.title}: the weights of all its {len(self.train)} training rows are 0; "
                    "weigh some of them in the table, or make other folds"
                )
            weights = (weights / mean).astype(np.float32)
        if self.lessons is None or (weights is None and self.lessons.weight == 1):
            return weights
        every = np.ones(len(self.ids), np.float32)
        if weights is not None:
            every[: len(weights)] = weights
        every[self.lessons.rows] = self.lessons.weight
        return every
