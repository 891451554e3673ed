"""Cut points for ordered classes: the class is the number of cuts at or below the expected class.

Quadratic kappa rewards an answer near the label, so the expected class index, cut into stretches,
serves it better than the most probable class. `fit_cuts` finds the best of all cut points. With the
labels fixed, one minus kappa is a ratio of two sums over rows of the answer and its square. For a
given value of the ratio (Dinkelbach) only a sum is left to maximise, and dynamic programming over
the sorted rows, class by class, does that for all cuts at once.
"""

import numpy as np

from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair, check_probs

ROOM = 1e-12  # expected classes closer than this differ by rounding: no cut parts them
MAX_ROUNDS = 100  # a bound that is never met: the ratio falls faster than geometrically


def expected_class(probs: np.ndarray) -> np.ndarray:
    """Return the mean class index (n,) float64 of probabilities (n, c), rows normalised.

    A row of zeros counts as uniform. Summed class by class, so that equal rows have equal means
    wherever they stand.
    """
    probs = check_probs(probs)
    total, mean = np.zeros(len(probs)), np.zeros(len(probs))
    for k in range(probs.shape[1]):
        total += probs[:, k]
        mean += k * probs[:, k]
    middle = (probs.shape[1] - 1) / 2
    return np.divide(mean, total, out=np.full(len(probs), middle), where=total > 0)


def cut_classes(probs: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return for each row how many cuts are at or below its expected class.

    Parameters
    ----------
    probs : ndarray of shape (n, c), in [0, 1]
    cuts : ndarray of shape (c - 1,), finite, not decreasing
        Equal cuts leave the classes between them without an answer.

    Returns
    -------
    ndarray of shape (n,), int64
        `np.searchsorted(cuts, expected_class(probs), side="right")`: class k where
        cuts[k - 1] <= e < cuts[k].

    Raises
    ------
    PodiumError
        For cuts that do not fit the classes, decrease or are not finite, NaN or values outside
        [0, 1].
    """
    probs, cuts = check_probs(probs), np.asarray(cuts, dtype=np.float64)
    if cuts.shape != (probs.shape[1] - 1,):
        need = f"{probs.shape[1]} classes need {probs.shape[1] - 1} cuts"
        raise PodiumError(f"{need}, one between any two, got shape {cuts.shape}")
    if not np.isfinite(cuts).all() or (np.diff(cuts) < 0).any():
        raise PodiumError(f"cuts must be finite and must not decrease, got {cuts.tolist()}")
    return np.searchsorted(cuts, expected_class(probs), side="right")


def fit_cuts(y: np.ndarray, probs: np.ndarray, n_classes: int | None = None) -> np.ndarray:
    """Return the cut points of the highest quadratic weighted kappa.

    Parameters
    ----------
    y : ndarray of shape (n,), class indices
        Classes may be absent. Of a single class, kappa tells no cuts apart: those of rounding,
        k + 0.5, are returned.
    probs : ndarray of shape (n, c), in [0, 1]
        Rows are normalised.
    n_classes : int, optional
        c, if it is to be checked.

    Returns
    -------
    ndarray of shape (c - 1,), float64
        Not decreasing. The global optimum on these rows (to 1e-12, the rounding of sums) over all
        cuts of the expected class that part no rows closer than 1e-12. So never below rounding
        it, nor below any search from a start. Argmax is no cut of the expected class, and may
        score higher. Cuts lie midway between distinct expected classes; where a cut has all rows
        on one side, half a class beyond them. The order of rows changes nothing.

    Raises
    ------
    PodiumError
        For shapes that differ, labels that are no class, NaN or values outside [0, 1].

    References
    ----------
    Dinkelbach, On nonlinear fractional programming, Management Science 13 (1967).
    """
    y, probs = check_pair(y, probs, "multiclass")
    c = probs.shape[1]
    if n_classes not in (None, c):
        raise PodiumError(f"n_classes is {n_classes}, but probs have {c} columns; pass all classes")
    rounding = np.arange(c - 1) + 0.5
    if y.min() == y.max():
        return rounding
    means = expected_class(probs)
    order = np.argsort(means)
    ordered = means[order]
    ends = np.append(np.flatnonzero(np.diff(ordered) > ROOM) + 1, len(ordered))
    size = np.append(0, ends)  # rows below each of the m + 1 places of a cut
    total = np.append(0, np.cumsum(y[order]))[size]
    places = np.searchsorted(ordered[np.append(0, ends[:-1])], rounding)
    distance = _distance(places, size, total, y @ y)
    for _ in range(MAX_ROUNDS):
        tried = _best_places(size, total, distance, c)
        reached = _distance(tried, size, total, y @ y)
        if reached >= distance:
            break
        places, distance = tried, reached
    low = np.append(ordered[0] - 1, ordered[ends - 1])  # the rows beside each place of a cut
    high = np.append(ordered[np.append(0, ends[:-1])], ordered[-1] + 1)
    middle = (low[places] + high[places]) / 2
    return np.where(middle > low[places], middle, high[places])


def _distance(places: np.ndarray, size: np.ndarray, total: np.ndarray, squares: int) -> float:
    """Return one minus kappa of cuts at some places (c - 1,), from exact integers.

    `size` and `total` (m + 1,) count the rows below each place and sum their labels; `squares` is
    the sum of all squared labels.
    """
    k = np.arange(1, len(places) + 1)
    n, label = int(size[-1]), int(total[-1])
    above, labels_above = n - size[places], label - total[places]
    answers, answer_squares = int(above.sum()), int(((2 * k - 1) * above).sum())  # k^2 - (k - 1)^2
    error = int(squares) + answer_squares - 2 * int(labels_above.sum())
    expected = n * (int(squares) + answer_squares) - 2 * label * answers
    return n * error / expected


def _best_places(size: np.ndarray, total: np.ndarray, distance: float, c: int) -> np.ndarray:
    """Return the places (c - 1,) of the cuts that maximise expected x distance - error.

    Divided by n, answering a with label y contributes 2 a (y - d mean) - (1 - d) a^2, where d is
    the distance. `gain[i]` is the sum over the rows below place i. If the best of classes up to
    j - 1 below every place i is known, then that of classes up to j is the best over the places
    i' <= i where class j may begin: gain_j(i) + max(best(i') - gain_j(i')).
    """
    pull = total - distance * (total[-1] / size[-1]) * size
    drag = (1 - distance) * size
    best, starts = np.zeros(len(size)), []
    for j in range(1, c):
        gain = 2 * j * pull - j * j * drag
        here = best - gain
        top = np.maximum.accumulate(here)
        starts.append(np.append(True, here[1:] > top[:-1]))  # where a better beginning is found
        best = gain + top
    places, end = np.empty(c - 1, np.int64), len(size) - 1
    for j in range(c - 1, 0, -1):
        end = int(np.flatnonzero(starts[j - 1][: end + 1])[-1])
        places[j - 1] = end
    return places
