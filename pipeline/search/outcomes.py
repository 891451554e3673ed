"""Losses of all levels on one scale, on which a Gaussian process can be laid.

Losses are skewed, some training diverges, and only good trials reach the higher levels. So each
level's losses become normal scores by their ranks, and those of a level are stretched and shifted
so that the trials which have it and a lower one have the same mean and spread at both. That hides
what all of them have in common, as where early winners overfit: so a loss counts for no less at a
level than the same loss does at a lower one, for which less was trained.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, rankdata

from pipeline.search.seen import Seen

SURE = 4.0  # trials at two levels that count as much as the assumption that nothing is stretched


def outcomes(seen: Sequence[Seen], top: int) -> dict[tuple[int, int], float]:
    """Return aligned losses by (trial, level); what failed is as bad as the worst of its level."""
    found: dict[tuple[int, int], float] = {}
    curves: list[np.ndarray] = []
    for level in range(top + 1):
        losses = {one.number: one.losses[level] for one in seen if level in one.losses}
        worst = max(losses.values(), default=None)
        failed = [one.number for one in seen if one.failed and one.ordered == level]
        if worst is None:
            found |= {(number, level): 2.0 for number in failed}
            continue
        losses |= dict.fromkeys(failed, worst)
        numbers = list(losses)
        scores = normal_scores(np.array(list(losses.values())))
        scores = aligned(found, dict(zip(numbers, scores.tolist(), strict=True)))
        for curve in curves:
            scores = {n: max(score, _read(curve, losses[n])) for n, score in scores.items()}
        found |= {(number, level): score for number, score in scores.items()}
        pairs = sorted((losses[number], score) for number, score in scores.items())
        curves.append(np.array(pairs).T)
    return found


def _read(curve: np.ndarray, loss: float) -> float:
    """Return what a loss is worth at a level, by its losses and scores (2, n), both rising."""
    return float(np.interp(loss, *curve, left=-np.inf))


def normal_scores(losses: np.ndarray) -> np.ndarray:
    """Return the standard normal quantiles (n,) of the ranks of losses, equal ones alike."""
    return norm.ppf((rankdata(losses) - 0.5) / len(losses))


def aligned(lower: dict[tuple[int, int], float], scores: dict[int, float]) -> dict[int, float]:
    """Return the scores of a level on the scale of the lower ones."""
    before: dict[int, float] = {}
    for (number, _), value in sorted(lower.items(), key=lambda item: item[0][1]):
        before[number] = value  # that of the highest level stays
    both = [number for number in scores if number in before]
    if not both:
        return scores
    old = np.array([before[number] for number in both])
    new = np.array([scores[number] for number in both])
    factor = 1.0
    if len(both) > 1 and new.std() > 0 and old.std() > 0:
        factor = float(np.exp(np.log(old.std() / new.std()) * len(both) / (len(both) + SURE)))
    shift = old.mean() - factor * new.mean()
    return {number: factor * value + shift for number, value in scores.items()}
