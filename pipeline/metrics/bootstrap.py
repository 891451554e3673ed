"""How far a score could be off: bootstrap resamples of groups, the same for every answer.

Photos of one object, patient or session are not independent, so whole groups are drawn with
replacement (rows where there are none). A resample is a vector of counts per group; multiplied
onto the statistics summed per group it gives all scores at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.errors import PodiumError
from pipeline.metrics.custom import CustomMetric
from pipeline.metrics.metric import Metric
from pipeline.metrics.ranking import Ranking

CELLS = 1_000_000  # weights, or statistics of rows, held at a time: 8 MB
MANY = 20_000  # groups from which on those that count alike are drawn together


@dataclass(frozen=True)
class Gain:
    """By how much one answer is better than another (positive: better), the bootstrap standard
    error and interval of that, and how many resamples they come from."""

    difference: float
    se: float
    low: float
    high: float
    n_resamples: int


def resample_scores(
    metric: Metric,
    y: np.ndarray,
    answers: Sequence[np.ndarray],
    groups: np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Return the scores of several answers to the same rows under the same resamples.

    Parameters
    ----------
    metric : Metric
    y : ndarray of shape (n,) or (n, c)
        The labels.
    answers : sequence of ndarray
        Answers to the same rows. Resample k draws the same groups for each of them, so
        differences between rows of the result are paired.
    groups : ndarray of shape (n,), optional
        What is drawn as a whole; rows by default.
    n_resamples, seed : int

    Returns
    -------
    ndarray of shape (len(answers), n_resamples)
        Scores in the metric's own direction; NaN for a resample in which it is undefined (say,
        an AUC without any positive row), which whoever summarises them leaves out.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 8.
    """
    if not len(answers):
        raise PodiumError("a bootstrap needs at least one answer, got none")
    members = group_numbers(len(y), groups)
    n_classes = n_classes_of(metric, y, answers)
    sizes = np.ones(int(members.max()) + 1, np.int64)
    if has_sums(metric):
        totals = [group_sums(metric, y, answer, n_classes, members) for answer in answers]
        if len(sizes) >= MANY:
            totals, sizes = _merged(totals)
        scorers = [_of_sums(metric, total) for total in totals]
    else:
        scorers = [metric.scorer(y, answer, n_classes, members) for answer in answers]
    scores = np.empty((len(answers), n_resamples))
    start = 0
    chunk = max(1, CELLS // (len(sizes) if has_sums(metric) else len(y)))
    for counts in _draw(sizes, chunk, n_resamples, seed):
        for row, scorer in zip(scores, scorers, strict=True):
            row[start : start + len(counts)] = scorer(counts)
        start += len(counts)
    return scores


def standard_error(
    metric: Metric,
    y: np.ndarray,
    answer: np.ndarray,
    groups: np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> float:
    """Return the bootstrap standard error of a score; undefined resamples are left out."""
    scores = resample_scores(metric, y, [answer], groups, n_resamples, seed)
    return _spread(metric, scores[0])


def paired_difference(
    metric: Metric,
    y: np.ndarray,
    answer_a: np.ndarray,
    answer_b: np.ndarray,
    groups: np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return by how much b is better than a (positive: better), and its standard error.

    Both answers are scored on the same resamples, so what they have in common cancels; resamples
    in which either score is undefined are left out.
    """
    gain = paired_interval(metric, y, answer_a, answer_b, groups, n_resamples, seed)
    return gain.difference, gain.se


def paired_interval(
    metric: Metric,
    y: np.ndarray,
    answer_a: np.ndarray,
    answer_b: np.ndarray,
    groups: np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Gain:
    """Return by how much b is better than a, with its standard error and percentile interval.

    Parameters
    ----------
    metric : Metric
    y : ndarray of shape (n,) or (n, c)
        The labels.
    answer_a, answer_b : ndarray
        Answers to the same rows, scored on the same resamples, so that what they have in common
        cancels; resamples in which either score is undefined are left out.
    groups : ndarray of shape (n,), optional
        What is drawn as a whole; rows by default.
    n_resamples, seed : int
    level : float
        Coverage of the interval.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if not 0 < level < 1:
        raise PodiumError(f"level must lie between 0 and 1, got {level}")
    scores = resample_scores(metric, y, [answer_a, answer_b], groups, n_resamples, seed)
    difference = metric.sign * (metric.score(y, answer_b) - metric.score(y, answer_a))
    drawn = metric.sign * (scores[1] - scores[0])
    se = _spread(metric, drawn)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Gain(difference, se, float(low), float(high), n_resamples)


def has_sums(metric: Metric) -> bool:
    """Whether a metric is a function of sums over rows."""
    return not isinstance(metric, Ranking | CustomMetric)


def group_sums(
    metric: Metric, y: np.ndarray, answer: np.ndarray, n_classes: int, members: np.ndarray
) -> sparse.csr_array:
    """Return the statistics of a metric that has sums, summed per group: (g, s), sparse, since a
    row counts for a few classes only. `members` (n,) names the group 0..g-1 of every row."""
    width = metric.stats(y[:1], answer[:1], n_classes).shape[1]
    step = max(1, CELLS // width)
    blocks = [
        sparse.csr_array(metric.stats(y[i : i + step], answer[i : i + step], n_classes))
        for i in range(0, len(y), step)
    ]
    where = (members, np.arange(len(members)))
    shape = (int(members.max()) + 1, len(members))
    return sparse.csr_array((np.ones(len(members)), where), shape) @ sparse.vstack(blocks, "csr")


def _of_sums(metric: Metric, totals: sparse.csr_array) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from weights (b, g) to scores (b,) by sums of groups (g, s)."""
    held = totals.toarray() if np.prod(totals.shape) <= CELLS else totals
    return lambda weights: metric.from_sums(weights @ held)


def _merged(totals: list[sparse.csr_array]) -> tuple[list[sparse.csr_array], np.ndarray]:
    """Return sums (k, s) of the k kinds of groups that count alike in all answers, and how many
    groups are of each kind: (k,), in the order of their first groups."""
    joined = sparse.csr_array(sparse.hstack(totals, "csr"))
    joined.sort_indices()  # so that what is alike is added up alike
    # Two random projections: rows that differ have the same ones with a chance of about 2^-100.
    keys = joined @ np.random.default_rng(0).random((joined.shape[1], 2))
    _, first, sizes = np.unique(keys[:, 0] + 1j * keys[:, 1], return_index=True, return_counts=True)
    order = np.argsort(first)
    return [total[first[order]] for total in totals], sizes[order]


def _spread(metric: Metric, values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    if len(defined) < 2:
        rule = f"{metric.name} is defined in {len(defined)} of {len(values)} resamples"
        raise PodiumError(f"{rule}; a standard error needs at least 2")
    return float(np.std(defined, ddof=1))


def group_numbers(n_rows: int, groups: np.ndarray | None) -> np.ndarray:
    """Return the group 0..g-1 (n,) of every row, in the order of the groups' names."""
    if groups is None:
        members = np.arange(n_rows)
    else:
        groups = np.asarray(groups)
        if groups.shape != (n_rows,):
            raise PodiumError(f"groups must have shape ({n_rows},), got {groups.shape}")
        members = np.unique(groups, return_inverse=True)[1]
    if n_rows == 0 or members.max() == 0:
        raise PodiumError("a bootstrap needs at least 2 groups (or rows), got fewer")
    return members


def _draw(sizes: np.ndarray, chunk: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield multinomial counts (b, k) of groups drawn with replacement, `chunk` resamples a time;
    `sizes` (k,) says how many groups are of each kind."""
    if n_resamples < 1:
        raise PodiumError(f"n_resamples must be at least 1, got {n_resamples}")
    rng, n_kinds, n_groups = np.random.default_rng(seed), len(sizes), int(sizes.sum())
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        if n_kinds < n_groups:
            yield rng.multinomial(n_groups, sizes / n_groups, size).astype(np.float64)
            continue
        drawn = rng.integers(0, n_groups, size=(size, n_groups))
        drawn += np.arange(size)[:, None] * n_groups
        counts = np.bincount(drawn.ravel(), minlength=size * n_groups)
        yield counts.reshape(size, n_groups).astype(np.float64)


def n_classes_of(metric: Metric, y: np.ndarray, answers: Sequence[np.ndarray]) -> int:
    """Return how many classes labels and answers speak of."""
    checked = [metric.check(y, answer) for answer in answers]
    if checked[0][1].ndim == 2:
        return checked[0][1].shape[1]
    return 1 + int(max(max(labels.max(), answer.max()) for labels, answer in checked))
