"""How the sampling noise of submissions hangs together: they were scored on the same rows.

Two submissions that answer nearly alike are lucky and unlucky together, so that they differ by far
less than the standard error of either. The correlation of their noise is that of their honest
scores over bootstrap resamples of the validated rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.ensemble.answers import load_answers
from pipeline.ensemble.build import open_decided
from pipeline.ensemble.members import validated_rows
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.leaderboard.points import Point
from pipeline.metrics import resample_scores
from pipeline.metrics.bootstrap import has_sums

RESAMPLES, FEWER = 1000, 200  # the second where each resample sorts all rows anew


@dataclass(frozen=True, eq=False)
class Noise:
    """Correlations (k, k) of the noise of k submissions by their numbers; NaN where not known."""

    numbers: tuple[int, ...]
    correlations: np.ndarray

    def between(self, a: int, b: int) -> float:
        """Return the correlation between two submissions by their numbers."""
        return float(self.correlations[self.numbers.index(a), self.numbers.index(b)])

    def of(self, points: Sequence[Point]) -> np.ndarray:
        """Return the correlations (k, k) of these submissions."""
        at = [self.numbers.index(point.number) for point in points]
        return self.correlations[np.ix_(at, at)]

    def paired_se(self, a: Point, b: Point) -> float | None:
        """Return the standard error of the difference of two honest scores, None if not known."""
        rho = self.between(a.number, b.number)
        if np.isnan(rho):
            return None
        return float(np.sqrt(max(a.se**2 + b.se**2 - 2 * rho * a.se * b.se, 0.0)))


def measure_noise(
    data: CompetitionData, folds: Folds, points: Sequence[Point], names: Mapping[str, str]
) -> Noise:
    """Return how the noise of submissions correlates, as far as it is known.

    `names` maps the sha256 of a file to the run or ensemble whose decision of today made it. Of two
    with the same honest answers (a run and its refit) only the first counts as known, since the
    answers to the test rows differ all the same.
    """
    answers: dict[int, np.ndarray] = {}
    for at, point in enumerate(points):
        try:
            if point.entry.sha256 not in names:
                continue
            own = load_answers(open_decided(data, folds, names[point.entry.sha256]), data, folds)
        except PodiumError:  # then it is not known
            continue
        if not any(np.array_equal(own, other) for other in answers.values()):
            answers[at] = own
    found = np.full((len(points), len(points)), np.nan)
    np.fill_diagonal(found, 1.0)
    if len(answers) > 1:
        known = list(answers)
        found[np.ix_(known, known)] = _correlations(data, folds, list(answers.values()))
    return Noise(tuple(point.number for point in points), found)


def _correlations(data: CompetitionData, folds: Folds, answers: list[np.ndarray]) -> np.ndarray:
    rows = validated_rows(folds)
    groups = None if data.train.groups is None else data.train.groups[rows]
    draws = RESAMPLES if has_sums(data.metric) else FEWER
    scores = resample_scores(data.metric, data.labels[rows], answers, groups, draws)
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    varied = scores.std(axis=1) > 0 if scores.shape[1] > 1 else np.zeros(len(answers), bool)
    found = np.full((len(answers), len(answers)), np.nan)
    if varied.sum() > 1:
        found[np.ix_(varied, varied)] = np.corrcoef(scores[varied])
    np.fill_diagonal(found, 1.0)
    return found
