"""What decides a fold's artefacts: rows, recipe, seed, and what is derived from the rows."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.hashing import json_hash
from pipeline.artifacts.predictions import logits_of
from pipeline.competition import CompetitionData
from pipeline.config.recipe import Recipe
from pipeline.decisions.constant import prior_probs
from pipeline.errors import PodiumError
from pipeline.images.cache import Pixels


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
        return json_hash(rows)

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
        """Return the weights of all training rows (n,) float32, with mean 1 over those that are
        trained on; None where the competition has none."""
        weights = self.data.train.weights
        if weights is None:
            return None
        mean = weights[self.train].mean()
        if not mean > 0:
            raise PodiumError(
                f"{self.title}: the weights of all its {len(self.train)} training rows are 0; "
                "weigh some of them in the table, or make other folds"
            )
        return (weights / mean).astype(np.float32)
