"""Which parameters decide the score: fANOVA over a study's trials, its spread, and what luck gives.

Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter Importance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.search.correlation import Correlation, correlations
from pipeline.search.judged import FEWEST, Judged, judged
from pipeline.search.records import Found
from pipeline.search.space import Param

TREES, REPEATED_TREES = 64, 12
REPEATS = 20


@dataclass(frozen=True)
class Importance:
    """Of a parameter: the share of the scores' variance that it explains by itself, averaged over
    all others, its standard error, and the largest share that luck gives to parameters that have no
    effect, in 1 of 20 cases. None: too few trials. `trials`: where it is active."""

    key: str
    trials: int
    share: float | None = None
    se: float | None = None
    luck: float | None = None


@dataclass(frozen=True, eq=False)
class Ranked:
    """The parameters of a study, the most important first; `note` says why there are no shares."""

    judged: Judged
    importances: tuple[Importance, ...]
    correlations: tuple[Correlation, ...]
    note: str

    @property
    def keys(self) -> list[str]:
        return [one.key for one in self.importances]


def rank(found: Found) -> Ranked:
    """Return importances and correlations at one level, both in the order of importance; where that
    is not known, in the order of their p-values, and of the space."""
    there = judged(found)
    shares = importances(found, there)
    linked = {one.key: one for one in correlations(found, there)}

    def place(one: Importance) -> tuple[float, float]:
        p = linked[one.key].p
        return (-1.0 if one.share is None else -one.share - 1.0, 1.0 if p is None else p)

    ordered = sorted(shares, key=place)
    known = any(one.share is not None for one in shares)
    note = "" if known else _why_none(there)
    return Ranked(there, tuple(ordered), tuple(linked[one.key] for one in ordered), note)


def _why_none(there: Judged) -> str:
    if len(there) >= FEWEST and np.ptp(there.scores) == 0:
        return "all scores are the same, so nothing explains them"
    return f"too few trials to tell what matters: {len(there)}; it takes {FEWEST}"


def importances(found: Found, there: Judged, seed: int = 0) -> list[Importance]:
    """Return the importance of every parameter, in the order of the space.

    A parameter with a condition is judged on the trials in which it is active, beside all that are
    active there too: its share is that of their variance, and only there comparable.

    The forest sees positions in the space, so that every part of a parameter's own scale (of the
    logarithm where that is searched) counts alike; Optuna's own evaluator would weigh a learning
    rate by its width in plain numbers. The standard error is that over halves of the trials (the
    delete-half jackknife: Shao and Wu 1989), and includes that of the forest.
    """
    found_by_key = {
        param.key: Importance(param.key, int(np.isfinite(there.units[:, n]).sum()))
        for n, param in enumerate(found.space.params)
    }
    for rows, own, features in _groups(there):
        scores = there.scores[rows]
        if len(scores) < FEWEST or np.ptp(scores) == 0:
            continue
        params = [found.space.params[n] for n in features]
        table = _Table(params, there.units[np.ix_(rows, features)], scores)
        shares, errors, luck = table.judge(seed)
        for n in own:
            at, key = features.index(n), found.space.params[n].key
            found_by_key[key] = Importance(key, len(scores), shares[at], errors[at], luck)
    return list(found_by_key.values())


def _groups(there: Judged) -> Iterator[tuple[np.ndarray, list[int], list[int]]]:
    """Yield, for all parameters that are active in the same trials, these trials, the parameters,
    and all that are active in each of them."""
    active = np.isfinite(there.units)
    patterns: dict[bytes, list[int]] = {}
    for n in range(active.shape[1]):
        patterns.setdefault(active[:, n].tobytes(), []).append(n)
    for own in patterns.values():
        rows = np.flatnonzero(active[:, own[0]])
        features = [n for n in range(active.shape[1]) if active[rows, n].all()]
        yield rows, own, features


@dataclass(frozen=True, eq=False)
class _Table:
    """Trials in which the same parameters are active: positions (n, d) and scores (n,)."""

    params: Sequence[Param]
    units: np.ndarray
    scores: np.ndarray

    def judge(self, seed: int) -> tuple[list[float], list[float], float]:
        """Return the shares (d,), their standard errors (d,), and what luck gives: the largest
        share of shuffled copies of the parameters beside these (Kursa and Rudnicki 2010)."""
        n, rng = len(self.scores), np.random.default_rng(seed)
        shares = self.shares(TREES, seed)
        halves, luck = [], []
        for repeat in range(REPEATS):
            rows = rng.permutation(n)[: n // 2]
            half = _Table(self.params, self.units[rows], self.scores[rows])
            halves.append(half.shares(REPEATED_TREES, repeat))
            units = np.hstack([self.units, rng.permuted(self.units, axis=0)])
            doubled = _Table([*self.params, *self.params], units, self.scores)
            luck.append(doubled.shares(REPEATED_TREES, repeat)[len(self.params) :].max())
        errors = np.std(halves, axis=0, ddof=1)
        return shares.tolist(), errors.tolist(), float(np.quantile(luck, 0.95))

    def shares(self, trees: int, seed: int) -> np.ndarray:
        """Return fANOVA's shares (d,) of these trials; 0 where all scores are the same."""
        import optuna
        from optuna.importance import FanovaImportanceEvaluator
        from optuna.trial import create_trial

        if np.ptp(self.scores) == 0:
            return np.zeros(len(self.params))
        names = [f"{n:04d}" for n in range(len(self.params))]
        kinds = dict(zip(names, map(_distribution, self.params), strict=True))
        trials = [
            create_trial(
                value=float(value),
                params={
                    name: _stored(param, unit)
                    for name, param, unit in zip(names, self.params, units, strict=True)
                },
                distributions=kinds,
            )
            for value, units in zip(self.scores, self.units, strict=True)
        ]
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study()
        study.add_trials(trials)
        found = FanovaImportanceEvaluator(n_trees=trees, seed=seed).evaluate(study)
        return np.array([float(found[name]) for name in names])


def _distribution(param: Param) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if param.is_ordered:
        return FloatDistribution(0.0, 1.0)
    return CategoricalDistribution(list(range(len(param.choices))))


def _stored(param: Param, unit: float) -> float | int:
    return float(unit) if param.is_ordered else int(unit * len(param.choices))
