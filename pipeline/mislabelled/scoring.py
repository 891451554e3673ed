"""How far a label can be trusted: its quality in 0..1, lower for worse, and cleanlab's flag.

C. Northcutt, L. Jiang, I. Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels", JAIR 70 (the flags); J. Kuan, J. Mueller 2022, "Model-agnostic label quality scoring to
detect real-world label errors", ICML DataPerf workshop (the scores).
"""

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from pipeline.mislabelled.evidence import Evidence

QUALITY = "self_confidence"


def flags(evidence: Evidence) -> np.ndarray:
    """Return which labels confident learning holds for errors, in the form of the labels.

    Parameters
    ----------
    evidence : labels (n,) or (n, c), probabilities (n, c); of several labels, each class is a task
        of its own, and one that all rows or none have is not flagged

    Returns
    -------
    (n,) or (n, c) bool

    References
    ----------
    Northcutt et al. 2021: counts, per class, the rows whose probability of another class is at
    least the mean of those that have it; as many are flagged ("prune by noise rate").
    """
    if evidence.labels.ndim == 1:
        return _flagged(evidence.labels, evidence.probs)
    found = np.zeros(evidence.labels.shape, bool)
    for k, (labels, probs) in enumerate(_one_against_rest(evidence)):
        if 0 < labels.sum() < len(labels):
            found[:, k] = _flagged(labels, probs)
    return found


def _flagged(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with hardly any row
        return find_label_issues(labels, probs, n_jobs=1)


def cleanlab_quality(evidence: Evidence, method: str, adjust: bool = False) -> np.ndarray:
    """Return cleanlab's score of the labels, in their form, in 0..1 and lower for worse.

    Parameters
    ----------
    evidence : labels (n,) or (n, c), probabilities (n, c)
    method : `self_confidence`, `normalized_margin` or `confidence_weighted_entropy`; of several
        labels the first two rank alike, and so would the third, were its score not 0, the worst,
        where the probability of the label is within 1e-9 or so of 1 (cleanlab 2.9.0)

    References
    ----------
    Kuan and Mueller 2022, section 2.
    """
    score = partial(get_label_quality_scores, method=method, adjust_pred_probs=adjust)
    if evidence.labels.ndim == 1:
        return score(evidence.labels, evidence.probs)
    return np.stack([score(*one) for one in _one_against_rest(evidence)], axis=1)


def _one_against_rest(evidence: Evidence) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield labels (n,) and probabilities (n, 2) of every class."""
    for labels, probs in zip(evidence.labels.T, evidence.probs.T, strict=True):
        yield labels.astype(np.int64), np.stack([1 - probs, probs], axis=1)


def quality(evidence: Evidence) -> np.ndarray:
    """Return the score that candidates are ranked by: self-confidence, the probability that the
    source gives to the label.

    It ranks as the log loss does. Of all rankings that were tried none found more planted errors,
    and votes of runs added nothing to the probabilities of their blend (docs/label-errors.md).
    """
    return cleanlab_quality(evidence, QUALITY)
