"""`slices.png`: the score against each parameter, all others as they happened to be."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from pipeline.artifacts.columns import shortened
from pipeline.charts.figure import ORANGE, held, new_figure, save
from pipeline.search.charts.canvas import (
    level_colours,
    level_name,
    limits,
    say_nothing,
    score_axis,
    title,
)
from pipeline.search.importance import Ranked, rank
from pipeline.search.judged import of_level, score
from pipeline.search.labels import short_names, ticks
from pipeline.search.records import Found
from pipeline.search.space import Param

COLUMNS = 4
GOLDEN = 0.618034  # multiples of it, modulo 1, spread evenly without looking regular


def draw(path: Path, found: Found, ranked: Ranked | None = None) -> None:
    """Write a panel per parameter, the most important first; lower levels are paler."""
    known = ranked or rank(found)
    columns = min(COLUMNS, len(known.keys))
    rows = -(-len(known.keys) // columns)
    figure = new_figure(max(3.2 * columns, 6), 2.75 * rows + 0.9)
    levels = [n for n in range(found.ladder.top + 1) if of_level(found, n)]
    if not levels:
        say_nothing(figure, title(found, "no trial has a score yet"))
        return save(path, figure)
    ends = limits(found, [score(found, t, n) for n in levels for t in of_level(found, n)])
    names, params = short_names(found.space.keys), {p.key: p for p in found.space.params}
    shared = None
    for place, key in enumerate(known.keys):
        axes = figure.add_subplot(rows, columns, place + 1, sharey=shared)
        shared = shared or axes
        _draw_points(axes, found, params[key], levels, ends)
        score_axis(axes, found, ends)
        _label(axes, params[key], names[key])
        if place % columns:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
    figure.suptitle(title(found, "score by parameter"), fontsize=11)
    handles, labels = shared.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=9)
    return save(path, figure)


def _draw_points(
    axes: Axes, found: Found, param: Param, levels: list[int], ends: tuple[float, float]
) -> None:
    top, colours = max(levels), level_colours(found)
    for level in levels:
        trials = [trial for trial in of_level(found, level) if param.key in trial.config]
        x = np.array([_place(param, t.config[param.key], t.number) for t in trials])
        y, far = held([score(found, trial, level) for trial in trials], ends)
        look = {
            "color": colours[level],
            "alpha": 0.9 if level == top else 0.4,
            "markersize": 5 if level == top else 4,
            "markeredgewidth": 0,
            "zorder": 3 + level,
        }
        axes.plot(x[~far], y[~far], "o", label=level_name(found, level), **look)
        axes.plot(x[far], y[far], "v" if found.sign > 0 else "^", **look)
    best = found.best
    if best is not None and param.key in best.config:
        x = _place(param, best.config[param.key], best.number)
        y = held([score(found, best, best.reached)], ends)[0]
        axes.plot([x], y, "*", color=ORANGE, markersize=12, zorder=99, label="best")


def _place(param: Param, value: object, number: int) -> float:
    """Return where a value lies on the axis; equal ones of few lie beside each other."""
    unit = param.unit(value)
    if param.kind != "choices":
        return unit
    return unit + (number * GOLDEN % 1 - 0.5) * 0.5 / len(param.choices)


def _label(axes: Axes, param: Param, name: str) -> None:
    places, texts = ticks(param)
    axes.set_xlim(-0.03, 1.03)
    if sum(map(len, texts)) > 30:  # they would touch each other
        shown = [shortened(text, 14) for text in texts]
        axes.set_xticks(places, shown, rotation=30, ha="right", fontsize=8)
    else:
        axes.set_xticks(places, texts, fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    scale = " (logarithmic)" if param.kind in ("log", "powers_of_two") else ""
    axes.set_xlabel(shortened(name, 30) + scale, fontsize=9)
