"""Could the gain be luck? A paired permutation test of two answers to the same rows.

If neither answer is better, it does not matter which of the two is called a and which b, in any
group. So both are swapped in random groups, as whole groups, and the p-value is the share of such
swaps after which the scores differ at least as much as they do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.errors import PodiumError
from pipeline.metrics import bootstrap
from pipeline.metrics.metric import Metric

EXACT = 12  # groups that differ: up to here, all swaps are tried
TIE = 1e-10  # differences that rounding alone can part count as equal


@dataclass(frozen=True)
class Permutation:
    """A p-value, the number of swaps that it comes from, and whether these are all there are; of
    two opposite swaps, whose differences are of one size, one is counted."""

    p: float
    n_swaps: int
    exact: bool


def permutation_test(
    metric: Metric,
    y: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray | None = None,
    n_permutations: int = 5000,
    seed: int = 0,
) -> Permutation:
    """Return the two-sided test of the hypothesis that answers a and b are equally good.

    Parameters
    ----------
    metric : Metric
    y : ndarray of shape (n,) or (n, c)
        The labels.
    a, b : ndarray
        Two answers to the same rows.
    groups : ndarray of shape (n,), optional
        What is swapped as a whole; rows by default.
    n_permutations, seed : int
        Where at most `EXACT` groups tell the answers apart, all swaps are tried instead.

    Returns
    -------
    Permutation
        Its p-value is the share of swaps whose difference is at least the one found: k / B where
        all B are tried, else (k + 1) / (B + 1). A swap after which a score is undefined counts as
        such a one. None is made where no group tells the answers apart.

    Raises
    ------
    PodiumError
        Where the inputs do not fit each other, or the metric is undefined on these rows.

    References
    ----------
    Phipson and Smyth, Permutation p-values should never be zero, 2010.
    Good, Permutation, Parametric, and Bootstrap Tests of Hypotheses, 2005, chapter 3.
    """
    if n_permutations < 1:
        raise PodiumError(f"n_permutations must be at least 1, got {n_permutations}")
    found = abs(metric.score(y, b) - metric.score(y, a))
    members = bootstrap.group_numbers(len(y), groups)
    make = _of_sums if bootstrap.has_sums(metric) else _of_rows
    y, a, b = np.asarray(y), np.asarray(a), np.asarray(b)
    n_swappable, differences = make(metric, y, a, b, members)
    if n_swappable == 0:
        return Permutation(1.0, 0, True)
    exact = n_swappable <= EXACT
    step = max(1, bootstrap.CELLS // (n_swappable if make is _of_sums else 2 * len(y)))
    swaps = _all(n_swappable, step) if exact else _random(n_swappable, n_permutations, seed, step)
    tried = extreme = 0
    for swapped in swaps:
        values = np.abs(differences(swapped))
        tried += len(values)
        extreme += int((~(values < found - TIE * max(1.0, found))).sum())  # NaN is extreme, too
    p = extreme / tried if exact else (extreme + 1) / (tried + 1)
    return Permutation(p, tried, exact)


def _of_sums(
    metric: Metric, y: np.ndarray, a: np.ndarray, b: np.ndarray, members: np.ndarray
) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """Return how many groups tell two answers apart, and the differences (B,) of the scores after
    swaps (B, g) of these groups: a swap moves a group's share from one sum to the other."""
    n_classes = bootstrap.n_classes_of(metric, y, [a, b])
    of_a, of_b = (bootstrap.group_sums(metric, y, x, n_classes, members) for x in (a, b))
    total_a, total_b = (np.asarray(totals.sum(axis=0)).ravel() for totals in (of_a, of_b))
    moved = sparse.csr_array(of_b - of_a)
    moved.eliminate_zeros()
    moved = moved[np.flatnonzero(np.diff(moved.indptr))]
    if np.prod(moved.shape) <= bootstrap.CELLS:
        moved = moved.toarray()

    def differences(swapped: np.ndarray) -> np.ndarray:
        shift = swapped @ moved
        return metric.from_sums(total_b - shift) - metric.from_sums(total_a + shift)

    return moved.shape[0], differences


def _of_rows(
    metric: Metric, y: np.ndarray, a: np.ndarray, b: np.ndarray, members: np.ndarray
) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """Return the same of a metric without sums: all rows stand there twice, answered by a and by b,
    and weights of 0 and 1 say which answer counts, so that nothing is sorted more than once."""
    n_groups, n_classes = int(members.max()) + 1, bootstrap.n_classes_of(metric, y, [a, b])
    differ = (a != b).reshape(len(a), -1).any(axis=1)
    swappable = np.unique(members[differ])
    score = metric.scorer(
        np.concatenate([y, y]),
        np.concatenate([a, b]),
        n_classes,
        np.concatenate([members, members + n_groups]),
    )

    def differences(swapped: np.ndarray) -> np.ndarray:
        second = np.zeros((len(swapped), n_groups))
        second[:, swappable] = swapped
        first = 1 - second
        after_a, after_b = np.hstack([first, second]), np.hstack([second, first])
        return score(after_b) - score(after_a)

    return len(swappable), differences


def _all(n_groups: int, step: int) -> Iterator[np.ndarray]:
    """Yield all swaps (B, g) of few groups, one of each two that are opposites: the size of the
    difference is the same for both. At most `step` a time."""
    for start in range(0, 2 ** (n_groups - 1), step):
        numbers = np.arange(start, min(start + step, 2 ** (n_groups - 1)))
        yield (numbers[:, None] >> np.arange(n_groups) & 1).astype(np.float64)


def _random(n_groups: int, n_permutations: int, seed: int, step: int) -> Iterator[np.ndarray]:
    """Yield random swaps (B, g), at most `step` a time, which does not change the draw."""
    rng = np.random.default_rng(seed)
    width = 4 * -(-n_groups // 32)  # in fours, as the generator makes them
    for start in range(0, n_permutations, step):
        size = min(step, n_permutations - start)
        drawn = np.frombuffer(rng.bytes(size * width), np.uint8).reshape(size, width)
        yield np.unpackbits(drawn, axis=1, count=n_groups).astype(np.float64)
