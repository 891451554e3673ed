"""Multi-class multipliers: the answer is argmax(probs * m), ties to the first class.

Argmax is the best rule for accuracy under true probabilities; a metric that counts classes equally
wants rare classes answered more often, and miscalibrated ones corrected. One factor per class does
both. Coordinate ascent from several starts, each step an exact line search (see `flips`).
"""

import numpy as np

from pipeline.decisions.cuts import TIE
from pipeline.decisions.flips import SUPPORTED, best_multiplier
from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair
from pipeline.metrics.class_counts import ClassCounts, class_counts

MAX_SWEEPS = 10
START_SPREAD = 0.5  # standard deviation of log m in a random start: a factor of about 1.6


def multiply(probs: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """Return the class (n,) of the largest product in each row; ties go to the first class."""
    return np.argmax(probs * multipliers, axis=1)


def fit_multipliers(
    metric: ClassCounts, y: np.ndarray, probs: np.ndarray, *, n_starts: int = 4, seed: int = 0
) -> np.ndarray:
    """Return one positive factor per class, never worse than argmax on these rows.

    Parameters
    ----------
    metric : Metric
        Accuracy, balanced accuracy or F-beta (micro, macro, weighted) of a multi-class task.
    y : ndarray of shape (n,), class indices
    probs : ndarray of shape (n, c), in [0, 1]
    n_starts, seed : int
        Starts of the ascent: all ones, the inverse mean probability, then random ones.

    Returns
    -------
    ndarray of shape (c,), float64
        Finite, positive, with a geometric mean within a factor sqrt(2) of 1: a power of two
        normalises them, which alters no product by rounding and so no answer. A local optimum,
        and the score of exactly these factors was compared at every step.

    Raises
    ------
    PodiumError
        For another metric, shapes that differ, NaN or values outside [0, 1].
    """
    if not isinstance(metric, SUPPORTED):
        raise PodiumError(f"{metric.name} has no multipliers to fit; use the rule 'argmax'")
    y, probs = check_pair(y, probs, "multiclass")
    fitted = [_ascend(metric, y, probs, start) for start in _starts(probs, n_starts, seed)]
    best, _ = max(fitted, key=lambda pair: pair[1])  # the first of equals: ones come first
    return best


def _starts(probs: np.ndarray, n_starts: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    n_classes = probs.shape[1]
    starts = [np.ones(n_classes), 1 / np.maximum(probs.mean(0), 1e-6)]
    while len(starts) < n_starts:
        starts.append(np.exp(START_SPREAD * rng.standard_normal(n_classes)))
    return [_normalised(start) for start in starts[: max(1, n_starts)]]


def _ascend(
    metric: ClassCounts, y: np.ndarray, probs: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return a local optimum of coordinate ascent, and its score."""
    multipliers, score = start, _score(metric, y, probs, start)
    for _ in range(MAX_SWEEPS):
        before = score
        for j in range(probs.shape[1]):
            moved = multipliers.copy()
            moved[j], promised = best_multiplier(metric, y, probs, multipliers, j)
            if promised <= score + TIE:
                continue
            moved = _normalised(moved)
            reached = _score(metric, y, probs, moved)
            if reached > score:  # rounding at a near tie can break a promise
                multipliers, score = moved, reached
        if score == before:
            break
    return multipliers, score


def _score(metric: ClassCounts, y: np.ndarray, probs: np.ndarray, m: np.ndarray) -> float:
    return float(metric.from_counts(*class_counts(y, multiply(probs, m), probs.shape[1])))


def _normalised(multipliers: np.ndarray) -> np.ndarray:
    return multipliers * 2.0 ** -np.round(np.mean(np.log2(multipliers)))
