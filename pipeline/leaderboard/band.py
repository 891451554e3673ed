"""What sampling noise alone would do to a leaderboard: the offset, the band, who is outside."""

from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
DRAWS = 10_000
FEWEST = 4  # submissions, below which nothing is said of single ones


@dataclass(frozen=True, eq=False)
class Band:
    """Differences of k submissions (leaderboard minus cross-validation) against noise.

    `offset` is their median, `offset_se` what noise moves it by, `offset_p` the chance of so large
    an offset by noise. `residuals` (k,) are the differences beyond it, `halves` (k,) half the width
    of the band in which noise leaves each with probability 0.95, `outer` (k,) that in which it
    leaves all of them at once, `p` (k,) the chance that noise takes any of the k as far out of its
    band as this one is; `spread_p` the chance that it spreads them all as much.
    """

    offset: float
    offset_se: float
    offset_p: float
    residuals: np.ndarray
    halves: np.ndarray
    outer: np.ndarray
    p: np.ndarray
    spread_p: float

    @property
    def outside(self) -> np.ndarray:
        """Which submissions are outside their band, several comparisons allowed for, (k,)."""
        few = len(self.residuals) < FEWEST
        return np.zeros(len(self.p), bool) if few else self.p < 1 - LEVEL


def band(
    differences: np.ndarray,
    errors: np.ndarray,
    correlations: np.ndarray,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Band:
    """Return what noise explains of the differences between leaderboard and cross-validation.

    Leaderboards that differ by noise alone are drawn, their median is taken off as it is off ours,
    and what is left of each submission is compared with what is left of it in the draws. So the
    band allows for the noise that submissions share (which moves the median and not the rest), for
    the median being an estimate, and for several comparisons (by the largest excess of any
    submission in each draw, single-step max-T).

    Parameters
    ----------
    differences : ndarray of shape (k,)
        Leaderboard minus cross-validation.
    errors : ndarray of shape (k,)
        Standard deviations of the noise in them, above 0.
    correlations : ndarray of shape (k, k)
        Of that noise; NaN where not known. The band takes the unknown as 0, which makes it wider;
        the offset as 1, which makes it less certain.
    draws, seed : int

    Raises
    ------
    ValueError
        Where shapes do not fit, or an error is not above 0.

    References
    ----------
    Westfall and Young, Resampling-Based Multiple Testing, 1993, chapter 2.
    """
    differences, errors = np.asarray(differences, float), np.asarray(errors, float)
    k = len(differences)
    if errors.shape != (k,) or np.shape(correlations) != (k, k) or not (errors > 0).all():
        raise ValueError("differences, errors above 0 and correlations of the same k submissions")
    normal = np.random.default_rng(seed).standard_normal((draws, k))
    shared = normal @ _root(correlations, 1.0).T * errors
    medians = np.median(shared, axis=1)
    offset = float(np.median(differences))
    noise = normal @ _root(correlations, 0.0).T * errors
    noise = np.abs(noise - np.median(noise, axis=1, keepdims=True))  # (draws, k)
    residuals = differences - offset
    halves = np.maximum(np.quantile(noise, LEVEL, axis=0), 1e-12)
    excess, largest = np.abs(residuals) / halves, (noise / halves).max(axis=1)
    spreads = ((noise / halves) ** 2).sum(axis=1)
    return Band(
        offset,
        float(medians.std()),
        _share(np.abs(medians), abs(offset)),
        residuals,
        halves,
        halves * float(np.quantile(largest, LEVEL)),
        np.array([_share(largest, one) for one in excess]),
        _share(spreads, float((excess**2).sum())),
    )


def _share(drawn: np.ndarray, seen: float) -> float:
    """Return the share of draws that are at least as large as what was seen, which is one, too."""
    return float((1 + (drawn >= seen).sum()) / (1 + len(drawn)))


def _root(correlations: np.ndarray, unknown: float) -> np.ndarray:
    """Return a matrix (k, k) that makes noise of these correlations of independent noise; what
    estimates from different rows contradict is taken out, variances stay 1."""
    filled = np.where(np.isnan(correlations), unknown, correlations)
    values, vectors = np.linalg.eigh((filled + filled.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return root / np.linalg.norm(root, axis=1, keepdims=True)
