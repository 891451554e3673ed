"""The law of a learning curve: error(n) = a + b n^-c, and how far its continuation can be trusted.

Power laws describe how the error of a learner falls with its training rows over orders of magnitude
(Cortes et al. 1994; Hestness et al. 2017), though not always (Viering and Loog 2023, who also show
curves that rise). Sizes that lie within a factor of eight leave the three parameters all but free,
so the answer is a posterior and no single curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from pipeline.curve.noise import Noise
from pipeline.curve.posterior import EXPONENTS, Points, posterior

LEVEL = 0.9  # of every interval
MIN_SIZES = 3  # a law of three parameters


@dataclass(frozen=True)
class Interval:
    """The median of something unknown, and the ends of its central 90 %."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Law:
    """The law that fits best, (a, b, c), and the laws (m, 3) that the points leave possible, each
    with its weight (m,); `noise` is the deviation of one training's error at the largest size."""

    best: tuple[float, float, float]
    laws: np.ndarray
    weights: np.ndarray
    noise: float

    def at(self, n: float) -> float:
        """Return the error that the best fit expects of n training rows."""
        a, b, c = self.best
        return a + b * n**-c

    def error(self, n: float) -> Interval:
        """Return the error to expect of n training rows, the mean over trainings."""
        return self._interval(self._errors(n))

    def gain(self, n: float, more: float) -> Interval:
        """Return by how much the error falls from n to `more` rows."""
        return self._interval(self._errors(n) - self._errors(more))

    def asymptote(self) -> Interval:
        """Return the error that no number of rows would go below."""
        return self._interval(self.laws[:, 0])

    def _errors(self, n: float) -> np.ndarray:
        a, b, c = self.laws.T
        return a + b * float(n) ** -c  # (m,)

    def _interval(self, values: np.ndarray) -> Interval:
        order = np.argsort(values, kind="stable")
        share = np.cumsum(self.weights[order])
        places = np.searchsorted(
            share, np.array([0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2]) * share[-1]
        )
        return Interval(*values[order][places].tolist())


def fit_law(n: np.ndarray, error: np.ndarray, count: np.ndarray, noises: Sequence[Noise]) -> Law:
    """Fit error(n) = a + b n^-c with a, b >= 0 and 0.05 <= c <= 2.

    Parameters
    ----------
    n : ndarray of shape (k,)
        Training rows of each size, all different, k >= 3.
    error : ndarray of shape (k,)
        Mean error of the trainings of each size; 0 is the best possible.
    count : ndarray of shape (k,)
        How many trainings each mean is of.
    noises : sequence of Noise
        What one training's noise may be like, of even odds beforehand; `sd` above 0.

    Returns
    -------
    Law
        The weighted least-squares fit under the likeliest noise, and the posterior over all noises,
        under priors that `posterior.py` tells.

    Raises
    ------
    ValueError
        Where there are fewer than three different sizes, or the noise is not above 0.

    References
    ----------
    Cortes, Jackel, Solla, Vapnik and Denker, Learning Curves: Asymptotic Values and Rate of
    Convergence, 1994. Hestness et al., Deep Learning Scaling is Predictable, Empirically, 2017.
    Viering and Loog, The Shape of Learning Curves: a Review, 2023.
    """
    n = np.asarray(n, float)
    if len(n) < MIN_SIZES or len(np.unique(n)) < len(n):
        raise ValueError(f"a law needs at least {MIN_SIZES} sizes, all different, got {n.tolist()}")
    if not all(noise.sd > 0 for noise in noises):
        raise ValueError(f"the noise must be above 0, got {[noise.sd for noise in noises]}")
    middle = float(np.exp(np.log(n).mean()))
    points = [(n / middle, np.asarray(error, float), count / noise.variance) for noise in noises]
    found = [posterior(own, noise) for own, noise in zip(points, noises, strict=True)]
    logs = [log + noise.log_odds(count) for (_, log), noise in zip(found, noises, strict=True)]
    top = max(float(log.max()) for log in logs)
    weights = [np.exp(log - top) for log in logs]
    odds = np.array([own.sum() for own in weights])
    laws = np.concatenate([laws for laws, _ in found])
    laws[:, 1] *= middle ** laws[:, 2]
    a, b, c = _least_squares(points[int(odds.argmax())])
    variance = np.average([noise.sd**2 for noise in noises], weights=odds)
    whole = np.concatenate(weights) / odds.sum()
    return Law((a, b * middle**c, c), laws, whole, float(np.sqrt(variance)))


def _least_squares(points: Points) -> tuple[float, float, float]:
    """Return the a, b >= 0 and c of the least weighted sum of squares."""
    x, y, w = points

    def fitted(c: float) -> tuple[np.ndarray, float]:
        columns = np.column_stack([np.ones_like(x), x**-c]) * np.sqrt(w)[:, None]
        return optimize.nnls(columns, y * np.sqrt(w))

    grid = np.linspace(*EXPONENTS, 100)
    best = int(np.argmin([fitted(c)[1] for c in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = optimize.minimize_scalar(
        lambda c: fitted(c)[1], bounds=bounds, method="bounded", options={"xatol": 1e-10}
    )
    c = float(min((found.x, grid[best]), key=lambda c: fitted(c)[1]))
    (a, b), _ = fitted(c)
    return float(a), float(b), c
