"""Do rows of confidence 0.8 prove right in 80 of 100 cases: reliability, its error, and its noise.

The expected calibration error of a perfect model is not 0 but grows as rows become few, as each
bin's accuracy scatters: `ece_noise` says what such a model would show on as many rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import PodiumError
from pipeline.metrics.checks import check_pair

CHUNK = 1 << 21  # random numbers drawn at once


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of confidence, lower edge out and upper edge in, 0 in the first; NaN in empty ones."""

    edges: np.ndarray  # (bins + 1,)
    counts: np.ndarray  # (bins,) rows
    confidence: np.ndarray  # (bins,) their mean confidence
    accuracy: np.ndarray  # (bins,) their share that is right

    @property
    def ece(self) -> float:
        """The expected calibration error: the mean over rows of their bin's gap.

        References
        ----------
        Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian
        binning, AAAI 2015. Guo, Pleiss, Sun and Weinberger, On calibration of modern neural
        networks, ICML 2017.
        """
        full = self.counts > 0
        return float(self.counts[full] @ self._gaps[full] / self.counts.sum())

    @property
    def mce(self) -> float:
        """The maximum calibration error: the largest gap of a bin that holds a row."""
        return float(np.nanmax(self._gaps))

    @property
    def _gaps(self) -> np.ndarray:
        return np.abs(self.accuracy - self.confidence)


@dataclass(frozen=True)
class Noise:
    """The calibration error that a perfectly calibrated model would show: mean and 95% quantile."""

    mean: float
    high: float


@dataclass(frozen=True, eq=False)
class ClassReliability:
    """Each class's probability against how often it is there."""

    ece: np.ndarray  # (c,)
    mean_prob: np.ndarray  # (c,)
    rate: np.ndarray  # (c,) share of rows that have the class
    positives: np.ndarray  # (c,) rows that have it


def reliability(
    confidence: np.ndarray, right: np.ndarray, bins: int = 15, *, equal_mass: bool = False
) -> Reliability:
    """Return how often rows are right, by their confidence.

    Parameters
    ----------
    confidence : ndarray of shape (n,), in [0, 1]
        Multi-class: the largest probability. Multi-label: one label's probability.
    right : ndarray of shape (n,), bool
        Whether the answer is right, or the label is there.
    bins : int
        Of equal width; with `equal_mass` between quantiles, so of about as many rows each. Rows of
        equal confidence share a bin; quantiles that coincide make fewer bins.

    Returns
    -------
    Reliability

    Raises
    ------
    PodiumError
        For no rows, shapes that differ, a `right` that is not bool, or values outside [0, 1].
    """
    confidence, right = _checked(confidence), np.asarray(right)
    if right.shape != confidence.shape or right.dtype != bool:
        got = f"{right.dtype} {right.shape}"
        raise PodiumError(f"right must be bool of shape {confidence.shape}, got {got}")
    edges = _edges(confidence, bins, equal_mass)
    which = _bins(confidence, edges)
    bins = len(edges) - 1
    counts = np.bincount(which, minlength=bins)
    sums = np.bincount(which, confidence, bins), np.bincount(which, right, bins)
    means = [
        np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0) for total in sums
    ]
    return Reliability(edges, counts, *means)


def class_reliability(
    y: np.ndarray, probs: np.ndarray, task: str, bins: int = 10
) -> ClassReliability:
    """Return each class's calibration error, mean probability and rate, one against the rest.

    Parameters
    ----------
    y : ndarray of shape (n,) int or (n, c) 0/1
    probs : ndarray of shape (n, c), in [0, 1]
    task : str
        'multiclass' or 'multilabel'.
    bins : int
        Of equal width.

    Raises
    ------
    PodiumError
        For shapes that differ, NaN or values outside [0, 1].
    """
    check_pair(y[:1], probs[:1], task)  # the rest column by column, without a float64 copy
    classes = probs.shape[1]
    ece, mean_prob, positives = np.empty(classes), np.empty(classes), np.empty(classes, np.int64)
    for j in range(classes):
        truth = y == j if task == "multiclass" else y[:, j] == 1
        curve = reliability(probs[:, j], truth, bins)
        full = curve.counts > 0
        mean_prob[j] = curve.counts[full] @ curve.confidence[full] / len(y)
        ece[j], positives[j] = curve.ece, truth.sum()
    return ClassReliability(ece, mean_prob, positives / len(y), positives)


def ece_noise(
    confidence: np.ndarray,
    resamples: int = 100,
    seed: int = 0,
    *,
    bins: int = 15,
    equal_mass: bool = False,
) -> Noise:
    """Return the calibration error that chance alone gives rows of these confidences.

    Labels are drawn from the confidences themselves, so that the model they come from is perfectly
    calibrated. An error below `high` is no sign of miscalibration; about `mean` of any error is
    bias. The order of the rows does not matter.

    Parameters
    ----------
    confidence : ndarray of shape (n,), in [0, 1]
    resamples : int
        How often labels are drawn.
    seed : int
    bins, equal_mass
        As in `reliability`.

    Raises
    ------
    PodiumError
        For no rows, no resamples, or values outside [0, 1].
    """
    if resamples < 1:
        raise PodiumError(f"resamples must be at least 1, got {resamples}; 100 will do")
    ordered = np.sort(_checked(confidence))  # a row's draw then depends on its confidence alone
    which = _bins(ordered, _edges(ordered, bins, equal_mass))
    starts = np.flatnonzero(np.diff(which, prepend=-1))
    expected = np.add.reduceat(ordered, starts)
    rng, errors = np.random.default_rng(seed), []
    at_once = max(1, CHUNK // len(ordered))
    for begin in range(0, resamples, at_once):
        draws = rng.random((min(at_once, resamples - begin), len(ordered)))
        hits = np.add.reduceat(draws < ordered, starts, axis=1, dtype=np.float64)
        errors.append(np.abs(hits - expected).sum(1) / len(ordered))
    found = np.concatenate(errors)
    return Noise(float(found.mean()), float(np.quantile(found, 0.95)))


def reliability_record(curve: Reliability, noise: Noise | None = None) -> dict[str, Any]:
    """Return the errors and the bins that hold a row, ready for JSON."""
    record: dict[str, Any] = {"ece": curve.ece, "mce": curve.mce}
    if noise is not None:
        record["ece_of_a_calibrated_model"] = {"mean": noise.mean, "high": noise.high}
    record["bins"] = [
        {
            "from": float(curve.edges[at]),
            "to": float(curve.edges[at + 1]),
            "rows": int(curve.counts[at]),
            "confidence": float(curve.confidence[at]),
            "accuracy": float(curve.accuracy[at]),
        }
        for at in np.flatnonzero(curve.counts)
    ]
    return record


def _checked(confidence: np.ndarray) -> np.ndarray:
    """Return confidences (n,) as float64, or refuse them."""
    confidence = np.asarray(confidence, np.float64)
    if confidence.ndim != 1 or not confidence.size:
        raise PodiumError(f"confidence must have shape (rows,), got {confidence.shape}")
    inside = (confidence >= 0) & (confidence <= 1)
    if not inside.all():
        raise PodiumError(f"confidence must lie in [0, 1], got {confidence[~inside][0]}")
    return confidence


def _edges(confidence: np.ndarray, bins: int, equal_mass: bool) -> np.ndarray:
    """Return ascending edges, from 0 to 1 where bins are of equal width."""
    if bins < 1:
        raise PodiumError(f"bins must be at least 1, got {bins}; 15 is usual")
    if not equal_mass:
        return np.linspace(0, 1, bins + 1)
    # The inverted distribution function: an edge is a confidence that stands in the rows.
    inner = np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.concatenate([[0.0], np.unique(inner[(inner > 0) & (inner < 1)]), [1.0]])


def _bins(confidence: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bin (n,) of every row: above its lower edge, up to its upper one."""
    return np.maximum(np.searchsorted(edges, confidence, side="left") - 1, 0)
