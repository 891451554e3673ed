"""A Gaussian process over configurations and levels: what `multitask` believes of every trial.

The loss of trial i at level s, transformed, is a_s + b_s (g(x_i, s) + e_i(s)) + noise: g a Matern
5/2 process, ARD over parameters and level, e_i what the parameters do not explain of trial i, the
same process over levels alone, a_s free, b_s near 1. Swersky et al. 2014, Freeze-thaw Bayesian
optimization, arXiv 1406.3896; Klein et al. 2017, Fast Bayesian optimization of machine learning
hyperparameters on large datasets, arXiv 1605.07079.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from pipeline.search.seen import Ladder
from pipeline.search.space import Space

OFFSET = 0.3  # prior standard deviation of a level's offset, after they were aligned
JITTER = 1e-6
STEPS = 30  # of the search for hyper-parameters
ROOT5 = 5**0.5
# Medians and standard deviations, in logarithms, of the priors of hyper-parameters.
LENGTH, LEVEL, TRIAL, NOISE, SCALE = (0.7, 0.8), (1.0, 0.7), (0.3, 0.7), (0.15, 0.7), (1.0, 0.3)


@dataclass(frozen=True)
class Points:
    """Places where the loss is known or asked for.

    `units` (n, d) in the order of the space, 1/2 where a parameter is not active; `levels` (n,);
    `trials` (n,), below 0 for one that has not begun, each with a number of its own.
    """

    units: np.ndarray
    levels: np.ndarray
    trials: np.ndarray

    def __len__(self) -> int:
        return len(self.levels)

    def take(self, rows: np.ndarray) -> "Points":
        return Points(self.units[rows], self.levels[rows], self.trials[rows])

    def at(self, level: int) -> "Points":
        """Return the same trials at another level."""
        return Points(self.units, np.full(len(self), level), self.trials)

    def joined(self, other: "Points") -> "Points":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Points(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True)
class Kernel:
    """The covariance: `ordered` (d,) says which parameters have neighbours, `heights` (levels,)
    where a level lies in [0, 1], evenly in the logarithm of its cost.

    Hyper-parameters are logarithms (d + 3 + levels,): lengths of the parameters, length of the
    level, sizes of e and of the noise, b of every level.
    """

    ordered: np.ndarray
    heights: np.ndarray

    @classmethod
    def of(cls, space: Space, ladder: Ladder) -> "Kernel":
        costs = np.log([level.cost for level in ladder.levels])
        heights = (costs - costs[0]) / max(costs[-1] - costs[0], 1e-9)
        return cls(np.array([param.is_ordered for param in space.params]), heights)

    @cached_property
    def prior(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of the hyper-parameters."""
        counts = len(self.ordered), 1, 1, 1, len(self.heights)
        each = LENGTH, LEVEL, TRIAL, NOISE, SCALE
        pairs = [pair for pair, count in zip(each, counts, strict=True) for _ in range(count)]
        medians, spreads = np.array(pairs).T
        return np.log(medians), spreads

    def squares(self, a: Points, b: Points) -> np.ndarray:
        """Return squared distances by parameter and, last, level: (d + 1, n, m). Unordered choices
        are as far apart as the ends of a range."""
        found = np.empty((len(self.ordered) + 1, len(a), len(b)))
        for place, is_ordered in enumerate(self.ordered):
            one, other = a.units[:, place, None], b.units[None, :, place]
            found[place] = (one - other) ** 2 if is_ordered else np.abs(one - other) > 1e-9
        heights = self.heights
        found[-1] = (heights[a.levels][:, None] - heights[b.levels][None, :]) ** 2
        return found

    def parts(
        self, theta: np.ndarray, squares: np.ndarray, a: Points, b: Points
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the scaled covariances of g and e, (n, m) each, and the slopes of both
        correlations by squared distance."""
        d = len(self.ordered)
        weights = np.exp(-2 * theta[: d + 1])
        whole, steep = _matern(np.tensordot(weights, squares, 1))
        level, level_steep = _matern(weights[-1] * squares[-1])
        scales = np.exp(theta[d + 3 :])
        both = scales[a.levels][:, None] * scales[b.levels][None, :]
        own = both * (a.trials[:, None] == b.trials[None, :]) * np.exp(2 * theta[d + 1])
        return both * whole, own * level, both * steep, own * level_steep

    def between(self, theta: np.ndarray, a: Points, b: Points) -> np.ndarray:
        """Return the covariance (n, m) of the noiseless losses."""
        shared, own, _, _ = self.parts(theta, self.squares(a, b), a, b)
        return shared + own + OFFSET**2 * (a.levels[:, None] == b.levels[None, :])

    def variance(self, theta: np.ndarray, points: Points) -> np.ndarray:
        """Return the prior variance (n,) of the noiseless losses."""
        d = len(self.ordered)
        scales = np.exp(2 * theta[d + 3 :])[points.levels]
        return scales * (1 + np.exp(2 * theta[d + 1])) + OFFSET**2

    def paired(self, theta: np.ndarray, a: Points, b: Points) -> np.ndarray:
        """Return the covariance (n,) of the same trials at two levels."""
        d = len(self.ordered)
        apart = (self.heights[a.levels] - self.heights[b.levels]) ** 2
        alike, _ = _matern(np.exp(-2 * theta[d]) * apart)
        scales = np.exp(theta[d + 3 :])
        sizes = scales[a.levels] * scales[b.levels] * (1 + np.exp(2 * theta[d + 1]))
        return sizes * alike + OFFSET**2 * (a.levels == b.levels)

    def fit(self, points: Points, y: np.ndarray) -> np.ndarray:
        """Return the hyper-parameters of the highest posterior density, found from the medians."""
        means, spreads = self.prior
        squares = self.squares(points, points)
        bounds = list(zip(means - 3 * spreads, means + 3 * spreads, strict=True))
        asked = squares, points, y
        found = minimize(
            self._badness, means, asked, "L-BFGS-B", True, bounds=bounds, options={"maxiter": STEPS}
        )
        return found.x

    def _badness(
        self, theta: np.ndarray, squares: np.ndarray, points: Points, y: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the negative log posterior density and its gradient."""
        d, means, spreads = len(self.ordered), *self.prior
        shared, own, steep, own_steep = self.parts(theta, squares, points, points)
        noise = np.exp(2 * theta[d + 2])
        k = shared + own + OFFSET**2 * (points.levels[:, None] == points.levels[None, :])
        k[np.diag_indices(len(k))] += noise + JITTER
        factor = cho_factor(k, lower=True, check_finite=False)
        alpha = cho_solve(factor, y, check_finite=False)
        inverse = cho_solve(factor, np.eye(len(y)), check_finite=False)
        inner = inverse - np.outer(alpha, alpha)  # twice the slope by the covariance
        value = 0.5 * y @ alpha + np.log(np.diag(factor[0])).sum()
        gradient = np.empty(len(theta))
        weights = np.exp(-2 * theta[: d + 1])
        gradient[: d + 1] = 0.5 * weights * np.tensordot(squares, inner * steep, 2)
        gradient[d] += 0.5 * weights[-1] * np.sum(inner * own_steep * squares[-1])
        gradient[d + 1] = np.sum(inner * own)
        gradient[d + 2] = noise * np.trace(inner)
        by_row = (inner * (shared + own)).sum(axis=1)
        gradient[d + 3 :] = np.bincount(points.levels, by_row, len(self.heights))
        away = (theta - means) / spreads
        return value + 0.5 * away @ away, gradient + away / spreads


@dataclass(frozen=True)
class Belief:
    """The process given what is known: `y` (n,) at `points`, with the hyper-parameters `theta`."""

    kernel: Kernel
    theta: np.ndarray
    points: Points
    y: np.ndarray

    @property
    def noise(self) -> float:
        """The variance of the noise of one observation."""
        return float(np.exp(2 * self.theta[len(self.kernel.ordered) + 2]))

    @cached_property
    def _factor(self) -> np.ndarray:
        k = self.kernel.between(self.theta, self.points, self.points)
        k[np.diag_indices(len(k))] += self.noise + JITTER
        return cho_factor(k, lower=True, check_finite=False)[0]

    def weights(self, asked: Points) -> np.ndarray:
        """Return L^-1 k(points, asked), (n, m): inner products are what is explained."""
        k = self.kernel.between(self.theta, self.points, asked)
        return solve_triangular(self._factor, k, lower=True, check_finite=False)

    def means(self, weights: np.ndarray) -> np.ndarray:
        """Return the expected losses (m,) at the places of `weights`."""
        return weights.T @ solve_triangular(self._factor, self.y, lower=True, check_finite=False)

    def believing(self, more: Points) -> "Belief":
        """Return the belief if what is asked for at `more` turned out as expected."""
        if not len(more):
            return self
        y = np.concatenate([self.y, self.means(self.weights(more))])
        return Belief(self.kernel, self.theta, self.points.joined(more), y)


def _matern(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Matern 5/2 correlation at squared distances, and -2 times its slope by them."""
    r = ROOT5 * np.sqrt(squares)
    decay = np.exp(-r)
    return (1 + r + r**2 / 3) * decay, 5 / 3 * (1 + r) * decay
