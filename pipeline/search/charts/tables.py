"""`trials.csv`, a line per trial, and `correlations.csv`, a line per parameter."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import write_text
from pipeline.search.importance import Ranked, rank
from pipeline.search.records import Found, Trial
from pipeline.search.spending import trial_seconds

TRIAL = ("number", "run", "state", "level", "loss", "score", "seconds", "error")
CORRELATION = (
    *("parameter", "level", "kind", "trials", "value", "low", "high", "p", "p_holm"),
    *("importance", "importance_se", "importance_by_luck"),
)


def write_trials(path: Path, found: Found) -> None:
    """Write what every trial came to at the highest level it reached, and its configuration; a
    parameter that is not active is blank."""
    lines = [[*_said(found, trial), *_values(found, trial)] for trial in found.trials]
    _write(path, [*TRIAL, *found.space.keys], lines)


def write_correlations(path: Path, found: Found, ranked: Ranked | None = None) -> None:
    """Write correlations and importances of all parameters, in the order of importance."""
    known = ranked or rank(found)
    level = found.ladder.levels[known.judged.level].name
    lines = [
        [
            *(link.key, level, link.kind, link.trials),
            *map(_number, (link.value, link.low, link.high, link.p, link.p_holm)),
            *map(_number, (one.share, one.se, one.luck)),
        ]
        for one, link in zip(known.importances, known.correlations, strict=True)
    ]
    _write(path, CORRELATION, lines)


def _said(found: Found, trial: Trial) -> list[Any]:
    state = "failed" if trial.failed else "in work" if trial.in_work else "done"
    error = " ".join(trial.error.split())
    if trial.reached is None:
        return [trial.number, trial.run, state, "", "", "", "", error]
    level = trial.reached
    numbers = map(_number, (trial.losses[level], trial.scores.get(level)))
    seconds = f"{trial_seconds(found, trial):.1f}"
    return [
        trial.number,
        trial.run,
        state,
        found.ladder.levels[level].name,
        *numbers,
        seconds,
        error,
    ]


def _values(found: Found, trial: Trial) -> Iterable[Any]:
    for key in found.space.keys:
        value = trial.config.get(key, "")
        scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
        yield value if scalar else json.dumps(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _write(path: Path, headers: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(lines)
    write_text(path, text.getvalue())
