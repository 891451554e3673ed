"""How many labels an image has, where each is drawn alone with its own probability."""

import numpy as np

from pipeline.metrics.checks import check_probs

BLOCK = 1 << 18  # float64 values in a block of rows: 2 MB
NEVER = 1e-20  # sizes of the label set that are rarer add nothing to a float64 sum near 1


def poisson_binomial(probs: np.ndarray) -> np.ndarray:
    """Return the distribution of the number of labels of each row.

    Parameters
    ----------
    probs : ndarray of shape (n, c), in [0, 1]
        Probabilities of labels that are independent of each other, given the row.

    Returns
    -------
    ndarray of shape (n, c + 1), float64
        The probability of 0, 1 ... c labels. Sums of products of numbers in [0, 1] only, so no
        value loses more than about c roundings.

    Raises
    ------
    PodiumError
        For NaN or values outside [0, 1].

    References
    ----------
    Barlow and Heidtmann, Computing k-out-of-n system reliability, IEEE Transactions on
    Reliability 33 (1984).
    """
    probs = check_probs(probs)
    out = np.empty((len(probs), probs.shape[1] + 1))
    size = max(1, BLOCK // out.shape[1])
    for start in range(0, len(probs), size):
        out[start : start + size] = distribution(probs[start : start + size].T).T
    return out


def distribution(probs: np.ndarray) -> np.ndarray:
    """Return the distributions (c + 1, b) of the sums of the columns of probs (c, b) float64."""
    n_classes, n_rows = probs.shape
    out = np.zeros((n_classes + 1, n_rows))
    out[0] = 1
    for j, p in enumerate(probs):
        moved = out[: j + 1] * p
        out[: j + 1] *= 1 - p
        out[1 : j + 2] += moved
    return out


def others(probs: np.ndarray) -> np.ndarray:
    """Return how many labels a row has besides each label, by dividing that label out.

    The distribution of all is that of the others times (1 - p, p); it is divided from the end
    where the division shrinks errors: from size 0 up where p <= 1/2, from the largest size down
    otherwise. Each step then multiplies the error so far by at most 1.

    Parameters
    ----------
    probs : ndarray of shape (c, b), float64
        A block of rows, one column each.

    Returns
    -------
    ndarray of shape (s, c, b), float64
        The probability of 0, 1 ... s - 1 other labels; s <= c ends where no row of the block has
        more labels but with a probability below 1e-20.
    """
    total = distribution(probs)
    width = 1 + int(np.flatnonzero((total > NEVER).any(1))[-1])
    width = min(width, len(probs))
    down = probs > 0.5
    low, high = np.minimum(probs, 1 - probs), np.maximum(probs, 1 - probs)
    out = np.empty((width, *probs.shape))
    last = np.zeros(probs.shape)
    for step in range(width):
        # A row's label is divided out from below (size `step`) or from above (size width - step).
        last = (np.where(down, total[width - step], total[step]) - low * last) / high
        out[step] = last
    out = np.where(down, out[::-1], out)
    return np.maximum(out, 0, out=out)
