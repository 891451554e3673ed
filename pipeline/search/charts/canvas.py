"""What the pictures of a study have in common: colours, limits of the score, titles."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.artifacts.columns import shortened
from pipeline.search.records import Found

LONGEST = 24  # characters of a choice
REACH = 2.5  # quartile ranges beyond the quartiles, where scores stand at the edge


def level_colours(found: Found) -> list[tuple]:
    """Return a colour per level, the highest the darkest; all are told apart by anybody."""
    places = np.linspace(0.82, 0.08, found.ladder.top + 1) if found.ladder.top else [0.2]
    return [colormaps["viridis"](float(place)) for place in places]


def level_name(found: Found, level: int) -> str:
    return shortened(found.ladder.levels[level].name, LONGEST)


def title(found: Found, words: str) -> str:
    """Return a title: the study, what is shown, how many trials there are."""
    failed = sum(trial.failed for trial in found.trials)
    in_work = sum(trial.in_work for trial in found.trials)
    counts = [f"{len(found.trials)} trial{'s' * (len(found.trials) != 1)}"]
    counts += [f"{failed} failed"] if failed else []
    counts += [f"{in_work} in work"] if in_work else []
    return f"{shortened(found.name, 40)}: {words}; {', '.join(counts)}"


def limits(found: Found, scores: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis of scores: all of them but the bad ones far away from most, so
    that a training that came to nothing does not hide how the others differ."""
    values = np.array([value for value in scores if np.isfinite(value)])
    if not len(values):
        return 0.0, 1.0
    low, high = np.quantile(values, [0.25, 0.75])
    span = REACH * (high - low)
    usual = values >= low - span if found.sign > 0 else values <= high + span
    near = values[usual] if span > 0 else values
    first, last = float(near.min()), float(near.max())
    room = 0.06 * (last - first) or 0.02 * abs(last) or 0.01
    return first - room, last + room


def score_axis(axes: Axes, found: Found, ends: tuple[float, float]) -> None:
    """Label the y-axis with the metric, in its own direction."""
    better = "higher is better" if found.sign > 0 else "lower is better"
    axes.set_ylim(*ends)
    axes.set_ylabel(f"{shortened(found.metric, LONGEST)} ({better})")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(alpha=0.3)


def say_nothing(figure: Figure, words: str) -> None:
    """Write words where there is nothing to draw."""
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=11, wrap=True)
