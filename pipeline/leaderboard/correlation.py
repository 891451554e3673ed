"""How closely two lists of scores go together, with an interval that is honest about few."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST = 4  # Fisher's z has no error below
MOST = 0.999  # |r| of which the interval of a perfect Pearson correlation is taken


@dataclass(frozen=True)
class Correlation:
    """A coefficient of n pairs with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def pearson(a: np.ndarray, b: np.ndarray) -> Correlation | None:
    """Return Pearson's r (n,) x (n,) with the interval by Fisher's z; None below 4 pairs, or where
    either list is constant. A perfect one, whose z is infinite, has the near end of 0.999."""
    return _interval(a, b, lambda: stats.pearsonr(a, b).statistic, lambda r: 1.0, MOST)


def spearman(a: np.ndarray, b: np.ndarray) -> Correlation | None:
    """Return Spearman's rho with the interval of Bonett and Wright (2000), Sample size requirements
    for estimating Pearson, Kendall and Spearman correlations, Psychometrika 65. A perfect one, as
    few ranks easily have, gets its near end from the next smaller rho that n ranks can have."""
    n = len(a)
    most = 1 - 12 / (n * (n**2 - 1)) if n >= FEWEST else 1.0
    return _interval(a, b, lambda: stats.spearmanr(a, b).statistic, lambda r: 1 + r**2 / 2, most)


def _interval(
    a: np.ndarray,
    b: np.ndarray,
    coefficient: Callable[[], float],
    factor: Callable[[float], float],
    most: float,
) -> Correlation | None:
    """Return a coefficient with its interval; `factor` is what its z varies by, times n - 3, `most`
    the |r| by which the interval of a perfect one is reckoned."""
    n = len(a)
    if n < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    r = float(np.clip(coefficient(), -1.0, 1.0))
    used = min(max(r, -most), most)
    reach = stats.norm.ppf(0.975) * math.sqrt(factor(used) / (n - 3))
    z = math.atanh(used)
    low, high = math.tanh(z - reach), math.tanh(z + reach)
    perfect = abs(r) > 1 - 1e-12  # its far end is itself
    low, high = (-1.0 if perfect and r < 0 else low), (1.0 if perfect and r > 0 else high)
    return Correlation(r, low, high, n)
