"""How closely two lists of scores go together, with an interval that is honest about few."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST = 4  # Fisher's z has no error below


@dataclass(frozen=True)
class Correlation:
    """A coefficient of n pairs with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def pearson(a: np.ndarray, b: np.ndarray) -> Correlation | None:
    """Return Pearson's r (n,) x (n,) with the interval by Fisher's z; None below 4 pairs, or where
    either list is constant."""
    return _interval(a, b, lambda: stats.pearsonr(a, b).statistic, lambda r: 1.0)


def spearman(a: np.ndarray, b: np.ndarray) -> Correlation | None:
    """Return Spearman's rho with the interval of Bonett and Wright (2000), Sample size requirements
    for estimating Pearson, Kendall and Spearman correlations, Psychometrika 65."""
    return _interval(a, b, lambda: stats.spearmanr(a, b).statistic, lambda r: 1 + r**2 / 2)


def _interval(
    a: np.ndarray,
    b: np.ndarray,
    coefficient: Callable[[], float],
    factor: Callable[[float], float],
) -> Correlation | None:
    """Return a coefficient with its interval; `factor` is what its z varies by, times n - 3."""
    n = len(a)
    if n < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    r = float(np.clip(coefficient(), -1.0, 1.0))
    if abs(r) > 1 - 1e-12:  # z is infinite
        return Correlation(r, r, r, n)
    reach = stats.norm.ppf(0.975) * math.sqrt(factor(r) / (n - 3))
    z = math.atanh(r)
    return Correlation(r, math.tanh(z - reach), math.tanh(z + reach), n)
