"""Multi-class multipliers: the answer is argmax(probs * m), ties to the first class.

Argmax is the best rule for accuracy under true probabilities; a metric that counts classes equally
wants rare classes answered more often, and miscalibrated ones corrected. One factor per class does
both. Coordinate ascent from several starts, each step an exact line search (see `flips`).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.decisions.cuts import TIE
from pipeline.decisions.flips import SUPPORTED, Counts, Line, best_multiplier
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair
from pipeline.metrics.class_counts import Accuracy, ClassCounts, class_counts
from pipeline.metrics.jaccard import MulticlassJaccard

MAX_SWEEPS = 10
TRIAL_SWEEPS = 4  # of every start; only the best of them goes on
START_SPREAD = 0.5  # standard deviation of log m in a random start: a factor of about 1.6
BLOCK = 2**18  # products held at once: they stay in the processor's cache


@dataclass(frozen=True)
class Rows:
    """What is fitted to: the same probabilities by row and by class, each read in one stretch."""

    metric: ClassCounts
    y: np.ndarray  # (n,)
    probs: np.ndarray  # (n, c)
    columns: np.ndarray  # (c, n)

    def at(self, multipliers: np.ndarray) -> "Position":
        """Return the position of some multipliers (c,)."""
        return self.position(multipliers, *_tops(self.probs, multipliers))

    def position(self, multipliers: np.ndarray, answer: np.ndarray, top: np.ndarray) -> "Position":
        """Return a position whose answer and products are known, normalised."""
        scale = 2.0 ** -np.round(np.mean(np.log2(multipliers)))
        counts = class_counts(self.y, answer, len(self.columns))
        score = float(self.metric.from_counts(*counts))
        return Position(multipliers * scale, answer, top * scale, counts, score)

    def line(self, position: "Position", j: int) -> Line:
        """Return the line through a position along the multiplier of class j."""
        rival, reach = position.answer.copy(), position.top.copy()
        mine = np.flatnonzero(rival == j)
        rival[mine], reach[mine] = _tops(self.probs, position.multipliers, mine, without=j)
        today, own = float(position.multipliers[j]), self.columns[j]
        return Line.of(j, today, self.y, position.answer, (rival, reach), own, position.counts)

    def moved(self, position: "Position", line: Line, value: float) -> "Position":
        """Return where the position's line has the multiplier `value`."""
        product = self.columns[line.j] * value
        wins = (product > line.reach) | ((product == line.reach) & (line.j < line.rival))
        multipliers = position.multipliers.copy()
        multipliers[line.j] = value
        answer = np.where(wins, line.j, line.rival)
        return self.position(multipliers, answer, np.where(wins, product, line.reach))


@dataclass(frozen=True)
class Position:
    """Multipliers (c,), and what they answer (n,), by what product (n,), and what that scores."""

    multipliers: np.ndarray
    answer: np.ndarray
    top: np.ndarray
    counts: Counts
    score: float


def multiply(probs: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """Return the class (n,) of the largest product in each row; ties go to the first class."""
    return _tops(probs, multipliers)[0]


def fit_multipliers(
    metric: ClassCounts, y: np.ndarray, probs: np.ndarray, *, n_starts: int = 4, seed: int = 0
) -> np.ndarray:
    """Return one positive factor per class, never worse than argmax on these rows.

    Parameters
    ----------
    metric : Metric
        Accuracy, balanced accuracy, F-beta or Jaccard (micro, macro, weighted) or the Matthews
        correlation of a multi-class task.
    y : ndarray of shape (n,), class indices
        Classes may be absent; of a single class, argmax is kept where nothing gains on it.
    probs : ndarray of shape (n, c), in [0, 1]
    n_starts, seed : int
        Starts of the ascent: all ones, the inverse mean probability, then random ones. Each is
        followed for four sweeps over the classes, and the best of them to its end.

    Returns
    -------
    ndarray of shape (c,), float64
        Finite, positive, with a geometric mean within a factor sqrt(2) of 1: a power of two
        normalises them, which alters no product by rounding and so no answer. A local optimum
        (or what ten sweeps reached), and the score of exactly these factors was compared at every
        step. The order of rows changes nothing; that of classes nothing but ties.

    Raises
    ------
    PodiumError
        For another metric, shapes that differ, NaN or values outside [0, 1].
    """
    if not isinstance(metric, SUPPORTED):
        raise PodiumError(f"{metric.name} has no multipliers to fit; use the rule 'argmax'")
    y, probs = check_pair(y, probs, "multiclass")
    if isinstance(metric, MulticlassJaccard) and metric.average == "micro":
        metric = Accuracy("accuracy", "multiclass")  # a / (2 - a) of the accuracy a
    rows = Rows(metric, y, probs, np.ascontiguousarray(probs.T))
    means = rows.columns.mean(1)
    # From the commonest class to the rarest, so that the numbering of classes does not matter.
    order = np.lexsort((-means, -np.bincount(y, minlength=len(means))))
    starts = (rows.at(start) for start in _starts(means, order, n_starts, seed))
    tried = [_climb(rows, start, order, TRIAL_SWEEPS) for start in starts]
    best = max(tried, key=lambda position: position.score)  # the first of equals: ones come first
    return _climb(rows, best, order, MAX_SWEEPS - TRIAL_SWEEPS).multipliers


def _starts(means: np.ndarray, order: np.ndarray, n_starts: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    starts = [np.ones(len(means)), 1 / np.maximum(means, 1e-6)]
    while len(starts) < n_starts:
        starts.append(np.empty(len(means)))
        starts[-1][order] = np.exp(START_SPREAD * rng.standard_normal(len(means)))
    return starts[: max(1, n_starts)]


def _climb(rows: Rows, position: Position, order: np.ndarray, sweeps: int) -> Position:
    """Return the position after some sweeps, or where one gains nothing."""
    for _ in range(sweeps):
        before, position = position, _sweep(rows, position, order)
        if position is before:
            break
    return position


def _sweep(rows: Rows, position: Position, order: np.ndarray) -> Position:
    """Return the position after one line search along every class; the same one if none gains."""
    for j in order.tolist():
        line = rows.line(position, j)
        value, promised = best_multiplier(rows.metric, line, position.score)
        if promised <= position.score + TIE:
            continue
        moved = rows.moved(position, line, value)
        if moved.score > position.score:  # rounding at a near tie can break a promise
            position = moved
    return position


def _tops(
    probs: np.ndarray,
    multipliers: np.ndarray,
    rows: np.ndarray | None = None,
    without: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of the largest product, and that product, of all or some rows.

    One class may be left out. Equal products go to the first class.
    """
    n = len(probs) if rows is None else len(rows)
    best, top = np.empty(n, np.int64), np.empty(n)
    step = max(1, BLOCK // probs.shape[1])
    for start in range(0, n, step):
        part = slice(start, start + step)
        products = (probs[part] if rows is None else probs[rows[part]]) * multipliers
        if without is not None:
            products[:, without] = -1
        best[part] = products.argmax(1)
        top[part] = np.take_along_axis(products, best[part, None], 1)[:, 0]
    return best, top
