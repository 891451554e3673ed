"""Which configuration to try next: at random, on a grid, quasi-random, or learnt by Optuna.

Every proposal is drawn from (seed, number of the trial), so that it depends on what was seen alone.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.errors import PodiumError
from pipeline.search.seen import Seen
from pipeline.search.space import Config, Param, Space

FEW = 3  # draws of Optuna, each of which learns anew
ATTEMPTS = 100  # draws for a configuration that was not tried yet
MOST_ON_GRID = 100_000
Draw = Callable[[int], Config | None]  # by the attempt


def propose(kind: str, space: Space, seen: Sequence[Seen], seed: int) -> Config | None:
    """Return a configuration that was not tried yet, or None where there seems to be none.

    `kind`: `random`; `grid`, in an order that the seed decides; `quasi-random`, a scrambled Sobol
    sequence; `tpe` and `gp`, Optuna's tree of Parzen estimators and Gaussian process.
    """
    plain = {"random": _random, "grid": _grid, "quasi-random": _sobol}
    draws = [(plain[kind], ATTEMPTS)] if kind in plain else [(_optuna(kind), FEW)]
    draws += [] if kind in plain else [(_random, ATTEMPTS)]  # where it insists on what was tried
    tried = {_text(one.config) for one in seen}
    for make, attempts in draws:
        draw = make(space, seen, seed)
        for attempt in range(attempts):
            config = draw(attempt)
            if config is None or _text(config) not in tried:
                return config
    return None


def check_grid(space: Space) -> None:
    """Refuse a grid that nobody can mean."""
    count = int(np.prod([len(param.points()) for param in space.params], dtype=object))
    if count > MOST_ON_GRID:
        raise PodiumError(
            f"space: a grid of {count:,} points; give fewer choices, points: 2, or another sampler"
        )


def _text(config: Config) -> str:
    return json.dumps(config, sort_keys=True)


def _random(space: Space, seen: Sequence[Seen], seed: int) -> Draw:
    def draw(attempt: int) -> Config:
        rng = np.random.default_rng([seed, len(seen), attempt])
        return space.config(rng.random(len(space.params)))

    return draw


def _grid(space: Space, seen: Sequence[Seen], seed: int) -> Draw:
    grid = space.grid()
    tried = {_text(one.config) for one in seen}
    left = np.random.default_rng(seed).permutation(len(grid)).tolist()
    found = next((grid[i] for i in left if _text(grid[i]) not in tried), None)
    return lambda attempt: found


def _sobol(space: Space, seen: Sequence[Seen], seed: int) -> Draw:
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(space.params), scramble=True, rng=np.random.default_rng(seed))
    if len(seen):
        sequence.fast_forward(len(seen))
    # A configuration that was tried is followed by the next ones of the sequence, and so are those
    # of later trials: a space of few values runs out of new ones soon enough.
    return lambda attempt: space.config(sequence.random(1)[0])


def _optuna(kind: str) -> Callable[[Space, Sequence[Seen], int], Draw]:
    return lambda space, seen, seed: _learnt(kind, space, seen, seed)


def _learnt(kind: str, space: Space, seen: Sequence[Seen], seed: int) -> Draw:
    """Let Optuna propose, from a study in memory that holds what is seen."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def draw(attempt: int) -> Config:
        own = int(np.random.SeedSequence([seed, len(seen), attempt]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if kind == "gp":
                sampler = optuna.samplers.GPSampler(seed=own)
            else:
                sampler = optuna.samplers.TPESampler(seed=own, multivariate=True, group=True)
            study = optuna.create_study(sampler=sampler)
            study.add_trials(view(space, seen))
            trial, config = study.ask(), {}
            for param in space.params:
                if param.is_active(config):
                    config[param.key] = _decoded(param, _suggested(trial, param))
        return config

    return draw


def view(space: Space, seen: Sequence[Seen]) -> list[Any]:
    """Return what is seen as Optuna's trials, with the losses of one level: the highest one that
    has more trials than there are parameters (Falkner et al. 2018, BOHB), else the fullest.

    What is in work is shown as running, so that it is not proposed again; what failed is as bad as
    the worst.
    """
    from optuna.trial import TrialState, create_trial

    counts: dict[int, int] = {}
    for one in seen:
        for level in one.losses:
            counts[level] = counts.get(level, 0) + 1
    enough = [level for level, count in counts.items() if count > len(space.params)]
    chosen = max(enough, default=max(counts, key=lambda level: counts[level], default=0))
    worst = max((one.losses[chosen] for one in seen if chosen in one.losses), default=None)
    found = []
    for one in seen:
        loss = worst if one.failed else one.losses.get(chosen)
        if loss is None and not one.in_work:
            continue
        by_key = {param.key: param for param in space.params}
        values = {key: encoded(by_key[key], value) for key, value in one.config.items()}
        state = TrialState.RUNNING if loss is None else TrialState.COMPLETE
        found.append(
            create_trial(
                state=state,
                value=loss,
                params=values,
                distributions={key: distribution(by_key[key]) for key in values},
            )
        )
    return found


def distribution(param: Param) -> Any:
    """Return Optuna's distribution of a parameter: powers of two by their exponents, choices that
    are no scalars as JSON."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    said = param.said
    if param.kind == "log":
        return FloatDistribution(*said.log, log=True)
    if param.kind == "uniform":
        return FloatDistribution(*said.uniform, step=said.step)
    if param.kind == "integer":
        (low, high), step = said.integer, int(said.step or 1)
        return IntDistribution(low, high - (high - low) % step, step=step)
    if param.kind == "powers_of_two":
        low, high = (value.bit_length() - 1 for value in said.powers_of_two)
        return IntDistribution(low, high)
    return CategoricalDistribution([encoded(param, choice) for choice in param.choices])


def encoded(param: Param, value: Any) -> Any:
    """Return a value as Optuna stores it."""
    if param.kind == "powers_of_two":
        return int(value).bit_length() - 1
    if param.kind == "choices" and isinstance(value, list | tuple | dict):
        return json.dumps(value)
    return value


def _suggested(trial: Any, param: Param) -> Any:
    """Let a trial of Optuna suggest a value, as it stores it."""
    asked = distribution(param)
    if param.kind == "choices":
        return trial.suggest_categorical(param.key, asked.choices)
    if param.kind in ("log", "uniform"):
        ends = asked.low, asked.high
        return trial.suggest_float(param.key, *ends, step=asked.step, log=asked.log)
    return trial.suggest_int(param.key, asked.low, asked.high, step=asked.step)


def _decoded(param: Param, stored: Any) -> Any:
    if param.kind == "powers_of_two":
        return 2 ** int(stored)
    if param.kind == "choices":
        return next(c for c in param.choices if encoded(param, c) == stored)
    return stored
