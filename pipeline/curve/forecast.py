"""From the scores of a curve to what more data would bring, with the words for it.

Errors are what is left to the best possible score, so that a law that falls to 0 suits any metric.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from pipeline.curve.law import LEVEL, MIN_SIZES, Interval, Law, fit_law
from pipeline.curve.noise import Noise, pooled_noises, single_noise, slope

PERFECT = 1e-9  # an error that counts as none
WORTH = 0.1  # of the present error: a smaller gain is hardly worth twice the data
CAVEAT = "This continues a law beyond its points, for more rows like these"


@dataclass(frozen=True)
class Scale:
    """How scores are errors: `best` is the best possible one, `sign` +1 where greater is better."""

    name: str
    sign: int
    best: float

    def error(self, score: float | np.ndarray) -> float | np.ndarray:
        return self.sign * (self.best - score)

    def score(self, error: float | np.ndarray) -> float | np.ndarray:
        return self.best - self.sign * error

    def scores(self, errors: Interval) -> Interval:
        """Return an interval of errors as one of scores, its lower end first."""
        ends = sorted((self.score(errors.low), self.score(errors.high)))
        return Interval(float(self.score(errors.median)), float(ends[0]), float(ends[1]))


@dataclass(frozen=True, eq=False)
class Size:
    """The finished trainings of one size: mean training rows, and a score per seed (m,)."""

    rows: float
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class Forecast:
    """What the points say. `verdict`: helps, hardly, untold, worse, perfect or unfinished; there is
    a law for the first three alone."""

    verdict: str
    sentence: str
    law: Law | None = None

    def record(self, n: float, scale: Scale) -> dict[str, Any] | None:
        """Return the fit in JSON's types, in scores; None where there is none."""
        if self.law is None:
            return None
        a, b, c = self.law.best
        expected = {f"{k}n": vars(scale.scores(self.law.error(k * n))) for k in (1, 2, 4)}
        return {
            "law": f"score = best {'-' if scale.sign > 0 else '+'} (a + b n^-c)",
            "best": scale.best,
            "a": a,
            "b": b,
            "c": c,
            "level": LEVEL,
            "noise": self.law.noise,
            "expected": expected,
            "asymptote": vars(scale.scores(self.law.asymptote())),
            "gain": {f"{k}n": vars(self.law.gain(n, k * n)) for k in (2, 4)},
        }


def forecast(sizes: list[Size], scale: Scale, single: float | None, floor: float) -> Forecast:
    """Fit the law to the sizes (largest first) and judge what twice the data would bring.

    `single` is the standard error of one training's score, which counts where no size was trained
    by two seeds; `floor` the least noise to believe in.
    """
    if len(sizes) < MIN_SIZES:
        finished = counted(len(sizes), "finished size")
        return Forecast("unfinished", f"{finished}: a law needs {MIN_SIZES}")
    errors = [np.asarray(scale.error(size.scores), float) for size in sizes]
    if all((values <= PERFECT).all() for values in errors):
        return Forecast(
            "perfect",
            f"Every training has the best possible {scale.name}, {scale.best:g}: these validation "
            "rows cannot show what more data would bring",
        )
    several = any(len(values) > 1 for values in errors)
    noises = pooled_noises(errors, floor) if several else single_noise(single or 0, errors, floor)
    n = np.array([size.rows for size in sizes])
    means = np.array([values.mean() for values in errors])
    points = n, means, np.array([len(values) for values in errors])
    if all(_rises(*points, noise) for noise in noises):
        first, last = (scale.score(means[k]) for k in (-1, 0))
        return Forecast(
            "worse",
            f"More data made {scale.name} worse, from {first:.4f} with {n[-1]:,.0f} training rows "
            f"to {last:.4f} with {n[0]:,.0f}: no law is fitted to that. Look at the labels, and at "
            "whether the learning rate suits more steps",
        )
    law = fit_law(*points, noises)
    verdict = _verdict(law.gain(n[0], 2 * n[0]), law.error(n[0]))
    return Forecast(verdict, _sentence(law, n[0], scale, verdict), law)


def _rises(n: np.ndarray, error: np.ndarray, count: np.ndarray, noise: Noise) -> bool:
    """Whether the error rises with the rows by more than noise explains."""
    rise, se = slope(n, error, count, noise)
    return rise > special.stdtrit(noise.dof, (1 + LEVEL) / 2) * se


def _verdict(gain: Interval, present: Interval) -> str:
    """Judge a gain by its share of the present error. The noise of a training is no measure: what
    is lost in it was not seen, which does not make it small."""
    worth = WORTH * present.median
    if gain.low > worth:
        return "helps"
    return "hardly" if gain.high < worth else "untold"


def _sentence(law: Law, n: float, scale: Scale, verdict: str) -> str:
    now, then = (scale.scores(law.error(k * n)) for k in (1, 2))
    gain, present = law.gain(n, 2 * n), law.error(n).median
    size = f"{gain.low:.4f} to {gain.high:.4f}"
    what = f"{WORTH:.0%} of what is left to the best possible score ({WORTH * present:.4f})"
    judged = {
        "helps": f"more data would help; the gain, {size}, is above {what}",
        "hardly": f"hardly worth collecting; the gain, {size}, is below {what}",
        "untold": f"whether that is worth it cannot be told from these points; the gain, {size}, "
        f"may lie below or above {what}",
    }[verdict]
    return (
        f"Twice the data ({2 * n:,.0f} training rows instead of {n:,.0f}) would bring {scale.name} "
        f"from {now.median:.4f} to about {then.median:.4f} ({LEVEL:.0%}: {then.low:.4f} to "
        f"{then.high:.4f}): {judged}. {CAVEAT}"
    )


def counted(n: int, what: str) -> str:
    """Return a number with its noun, which gets an s unless there is one."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")
