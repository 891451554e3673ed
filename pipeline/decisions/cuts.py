"""Every way to cut a column of scores in two: positive where `score >= threshold`.

Scores are compared in float64, and a cut lies between two distinct scores, so tied rows are
never parted. A threshold is the midpoint of its two neighbours; where that rounds onto the lower
one, it is the upper one. Predicting nothing takes a threshold above the maximum, predicting
everything one at or below the minimum.

Scores of float16 and float32 are sorted as they are, each number with its label packed below its
lowest bit: only what is kept of a class becomes float64, never a matrix.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

TIE = 1e-12  # scores that differ by less were summed in another order, and are the same
THREADS = 2  # sorts run outside the interpreter's lock; more would only wait for memory
SMALL = 200_000  # cells below which threads cost more than they save
LINE = 64  # bytes of a cache line: so many columns of a row are read at once
ROWS = 4096  # rows whose part of a block of columns stays in the cache while it is turned
PIECE = 1 << 18  # sorted cells looked at together in a sweep over a whole matrix
STRIDES = (256, 64, 16, 4, 1)  # wide chords first: they drop most points of a noisy curve
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Cuts:
    """The m = distinct + 1 cuts of n scores, from predicting nothing to predicting everything."""

    order: np.ndarray  # (n,) positions by descending score
    counts: np.ndarray  # (m,) how many of them each cut makes positive: 0 ... n
    thresholds: np.ndarray  # (m,) float64, descending, finite

    @classmethod
    def of(cls, scores: np.ndarray) -> "Cuts":
        """Return the cuts of floating-point scores (n,) in [0, 1]."""
        if scores.dtype == np.float16:
            scores = scores.astype(np.float32)  # exact, and sorted faster
        order = np.argsort(-scores)  # how ties are ordered does not matter: no cut parts them
        ordered = scores[order]
        last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
        distinct = ordered[last].astype(np.float64)
        between = midpoints(distinct[1:], distinct[:-1])
        ends = above_all(distinct[0]), distinct[-1] / 2
        thresholds = np.concatenate([[ends[0]], between, [ends[1]]])
        return cls(order, np.append(0, last + 1), thresholds)

    def sums(self, gains: np.ndarray) -> np.ndarray:
        """Return, for every cut, the sum (m,) of the gains (n,) of what it makes positive."""
        total = np.cumsum(gains[self.order])
        return np.append(np.zeros(1, total.dtype), total)[self.counts]

    def best(self, values: np.ndarray, tolerance: float = 0.0) -> int:
        """Return the cut of highest value (m,); among equals, the one closest to 0.5.

        So a class whose cuts are all equally good, for want of positive rows, gets the threshold
        nearest 0.5 and not an extreme one.
        """
        equal = np.flatnonzero(values >= values.max() - tolerance)
        return int(equal[np.argmin(np.abs(self.thresholds[equal] - 0.5))])


@dataclass(frozen=True)
class Hits:
    """The m cuts of one column of scores and labels, from everything to nothing predicted."""

    scores: np.ndarray  # (m - 1,) distinct scores, ascending, of their own dtype
    counts: np.ndarray  # (m,) int64, how many rows each cut makes positive: n ... 0
    hits: np.ndarray  # (m,) int64, how many of these are positive in truth

    @classmethod
    def of(cls, keys: np.ndarray) -> "Hits":
        """Return the cuts of sorted keys (n,), as `packed` makes them."""
        bits = keys >> 1
        starts = np.append(0, np.flatnonzero(bits[1:] != bits[:-1]) + 1)  # of each distinct score
        below = np.cumsum(keys & 1, dtype=np.int64)
        hits = np.empty(len(starts) + 1, np.int64)
        hits[0], hits[-1] = below[-1], 0
        hits[1:-1] = below[-1] - below[starts[1:] - 1]
        counts = np.append(len(keys) - starts, 0)
        return cls(bits[starts].view(f"f{keys.itemsize}"), counts, hits)

    def thresholds(self, cuts: np.ndarray) -> np.ndarray:
        """Return the float64 thresholds of some cuts (k,), by position."""
        last = len(self.scores)
        high = self.scores[np.minimum(cuts, last - 1)].astype(np.float64)
        low = self.scores[np.maximum(cuts - 1, 0)].astype(np.float64)
        inner = np.where(cuts == 0, high / 2, midpoints(low, high))
        return np.where(cuts == last, above_all(float(self.scores[-1])), inner)

    def best(self, values: np.ndarray, tolerance: float = 0.0) -> float:
        """Return the threshold of highest value (m,); of equals, the closest to 0.5, the higher."""
        equal = np.flatnonzero(values >= values.max() - tolerance)[::-1]
        thresholds = self.thresholds(equal)
        return float(thresholds[np.argmin(np.abs(thresholds - 0.5))])


@dataclass(frozen=True)
class Hull:
    """The few cuts of a class that are best for some price of a predicted row.

    Whatever a > 0 and r >= 0, a * hits - r * counts is highest at a vertex of the upper convex hull
    of the points (counts, hits), and only there or on an edge between two vertices that are both
    highest. Of a million rows some hundred vertices remain.
    """

    counts: np.ndarray  # (k,) int64, descending
    hits: np.ndarray  # (k,) int64
    thresholds: np.ndarray  # (k,) float64

    @classmethod
    def of(cls, keys: np.ndarray) -> "Hull":
        """Return the hull of sorted keys (n,), as `packed` makes them."""
        cuts = Hits.of(keys)
        keep = upper_hull(cuts.counts, cuts.hits)
        return cls(cuts.counts[keep], cuts.hits[keep], cuts.thresholds(keep))


def upper_hull(counts: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Return the positions (k,) of the strict vertices of the upper hull of points (m,).

    `counts` fall strictly and `hits` do not rise, both int64, so the test is exact. A point on or
    below the chord of any two others is no vertex: points are dropped by chords of neighbours, wide
    ones first, as long as that drops many, and the rest is walked through once.

    References
    ----------
    Andrew, Another efficient algorithm for convex hulls in two dimensions, 1979.
    """
    keep = np.append(np.flatnonzero(hits[1:] != hits[:-1]), len(hits) - 1)  # each ends at a hit
    if keep[0] != 0:
        keep = np.append(0, keep)
    while len(keep) > 2:
        before = len(keep)
        for stride in STRIDES:
            if len(keep) > 2 * stride:
                keep = keep[_above_chords(counts[keep], hits[keep], stride)]
        if len(keep) > 0.9 * before:
            break
    return keep[_walk(counts[keep].tolist(), hits[keep].tolist())]


def _above_chords(x: np.ndarray, h: np.ndarray, stride: int) -> np.ndarray:
    """Return which points (m,) lie above the chord of those `stride` before and after them."""
    few, many = slice(2 * stride, None), slice(None, -2 * stride)
    middle = slice(stride, -stride)
    stay = np.ones(len(x), dtype=bool)
    rise = (h[middle] - h[few]) * (x[many] - x[few])
    stay[middle] = rise > (h[many] - h[few]) * (x[middle] - x[few])
    return stay


def _walk(x: list[int], h: list[int]) -> list[int]:
    """Return which of the points are vertices, by Andrew's walk over descending x."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (h[b] - h[i]) * (x[a] - x[i]) > (h[a] - h[i]) * (x[b] - x[i]):
                break
            hull.pop()
        hull.append(i)
    return hull


def packed(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return unsigned keys that order like floating-point scores in [0, 1], each with its label.

    Bits of floats that are not negative order like their values, and up to 1.0 the highest two are
    0 (the sign of -0.0 is shifted out), so there is room for the int8 label below them.
    """
    keys = scores.view(f"u{scores.itemsize}") << 1
    keys |= labels.view(np.uint8)
    return keys


def sorted_cells(y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the sorted keys (n * c,) of a whole matrix and its labels."""
    if probs.flags.f_contiguous and not probs.flags.c_contiguous:
        y, probs = y.T, probs.T  # read as they lie; the order does not matter
    n, c = probs.shape
    keys = np.empty(probs.shape, f"u{probs.itemsize}")
    step = max(1, PIECE // c)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        keys[rows] = packed(probs[rows], y[rows])
    keys = keys.reshape(-1)
    keys.sort()
    return keys


def pieces(keys: np.ndarray) -> Iterator[tuple[int, int]]:
    """Return ranges of sorted keys, each from the last distinct score of the one before."""
    start = stop = 0
    while stop < len(keys):
        stop = min(stop + PIECE, len(keys))
        top = keys[stop - 1] | keys.dtype.type(1)
        stop = int(np.searchsorted(keys, top, side="right"))
        yield start, stop
        start = int(np.searchsorted(keys, top - keys.dtype.type(1)))


def by_class(
    function: Callable[[np.ndarray], Answer], y: np.ndarray, probs: np.ndarray
) -> list[Answer]:
    """Return, for every class in turn, the function of its sorted keys (n,).

    Blocks of columns that share cache lines are gathered together, on two threads where there is
    enough to do; what is returned does not depend on the number of threads.
    """
    width = LINE // probs.itemsize
    starts = range(0, probs.shape[1], width)

    def block(start: int) -> list[Answer]:
        keys = _gathered(y[:, start : start + width], probs[:, start : start + width])
        keys.sort(axis=1)
        return [function(column) for column in keys]

    if probs.size < SMALL or len(starts) == 1:
        found = [block(start) for start in starts]
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(block, starts))
    return [answer for answers in found for answer in answers]


def _gathered(y: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the keys of a block of columns as rows, (k, n) and contiguous."""
    keys = np.empty(probs.shape[::-1], f"u{probs.itemsize}")
    for start in range(0, len(probs), ROWS):
        rows = slice(start, start + ROWS)
        keys[:, rows] = packed(probs[rows], y[rows]).T
    return keys


def midpoints(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return thresholds t with low < t <= high, halfway where float64 has room."""
    middle = (low + high) / 2
    return np.where(middle > low, middle, high)


def above_all(highest: float) -> float:
    """Return a finite threshold above the highest score in [0, 1]."""
    middle = (highest + 1) / 2
    return float(middle if middle > highest else np.nextafter(highest, 2))
