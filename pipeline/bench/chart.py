"""`bench.png`: honest scores with their standard errors against milliseconds per picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.artifacts.columns import shortened
from pipeline.bench.entries import ENSEMBLE, FROZEN, SCRATCH, TUNED, UNTRAINED
from pipeline.bench.rows import Row
from pipeline.charts.figure import new_figure, save
from pipeline.charts.labels import Line, Mark, place_labels

MARKERS = {FROZEN: "s", TUNED: "o", SCRATCH: "D", ENSEMBLE: "*", UNTRAINED: "^"}
SMALLEST, LARGEST = 5.0, 12.0  # points, of the markers of the smallest and the largest pictures
COLOURS = [colour for place, colour in enumerate(colormaps["tab10"].colors) if place != 7]
OTHER = "0.55"  # the grey, which is for architectures beyond these
WIDEST_LABEL = 26
FEW = 15  # rows, up to which every label may stand far from its marker
LEAST_RANGE = 0.02  # of the scores that are shown


def draw(path: Path, rows: Sequence[Row], record: Mapping[str, Any], machine: str) -> None:
    """Write the chart of `rows`; those without a score stand as triangles on the axis of times."""
    figure = new_figure(10, 6)
    axes = figure.add_subplot()
    scored = [row for row in rows if row.honest is not None]
    others = [row for row in rows if row.honest is None]
    colours, sizes = _colours(rows), _marker_sizes(rows)
    _limits(axes, rows, scored, record["greater_is_better"])
    for row in scored:
        _draw_row(axes, row, colours, sizes[row.name])
    lines = [*_draw_front(axes, scored), *map(_error_bar, scored)]
    bottom = axes.get_ylim()[0] + 0.03 * (axes.get_ylim()[1] - axes.get_ylim()[0])
    for row in others:
        style = {"color": colours.get(row.archs, OTHER), "markersize": sizes[row.name]}
        axes.plot(row.ms_32, bottom, MARKERS[UNTRAINED], alpha=0.8, zorder=4, **style)
    _dress(axes, rows, scored, record, machine)
    _legend(axes, rows, colours, sizes)
    figure.draw_without_rendering()  # settles the layout, on which the labels' room depends
    at = {row.name: (row.ms_32, bottom if row.honest is None else row.honest) for row in rows}
    first = sorted(rows, key=lambda row: (not row.front, row.honest is not None))
    marks = [
        Mark(
            (shortened(row.name, WIDEST_LABEL),),
            *at[row.name],
            sizes[row.name] / 2,
            important=row.front or len(rows) <= FEW,
        )
        for row in first
    ]
    place_labels(axes, marks, lines)
    save(path, figure)


def _colours(rows: Sequence[Row]) -> dict[str, Any]:
    """Return a colour for each of the best and commonest architectures; ensembles are black."""
    single = [row.archs for row in rows if row.kind != ENSEMBLE]
    best = {row.archs for row in rows if row.front}
    common = sorted(set(single), key=lambda arch: (arch not in best, -single.count(arch), arch))[
        : len(COLOURS)
    ]
    return dict(zip(sorted(common), COLOURS, strict=False))


def _marker_sizes(rows: Sequence[Row]) -> dict[str, float]:
    """Return a marker's width in points per row: its area grows with the logarithm of the sides of
    the largest picture that is seen."""
    sides = {row.name: np.log(_side(row)) for row in rows}
    low, high = min(sides.values()), max(sides.values())
    if high == low:
        return dict.fromkeys(sides, (SMALLEST + LARGEST) / 2)
    shares = {name: (side - low) / (high - low) for name, side in sides.items()}
    more = LARGEST**2 - SMALLEST**2
    return {name: float(np.sqrt(SMALLEST**2 + more * share)) for name, share in shares.items()}


def _side(row: Row) -> int:
    return max(map(int, row.sizes.split("+")))


def _limits(axes: Axes, rows: Sequence[Row], scored: Sequence[Row], rising: bool) -> None:
    """Leave room for labels at every side, and for the rows without a score at the bottom."""
    times = [row.ms_32 for row in rows]
    axes.set_xscale("log")
    stretch = max(1.7, (max(times) / min(times)) ** 0.12)
    axes.set_xlim(min(times) / stretch, max(times) * stretch)
    if not scored:
        axes.set_ylim(0, 1)
        return
    ends = [(r.honest - (r.honest_se or 0), r.honest + (r.honest_se or 0)) for r in scored]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    middle, half = (low + high) / 2, max(high - low, LEAST_RANGE) / 2
    room = 0.36 if len(rows) > len(scored) else 0.16
    down, up = middle - half * (1 + 2 * room), middle + half * 1.32
    if not rising:
        down, up = middle + half * (1 + 2 * room), middle - half * 1.32
    axes.set_ylim(down, up)


def _draw_row(axes: Axes, row: Row, colours: Mapping[str, Any], size: float) -> None:
    colour = "black" if row.kind == ENSEMBLE else colours.get(row.archs, OTHER)
    axes.errorbar(
        row.ms_32,
        row.honest,
        row.honest_se or 0,
        fmt=MARKERS[row.kind],
        color=colour,
        markersize=size * (1.4 if row.kind == ENSEMBLE else 1),
        markeredgecolor="white",
        markeredgewidth=0.6,
        elinewidth=1,
        alpha=0.9 if row.front else 0.6,
        zorder=4 if row.front else 3,
    )


def _error_bar(row: Row) -> Line:
    """Return where the error bar of a row goes from and to."""
    se = row.honest_se or 0
    return (row.ms_32, row.honest - se), (row.ms_32, row.honest + se)


def _draw_front(axes: Axes, scored: Sequence[Row]) -> list[Line]:
    """Draw the front as steps: what is the best that can be had within so much time; return the
    lines that it is made of."""
    front = sorted((row for row in scored if row.front), key=lambda row: row.ms_32)
    if not front:
        return []
    x = [*(row.ms_32 for row in front), axes.get_xlim()[1]]
    y = [*(row.honest for row in front), front[-1].honest]
    axes.step(x, y, where="post", color="0.35", lw=1.2, ls="--", zorder=2)
    flat = [((a, score), (b, score)) for a, b, score in zip(x, x[1:], y, strict=False)]
    steep = [((at, a), (at, b)) for at, a, b in zip(x[1:], y, y[1:], strict=False)]
    return flat + steep


def _dress(
    axes: Axes,
    rows: Sequence[Row],
    scored: Sequence[Row],
    record: Mapping[str, Any],
    machine: str,
) -> None:
    low, high = axes.get_xlim()
    subs = (1, 2, 5) if high / low < 300 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("ms per picture, 32 at a time, one network per run, all views (logarithmic)")
    direction = "" if record["greater_is_better"] else " (lower is better, drawn upwards)"
    axes.set_ylabel(f"honest {record['metric']} ± SE{direction}")
    if not scored:
        axes.set_ylabel("no score yet")
        axes.set_yticks([])
    axes.set_title(f"{record['competition']}: accuracy against speed\n{machine}", fontsize=10)
    axes.grid(alpha=0.25)


def _legend(
    axes: Axes, rows: Sequence[Row], colours: Mapping[str, Any], sizes: Mapping[str, float]
) -> None:
    """Tell colours, markers and sizes apart, beside the chart."""
    blank = {"color": "none", "markeredgecolor": "none"}
    handles = [
        Line2D([], [], marker="o", color=colour, ls="", label=shortened(arch, WIDEST_LABEL))
        for arch, colour in colours.items()
    ]
    single = {row.archs for row in rows if row.kind != ENSEMBLE}
    if single - set(colours):
        handles.append(Line2D([], [], marker="o", color=OTHER, ls="", label="other networks"))
    handles.append(Line2D([], [], label="", **blank))
    for kind, marker in MARKERS.items():
        if any(row.kind == kind for row in rows):
            colour = "black" if kind == ENSEMBLE else "0.3"
            handles.append(Line2D([], [], marker=marker, color=colour, ls="", label=kind))
    if any(row.front for row in rows):
        handles.append(Line2D([], [], color="0.35", ls="--", lw=1.2, label="Pareto front"))
    shown = {_side(row): sizes[row.name] for row in rows}
    if len(shown) > 1:
        handles.append(Line2D([], [], label="", **blank))
        ends = sorted(shown) if len(shown) <= 4 else [min(shown), max(shown)]
        for side in ends:
            style = {"markersize": shown[side], "ls": ""}
            handles.append(Line2D([], [], marker="o", color="0.7", label=f"{side} px", **style))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
