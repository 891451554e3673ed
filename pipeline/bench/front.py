"""Which of several compromises are worth having: the Pareto front."""

import numpy as np


def pareto_front(cost: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return whom nobody beats: no other is at least as good and as cheap, and better in one.

    Parameters
    ----------
    cost : ndarray of shape (n,)
        Lower is better, in any unit.
    score : ndarray of shape (n,)
        Greater is better.

    Returns
    -------
    ndarray of shape (n,), bool
        Those that are equal in both are on the front together.

    Raises
    ------
    ValueError
        Where the two differ in length, or hold a NaN.

    References
    ----------
    Kung, Luccio and Preparata (1975), On Finding the Maxima of a Set of Vectors.
    """
    cost, score = np.asarray(cost, float), np.asarray(score, float)
    if cost.shape != score.shape or cost.ndim != 1:
        raise ValueError(f"cost and score must be (n,) each, got {cost.shape} and {score.shape}")
    if np.isnan(cost).any() or np.isnan(score).any():
        raise ValueError("cost and score must be numbers, got NaN")
    order = np.lexsort((-score, cost))  # cheapest first, the best of these before the others
    front, best, at = np.zeros(len(cost), bool), -np.inf, np.nan
    for i in order:
        if score[i] > best or (score[i] == best and cost[i] == at):
            front[i], best, at = True, score[i], cost[i]
    return front
