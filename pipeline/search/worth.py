"""What a trial may gain on the best one, and what it is worth to find out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from pipeline.search.surrogate import JITTER, Belief, Points

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
HALVINGS = 25


@dataclass(frozen=True)
class Worth:
    """What candidates (m,) may gain on the reference at the last level: mean and variance of the
    difference, and what it takes to tell what a step would teach of it."""

    belief: Belief
    asked: Points
    reference: Points
    mean: np.ndarray
    variance: np.ndarray
    explained: np.ndarray
    explained_reference: np.ndarray

    @classmethod
    def of(cls, belief: Belief, asked: Points, reference: Points, top: int) -> "Worth":
        own, other = belief.weights(asked), belief.weights(reference)
        mean = belief.means(other) - belief.means(own)
        kernel, theta = belief.kernel, belief.theta
        prior = kernel.variance(theta, asked)
        prior_reference = kernel.variance(theta, reference)
        shared = kernel.between(theta, asked, reference)[:, 0]
        variance = prior + prior_reference - 2 * shared - ((own - other) ** 2).sum(axis=0)
        return cls(belief, asked, reference, mean, np.maximum(variance, 1e-10), own, other)

    @property
    def improvement(self) -> np.ndarray:
        """The expected improvement on the reference, (m,)."""
        return expected_improvement(self.mean, np.sqrt(self.variance))

    def index(self, rows: np.ndarray, levels: Sequence[int], prices: Sequence[float]) -> np.ndarray:
        """Return the index (r,) of candidates that pass through `levels` to the last one, where
        they can be given up after every level: the price of a whole training at which the first
        step just pays. `prices`: of the steps, that to the last level included."""
        spreads, last = self._lessons(rows, levels)
        means = self.mean[rows]
        for spread in spreads:  # (r, nodes, nodes, ...): what may be expected after each level
            means = means[..., None] + spread.reshape(-1, *[1] * means.ndim) * NODES
        after = expected_improvement(means, last.reshape(-1, *[1] * len(spreads)))
        low, high = np.zeros(len(rows)), np.full(len(rows), after.max() / prices[-1])
        for _ in range(HALVINGS):
            price = (low + high) / 2
            value = after
            for cost in reversed(prices[1:]):
                rent = cost * price.reshape(-1, *[1] * (value.ndim - 1))
                value = np.maximum(value - rent, 0) @ NODE_WEIGHTS
            pays = value > price * prices[0]
            low, high = np.where(pays, price, low), np.where(pays, high, price)
        return low

    def _lessons(
        self, rows: np.ndarray, levels: Sequence[int]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Return by how much each level will move what is expected of the difference, standard
        deviations (r,), and that of what is then left to learn."""
        kernel, theta, own = self.belief.kernel, self.belief.theta, self.asked.take(rows)
        steps = [own.at(level) for level in levels]
        explained = [self.belief.weights(step) for step in steps]
        difference = self.explained_reference - self.explained[:, rows]
        known, shared = np.empty((len(rows), len(levels), len(levels))), []
        for i, (step, mine) in enumerate(zip(steps, explained, strict=True)):
            for j, (other, theirs) in enumerate(zip(steps, explained, strict=True)):
                prior = kernel.paired(theta, step, other)
                known[:, i, j] = prior - (mine * theirs).sum(axis=0)
            known[:, i, i] += self.belief.noise + JITTER
            prior = kernel.between(theta, self.reference, step)[0]
            prior = prior - kernel.paired(theta, own, step)
            shared.append(prior - (mine * difference).sum(axis=0))
        factors = np.linalg.cholesky(known)
        lessons = np.linalg.solve(factors, np.stack(shared, axis=-1)[..., None])[..., 0]
        left = self.variance[rows] - (lessons**2).sum(axis=1)
        return list(np.abs(lessons).T), np.sqrt(np.maximum(left, 1e-8))


def expected_improvement(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return E[max(0, d)] of normal d; 0 is what is to be exceeded."""
    z = mean / spread
    return mean * ndtr(z) + spread * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
