"""How the sampling noise of submissions hangs together: they were scored on the same rows.

Two submissions that answer nearly alike are lucky and unlucky together, so that they differ by far
less than the standard error of either. The correlation of their noise is that of their honest
scores over bootstrap resamples of the validated rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.ensemble.answers import load_answers
from pipeline.ensemble.build import open_decided
from pipeline.ensemble.members import read_record, validated_rows
from pipeline.errors import PodiumError
from pipeline.folds import Folds
from pipeline.leaderboard.points import Point
from pipeline.metrics import resample_scores
from pipeline.metrics.bootstrap import has_sums

RESAMPLES, FEWER = 1000, 200  # the second where each resample sorts all rows anew


@dataclass(frozen=True, eq=False)
class Noise:
    """Correlations (k, k) of the noise of k submissions by their numbers; NaN where not known.
    `labels` maps numbers to the hash of the labels that the honest score is by, where known."""

    numbers: tuple[int, ...]
    correlations: np.ndarray
    labels: Mapping[int, str] = field(default_factory=dict)

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

    `names` maps the sha256 of a file to the run or ensemble whose decision of today made it; a run
    on the labels before corrections is opened by these. Of two with the same honest answers (a run
    and its refit) only the first counts as known, since the answers to the test rows differ all the
    same.
    """
    answers: dict[int, np.ndarray] = {}
    labels: dict[int, str] = {}
    for at, point in enumerate(points):
        try:
            labels |= _labels_of(data, point, names)
            own = _competition_of(data, labels.get(point.number))
            if own is None:
                continue
            decided = open_decided(own, folds, names.get(point.entry.sha256, point.entry.source))
            if own is not data and decided.record["honest"] != point.cv:
                del labels[point.number]  # it was made anew since
                continue
            answer = load_answers(decided, own, folds)
        except PodiumError:  # then it is not known
            continue
        if not any(np.array_equal(answer, other) for other in answers.values()):
            answers[at] = answer
    found = np.full((len(points), len(points)), np.nan)
    np.fill_diagonal(found, 1.0)
    if len(answers) > 1:
        known = list(answers)
        found[np.ix_(known, known)] = _correlations(data, folds, list(answers.values()))
    return Noise(tuple(point.number for point in points), found, labels)


def _labels_of(data: CompetitionData, point: Point, names: Mapping[str, str]) -> dict[int, str]:
    """Return the number of a submission with the hash of the labels that its run was trained on;
    empty where that cannot be told."""
    if point.entry.sha256 in names:
        return {point.number: data.hash}
    found = read_record(data, point.entry.source)["data_hash"]
    return {} if found == data.hash else {point.number: found}  # of an earlier decision


def _competition_of(data: CompetitionData, labels: str | None) -> CompetitionData | None:
    """Return the competition with these labels: the present ones, or those before corrections."""
    there = (data, data.uncorrected)
    return next((one for one in there if one.hash == labels), None)


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
