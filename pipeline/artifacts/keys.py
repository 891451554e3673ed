"""Numbers drawn for rows from their keys alone, so that the order of rows decides nothing.

Apart from `hashing.py`, which the command line loads before it has loaded numpy.
"""

import math

import numpy as np

STRIDE = 0x9E3779B97F4A7C15  # of SplitMix64: how far apart its states are


def mixed_keys(keys: np.ndarray, *salts: int) -> np.ndarray:
    """Return 64 bits that look random, one to one with the keys given, another set for other salts.

    Parameters
    ----------
    keys : ndarray of shape (n,) uint64
    salts : int
        At least 0. Their order counts.

    Returns
    -------
    ndarray of shape (n,) uint64

    References
    ----------
    Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
    """
    state = np.zeros(1, np.uint64)
    for salt in salts:
        state = _step(state + np.uint64(salt))
    return _step(np.asarray(keys, np.uint64) ^ state)


def _step(values: np.ndarray) -> np.ndarray:
    """Return one step of SplitMix64 from each of some states (n,) uint64."""
    values = values + np.uint64(STRIDE)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def poisson_counts(keys: np.ndarray, *salts: int, mean: float = 1.0) -> np.ndarray:
    """Return Poisson draws (n,) int64 of a mean of at most 1, from each row's key (n,) and the
    salts alone."""
    uniform = (mixed_keys(keys, *salts) >> np.uint64(11)) * 2.0**-53
    shares = [math.exp(-mean) * mean**times / math.factorial(times) for times in range(18)]
    return np.searchsorted(np.cumsum(shares), uniform, side="right")
