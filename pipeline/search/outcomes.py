"""Losses of all levels on one scale, on which a Gaussian process can be laid.

Losses are skewed, some training diverges, and only good trials reach the higher levels. So each
level's losses become normal scores by their ranks, and those of a level are stretched and shifted
so that the trials which have it and a lower one have the same mean and spread at both.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, rankdata

from pipeline.search.seen import Seen

SURE = 4.0  # trials at two levels that count as much as the assumption that nothing is stretched


def outcomes(seen: Sequence[Seen], top: int) -> dict[tuple[int, int], float]:
    """Return aligned losses by (trial, level); what failed is as bad as the worst of its level."""
    found: dict[tuple[int, int], float] = {}
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
        found |= aligned(found, dict(zip(numbers, scores.tolist(), strict=True)), level)
    return found


def normal_scores(losses: np.ndarray) -> np.ndarray:
    """Return the standard normal quantiles (n,) of the ranks of losses, equal ones alike."""
    return norm.ppf((rankdata(losses) - 0.5) / len(losses))


def aligned(
    lower: dict[tuple[int, int], float], scores: dict[int, float], level: int
) -> dict[tuple[int, int], float]:
    """Return the scores of a level on the scale of the lower ones."""
    before: dict[int, float] = {}
    for (number, _), value in sorted(lower.items(), key=lambda item: item[0][1]):
        before[number] = value  # that of the highest level stays
    both = [number for number in scores if number in before]
    if not both:
        return {(number, level): value for number, value in scores.items()}
    old = np.array([before[number] for number in both])
    new = np.array([scores[number] for number in both])
    factor = 1.0
    if len(both) > 1 and new.std() > 0 and old.std() > 0:
        factor = float(np.exp(np.log(old.std() / new.std()) * len(both) / (len(both) + SURE)))
    shift = old.mean() - factor * new.mean()
    return {(number, level): factor * value + shift for number, value in scores.items()}
