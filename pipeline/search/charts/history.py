"""`history.png`: the best score so far against what was spent, and what each new best has cost."""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.charts.figure import ORANGE, held, new_figure, save
from pipeline.search.charts.canvas import (
    level_colours,
    level_name,
    limits,
    say_nothing,
    score_axis,
    title,
)
from pipeline.search.judged import score
from pipeline.search.labels import value_text
from pipeline.search.records import Found, best_of
from pipeline.search.spending import POINT, Paid, paid


def draw(path: Path, found: Found) -> None:
    """Write the scores of all steps, by level, with the best so far at each level; below, whole
    trainings per .01 of the metric between each best of the highest level and the next."""
    steps = [step for step in paid(found) if np.isfinite(step.trial.losses[step.level])]
    if not steps:
        figure = new_figure(8.5, 3.2)
        say_nothing(figure, title(found, "no trial has a score yet"))
        return save(path, figure)
    top = max(step.level for step in steps)
    records = _records(found, [step for step in steps if step.level == top])
    costs = _costs(found, records)
    figure = new_figure(8.5, 6.4 if costs else 4.8)
    grid = figure.add_gridspec(2 if costs else 1, 1, height_ratios=[2.6, 1] if costs else [1])
    axes = figure.add_subplot(grid[0])
    _draw_scores(axes, found, steps, top)
    if costs:
        lower = figure.add_subplot(grid[1], sharex=axes)
        _draw_costs(lower, costs, level_name(found, top))
        axes.tick_params(labelbottom=False)
        axes = lower
    axes.set_xlabel("spent, in whole trainings")
    axes.set_xlim(0, steps[-1].total * 1.03)
    return save(path, figure)


def _draw_scores(axes: Axes, found: Found, steps: list[Paid], top: int) -> None:
    scores = [score(found, step.trial, step.level) for step in steps]
    ends = limits(found, scores)
    colours, end = level_colours(found), steps[-1].total
    for level in sorted({step.level for step in steps}):
        own = [step for step in steps if step.level == level]
        x = np.array([step.total for step in own])
        y, far = held([score(found, step.trial, level) for step in own], ends)
        look = {"color": colours[level], "markeredgewidth": 0, "alpha": 0.75, "zorder": 3}
        axes.plot(x[~far], y[~far], "o", markersize=5, label=level_name(found, level), **look)
        axes.plot(x[far], y[far], "v" if found.sign > 0 else "^", markersize=5, **look)
        best = _records(found, own)
        x = [*(step.total for step in best), end]
        y = [score(found, step.trial, level) for step in best]
        bold = {"lw": 2.2, "alpha": 1} if level == top else {"lw": 1.1, "alpha": 0.8}
        axes.step(x, [*y, y[-1]], where="post", color=colours[level], **bold)
    first = best_of([step.trial for step in steps])  # of equal ones that which the table has, too
    at = next(step for step in steps if step.trial == first and step.level == top)
    shown = score(found, first, top)
    axes.plot([at.total], [shown], "*", color=ORANGE, markersize=13, zorder=9)
    words = f"best score so far, {shown:.4f} of trial {first.number}"
    axes.set_title(title(found, words), fontsize=11)
    score_axis(axes, found, ends)
    axes.legend(loc="lower right" if found.sign > 0 else "upper right", fontsize=9)


def _records(found: Found, steps: list[Paid]) -> list[Paid]:
    """Return the steps of one level that were better than all before."""
    best: list[Paid] = []
    for step in steps:
        loss = step.trial.losses[step.level]
        if not best or loss < best[-1].trial.losses[step.level]:
            best.append(step)
    return best


def _costs(found: Found, records: list[Paid]) -> list[tuple[float, float, float]]:
    """Return (from, to, whole trainings per .01) between each best and the next."""
    found_costs = []
    for before, after in itertools.pairwise(records):
        better = before.trial.losses[before.level] - after.trial.losses[after.level]
        cost = after.total - before.total
        found_costs.append((before.total, after.total, cost / (better / POINT)))
    return found_costs


def _draw_costs(axes: Axes, costs: list[tuple[float, float, float]], name: str) -> None:
    for start, end, cost in costs:
        axes.plot([start, end], [cost, cost], color=ORANGE, lw=3, solid_capstyle="butt")
    axes.set_yscale("log")
    axes.set_ylim(min(cost for *_, cost in costs) / 2, max(cost for *_, cost in costs) * 2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: value_text(float(value))))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.set_ylabel(f"trainings per .01\nuntil the next best\n({name})", fontsize=9)
    axes.grid(alpha=0.3)
