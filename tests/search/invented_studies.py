"""Studies with invented trials, whose scores are a known function of their parameters."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from pipeline.config.study import Study
from pipeline.search.records import Found, Trial
from pipeline.search.seen import Ladder, Level
from pipeline.search.space import Config, Space

SPACE = {
    "optimizer.lr": {"log": [1e-5, 1e-1]},
    "training.batch_size": {"powers_of_two": [8, 128]},
    "optimizer.name": {"choices": ["sgd", "adamw", "an-optimizer-with-a-very-long-name-indeed"]},
    "optimizer.momentum": {"uniform": [0.5, 0.99], "when": {"optimizer.name": "sgd"}},
    "augment.scale.0": {"uniform": [0.0, 1.0], "step": 0.25},
    "model.drop": {"choices": [0.0, 0.1, 0.5]},
    "mix.count": {"integer": [1, 9]},
}
START = datetime(2026, 5, 1, 9, tzinfo=UTC)
Score = Callable[[Config, Mapping[str, float]], float]


def flat(config: Config, units: Mapping[str, float]) -> float:
    """A score that nothing matters to."""
    return 0.5


def peaked(config: Config, units: Mapping[str, float]) -> float:
    """A score with a best learning rate in the middle, and a bad optimiser."""
    bad = config.get("optimizer.name") == "an-optimizer-with-a-very-long-name-indeed"
    return 0.9 - (units.get("optimizer.lr", 0.5) - 0.5) ** 2 - 0.2 * bad


def invent(
    count: int,
    score: Score = peaked,
    *,
    space: Mapping[str, Any] = SPACE,
    levels: int = 1,
    reach: Callable[[int], int] = lambda number: 99,
    failed: Sequence[int] = (),
    in_work: Sequence[int] = (),
    sign: int = 1,
    noise: float = 0.0,
    seed: int = 0,
    continues: bool = True,
    **study: Any,
) -> Found:
    """Return a study of random trials, each trained for a minute times its price, one by one.
    `reach`: the level that a trial goes to."""
    said = Study.model_validate({"space": space, "sampler": "random", **study})
    own, rng, luck = Space.of(said.space), *map(np.random.default_rng, (seed, seed + 1))
    names = [*(f"level-{n}" for n in range(levels - 1)), "full"]
    ladder = Ladder(
        tuple(Level(n, 2.0 ** (i + 1 - levels)) for i, n in enumerate(names)), continues
    )
    made, clock = [], START
    for number in range(count):
        config = own.config(rng.random(len(own.params)))
        units = dict(zip(own.keys, own.units(config), strict=True))
        losses, seconds, ended, last = {}, {}, {}, min(reach(number), levels - 1)
        for level in range(0 if number in (*failed, *in_work) else last + 1):
            price = ladder.price(level - 1 if level else None, level)
            clock += timedelta(seconds=60 * price)
            value = score(config, units) - 0.1 * (levels - 1 - level) + noise * luck.normal()
            losses[level], ended[level] = -value, clock
            seconds[level] = 60 * (ladder.levels[level].cost if continues else price)
        made.append(
            Trial(
                number,
                config,
                losses,
                0 if number in in_work else last,
                number in failed,
                f"study-{number:04d}",
                {level: -sign * loss for level, loss in losses.items()},
                seconds,
                ended,
                'the loss is no number,\n"nan"' if number in failed else "",
            )
        )
    return Found("invented", said, own, ladder, "f1_macro", sign, tuple(made))
