"""The exact line search over one class's multiplier.

As the multiplier of class j grows, each row flips at most once, from its best other class to j:
where the multiplier passes the ratio of that class's product to the probability of j. Sorted by
this ratio, each flip changes the counts of two classes, and what that does to the metric is known
in closed form; one cumulative sum scores every cut between distinct ratios.

Few ratios need sorting. Counted into narrow bins, they tell the counts at every edge, and between
two edges no count leaves its values at them: that bounds the score within each bin from above. What
cannot reach the best is left out (branch and bound), so the search stays exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.decisions.cuts import TIE
from pipeline.metrics.class_counts import (
    Accuracy,
    BalancedAccuracy,
    ClassCounts,
    Matthews,
    MulticlassFBeta,
)
from pipeline.metrics.f_beta import f_beta
from pipeline.metrics.jaccard import MulticlassJaccard, jaccard
from pipeline.metrics.metric import ratio

SUPPORTED = (Accuracy, BalancedAccuracy, Matthews, MulticlassFBeta, MulticlassJaccard)
ROOM = 1e-12  # ratios closer than this (proportional rows) differ by rounding: no cut parts them
LOWEST, HIGHEST = 1e-100, 1e100  # beyond, products would run out of float64
FEW, FEW_PER_CLASS = 2000, 100  # rows that are sorted sooner than binned
SHIFT = 48  # a positive float64 without its last 48 bits: exponent and 4 bits of mantissa, in order
FARTHEST = 16 * 700  # sixteenths of an octave between today's multiplier and any finite ratio
NEAR = 64  # up to here bins are a sixteenth of an octave wide, beyond a 32nd of the distance
AWAY = np.arange(-FARTHEST, FARTHEST + 1)
FAR = NEAR + np.floor(32 * np.log(np.maximum(np.abs(AWAY), NEAR) / NEAR))
BIN = (np.sign(AWAY) * np.where(np.abs(AWAY) < NEAR, np.abs(AWAY), FAR)).astype(np.int64)

Counts = tuple[np.ndarray, np.ndarray, np.ndarray]  # right, answered, actual: (..., c) float64


@dataclass(frozen=True)
class Line:
    """The rows as class j's multiplier grows beside those of the other classes."""

    j: int
    today: float  # the multiplier of class j
    y: np.ndarray  # (n,) labels
    rival: np.ndarray  # (n,) the best other class
    reach: np.ndarray  # (n,) its product
    ratios: np.ndarray  # (n,) where the row flips to j; inf: never
    counts: Counts  # with the multiplier below every ratio

    @classmethod
    def of(
        cls,
        j: int,
        today: float,
        y: np.ndarray,
        answer: np.ndarray,
        rivals: tuple[np.ndarray, np.ndarray],
        own: np.ndarray,
        counts: Counts,
    ) -> "Line":
        """Return the line of rows answered `answer`, with their `counts` (c,) today.

        `rivals` are the best other class (n,) and its product (n,); `own` (n,) is the probability
        of j.
        """
        rival, reach = rivals
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratios = reach / own
        if not (ratios.min() > LOWEST and ratios.max() < HIGHEST):  # a NaN fails both
            ratios[~((ratios > LOWEST) & (ratios < HIGHEST))] = np.inf
        back = np.flatnonzero(answer == j)
        back = back[np.isfinite(ratios[back])]
        tp, pred, true = counts[0].copy(), counts[1].copy(), counts[2]
        labels, other = y[back], rival[back]
        pred += np.bincount(other, minlength=len(true))
        tp += np.bincount(other[labels == other], minlength=len(true))
        pred[j] -= len(back)
        tp[j] -= (labels == j).sum()
        return cls(j, today, y, rival, reach, ratios, (tp, pred, true))


def best_multiplier(metric: ClassCounts, line: Line, floor: float = -np.inf) -> tuple[float, float]:
    """Return the best multiplier of the line's class, and the score that it reaches.

    Among cuts of equal score, the multiplier closest to 1 is taken. Where no cut scores above
    `floor` the score is -inf or not above it, and the multiplier means nothing.
    """
    if len(line.y) < max(FEW, FEW_PER_CLASS * len(line.counts[2])):
        moving = np.flatnonzero(np.isfinite(line.ratios))
        if not len(moving):
            return line.today, -np.inf
        return _search(metric, line, moving, line.counts, (True, True))
    bins, n_bins = _bins(line)
    if not n_bins:
        return line.today, -np.inf
    tp, pred = _edges(line, bins, n_bins)
    true = line.counts[2]
    bounds = _bounds(metric, (tp, pred, true), line.j)
    if bounds.max() <= floor + TIE:
        return line.today, -np.inf
    filled = np.flatnonzero(np.diff(pred[:, line.j]))
    bar = max(floor, metric.from_counts(tp, pred, true).max())
    while True:
        first, last = np.flatnonzero(bounds >= bar - TIE)[[0, -1]]
        rows = np.flatnonzero((bins >= first) & (bins <= last))
        ends = bool(first <= filled[0]), bool(last >= filled[-1])
        counts = tp[first], pred[first], true
        value, score = _search(metric, line, rows, counts, ends)
        if score >= bar - TIE or bar <= floor:
            return value, score
        bar = max(floor, score)  # the edge that set the bar parts proportional rows: no cut


def _bins(line: Line) -> tuple[np.ndarray, int]:
    """Return the bin (n,) int64 of every ratio, and the number of bins: rows never moved."""
    away = line.ratios.view(np.int64) >> SHIFT
    away += FARTHEST - (np.float64(line.today).view(np.int64) >> SHIFT)
    bins = BIN[np.clip(away, 0, 2 * FARTHEST, out=away)]
    bins -= bins.min()
    moving = np.isfinite(line.ratios)
    n_bins = int(bins.max(where=moving, initial=-1)) + 1
    bins[~moving] = n_bins
    return bins, n_bins


def _edges(line: Line, bins: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often classes are right and answered (bins + 1, c) at the edges of the bins."""
    tp, pred, true = line.counts
    c, j = len(true), line.j
    keys = bins * c
    keys += line.rival
    keys *= 2
    keys += line.y == line.rival
    flips = np.bincount(keys, minlength=2 * c * (n_bins + 1)).reshape(-1, c, 2)[:n_bins]
    won = np.bincount(bins[line.y == j], minlength=n_bins)[:n_bins]
    lost, left = flips[..., 1], flips.sum(2)
    start = np.zeros((1, c))
    tps = tp - np.concatenate([start, np.cumsum(lost, 0)])
    preds = pred - np.concatenate([start, np.cumsum(left, 0)])
    tps[1:, j] = tp[j] + np.cumsum(won)
    preds[1:, j] = pred[j] + np.cumsum(left.sum(1))
    return tps, preds


def _bounds(metric: ClassCounts, edges: Counts, j: int) -> np.ndarray:
    """Return a score (bins,) that no cut within a bin, or at its edges, exceeds."""
    tp, pred, true = edges
    right, least, most = tp[:-1].copy(), pred[1:].copy(), pred[:-1].copy()
    right[:, j], least[:, j], most[:, j] = tp[1:, j], pred[:-1, j], pred[1:, j]
    least = np.maximum(least, right)
    if isinstance(metric, Matthews):
        n = true.sum()
        covariance = n * right.sum(1) - least @ true
        spread = (n * n - (most * most).sum(1)) * (n * n - true @ true)
        highest = ratio(covariance, np.sqrt(np.maximum(spread, 0)), np.inf)
        # Of r answers other than j, covariance <= r (n + true_j) and spread >= 2 r (n - r).
        rest = n - pred[:-1, j]
        spread = 2 * (n - rest) * (n * n - true @ true)
        nearly_all = ratio(np.sqrt(rest) * (n + true[j]), np.sqrt(spread), np.inf)
        return np.where(covariance > 0, np.minimum(highest, nearly_all), 0)
    bounds = _class_value(metric, true)(right, least, np.arange(len(true))).sum(1)
    if getattr(metric, "average", None) == "macro":
        bounds = bounds / (least + true > 0).sum(1)
    return bounds


def _search(
    metric: ClassCounts, line: Line, rows: np.ndarray, counts: Counts, ends: tuple[bool, bool]
) -> tuple[float, float]:
    """Return the best cut between the ratios of some rows, all of a stretch, and its score.

    `counts` are those below the stretch. `ends` says whether no row lies below or above it. Where
    one does, the cut at that end is left out: it is a cut of the next bin too, which was excluded.
    """
    rows = rows[np.argsort(line.ratios[rows])]
    values = _values(metric, counts, line.y[rows], line.rival[rows], line.j)
    ordered = line.ratios[rows]
    gaps = np.flatnonzero(ordered[1:] > ordered[:-1] * (1 + ROOM))
    last = np.append(gaps, len(ordered) - 1)
    between = np.sqrt(ordered[gaps]) * np.sqrt(ordered[gaps + 1])
    cuts = np.concatenate([[ordered[0] / 2], between, [ordered[-1] * 2]])
    values = values[np.append(0, last + 1)]
    inside = slice(not ends[0], len(cuts) - (not ends[1]))
    cuts, values = cuts[inside], values[inside]
    if not len(cuts):
        return line.today, -np.inf
    equal = np.flatnonzero(values >= values.max() - TIE)
    best = equal[np.argmin(np.abs(np.log(cuts[equal])))]
    return float(cuts[best]), float(values[best])


def _values(
    metric: ClassCounts, counts: Counts, y: np.ndarray, rival: np.ndarray, j: int
) -> np.ndarray:
    """Return the score before and after each flip (f + 1,) of rows `y` from `rival` to j."""
    tp, pred, true = counts
    order = np.argsort(rival.astype(np.min_scalar_type(len(true))), kind="stable")  # radix sort
    k, lost = rival[order], (y == rival)[order]
    first = np.searchsorted(k, np.arange(len(true)))[k]
    turn = np.arange(1, len(k) + 1) - first  # the flips that each class loses, in turn
    won = np.cumsum(np.append(0, y == j))
    if isinstance(metric, Matthews):
        turns = np.empty(len(k))
        turns[order] = turn
        return _matthews(counts, won - np.cumsum(np.append(0, y == rival)), rival, turns, j)
    value = _class_value(metric, true)
    hits = np.cumsum(lost)
    hits -= (hits - lost)[first]
    gains, gone = np.zeros(len(k) + 1), np.zeros(len(k) + 1)
    after = value(tp[k] - hits, pred[k] - turn, k)
    gains[order + 1] = after - value(tp[k] - hits + lost, pred[k] - turn + 1, k)
    joined = value(tp[j] + won, pred[j] + np.arange(len(won)), j)
    start = value(tp, pred, np.arange(len(true)))
    values = start.sum() - start[j] + joined + np.cumsum(gains)
    if getattr(metric, "average", None) != "macro":
        return values
    gone[order + 1] = (true[k] == 0) & (pred[k] == turn)
    present = (pred + true > 0).sum() - np.cumsum(gone)
    present[1:] += pred[j] + true[j] == 0  # the first flip brings class j in
    return values / present


def _matthews(
    counts: Counts, right: np.ndarray, rival: np.ndarray, turn: np.ndarray, j: int
) -> np.ndarray:
    """Return the Matthews correlation (f + 1,), of three sums that every flip changes by integers.

    `right` (f + 1,) is how many more answers are right than at the start, and `turn` (f,) which
    of its rival's flips each is: the answers of the rival sink to pred - turn, those of j rise.
    """
    tp, pred, true = counts
    n = true.sum()
    crossed = true @ pred + np.cumsum(np.append(0, true[j] - true[rival]))
    grown = pred[j] + np.arange(len(rival))
    squares = pred @ pred + np.cumsum(np.append(0, 2 * (grown + turn - pred[rival])))
    spread = (n * n - squares) * (n * n - true @ true)
    return ratio(n * (tp.sum() + right) - crossed, np.sqrt(np.maximum(spread, 0)))


def _class_value(metric: ClassCounts, true: np.ndarray) -> Callable[..., np.ndarray]:
    """Return the function of (tp, pred, class) whose sum over classes is the metric.

    For macro-F and macro-Jaccard it is the sum before dividing by the number of classes present.
    """
    average = getattr(metric, "average", None)
    if isinstance(metric, Accuracy) or average == "micro":  # one answer per row: micro-F too
        return lambda tp, pred, k: tp / true.sum()
    if isinstance(metric, BalancedAccuracy):
        return lambda tp, pred, k: ratio(tp, true[k]) / (true > 0).sum()
    share = true / true.sum() if average == "weighted" else np.ones(len(true))
    if isinstance(metric, MulticlassJaccard):
        return lambda tp, pred, k: jaccard(tp, pred, true[k]) * share[k]
    return lambda tp, pred, k: f_beta(tp, pred, true[k], metric.beta) * share[k]
