"""How far one training's error is off, and whether a row of errors rises in spite of that.

The smaller a size, the wider its trainings usually lie. The variance is taken to go with a power of
the error: 0 (the same everywhere), 1 (as counts of wrong rows do) or 2 (in proportion). A few seeds
cannot tell which, so that each counts by how well it explains the points. With one noise for all
sizes, that of the small ones would drown what the full size can tell.
"""

from dataclasses import dataclass

import numpy as np

POWERS = (0, 1, 2)  # of the error, for its variance
USUAL = 1  # the power where no size has two trainings
SURE = 100.0  # degrees of freedom of a deviation that a thousand resamples know nearly exactly


@dataclass(frozen=True, eq=False)
class Noise:
    """The standard deviation of one training's error at the largest size, estimated with `dof`
    degrees of freedom, and the `variance` (k,) at each size by that of the largest."""

    sd: float
    dof: float
    variance: np.ndarray

    def log_odds(self, count: np.ndarray) -> float:
        """Return what the variances (k,) add to the log likelihood of so many trainings (k,)."""
        return -float(count @ np.log(self.variance)) / 2


def pooled_noises(errors: list[np.ndarray], floor: float) -> list[Noise]:
    """Return the spread of repeated trainings, pooled over sizes, for each power.

    Parameters
    ----------
    errors : list of ndarray of shape (m_k,)
        The errors of the trainings of each size, the largest size first; at least one size has two.
    floor : float
        The least standard deviation to believe in, above 0: a score of few rows is a coarse number,
        and trainings that happen to agree do not make it exact.

    Raises
    ------
    ValueError
        Where no size has two trainings.
    """
    dof = float(sum(len(values) - 1 for values in errors))
    if dof < 1:
        raise ValueError("a spread needs a size with two trainings or more")
    squares = np.array([((values - values.mean()) ** 2).sum() for values in errors])
    means = np.array([values.mean() for values in errors])
    variances = [_relative(means, power, floor) for power in POWERS]
    sds = [float(np.sqrt((squares / variance).sum() / dof)) for variance in variances]
    return [Noise(max(sd, floor), dof, v) for sd, v in zip(sds, variances, strict=True)]


def single_noise(sd: float, errors: list[np.ndarray], floor: float) -> list[Noise]:
    """Return the noise where no training was repeated, its deviation at the largest size known
    otherwise; parameters and result as in `pooled_noises`."""
    means = np.array([values.mean() for values in errors])
    return [Noise(max(sd, floor), SURE, _relative(means, USUAL, floor))]


def _relative(error: np.ndarray, power: int, floor: float) -> np.ndarray:
    known = np.maximum(error, floor)
    return (known / known[0]) ** power


def slope(n: np.ndarray, error: np.ndarray, count: np.ndarray, noise: Noise) -> tuple[float, float]:
    """Return by how much the error changes with each doubling of n, and the standard error.

    Parameters
    ----------
    n, error, count : ndarray of shape (k,)
        Training rows, mean error and number of trainings of each size; two sizes at least.
    noise : Noise
    """
    weight = count / noise.variance
    x = np.log2(n)
    x = x - np.average(x, weights=weight)
    spread = float((weight * x**2).sum())
    return float((weight * x * error).sum() / spread), noise.sd / float(np.sqrt(spread))
