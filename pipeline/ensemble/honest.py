"""The honest score: the whole procedure, choice included, on rows that it has not seen.

For each part of the rows, everything is chosen and fitted on the rows outside it: no row is scored
by anything that was fitted or chosen with its label.
"""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from pipeline.ensemble.chain import fit_chain
from pipeline.ensemble.choice import ANY, Menu, choose
from pipeline.ensemble.cross_fit import empty_answer
from pipeline.ensemble.rows import PARTS, Rows
from pipeline.errors import PodiumError
from pipeline.metrics import Metric, resample_scores

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Honest:
    """The honest score, its standard error and 95 % interval over resamples of groups, the pooled
    answer that was scored, and what each part's outsiders chose."""

    score: float
    se: float
    interval: tuple[float, float]
    answer: np.ndarray
    chosen: dict[str, str]


def honest_score(metric: Metric, rows: Rows, seed: int, menu: Menu = ANY) -> Honest:
    """Score the whole procedure, choice included, on rows outside of what it was fitted on."""
    rows = rows.with_parts(seed)
    pooled: np.ndarray | None = None
    chosen: dict[str, str] = {}
    for part in tqdm(np.unique(rows.part), "honest score", disable=None, leave=False):
        inside = rows.part == part
        outside, unseen = rows.take(~inside), rows.take(inside)
        choice = choose(metric, outside, seed + 1, menu=menu, parts=PARTS).chosen
        chain = fit_chain(choice, metric, outside)
        answer = chain.answer(chain.probs(unseen.stack), unseen.without)
        if pooled is None:
            pooled = empty_answer(len(rows), answer)
        pooled[inside] = answer
        chosen[str(part)] = str(choice)
    if pooled is None:
        raise PodiumError("honest score: there are no out-of-fold rows; train a fold first")
    score = metric.score(rows.labels, pooled)
    drawn = resample_scores(metric, rows.labels, [pooled], rows.units, RESAMPLES, seed)[0]
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Honest(score, float(drawn.std(ddof=1)), (float(low), float(high)), pooled, chosen)
