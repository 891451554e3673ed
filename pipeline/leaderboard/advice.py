"""Which two submissions to pick in the end: one by its honest score, one that hedges.

Public scores are of few rows, so choosing by them alone overfits a little; over 120 competitions
the loss was small, but where the public part is small or of another kind it was not (Roelofs et
al., A Meta-Analysis of Overfitting in Machine Learning, NeurIPS 2019). So cross-validation picks,
and the leaderboard is asked only where the two disagree by more than noise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError
from pipeline.leaderboard.analysis import Analysis
from pipeline.leaderboard.noise import Noise
from pipeline.leaderboard.points import Point
from pipeline.metrics.ranking import Ranking
from pipeline.submission.grading import read_submission, unchanged

Distance = Callable[[Point, Point], float | None]


@dataclass(frozen=True)
class Pick:
    """A submission to pick, and why in one sentence."""

    point: Point
    reason: str


def advise(
    points: Sequence[Point],
    noise: Noise,
    analysis: Analysis | None,
    sign: int,
    distance: Distance,
) -> tuple[Pick, ...]:
    """Return the two submissions to pick, fewer where there are fewer; each file stands once among
    `points`. `sign` is 1 where a higher score is better; `distance` is the share of answers in
    which two files differ, None where that cannot be told."""
    if not points:
        return ()
    picks = _picks(points, noise, analysis, sign, distance)
    return tuple(replace(pick, reason=pick.reason + _labels(pick, points, noise)) for pick in picks)


def _labels(pick: Pick, points: Sequence[Point], noise: Noise) -> str:
    """Return the words for a pick by a score that is by other labels than those of others."""
    own = noise.labels.get(pick.point.number)
    others = [p.number for p in points if noise.labels.get(p.number, own) != own]
    if own is None or not others:
        return ""
    named = ", ".join(f"{number:03d}" for number in others[:4])
    more = f" and {len(others) - 4} more" if len(others) > 4 else ""
    return f"; by other labels than those of {named}{more}, so that they cannot be compared"


def _picks(
    points: Sequence[Point],
    noise: Noise,
    analysis: Analysis | None,
    sign: int,
    distance: Distance,
) -> tuple[Pick, ...]:
    def rank(p: Point) -> tuple[float, bool, float, int]:
        return -sign * p.cv, p.public is None, -sign * (p.public or 0.0), p.number

    order = sorted(points, key=rank)
    first = order[0]
    picks = (Pick(first, f"the best honest score, {first.cv:.4f} ± {first.se:.4f}"),)
    others = [p for p in order[1:] if p.kind != first.kind]
    others = others or order[1:]
    if not others:
        return picks
    scored = [point for point in others if point.public is not None]
    if analysis is not None and analysis.disagrees and scored:
        return (*picks, _by_public(scored, points, first, analysis, sign))
    return (*picks, _hedge(others, first, noise, sign, distance))


def _by_public(
    scored: Sequence[Point],
    points: Sequence[Point],
    first: Point,
    analysis: Analysis,
    sign: int,
) -> Pick:
    """Pick the best public score of those `scored`; words and chance are those of the table."""
    best = max(scored, key=lambda point: sign * (point.public or 0.0))
    better = [
        point
        for point in points
        if point.public is not None and sign * point.public > sign * (best.public or 0.0)
    ]
    place = "the best public score"
    if better == [first]:
        place += f" after {first.number:03d}"
    elif better:
        place += f" of another source or decision than {first.number:03d}'s"
    chance = float(analysis.band.p.min())
    return Pick(
        best,
        f"{place}, {best.public:.4f}, since cross-validation and the leaderboard disagree by more "
        f"than noise (p {chance:.4f}); its honest score is {best.cv:.4f} ± {best.se:.4f}",
    )


def _hedge(
    others: Sequence[Point], first: Point, noise: Noise, sign: int, distance: Distance
) -> Pick:
    """Pick among those that are as good as the first, within a standard error of the difference,
    the one whose answers differ most; where none is as good, the next best."""
    near = [p for p in others if sign * (first.cv - p.cv) <= _error(noise, first, p)]
    if not near:
        after = others[0]
        return Pick(
            after,
            f"the next best honest score, {after.cv:.4f} ± {after.se:.4f}; none is within a "
            f"standard error of {first.number:03d}",
        )
    apart = {point: distance(first, point) for point in near}
    told = [point for point in near if apart[point] is not None]
    best = max(told, key=lambda point: apart[point] or 0.0) if told else near[0]
    reason = "the best of those that are as good within a standard error"
    if len(near) == 1:
        reason = "the only one that is as good within a standard error"
    if told:
        share = (
            f"{100 * (apart[best] or 0.0):.1f} % of its answers differ from {first.number:03d}'s"
        )
        most = f", the most of {len(near)}" if len(near) > 1 else ""
        reason = f"as good within a standard error, and {share}{most}"
    return Pick(best, f"{reason}; its honest score is {best.cv:.4f} ± {best.se:.4f}")


def _error(noise: Noise, a: Point, b: Point) -> float:
    """Return the standard error of a difference; as of independent scores where not known."""
    paired = noise.paired_se(a, b)
    return math.hypot(a.se, b.se) if paired is None else paired


def distances(data: CompetitionData) -> Distance:
    """Return a function that reads two submissions and says in which share of answers they differ:
    of labels the share that is not the same; of probabilities half the sum of differences per row,
    of several labels their mean; where only ranks are scored, the same of ranks per class."""
    kept: dict[str, np.ndarray | None] = {}

    def answer(point: Point) -> np.ndarray | None:
        if point.entry.sha256 not in kept:
            try:
                path = unchanged(data.project.root / point.entry.file, point.entry)
                kept[point.entry.sha256] = read_submission(data, path)
            except PodiumError:  # it cannot be picked by its answers, then
                kept[point.entry.sha256] = None
        return kept[point.entry.sha256]

    def distance(a: Point, b: Point) -> float | None:
        one, other = answer(a), answer(b)
        if one is None or other is None:
            return None
        return differing(one, other, data.competition.task, isinstance(data.metric, Ranking))

    return distance


def differing(a: np.ndarray, b: np.ndarray, task: str, ranks: bool = False) -> float:
    """Return in which share two answers differ, from 0 to 1.

    Parameters
    ----------
    a, b : ndarray of shape (n,) int, or (n, c) 0/1 or float
        Class indices, labels or probabilities of the same rows.
    task : str
        'multiclass' or 'multilabel'.
    ranks : bool
        Whether only the order of the probabilities within a class matters.

    Raises
    ------
    ValueError
        Where the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"answers of shapes {a.shape} and {b.shape}")
    if not np.issubdtype(a.dtype, np.floating):
        return float((a != b).mean())
    if ranks:
        a, b = (rankdata(one, axis=0) / len(one) for one in (a, b))
        return float(np.abs(a - b).mean())
    apart = np.abs(a - b)
    return float(apart.sum(axis=1).mean() / 2 if task == "multiclass" else apart.mean())
