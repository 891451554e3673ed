"""What can be fitted to a metric of which nothing is known but its score: a few answers, tried.

A custom metric's score is a call of the host's function on all rows, so there are at most about a
hundred.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from pipeline.decisions.cuts import TIE, Cuts
from pipeline.metrics.checks import check_pair
from pipeline.metrics.metric import Metric

CUSTOM_QUANTILES = 49  # of all scores, and of those of positive labels


def tried_threshold(metric: Metric, y: np.ndarray, probs: np.ndarray) -> float:
    """Return the best of at most 99 thresholds for all classes, for any metric of labels.

    Those of `candidates`, with 49 quantiles.

    Parameters
    ----------
    metric : Metric
        A multi-label metric of labels.
    y : ndarray of shape (n, c), 0/1
    probs : ndarray of shape (n, c), in [0, 1]

    Returns
    -------
    float
        Between two distinct scores; among equals, the one closest to 0.5. Never worse than 0.5
        on these rows (by more than 1e-12); a cut where the metric is undefined is not taken.
    """
    y, probs = check_pair(y, probs, "multilabel", narrow=True)
    cuts = candidates(y.ravel(), probs.ravel(), CUSTOM_QUANTILES)
    values = tried_values(metric, y, (reached(probs, t) for t in cuts.thresholds))
    return float(cuts.thresholds[cuts.best(values, TIE)])


def candidates(truth: np.ndarray, scores: np.ndarray, quantiles: int) -> Cuts:
    """Return all cuts of scores (m,) if few, else those at quantiles of them and at 0.5.

    `quantiles` each of all the scores and of those where `truth` (m,) is 1: where labels are rare,
    theirs all lie close to the top.
    """
    scores = scores.astype(np.float64, copy=False)
    cuts = Cuts.of(scores)
    if len(cuts.counts) <= 2 * quantiles + 1:
        return cuts
    half = np.searchsorted(cuts.counts, (scores >= 0.5).sum())
    levels = np.arange(1, quantiles + 1) / (quantiles + 1)
    wanted = np.quantile(scores, levels)
    if truth.any():
        wanted = np.append(wanted, np.quantile(scores[truth == 1], levels))
    # Thresholds descend: the first one at or below a wanted score takes that score in.
    tried = np.unique(np.append(np.searchsorted(-cuts.thresholds, -wanted), half))
    return replace(cuts, counts=cuts.counts[tried], thresholds=cuts.thresholds[tried])


def tried_values(metric: Metric, y: np.ndarray, answers: Iterable[np.ndarray]) -> np.ndarray:
    """Return the scores, higher is better, of whole answers (n, c); -inf where undefined."""
    members, once = np.zeros(len(y), np.int64), np.ones((1, 1))
    scorers = (metric.scorer(y, answer, y.shape[1], members) for answer in answers)
    return np.nan_to_num([metric.sign * scorer(once)[0] for scorer in scorers], nan=-np.inf)


def reached(probs: np.ndarray, threshold: float) -> np.ndarray:
    """Return the labels (n, c) int8 whose probability reaches a threshold, in float64."""
    return (probs >= np.float64(threshold)).astype(np.int8)
