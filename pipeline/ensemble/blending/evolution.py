"""Weights by an evolution strategy that searches the metric itself.

The metric of labels is a staircase in the weights, without gradients. CMA-ES samples weights from
a normal distribution and moves it towards those that scored best. Weights are normalised before
they are scored, without which the search overfits.
"""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.blending.keyed import (
    DIGITS,
    canonical_order,
    draw_rows,
    first_copies,
    most_rows,
)
from pipeline.ensemble.blending.scoring import log_loss_of, quick_score
from pipeline.ensemble.stack import Stack
from pipeline.metrics import Metric
from pipeline.metrics.checks import check_labels, check_rows

VALUES = 1 << 26  # of all members that are mixed at every step: 256 MB
ROWS = 50_000  # where there are more values than that
STEP = 0.3  # first standard deviation, in units of an equal weight
EACH, MOST = 50, 600  # evaluations: per member, and at most
LOSS = 1e-9  # of the log loss, in a step's value: it decides between equal scores only


def evolved_weights(
    metric: Metric,
    y: np.ndarray,
    stack: Stack,
    *,
    keys: np.ndarray | None = None,
    start: np.ndarray | None = None,
    seed: int = 0,
    evaluations: int | None = None,
) -> np.ndarray:
    """Return weights of the linear pool whose score, under the rule that needs no fitting, is best.

    CMA-ES with normalised weights: negative ones become 0, which leaves members out altogether,
    and the others are divided by their sum. Returned is the best of `start`, equal weights and all
    that was tried; among equal scores the lowest log loss.

    Parameters
    ----------
    metric : Metric
    y : ndarray of shape (n,) int or (n, c) 0/1
    stack : Stack
        Probabilities (members, n, c).
    keys : ndarray of shape (n,) uint64, optional
        Hashes of the rows' ids or groups; by default their positions. Of more than 6.7e7 values the
        search sees 50,000 rows at most (under AUC or average precision 1e6 / c), by their hashes.
    start : ndarray of shape (members,), optional
        Where the search begins, unless equal weights (of copies, one) score better.
    seed : int
    evaluations : int, optional
        How many weights are scored; by default 50 per member, at most 600.

    Returns
    -------
    ndarray of shape (members,), float64
        Non-negative, of sum 1; copies of a member share its weight equally.

    Raises
    ------
    PodiumError
        For labels that do not fit the task or the stack.

    References
    ----------
    Purucker and Beel, CMA-ES for post hoc ensembling in AutoML: a great success and salvageable
    failure, AutoML-Conf 2023. Hansen, The CMA evolution strategy: a tutorial, 2016.
    """
    members, rows, classes = stack.shape
    y = check_labels(y, metric.task, n_classes=classes)
    check_rows(y, range(rows))
    keys = np.arange(rows, dtype=np.uint64) if keys is None else keys
    first = first_copies(stack)
    kept = np.unique(first)
    start = np.isin(np.arange(members), kept) if start is None else start
    weights = np.bincount(first, start / np.sum(start))[kept]
    if len(kept) > 1:
        used = _used(metric, keys, len(kept), classes, seed)
        problem = _Problem(metric, y[used], stack.only(kept.tolist()).take(used), keys[used])
        budget = min(MOST, EACH * len(kept)) if evaluations is None else evaluations
        weights = problem.search(weights, seed, budget)
    return weights[np.searchsorted(kept, first)] / np.bincount(first, minlength=members)[first]


def _used(metric: Metric, keys: np.ndarray, members: int, classes: int, seed: int) -> np.ndarray:
    """Return the rows to search on."""
    most, values = len(keys), members * classes
    if most * values > VALUES:
        most = min(ROWS, VALUES // values)
    return draw_rows(keys, max(1, most_rows(metric, classes, most)), seed)


class _Problem:
    """Rows and members in the search's own order, and the score of any weights of theirs."""

    def __init__(self, metric: Metric, y: np.ndarray, stack: Stack, keys: np.ndarray) -> None:
        self.metric = metric
        self.members, rows, classes = canonical_order(metric.task, y, stack, keys)
        self.back = np.argsort(classes)
        stack, self.y = stack.only(self.members.tolist()).take(rows), y[rows]
        self.shape = stack.shape
        self.values = np.empty(stack.shape, np.float32)
        for at in range(len(stack)):
            self.values[at] = stack.member(at)[:, classes]
        self.values = self.values.reshape(len(stack), -1)

    def value(self, weights: np.ndarray) -> float:
        """Return what the search minimises: the score, and the log loss where scores are equal."""
        probs = (weights.astype(np.float32) @ self.values).reshape(self.shape[1:])[:, self.back]
        score = round(quick_score(self.metric, self.y, probs), DIGITS)
        loss = round(log_loss_of(self.metric.task, self.y, probs), DIGITS)
        return LOSS * loss - score if np.isfinite(score) else 1e9 + loss

    def search(self, start: np.ndarray, seed: int, budget: int) -> np.ndarray:
        """Return the best weights of `start`, equal ones and what CMA-ES tries."""
        equal = np.full(len(start), 1 / len(start))
        best = min((start[self.members], equal), key=self.value)
        found = _evolve(self.value, best, seed, budget) if budget > 0 else best
        chosen = min((best, found), key=self.value)
        weights = np.empty(len(start))
        weights[self.members] = chosen
        return weights


def normalised(point: np.ndarray) -> np.ndarray:
    """Return a point of the search as weights of sum 1; equal ones where nothing is positive."""
    sizes = np.maximum(point, 0)
    return sizes / sizes.sum() if sizes.sum() > 0 else np.full(len(point), 1 / len(point))


def _evolve(
    value: Callable[[np.ndarray], float], start: np.ndarray, seed: int, budget: int
) -> np.ndarray:
    """Return the weights of the lowest value that CMA-ES finds with `budget` evaluations."""
    import cma  # takes half a second to import

    normal = np.random.default_rng(seed).standard_normal
    options = {
        "seed": np.nan,  # leaves numpy's global generator alone: `randn` is the only source
        "randn": lambda *shape: normal(shape),
        "verbose": -10,
        "verb_log": 0,
        "maxfevals": budget,
        "tolflatfitness": budget,
    }
    search = cma.CMAEvolutionStrategy(start * len(start), STEP, options)
    best, lowest = start, np.inf
    while not search.stop():
        points = search.ask()
        values = [value(normalised(point)) for point in points]
        search.tell(points, values)
        at = int(np.argmin(values))
        if values[at] < lowest:
            best, lowest = normalised(points[at]), values[at]
    return best
