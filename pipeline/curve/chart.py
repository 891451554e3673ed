"""`curve.png`: the points, the law with its band up to four times the rows, the value at twice."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from pipeline.charts.figure import BLUE, ORANGE, new_figure, save
from pipeline.curve.forecast import Scale, Size
from pipeline.curve.law import LEVEL, Law

BEYOND = 4  # times the rows that the band goes to
POINTS, LAW = BLUE, ORANGE


def draw(path: Path, title: str, sizes: list[Size], scale: Scale, law: Law | None) -> None:
    """Write the chart of the sizes, largest first, with the law where there is one."""
    figure = new_figure(7.2, 4.5)
    axes = figure.add_subplot()
    _draw_points(axes, sizes)
    rows = [size.rows for size in sizes]
    if law is not None:
        _draw_law(axes, law, scale, min(rows), max(rows))
        rows = [*rows, 2 * max(rows), BEYOND * max(rows)]
    axes.set_xscale("log")
    axes.set_xticks(sorted(rows))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("training rows (logarithmic)")
    axes.set_ylabel(scale.name)
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=9)
    save(path, figure)


def _draw_points(axes: Axes, sizes: list[Size]) -> None:
    x = np.concatenate([np.full(len(size.scores), size.rows) for size in sizes])
    y = np.concatenate([size.scores for size in sizes])
    axes.plot(x, y, "o", color=POINTS, alpha=0.45, markersize=5, label="one training")
    means = [size.scores.mean() for size in sizes]
    rows = [size.rows for size in sizes]
    axes.plot(rows, means, "D", color=POINTS, markersize=6, label="mean over seeds", zorder=4)


def _draw_law(axes: Axes, law: Law, scale: Scale, least: float, most: float) -> None:
    x = np.geomspace(least, BEYOND * most, 120)
    found = [scale.scores(law.error(n)) for n in x]
    low, middle, high = (
        np.array([getattr(v, k) for v in found]) for k in ("low", "median", "high")
    )
    inside = x <= most
    axes.fill_between(x, low, high, color=LAW, alpha=0.18, lw=0, label=f"{LEVEL:.0%} band")
    axes.plot(x[inside], middle[inside], color=LAW, label="fitted law")
    axes.plot(x[~inside], middle[~inside], "--", color=LAW, label="continued")
    twice = scale.scores(law.error(2 * most))
    bars = [[twice.median - twice.low], [twice.high - twice.median]]
    axes.errorbar([2 * most], [twice.median], bars, fmt="s", color=LAW, capsize=4, zorder=5)
    axes.annotate(
        f"twice the data: {twice.median:.4f}",
        (2 * most, twice.median),
        xytext=(0, -26 if scale.sign > 0 else 22),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        color=LAW,
    )
