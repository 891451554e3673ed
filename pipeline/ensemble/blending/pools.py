"""Pools: one number from several members' probabilities, without labels.

Every function reads a stack block by block and returns (n, c) float32 within [0, 1]; multi-class
rows sum to 1. Weights are (members,), or (members, classes) for weights per class.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from pipeline.artifacts.predictions import CLIP, log_values
from pipeline.ensemble.blending.scoring import log_loss_of, quick_score
from pipeline.ensemble.stack import Stack
from pipeline.errors import PodiumError
from pipeline.metrics import Metric

POWERS = (1.0, 2.0, 0.5, 4.0, 0.25, 8.0, 0.0)  # by their distance from the arithmetic mean
KNOTS = 4096  # of a member's ranks in a class
TIE = 1e-7  # what rounding makes of equal scores


def arithmetic(stack: Stack, weights: np.ndarray, task: str) -> np.ndarray:
    """Return the weighted mean of the members' probabilities."""
    return _finished(stack.mix(weights), task)


def geometric(stack: Stack, weights: np.ndarray, task: str) -> np.ndarray:
    """Return the weighted geometric mean: of p, divided by its sum over the classes, or (of several
    labels) of the odds p / (1 - p). Probabilities are clipped at 1e-7."""
    pooled = np.empty(stack.shape[1:], np.float32)
    for here, block in stack.blocks():
        mean = _weighted(weights, log_values(block, task, np.float32))
        if task == "multiclass":
            pooled[here] = np.exp(mean - mean.max(axis=1, keepdims=True))
        else:
            pooled[here] = 1 / (1 + np.exp(-mean))
    return _finished(pooled, task)


def power_mean(stack: Stack, weights: np.ndarray, power: float, task: str) -> np.ndarray:
    """Return the weighted power mean of the members' probabilities.

    (mean of p^a)^(1/a) for every class, divided by the sum over the classes; of several labels,
    by the sum over "yes" and "no", so that p and 1 - p are pooled alike. Power 1 is the arithmetic
    mean, 0 the geometric one (the limit), and large powers follow the most confident member. What
    competitions call power averaging, mean(p^a), is the same but for the final root.

    Parameters
    ----------
    stack : Stack
        Probabilities (members, n, c); clipped at 1e-7.
    weights : ndarray of shape (members,) or (members, c)
        Non-negative, of sum 1.
    power : float
        At least 0.
    task : str
        'multiclass' or 'multilabel'.

    Returns
    -------
    ndarray of shape (n, c), float32

    Raises
    ------
    PodiumError
        For a power that is negative or not finite.

    References
    ----------
    Hardy, Littlewood and Polya, Inequalities, 1934, chapter 2.
    """
    if not 0 <= power < math.inf:
        raise PodiumError(f"power must be a number of at least 0, got {power}; 1 is the mean")
    if power in (0, 1):
        return (geometric if power == 0 else arithmetic)(stack, weights, task)
    pooled = np.empty(stack.shape[1:], np.float32)
    for here, block in stack.blocks():
        values = np.clip(block.astype(np.float64), CLIP, 1 - CLIP)
        yes = _weighted(weights, _raised(values, power)) ** (1 / power)
        if task == "multilabel":
            no = _weighted(weights, _raised(1 - values, power)) ** (1 / power)
            yes /= yes + no
        pooled[here] = yes
    return _finished(pooled, task)


def best_power(metric: Metric, y: np.ndarray, stack: Stack) -> float:
    """Return the power of 0, 0.25, 0.5, 1, 2, 4 and 8 whose mean, of equal weights, scores best
    under the rule that needs no fitting; among equals the lowest log loss, then the power closest
    to 1."""
    equal = np.full(len(stack), 1 / len(stack))
    best, chosen = (-np.inf, -np.inf), POWERS[0]
    for power in POWERS:
        probs = power_mean(stack, equal, power, metric.task)
        score = quick_score(metric, y, probs)
        found = (score, -log_loss_of(metric.task, y, probs))
        better = score > best[0] + TIE
        if better or (score >= best[0] - TIE and found[1] > best[1] + TIE):
            best, chosen = found, power
    return chosen


@dataclass(frozen=True, eq=False)
class Ranks:
    """Distribution functions of every member and class: distinct `scores` in ascending order, and
    the `shares` of the fitted rows below them; both indexed [member][class]."""

    scores: tuple[tuple[np.ndarray, ...], ...] = field(repr=False)
    shares: tuple[tuple[np.ndarray, ...], ...] = field(repr=False)


def fit_ranks(stack: Stack) -> Ranks:
    """Return the ranks of a stack's own scores: the share of rows below each, of which equal ones
    count half. Fitted out of fold, so that a test row's rank does not depend on other test rows.

    A member that gives a class more than 4,096 different scores keeps at most 4,096 of them, on
    either side of evenly spaced shares: what is interpolated is off by at most 1 / 2047.
    """
    scores, shares = [], []
    for at in range(len(stack)):
        values = stack.member(at)
        pairs = [_thinned(*_middles(column)) for column in values.T]
        scores.append(tuple(pair[0] for pair in pairs))
        shares.append(tuple(pair[1].astype(np.float32) for pair in pairs))
    return Ranks(tuple(scores), tuple(shares))


def rank(
    stack: Stack, references: Ranks, task: str, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the weighted mean (equal by default) of the shares of fitted scores below each score.

    Multi-class rows are divided by their sums. A row's value does not depend on the rows beside it.
    """
    members = len(stack)
    if len(references.scores) != members:
        raise ValueError(f"ranks of {len(references.scores)} members, stack of {members}")
    weights = np.full(members, 1 / members) if weights is None else weights
    pooled = np.zeros(stack.shape[1:], np.float32)
    for at in range(members):
        each = np.broadcast_to(weights[at], stack.shape[2])
        pairs = zip(references.scores[at], references.shares[at], strict=True)
        curves = [
            (scores.astype(np.float64), shares.astype(np.float64)) for scores, shares in pairs
        ]
        for here, block in stack.only([at]).blocks():
            for column, curve in enumerate(curves):
                pooled[here, column] += each[column] * np.interp(block[0, :, column], *curve)
    return _finished(pooled, task)


def _middles(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct scores of a column, and the share below each, equals counting half."""
    scores, counts = np.unique(column, return_counts=True)
    return scores, (np.cumsum(counts) - 0.5 * counts) / len(column)


def _thinned(scores: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the last score at or below, and the first at or above, of evenly spaced shares: between
    the scores kept either none was left out, or the share grows by less than one space."""
    if len(scores) <= KNOTS:
        return scores, shares
    wanted = np.linspace(shares[0], shares[-1], KNOTS // 2)
    above = np.minimum(np.searchsorted(shares, wanted, "left"), len(shares) - 1)
    below = np.maximum(np.searchsorted(shares, wanted, "right") - 1, 0)
    kept = np.unique(np.concatenate([above, below, [0, len(shares) - 1]]))
    return scores[kept], shares[kept]


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the weighted sums (b, c) of (members, b, c), member by member: always in one order."""
    total = np.zeros(values.shape[1:], values.dtype)
    for weight, member in zip(weights.astype(values.dtype), values, strict=True):
        total += weight * member
    return total


def _raised(values: np.ndarray, power: float) -> np.ndarray:
    """Return values ** power; powers of 2 by squares and roots, ten times as fast."""
    halvings = math.log2(power)
    if halvings != int(halvings) or abs(halvings) > 4:
        return values**power
    for _ in range(abs(int(halvings))):
        values = np.square(values) if halvings > 0 else np.sqrt(values)
    return values


def _finished(values: np.ndarray, task: str) -> np.ndarray:
    """Return values (n, c) within [0, 1]; multi-class rows divided by their sums, and uniform where
    that is 0 (ranks can be)."""
    if task == "multiclass":
        sums = values.sum(axis=1, keepdims=True)
        values = np.divide(values, sums, out=values, where=sums > 0)
        values[sums[:, 0] <= 0] = 1 / values.shape[1]
    return np.clip(values, 0, 1, out=values)
