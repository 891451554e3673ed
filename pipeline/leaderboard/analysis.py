"""Cross-validation against the leaderboard: what agrees, what noise explains, what is odd."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.competition import CompetitionData
from pipeline.errors import PodiumError
from pipeline.leaderboard.band import FEWEST, LEVEL, Band, band
from pipeline.leaderboard.correlation import Correlation, pearson, spearman
from pipeline.leaderboard.noise import Noise
from pipeline.leaderboard.points import Point
from pipeline.submission.grading import public_rows
from pipeline.submission.ranges import score_range

FEWEST_WRONG = 10  # rows answered wrong, below which bands are too narrow


@dataclass(frozen=True, eq=False)
class Size:
    """How many validated rows the honest scores are of, and how many the public ones; `known` is
    False where the second is only an upper bound, `why` says where it comes from."""

    cv: int
    public: int
    known: bool
    why: str


@dataclass(frozen=True, eq=False)
class Analysis:
    """The k submissions with a public score against their honest ones; `errors` (k,) are the
    standard errors of public minus honest, `paired` how many have correlations that are known."""

    points: tuple[Point, ...]
    size: Size
    errors: np.ndarray
    paired: int
    band: Band
    pearson: Correlation | None
    spearman: Correlation | None
    private: tuple[Correlation | None, Correlation | None]  # ranks: honest, and public, with it
    wrong: float | None = None  # rows answered wrong on the smaller part; None where not countable

    @property
    def few_wrong(self) -> bool:
        """Whether so few rows are wrong that their noise is not normal, so that a band would call
        submissions odd that are not."""
        return self.wrong is not None and self.wrong < FEWEST_WRONG

    @property
    def outliers(self) -> tuple[Point, ...]:
        """Submissions outside their band; none where the size of the public part is not known, or
        few rows are wrong."""
        if not self.size.known or self.few_wrong:
            return ()
        pairs = zip(self.points, self.band.outside, strict=True)
        return tuple(point for point, out in pairs if out)

    @property
    def disagrees(self) -> bool:
        """Whether leaderboard and cross-validation disagree by more than noise: one test, that of
        outliers, since a second one would raise the chance to be wrong."""
        return bool(self.outliers)

    @property
    def scattered(self) -> bool:
        """Whether all submissions together differ by more than noise, of which nothing follows."""
        told = self.size.known and len(self.points) >= FEWEST and not self.few_wrong
        return told and self.band.spread_p < 1 - LEVEL


def public_size(data: CompetitionData, cv_rows: int) -> Size:
    """Return the sizes of both parts: as the YAML says, else as local answers do, else the whole
    test set, which the public part is not larger than."""
    competition, test = data.competition, len(data.test)
    if competition.public_rows is not None:
        if competition.public_rows > test:
            raise PodiumError(
                f"{data.yaml}: public_rows is {competition.public_rows}, but there are {test} test "
                "rows; mend it"
            )
        return Size(cv_rows, competition.public_rows, True, "public_rows")
    if competition.public_share is not None:
        rows = max(1, round(competition.public_share * test))
        return Size(cv_rows, rows, True, "public_share")
    try:
        rows = public_rows(data)
    except PodiumError:  # there are no answers, or faulty ones; make score says which
        rows = 0
    return Size(cv_rows, rows or test, rows > 0, "the answers" if rows else "not known")


def analyse(points: Sequence[Point], noise: Noise, size: Size, metric: str = "") -> Analysis | None:
    """Return what the submissions with a public score and an error above 0 tell; None where there
    is none. Of a `metric` whose best score is 1, what is missing to that counts as rows answered
    wrong.

    The noise of a public score is that of the honest one, scaled to fewer rows: its variance is
    se^2 * cv rows / public rows. Both are of different rows, so their variances add up.
    """
    scored = tuple(point for point in points if point.public is not None and point.se > 0)
    if not scored:
        return None
    cv = np.array([point.cv for point in scored])
    public = np.array([point.public for point in scored], float)
    errors = np.array([point.se for point in scored]) * np.sqrt(1 + size.cv / size.public)
    correlations = noise.of(scored)
    paired = int((np.isfinite(correlations).sum(axis=1) > 1).sum())
    found = band(public - cv, errors, correlations)
    ended = [point for point in scored if point.private is not None]
    private = tuple(
        spearman(
            np.array([getattr(p, column) for p in ended]), np.array([p.private for p in ended])
        )
        for column in ("cv", "public")
    )
    both = pearson(cv, public), spearman(cv, public)
    share = 1 - float(np.median(cv))
    wrong = min(size.cv, size.public) * share if score_range(metric)[1] == 1 else None
    return Analysis(scored, size, errors, paired, found, *both, private, wrong)
