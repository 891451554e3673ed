"""How far a score could be off: bootstrap resamples of groups, the same for every answer.

Photos of one object, patient or session are not independent, so whole groups are drawn with
replacement (rows where there are none). A resample is a vector of counts per group; multiplied
onto the statistics summed per group it gives all scores at once.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import PodiumError
from pipeline.metrics.metric import Metric

CELLS = 1_000_000  # weights held at a time: 8 MB


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
    members = _members(len(y), groups)
    n_classes = _n_classes(metric, y, answers)
    scorers = [metric.scorer(y, answer, n_classes, members) for answer in answers]
    scores = np.empty((len(answers), n_resamples))
    start = 0
    for counts in _draw(members, n_resamples, seed):
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
    scores = resample_scores(metric, y, [answer_a, answer_b], groups, n_resamples, seed)
    difference = metric.sign * (metric.score(y, answer_b) - metric.score(y, answer_a))
    return difference, _spread(metric, scores[1] - scores[0])


def _spread(metric: Metric, values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    if len(defined) < 2:
        rule = f"{metric.name} is defined in {len(defined)} of {len(values)} resamples"
        raise PodiumError(f"{rule}; a standard error needs at least 2")
    return float(np.std(defined, ddof=1))


def _members(n_rows: int, groups: np.ndarray | None) -> np.ndarray:
    """Return the group 0..g-1 of every row."""
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


def _draw(members: np.ndarray, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield multinomial counts (b, g) of groups drawn with replacement, a few resamples a time."""
    if n_resamples < 1:
        raise PodiumError(f"n_resamples must be at least 1, got {n_resamples}")
    n_groups = int(members.max()) + 1
    rng = np.random.default_rng(seed)
    chunk = max(1, CELLS // len(members))
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        drawn = rng.integers(0, n_groups, size=(size, n_groups))
        drawn += np.arange(size)[:, None] * n_groups
        counts = np.bincount(drawn.ravel(), minlength=size * n_groups)
        yield counts.reshape(size, n_groups).astype(np.float64)


def _n_classes(metric: Metric, y: np.ndarray, answers: Sequence[np.ndarray]) -> int:
    checked = [metric.check(y, answer) for answer in answers]
    if checked[0][1].ndim == 2:
        return checked[0][1].shape[1]
    return 1 + int(max(max(labels.max(), answer.max()) for labels, answer in checked))
