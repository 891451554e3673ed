"""How often does `make leaderboard` call a submission odd where there is nothing but noise?

    .venv/bin/python -m benchmarks.leaderboard                  # 2,000 leaderboards a case
    .venv/bin/python -m benchmarks.leaderboard --boards 200

Every leaderboard is of submissions that are as good on the public rows as on the honest ones, each
row right or wrong, with a difficulty that submissions share. Printed is how many submissions lie in
their band (nominally 95 %), on how many leaderboards one is named an outlier by the band (5 %), and
on how many it would be named by `make leaderboard`, which is silent where few rows are wrong; where
the correlations of noise are not known, these are held to be 0.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.leaderboard.analysis import Analysis, Size, analyse
from pipeline.leaderboard.band import LEVEL
from pipeline.leaderboard.noise import Noise
from pipeline.leaderboard.points import Point
from pipeline.submission import Entry

SHARED = 0.7  # of the variance of a row, what is the same for all submissions
SPREAD = 0.15  # of the skills, in standard deviations of a row


@dataclass(frozen=True)
class Case:
    """How many submissions of which accuracy, on how many rows."""

    submissions: int
    honest: int
    public: int
    accuracy: float
    known: bool = True


CASES = (
    Case(8, 800, 250, 0.85),
    Case(5, 800, 250, 0.85),
    Case(8, 800, 250, 0.85, known=False),
    Case(8, 800, 250, 0.95),
    Case(8, 1257, 162, 0.85),
    Case(8, 1257, 162, 0.93),
    Case(8, 1257, 162, 0.95),
    Case(8, 1257, 162, 0.97),
    Case(8, 1257, 162, 0.99),
    Case(8, 1257, 1500, 0.99),
)


def simulated(rng: np.random.Generator, case: Case) -> Analysis | None:
    """Return what is found of one leaderboard; None where a submission has no wrong row."""
    k, rows = case.submissions, case.honest + case.public
    skill = stats.norm.ppf(case.accuracy) + rng.uniform(-SPREAD, SPREAD, k)
    noise = np.sqrt(SHARED) * rng.standard_normal((rows, 1))
    noise = noise + np.sqrt(1 - SHARED) * rng.standard_normal((rows, k))
    right = skill + noise > 0
    cv, public = right[: case.honest].mean(axis=0), right[case.honest :].mean(axis=0)
    if (cv == 1).any():
        return None
    errors = np.sqrt(cv * (1 - cv) / case.honest)
    together = np.corrcoef(right[: case.honest].T)
    if not case.known:
        together = np.where(np.eye(k) == 1, 1.0, np.nan)
    points = [
        Point(Entry(n, "t", "f", f"{n}", "s"), *map(float, scores), None)
        for n, scores in enumerate(zip(cv, errors, public, strict=True), 1)
    ]
    size = Size(case.honest, case.public, True, "")
    return analyse(points, Noise(tuple(range(1, k + 1)), together), size, "accuracy")


def rates(case: Case, boards: int, seed: int = 0) -> tuple[float, float, float]:
    """Return which share of submissions lies in its band, and on which share of leaderboards an
    outlier is outside of all bands, and is named."""
    rng = np.random.default_rng(seed)
    found = [one for one in (simulated(rng, case) for _ in range(boards)) if one is not None]
    inside = [(np.abs(one.band.residuals) <= one.band.halves).mean() for one in found]
    outside = [(one.band.p < 1 - LEVEL).any() for one in found]
    return (
        float(np.mean(inside)),
        float(np.mean(outside)),
        float(np.mean([one.disagrees for one in found])),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--boards", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| submissions | honest rows | public rows | accuracy | wrong public rows "
          "| in the band | outside | named |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for case in CASES:
        inside, outside, named = rates(case, asked.boards, asked.seed)
        known = "" if case.known else ", correlations not known"
        print(
            f"| {case.submissions}{known} | {case.honest:,} | {case.public:,} | {case.accuracy} "
            f"| {case.public * (1 - case.accuracy):.1f} | {100 * inside:.1f} % "
            f"| {100 * outside:.1f} % | {100 * named:.1f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
