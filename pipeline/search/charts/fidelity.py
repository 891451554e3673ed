"""`fidelity.png`: which trial was trained how far, and when; which levels the budget went to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.charts.figure import GREY, ORANGE, new_figure, save
from pipeline.search.charts.canvas import level_colours, level_name, say_nothing, title
from pipeline.search.records import Found
from pipeline.search.spending import Paid, paid

UNITS = ((7200.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
TALLEST = 11.0  # inches
MARKS = {"best": ("*", ORANGE, 12), "failed": ("x", ORANGE, 5), "in work": (">", GREY, 5)}


@dataclass(frozen=True)
class Bar:
    """A step in seconds of work since the first began; pauses of everybody are left out."""

    paid: Paid
    start: float
    end: float


def draw(path: Path, found: Found) -> None:
    """Write a lane per trial with a bar per level, and the shares of what was spent."""
    bars = placed(paid(found))
    if not bars:
        figure = new_figure(8.5, 3.2)
        say_nothing(figure, title(found, "no trial has a score yet"))
        return save(path, figure)
    lanes = 1 + max(trial.number for trial in found.trials)
    height = min(max(0.075 * lanes, 1.6), TALLEST - 2.6)
    several = found.ladder.top > 0
    figure = new_figure(8.5, height + (2.6 if several else 1.2))
    ratios = [height, 1.5] if several else [height]
    upper, *lower = figure.subplots(len(ratios), sharex=True, squeeze=False, height_ratios=ratios)[
        :, 0
    ]
    longest = max(bar.end for bar in bars)
    unit, name = next((unit, name) for least, unit, name in UNITS if longest > least)
    _draw_lanes(upper, found, bars, unit, lanes)
    if several:
        _draw_shares(lower[0], found, bars, unit)
    upper.set_title(title(found, "how far, and when"), fontsize=11)
    last = [upper, *lower][-1]
    last.set_xlabel(f"{name} of work (pauses left out)")
    last.set_xlim(0, longest / unit * 1.01)
    handles = [Patch(color=c, label=level_name(found, n)) for n, c in _used(found, bars)]
    handles += [
        Line2D([], [], color=colour, marker=mark, ls="", markersize=size, label=label)
        for label, (mark, colour, size) in MARKS.items()
        if any(label == one for one, _, _ in _marks(found, bars))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=9)
    return save(path, figure)


def placed(steps: Sequence[Paid]) -> list[Bar]:
    """Return when each step was worked on. Several levels of a trial that ended together were
    trained one after the other; time in which nobody worked does not count."""
    spans: list[tuple[Paid, float, float]] = []
    follows: dict[int, float] = {}
    zero = steps[0].trial.ended[steps[0].level] if steps else None
    for step in sorted(steps, key=lambda one: -one.level):
        end = _since(zero, step.trial.ended[step.level])
        end = min(end, follows.get(step.trial.number, end))
        start = end - step.seconds
        follows[step.trial.number] = start
        spans.append((step, start, end))
    idle = _idle(sorted((start, end) for _, start, end in spans))
    found = [
        Bar(step, start - _before(idle, start), end - _before(idle, end))
        for step, start, end in spans
    ]
    return sorted(found, key=lambda bar: (bar.end, bar.paid.trial.number, bar.paid.level))


def _since(zero: datetime, moment: datetime) -> float:
    return (moment - zero).total_seconds()


def _idle(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the gaps in which nobody worked, the time before the first among them."""
    gaps, until = [], None
    for start, end in spans:
        if until is None or start > until:
            gaps.append((-np.inf if until is None else until, start))
        until = end if until is None else max(until, end)
    return gaps


def _before(idle: list[tuple[float, float]], moment: float) -> float:
    """Return how much of a time is no work: all until the first begins, and the later gaps."""
    first = idle[0][1]
    return first + sum(gap_end - start for start, gap_end in idle[1:] if gap_end <= moment)


def _used(found: Found, bars: list[Bar]) -> list[tuple[int, tuple]]:
    levels = {bar.paid.level for bar in bars}
    return [(n, colour) for n, colour in enumerate(level_colours(found)) if n in levels]


def _draw_lanes(axes: Axes, found: Found, bars: list[Bar], unit: float, lanes: int) -> None:
    colours, longest = level_colours(found), max(bar.end for bar in bars)
    for bar in bars:
        width = max(bar.end - bar.start, longest / 600) / unit  # what takes no time is seen too
        lane = bar.paid.trial.number
        axes.barh(
            lane, width, left=bar.end / unit - width, height=0.9, color=colours[bar.paid.level]
        )
    for trial in found.trials:
        own = [bar for bar in bars if bar.paid.trial.number == trial.number]
        if own:
            ends = [min(bar.start for bar in own) / unit, max(bar.end for bar in own) / unit]
            axes.plot(ends, [trial.number] * 2, color=GREY, lw=0.5, zorder=0)
    for label, at, number in _marks(found, bars):
        mark, colour, size = MARKS[label]
        look = {"color": colour, "markersize": size, "zorder": 9, "clip_on": False}
        axes.plot([at / unit], [number], mark, **look)
    axes.set_ylim(lanes - 0.3, -0.7)
    axes.set_ylabel("trial")
    axes.yaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3, axis="x")


def _marks(found: Found, bars: list[Bar]) -> list[tuple[str, float, int]]:
    """Return (what, when, trial) of the best, of what failed, and of what is in work; a trial that
    came to nothing stands where the one before it began."""
    marks = []
    for trial in found.trials:
        ends = [bar.end for bar in bars if bar.paid.trial.number == trial.number]
        if trial is found.best:
            marks.append(("best", max(ends), trial.number))
        if trial.failed:
            earlier = [bar for bar in bars if bar.paid.trial.number < trial.number]
            before = max(earlier, key=lambda bar: (bar.paid.trial.number, -bar.start), default=None)
            at = max(ends, default=0.0 if before is None else before.start)
            marks.append(("failed", at, trial.number))
        if trial.in_work:
            marks.append(("in work", max(bar.end for bar in bars), trial.number))
    return marks


def _draw_shares(axes: Axes, found: Found, bars: list[Bar], unit: float) -> None:
    """Draw which share of all spent so far, in whole trainings, went to each level."""
    x = [bar.end / unit for bar in bars]
    prices = np.zeros((found.ladder.top + 1, len(bars)))
    for n, bar in enumerate(bars):
        prices[bar.paid.level, n] = bar.paid.price
    total = prices.cumsum(axis=1)
    shares = total / total.sum(axis=0)
    used = _used(found, bars)
    axes.stackplot(
        [0, *x],
        [np.append(shares[n][0], shares[n]) for n, _ in used],
        colors=[colour for _, colour in used],
        step="pre",
    )
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("of what is spent")
