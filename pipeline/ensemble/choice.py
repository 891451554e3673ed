"""Which chain: chosen by cross-fitted score, the simplest within one standard error of the best.

First all blends compete under one rule; then the plain mean and the blend so chosen compete under
every rule, as they are and calibrated. So a score is the best of some twenty and not of a hundred,
which keeps the winner's curse small, and `honest_score` repeats all of it out of sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.decisions import needs_calibration, rule_kinds
from pipeline.decisions.calibration import KINDS
from pipeline.ensemble.blending.blend import LEVELS, methods
from pipeline.ensemble.chain import Candidate
from pipeline.ensemble.cross_fit import CrossFit
from pipeline.ensemble.rows import Rows
from pipeline.errors import PodiumError, nearest
from pipeline.metrics import CustomMetric, Metric, resample_scores
from pipeline.metrics.ranking import Ranking
from pipeline.metrics.rows import row_log_loss

RESAMPLES = 200  # of the paired bootstrap that a choice rests on
CUSTOM_RESAMPLES = 50  # the same for a custom metric, which is called once per resample


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen candidate, its cross-fitted answers and probabilities of the rows, and the
    cross-fitted score and gain over the simplest of every candidate."""

    chosen: Candidate
    answer: np.ndarray
    probs: np.ndarray
    table: list[dict[str, Any]]


@dataclass(frozen=True)
class Menu:
    """The blends, kinds of rule and calibrations that compete; all that suit the metric where none
    is named."""

    blends: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    calibrations: tuple[str, ...] = ()

    def suiting(self, metric: Metric, members: int) -> "Menu":
        """Return what there is to choose from for a metric and a number of members."""
        blends, kinds = methods(metric, members), calibrations(metric)
        asked = [name for name in self.blends if members > 1 or name not in LEVELS]
        return Menu(
            _among("BLEND", asked, blends, metric),
            _among("RULE", self.rules, rule_kinds(metric), metric),
            _among("CALIBRATION", self.calibrations, kinds, metric),
        )


def _among(
    variable: str, asked: Sequence[str], known: tuple[str, ...], metric: Metric
) -> tuple[str, ...]:
    """Return what was asked for, in the order of what is known; all of that where nothing was."""
    for name in asked:
        if name not in known:
            hint = nearest(name, known) or f"; there are {', '.join(known)}"
            raise PodiumError(f"{variable}: {name!r} does not suit {metric.name} here{hint}")
    return tuple(name for name in known if name in asked) or known


ANY = Menu()


def choose(
    metric: Metric, rows: Rows, seed: int, *, menu: Menu = ANY, parts: int | None = None
) -> Choice:
    """Choose blend, calibration and rule for `rows`, cross-fitted over at most `parts` parts.

    The plain mean under the rule that needs no fitting is scored for comparison whatever the menu.
    """
    rows, menu = rows.with_parts(seed, parts), menu.suiting(metric, len(rows.stack))
    fits, simplest = CrossFit(metric, rows), Candidate("mean", rule_kinds(metric)[0])
    common = "global" if "global" in menu.rules else menu.rules[0]
    scored, blends = _Scores(fits, seed), []
    scored.add([simplest])
    for name in tqdm(menu.blends, "blends", disable=None, leave=False):
        calibration = "none"
        if needs_calibration(common):
            calibration = _calibration(fits, name, menu.calibrations)
        blends.append(Candidate(name, common, calibration))
        scored.add(blends[-1:])
    finalists = list(dict.fromkeys((menu.blends[0], scored.chosen(blends).blend)))
    for blend in finalists:
        calibration = _calibration(fits, blend, menu.calibrations)
        scored.add(_variants(metric, blend, menu.rules, calibration))
    allowed = replace(menu, blends=tuple(finalists))
    chosen = scored.chosen([name for name in scored.scores if _allows(allowed, name)])
    fits.add([chosen])
    probs = fits.probs(chosen.blend, chosen.calibration)
    return Choice(chosen, fits.taken()[chosen], probs, scored.table())


def _allows(menu: Menu, name: Candidate) -> bool:
    """Whether a candidate is on the menu; uncalibrated is what all else is measured by."""
    calibrated = name.calibration in ("none", *menu.calibrations)
    return name.blend in menu.blends and name.rule in menu.rules and calibrated


def calibrations(metric: Metric) -> tuple[str, ...]:
    """Return the calibrations that suit a metric: none where only the order of rows counts."""
    if isinstance(metric, Ranking):
        return KINDS[:1]
    if metric.task == "multiclass" and metric.needs == "labels":
        return KINDS[:2]  # one factor per class would be a rule beside the rule
    return KINDS


def _calibration(fits: CrossFit, blend: str, kinds: tuple[str, ...]) -> str:
    """Return the calibration of `blend` by cross-fitted log loss: the simplest within a standard
    error of the best."""
    metric, rows = fits.metric, fits.rows
    if len(kinds) == 1:
        return kinds[0]
    losses = [row_log_loss(metric.task, rows.labels, fits.probs(blend, kind)) for kind in kinds]
    seen = ~rows.without
    units = rows.keys[seen]
    gains = [_grouped(losses[0][seen] - loss[seen], units) for loss in losses]
    means = np.array([gain.mean() for gain in gains])
    best = int(np.argmax(means))
    for kind, gain in zip(kinds, gains, strict=True):
        short = gains[best] - gain
        if short.mean() <= short.std() / len(short) ** 0.5:
            return kind
    return kinds[best]


def _grouped(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the sums of `values` by unit, scaled so that their mean is the mean of the rows."""
    _, which = np.unique(units, return_inverse=True)
    sums = np.bincount(which.ravel(), values)
    return sums * (len(sums) / len(values))


def _variants(
    metric: Metric, blend: str, kinds: tuple[str, ...], calibration: str
) -> list[Candidate]:
    """Return the candidates that compete for one blend."""
    found = []
    for kind in kinds:
        plain = metric.task == "multilabel" or metric.needs == "probs"
        if plain and not needs_calibration(kind):
            found.append(Candidate(blend, kind))
        # Of several classes: the same answer as uncalibrated, but surer of itself.
        found.append(Candidate(blend, kind, calibration))
    return list(dict.fromkeys(found))


class _Scores:
    """Candidates' scores, higher is better, and those of the same resamples for each of them.

    Answers are let go once they are scored: of a million rows and a hundred classes one is enough.
    """

    def __init__(self, fits: CrossFit, seed: int) -> None:
        self.fits, self.seed = fits, seed
        self.scores: dict[Candidate, float] = {}
        self.drawn: dict[Candidate, np.ndarray] = {}

    def add(self, candidates: Sequence[Candidate]) -> None:
        """Score candidates of one blend, but for those that are scored."""
        metric, rows = self.fits.metric, self.fits.rows
        self.fits.add([name for name in candidates if name not in self.scores])
        new = self.fits.taken()
        if not new:
            return
        resamples = CUSTOM_RESAMPLES if isinstance(metric, CustomMetric) else RESAMPLES
        pooled = list(new.values())
        drawn = resample_scores(metric, rows.labels, pooled, rows.units, resamples, self.seed)
        for name, answer, values in zip(new, pooled, drawn, strict=True):
            self.scores[name] = metric.sign * metric.score(rows.labels, answer)
            self.drawn[name] = metric.sign * values

    def chosen(self, among: list[Candidate]) -> Candidate:
        """Return the simplest whose shortfall from the best is within its standard error."""
        best = max(among, key=self.scores.__getitem__)
        within = [
            name
            for name in among
            if self.scores[best] - self.scores[name]
            <= np.nanstd(self.drawn[best] - self.drawn[name])
        ]
        return min(within, key=self._order)

    def _order(self, name: Candidate) -> tuple[Any, ...]:
        """The simpler first; of equals the higher score, then the calibrated, then the first."""
        return name.level, -self.scores[name], name.calibration == "none"

    def table(self) -> list[dict[str, Any]]:
        """Return every candidate's score, and its gain over the first with its standard error."""
        first = next(iter(self.scores))
        return [
            {
                "blend": name.blend,
                "calibration": name.calibration,
                "rule": name.rule,
                "honest": self.fits.metric.sign * score,
                "gain": score - self.scores[first],
                "gain_se": float(np.nanstd(self.drawn[name] - self.drawn[first])),
            }
            for name, score in self.scores.items()
        ]
