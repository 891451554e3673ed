"""Weights of the linear pool that minimise log loss over the simplex, with a proof of optimality.

The log loss of a pool of probabilities is convex in its weights. Each step solves the quadratic
model exactly over the simplex; the pass over the rows that it needs is one product of matrices a
block. Several such problems (one per class) advance side by side, so that they share the passes.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import nnls

from pipeline.decisions.calibration import mean_one, some_rows
from pipeline.ensemble.stack import Stack
from pipeline.metrics.checks import check_labels, check_rows
from pipeline.metrics.rows import CLIP

GAP = 1e-9  # the loss is proven to lie within this of the optimum
RIDGE = 1e-10  # times |w|^2 / 2: copies of a member share their weight equally
PASSES = 100
SAMPLE = 20_000  # rows that a first guess is fitted on, where there are many more
WIDE = 128  # rows of a block at least, so that products of matrices outweigh their sums

# From the problems still open to blocks of likelihoods (k, members, b) and row weights (b,).
Blocks = Callable[[np.ndarray], Iterator[tuple[np.ndarray, np.ndarray | None]]]


def simplex_weights(
    y: np.ndarray, stack: Stack, task: str, row_weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the weights of the linear pool with the lowest log loss.

    Sequential quadratic programming on the mixture-proportions form. The loss of the weights
    returned exceeds the minimum by at most 1e-9, which is shown, not assumed: the excess is never
    more than the largest mean of p_m / (sum of w p) over members m, minus 1.

    Parameters
    ----------
    y : ndarray of shape (n,) int or (n, c) 0/1
    stack : Stack
        Probabilities (members, n, c); in a multi-class task, rows that sum to 1. Those of what
        happened are clipped from below at 1e-15 before they are pooled, as the metric clips after.
    task : str
        'multiclass' or 'multilabel'.
    row_weights : ndarray of shape (n,), optional
        Non-negative weights of the rows in the mean.

    Returns
    -------
    ndarray of shape (members,), float64
        Non-negative, of sum 1. Where several are optimal (copies), the one of smallest norm.

    Raises
    ------
    PodiumError
        For labels that do not fit the task or the stack.

    References
    ----------
    Kim, Carbonetto, Stephens and Anitescu, A fast algorithm for maximum likelihood estimation of
    mixture proportions using sequential quadratic programming, JCGS 29 (2020). Lindsay, The
    geometry of mixture likelihoods, Annals of Statistics 11 (1983), for the bound.
    """
    members, rows, classes = stack.shape
    y = check_labels(y, task, n_classes=classes)
    check_rows(y, range(rows))
    row_weights = None if row_weights is None else mean_one(row_weights, rows)
    if members == 1:
        return np.ones(1)
    start = np.full((1, members), 1 / members)
    if rows > 4 * SAMPLE:  # the optimum of some rows is near that of all
        some = some_rows(rows, row_weights, SAMPLE)
        guess = simplex_weights(
            y[some], stack.take(some), task, None if row_weights is None else row_weights[some]
        )
        start = 0.99 * guess[None] + 0.01 * start  # no row may begin at probability zero
    if task == "multiclass":
        blocks = _actual_blocks(stack.actual(y), row_weights)
    else:
        blocks = _cell_blocks(y, stack, row_weights)
    return pool_weights(blocks, start)[0]


def pool_weights(blocks: Blocks, start: np.ndarray) -> np.ndarray:
    """Return the weights (k, members) that minimise k mean log losses of linear pools at once.

    `start` (k, members) lies on the simplexes; `blocks` yields the likelihoods of the problems that
    it is given. A step is taken where the loss falls by a share of what its slope promises and the
    slope at its end has not turned steeply upwards: past a row of probability near zero, Newton
    steps would only double it.
    """
    weights = np.array(start, np.float64)
    step, slope = np.ones(len(weights)), np.zeros(len(weights))
    loss, towards = np.full(len(weights), np.inf), np.zeros_like(weights)
    still = np.arange(len(weights))
    for _ in range(PASSES):
        trial = weights[still] + step[still, None] * towards[still]
        reached, curvature = _evaluate(blocks, still, trial)
        pull = np.einsum("kmn,kn->km", curvature, trial)
        down = -np.einsum("km,km->k", pull, towards[still])
        fallen = reached <= loss[still] + 1e-4 * step[still] * slope[still] + 1e-14
        taken = fallen & (down <= -0.9 * slope[still] + 1e-12)
        for at in np.flatnonzero(taken):
            problem = still[at]
            weights[problem], loss[problem] = trial[at], reached[at]
            towards[problem] = _model_minimum(curvature[at], trial[at]) - trial[at]
            slope[problem], step[problem] = -pull[at] @ towards[problem], 1.0
        step[still[~taken]] /= 2
        done = np.where(taken, pull.max(1) - 1 <= GAP, step[still] < 1e-9)
        still = still[~done]
        if not len(still):
            break
    weights = np.maximum(weights, 0)
    return weights / weights.sum(1, keepdims=True)


def _evaluate(
    blocks: Blocks, still: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean losses (k,) and their second derivatives (k, members, members).

    Minus the gradient is that matrix times the weights, since the shares p_m / (sum of w p) of a
    row, weighted, sum to 1.
    """
    count, members = weights.shape
    losses, curvature, total = np.zeros(count), np.zeros((count, members, members)), 0.0
    for likelihood, rows in blocks(still):
        pooled = weights[:, None] @ likelihood  # (k, 1, b)
        shares = likelihood / pooled
        logs = np.log(pooled[:, 0])
        if rows is None:
            losses -= logs.sum(1)
            curvature += shares @ shares.transpose(0, 2, 1)
            total += logs.shape[1]
        else:
            losses -= logs @ rows
            curvature += (shares * rows) @ shares.transpose(0, 2, 1)
            total += rows.sum()
    return losses / total, curvature / total


def _model_minimum(curvature: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return where on the simplex the quadratic model around `weights` (members,) is lowest.

    With curvature = R'R, the model is |R v - b|^2 / 2, and |(R - b 1') v|^2 / 2 where v sums to 1:
    the point of a convex hull nearest to the origin, which non-negative least squares finds.
    """
    values, vectors = np.linalg.eigh(curvature + RIDGE * np.eye(len(weights)))
    roots = np.sqrt(np.maximum(values, RIDGE))
    goal = vectors.T @ (2 * curvature @ weights) / roots
    corners = roots[:, None] * vectors.T - goal[:, None]
    system = np.vstack([corners, np.ones(len(weights))])
    found, _ = nnls(system, np.append(np.zeros(len(weights)), 1.0), maxiter=100 * len(weights))
    return found / found.sum()


def _actual_blocks(actual: np.ndarray, row_weights: np.ndarray | None) -> Blocks:
    """Return the blocks of one problem: probabilities (members, n) of the actual classes."""
    size = max(WIDE, (1 << 17) // len(actual))

    def blocks(still: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for begin in range(0, actual.shape[1], size):
            here = slice(begin, begin + size)
            likelihood = np.maximum(actual[:, here], CLIP, dtype=np.float64)
            yield likelihood[None], None if row_weights is None else row_weights[here]

    return blocks


def _cell_blocks(y: np.ndarray, stack: Stack, row_weights: np.ndarray | None) -> Blocks:
    """Return the blocks of one problem: the probabilities of all labels, 1 or 0, as they are."""

    def blocks(still: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for here, block in stack.blocks():
            likelihood = happened(block, y[here]).reshape(1, len(block), -1)
            rows = None if row_weights is None else np.repeat(row_weights[here], y.shape[1])
            yield likelihood, rows

    return blocks


def happened(block: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return p where the truth (b, c) is 1 and 1 - p where it is 0, (members, b, c) float64."""
    likelihood = block - (1.0 - truth)
    np.abs(likelihood, out=likelihood)
    return np.maximum(likelihood, CLIP, out=likelihood)
