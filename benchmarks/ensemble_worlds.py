"""Competitions to measure on: simulated ones, and real ones resampled, with a truth beside.

A simulated member sees each row's label through noise: some of it shared by all members (what no
blend can average away), some its own; and it says so too loudly or too softly. In half of the
competitions three rows at a time share their noise, as photos of one sender do: they are a group.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.ensemble.rows import Rows, row_keys
from pipeline.ensemble.stack import Stack
from pipeline.metrics import Metric, get_metric

TRUTH = 20_000  # fresh rows that say what a chain is worth
TOGETHER = 3  # rows of a group
FOLDS = 5


@dataclass(frozen=True)
class World:
    """A kind of competition: its task and metric, its numbers of rows, classes and members."""

    task: str
    metric: str
    rows: int
    classes: int
    members: int = 6
    grouped: bool = False

    def __str__(self) -> str:
        kind = "grouped " if self.grouped else ""
        return f"{kind}{self.metric} {self.rows:,} x {self.classes}"

    def scored_by(self) -> Metric:
        return get_metric(self.metric, self.task)


WORLDS = (
    World("multiclass", "accuracy", 300, 5),
    World("multiclass", "accuracy", 3000, 20, grouped=True),
    World("multiclass", "log_loss", 1000, 5),
    World("multiclass", "f1_macro", 1000, 10),
    World("multiclass", "balanced_accuracy", 1000, 10, grouped=True),
    World("multilabel", "f1_macro", 300, 5),
    World("multilabel", "f1_macro", 1000, 20, grouped=True),
    World("multilabel", "f1_micro", 1000, 20),
    World("multilabel", "f1_samples", 1000, 10, grouped=True),
    World("multilabel", "subset_accuracy", 1000, 10),
)


def simulated(world: World, seed: int) -> tuple[Rows, Rows]:
    """Return the rows that a competitor has, and `TRUTH` fresh ones of the same competition."""
    rng = np.random.default_rng([seed, world.rows, world.classes])
    signal = rng.uniform(0.8, 2.0, world.members)
    noise = rng.uniform(0.6, 1.6, world.members)
    loudness = rng.uniform(0.5, 2.5, world.members)
    prior = _prior(world, rng)
    found = []
    for count in (world.rows, TRUTH):
        unit = np.arange(count) // TOGETHER if world.grouped else np.arange(count)
        shared = rng.standard_normal((unit[-1] + 1, world.classes))[unit]
        labels = _labels(world, prior, count, rng)
        truth = labels if labels.ndim == 2 else labels[:, None] == np.arange(world.classes)
        members = []
        for j in range(world.members):
            own = noise[j] * rng.standard_normal((count, world.classes))
            score = signal[j] * 2 * truth + 0.8 * shared + own
            members.append(_probs(world, loudness[j] * score, prior, loudness[j]))
        groups = unit.astype(str) if world.grouped else None
        keys = row_keys(np.arange(count).astype(str), groups)
        order = rng.permutation(unit[-1] + 1) % FOLDS
        found.append(Rows(labels, Stack.of(members), order[unit], keys, groups))
    return found[0], found[1]


def _prior(world: World, rng: np.random.Generator) -> np.ndarray:
    """Return how common each class is: unequal, and in a multi-label task from 2 to 30 %."""
    if world.task == "multiclass":
        return rng.dirichlet(np.full(world.classes, 3.0))
    return np.exp(rng.uniform(np.log(0.02), np.log(0.3), world.classes))


def _labels(world: World, prior: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    if world.task == "multiclass":
        labels = rng.choice(world.classes, count, p=prior)
        labels[: world.classes] = np.arange(world.classes)  # every class is there
        return labels
    labels = (rng.random((count, world.classes)) < prior).astype(np.int8)
    labels[: world.classes] |= np.eye(world.classes, dtype=np.int8)
    return labels


def _probs(world: World, score: np.ndarray, prior: np.ndarray, loud: float) -> np.ndarray:
    if world.task == "multiclass":
        score = score + np.log(prior)
        score -= score.max(axis=1, keepdims=True)
        odds = np.exp(score)
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    shift = np.log(prior / (1 - prior)) - loud  # a row without the label says no
    return (1 / (1 + np.exp(-np.clip(score + shift, -30, 30)))).astype(np.float32)


def resampled(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Return two random halves of a real competition's rows, whole groups in one of them: the one
    that the competitor has, and the other, which says what a chain is worth."""
    rng = np.random.default_rng(seed)
    units, which = np.unique(rows.keys, return_inverse=True)
    first = (rng.random(len(units)) < 0.5)[which]
    return rows.take(first), rows.take(~first)
