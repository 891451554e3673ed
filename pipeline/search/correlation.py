"""How each parameter goes with the score: rank correlation; of choices, ranks that differ."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.search.judged import Judged
from pipeline.search.records import Found

LEVEL = 0.95
LEAST = 4  # trials, below which the interval of a rank correlation is not defined


@dataclass(frozen=True)
class Correlation:
    """Of a parameter: Spearman's `rho` with the score, from -1 to 1, with an interval; of choices
    without an order, `epsilon2` of Kruskal and Wallis, the share of the ranks' variance that lies
    between choices, from 0 to 1. `p` is the chance of as much by luck; `p_holm` that of any of the
    parameters. None: it cannot be told. `trials`: those in which the parameter is active."""

    key: str
    kind: str
    trials: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None


def correlations(found: Found, there: Judged) -> list[Correlation]:
    """Return the correlation of every parameter with the score, in the order of the space.

    They are not causal and nothing is held constant: under an adaptive sampler, parameters go
    together that have nothing to do with each other.
    """
    rows = []
    for place, param in enumerate(found.space.params):
        units = there.units[:, place]
        active = np.isfinite(units)
        of = spearman if param.is_ordered else kruskal_wallis
        rows.append(of(param.key, units[active], there.scores[active]))
    adjusted = holm([row.p for row in rows])
    return [
        Correlation(r.key, r.kind, r.trials, r.value, r.low, r.high, r.p, p)
        for r, p in zip(rows, adjusted, strict=True)
    ]


def spearman(key: str, values: np.ndarray, scores: np.ndarray) -> Correlation:
    """Return Spearman's correlation with its p-value and 95 % interval.

    Parameters
    ----------
    values, scores : ndarray of shape (n,)

    References
    ----------
    Bonett and Wright 2000, Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations: the variance of its Fisher transform is (1 + rho^2 / 2) / (n - 3).
    """
    n = len(values)
    if n < LEAST or np.ptp(values) == 0 or np.ptp(scores) == 0:
        return Correlation(key, "spearman", n)
    rho, p = (float(v) for v in stats.spearmanr(values, scores))
    within = math.atanh(min(max(rho, -0.999999), 0.999999))
    width = stats.norm.ppf((1 + LEVEL) / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = math.tanh(within - width), math.tanh(within + width)
    return Correlation(key, "spearman", n, rho, low, high, p)


def kruskal_wallis(key: str, values: np.ndarray, scores: np.ndarray) -> Correlation:
    """Return epsilon squared, (H - k + 1) / (n - k) and not below 0, and the p-value of H, where k
    choices were tried.

    Parameters
    ----------
    values, scores : ndarray of shape (n,)

    References
    ----------
    Kruskal and Wallis 1952, Use of ranks in one-criterion variance analysis; Tomczak and Tomczak
    2014, The need to report effect size estimates revisited (there eta squared of H).
    """
    n = len(values)
    groups = [scores[values == value] for value in np.unique(values)]
    if len(groups) < 2 or n <= len(groups) or n < LEAST or np.ptp(scores) == 0:
        return Correlation(key, "kruskal-wallis", n)
    h, p = (float(v) for v in stats.kruskal(*groups))
    effect = max(0.0, (h - len(groups) + 1) / (n - len(groups)))
    return Correlation(key, "kruskal-wallis", n, effect, p=p)


def holm(values: list[float | None]) -> list[float | None]:
    """Return p-values adjusted for as many tests as there are (Holm 1979); None stays None."""
    there = sorted((p, place) for place, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, place) in enumerate(there):
        largest = max(largest, min(1.0, p * (len(there) - rank)))
        adjusted[place] = largest
    return adjusted
