"""Weights per class for log loss, shrunk towards the shared ones where positives are few."""

from collections.abc import Iterator

import numpy as np

from pipeline.ensemble.blending.simplex import (
    WIDE,
    Blocks,
    happened,
    pool_weights,
    simplex_weights,
)
from pipeline.ensemble.stack import Stack
from pipeline.metrics.checks import check_labels, check_rows

# On simulated members of 500 to 10,000 rows, as good as each other in every class or not: 30 keeps
# most of what a class gains by its own weights, and loses little where they are noise.
PRIOR = 30.0


def per_class_weights(y: np.ndarray, stack: Stack, task: str, prior: float = PRIOR) -> np.ndarray:
    """Return weights of the linear pool for every class by itself.

    Class j's own weights minimise the binary log loss of column j (multi-class: one class against
    the rest) over the simplex. With e rows of the rarer of its two labels they count
    e / (e + prior), and the weights that all classes share count the rest.

    Parameters
    ----------
    y : ndarray of shape (n,) int or (n, c) 0/1
    stack : Stack
        Probabilities (members, n, c).
    task : str
        'multiclass' or 'multilabel'. In the former, the pool's rows no longer sum to 1: the caller
        divides by their sums.
    prior : float
        How many rows of the rarer label the shared weights are worth; 0 for no shrinkage.

    Returns
    -------
    ndarray of shape (members, c), float64
        Non-negative columns of sum 1. A class with one label only has the shared weights.

    Raises
    ------
    PodiumError
        For labels that do not fit the task or the stack.
    """
    members, rows, classes = stack.shape
    y = check_labels(y, task, n_classes=classes)
    check_rows(y, range(rows))
    shared = simplex_weights(y, stack, task)
    if members == 1:
        return np.ones((1, classes))
    if task == "multiclass":
        positives = np.bincount(y, minlength=classes)
    else:
        positives = y.sum(0, dtype=np.int64)
    evidence = np.minimum(positives, rows - positives)
    weights = np.tile(shared, (classes, 1))
    own = np.flatnonzero(evidence)
    if len(own):
        start = np.tile(0.9 * shared + 0.1 / members, (len(own), 1))
        fitted = pool_weights(_column_blocks(y, stack, own), start)
        trust = evidence[own] / (evidence[own] + prior)
        weights[own] += trust[:, None] * (fitted - weights[own])
    return weights.T.copy()


def _column_blocks(y: np.ndarray, stack: Stack, own: np.ndarray) -> Blocks:
    """Return the blocks of one problem per class of `own`, whose truth is 1 or 0."""

    def blocks(still: np.ndarray) -> Iterator[tuple[np.ndarray, None]]:
        columns = own[still]
        for here, block in _wide(stack):
            truth = y[here, None] == columns if y.ndim == 1 else y[here][:, columns]
            part = block if len(columns) == block.shape[2] else block[:, :, columns]
            likelihood = happened(part, truth)
            yield np.ascontiguousarray(likelihood.transpose(2, 0, 1)), None

    return blocks


def _wide(stack: Stack) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the stack's blocks joined until they hold some rows; of many classes they hold few."""
    waiting, begin = [], 0
    for here, block in stack.blocks():
        waiting.append(block)
        if here.stop - begin >= WIDE or here.stop == stack.shape[1]:
            whole = waiting[0] if len(waiting) == 1 else np.concatenate(waiting, axis=1)
            yield slice(begin, here.stop), whole
            waiting, begin = [], here.stop
