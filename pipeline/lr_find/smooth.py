"""Smoothing of a noisy loss: a median over neighbours, then an exponential mean."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

BETA = 0.8  # of the exponential mean: it looks back about 1 / (1 - BETA) steps
RADIUS = 2  # of the median: it is over up to 2 * RADIUS + 1 losses
CAP = 1.5  # times the first loss: higher ones count as this


@dataclass
class Trailing:
    """The exponential mean, without bias at its start, of the medians of the latest losses."""

    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=2 * RADIUS + 1))
    _sum: float = 0.0
    _weight: float = 0.0

    def push(self, loss: float) -> float:
        """Add a loss; return the smoothed one."""
        self._latest.append(loss)
        self._sum = BETA * self._sum + (1 - BETA) * float(np.median(self._latest))
        self._weight = BETA * self._weight + (1 - BETA)
        return self._sum / self._weight


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Smooth the losses of a range test, without lag.

    An exponential mean of medians, without bias at its start (as of Adam's moments), runs
    forwards and then, over its own result, backwards: one that only looks back would move every
    fall and rise to a higher rate. Losses above CAP times the first median count as that, or the
    end of a divergence would be felt at lower rates.

    Parameters
    ----------
    losses : np.ndarray of shape (n,)
        Finite and not negative, one per step.

    Returns
    -------
    np.ndarray of shape (n,)

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, section 3.
    """
    if not len(losses):
        return np.empty(0)
    ceiling = CAP * np.median(losses[: 2 * RADIUS + 1])
    forward = exponential(medians(np.minimum(losses, ceiling)))
    return exponential(forward[::-1])[::-1]


def medians(losses: np.ndarray) -> np.ndarray:
    """Return the median of each loss and its neighbours (n,), fewer of them near both ends.

    The window shrinks on both sides alike, so that a line stays a line up to its ends.
    """
    n = len(losses)
    radii = [min(RADIUS, i, n - 1 - i) for i in range(n)]
    return np.array([np.median(losses[i - r : i + r + 1]) for i, r in enumerate(radii)])


def exponential(values: np.ndarray) -> np.ndarray:
    """Return the exponential mean of the values up to each one (n,), without bias at the start."""
    found, total, weight = np.empty(len(values)), 0.0, 0.0
    for i, value in enumerate(values):
        total = BETA * total + (1 - BETA) * value
        weight = BETA * weight + (1 - BETA)
        found[i] = total / weight
    return found
