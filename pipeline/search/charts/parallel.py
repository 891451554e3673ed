"""`parallel.png`: each trial a line from its score through its parameters, by their importance.

More than eight parameters are drawn in several rows, each of which begins at the score.
"""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.artifacts.columns import shortened
from pipeline.charts.figure import held, new_figure, save
from pipeline.search.charts.canvas import LONGEST, level_name, limits, say_nothing, title
from pipeline.search.importance import Ranked, rank
from pipeline.search.labels import short_names, ticks, value_text
from pipeline.search.records import Found
from pipeline.search.space import Param

IN_A_ROW = 8
ABSENT = -0.09  # where a line runs that has no value on an axis
WHITE = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.72}


def draw(path: Path, found: Found, ranked: Ranked | None = None) -> None:
    """Write the parallel coordinates of the trials that can be compared, the best on top."""
    known = ranked or rank(found)
    order = [found.space.keys.index(key) for key in known.keys]
    rows = -(-len(order) // IN_A_ROW)
    parts = [list(map(int, part)) for part in np.array_split(order, rows)]
    there = known.judged
    figure = new_figure(max(1.55 * (len(parts[0]) + 1), 6.5), 4.3 * rows + 0.4)
    if not len(there):
        say_nothing(figure, title(found, "no trial has a score yet"))
        return save(path, figure)
    words = f"{level_name(found, there.level)}, {len(there)} compared, the best the darkest"
    for number, part in enumerate(parts):
        axes = figure.add_subplot(rows, 1, number + 1)
        _draw_lines(axes, found, known, part)
        if number == 0:
            axes.set_title(title(found, words) + "\n", fontsize=11)
    return save(path, figure)


def _draw_lines(axes: Axes, found: Found, known: Ranked, part: list[int]) -> None:
    there = known.judged
    ends = limits(found, there.scores)
    scores = (held(there.scores, ends)[0] - ends[0]) / (ends[1] - ends[0])
    goodness = scores if found.sign > 0 else 1 - scores
    shades = _ranks(goodness)
    units = there.units[:, part]
    x = np.arange(len(part) + 1)
    for n in np.argsort(goodness, kind="stable"):
        y = np.append(scores[n], np.where(np.isfinite(units[n]), units[n], ABSENT))
        colour = colormaps["viridis_r"](0.06 + 0.9 * shades[n])
        axes.plot(x, y, color=colour, alpha=0.25 + 0.65 * shades[n], lw=0.7 + 1.3 * shades[n])
    names = short_names(found.space.keys)
    _draw_score(axes, ends, found)
    for place, n in enumerate(part):
        param = found.space.params[n]
        _draw_axis(axes, place + 1, *_few(param), bool(np.isnan(units[:, place]).any()))
        _name(axes, place + 1, names[param.key])
    axes.set_xlim(-0.4, len(part) + 0.55)
    axes.set_ylim(-0.15, 1.04)
    axes.set_axis_off()


def _few(param: Param) -> tuple[list[float], list[str]]:
    places, texts = ticks(param)
    return places, [shortened(text, LONGEST // 2 if param.choices else LONGEST) for text in texts]


def _draw_axis(
    axes: Axes, place: int, at: list[float], texts: list[str], absent: bool, side: str = "left"
) -> None:
    beside = place + (0.04 if side == "left" else -0.04)
    axes.plot([place, place], [0, 1], color="black", lw=1, zorder=300)
    for y, text in zip(at, texts, strict=True):
        axes.plot([place - 0.02, place + 0.02], [y, y], color="black", lw=1, zorder=300)
        axes.text(beside, y, text, fontsize=8, ha=side, va="center", zorder=301, bbox=WHITE)
    if absent:
        axes.text(beside, ABSENT, "not searched", fontsize=7, va="center", zorder=301, bbox=WHITE)


def _draw_score(axes: Axes, ends: tuple[float, float], found: Found) -> None:
    """Draw the first axis, of the score: up is greater, as the metric has it."""
    values = [v for v in MaxNLocator(6).tick_values(*ends) if ends[0] <= v <= ends[1]]
    at = [(value - ends[0]) / (ends[1] - ends[0]) for value in values]
    exact = (n for n in range(6) if np.allclose(values, np.round(values, n), 0, 1e-9))
    digits = next(exact, 6)
    texts = [f"{v:.{digits}f}" if abs(v) < 1e4 else value_text(float(v)) for v in values]
    _draw_axis(axes, 0, at, texts, False, "right")
    _name(axes, 0, shortened(found.metric, LONGEST), "bold")


def _name(axes: Axes, place: int, text: str, weight: str = "normal") -> None:
    words = shortened(text, LONGEST)
    if len(words) > 16:
        cut = words.rfind(".", 0, 17) + 1 or words.rfind("_", 0, 17) + 1 or len(words) // 2
        words = f"{words[:cut]}\n{words[cut:]}"
    axes.text(place, 1.04, words, ha="center", va="bottom", fontsize=9, weight=weight, zorder=301)


def _ranks(goodness: np.ndarray) -> np.ndarray:
    """Return ranks (n,) in [0, 1], so that colours tell trials apart; of equal ones 1."""
    places = np.searchsorted(np.sort(goodness), goodness, side="right") - 1
    return places / max(len(goodness) - 1, 1) if len(goodness) > 1 else np.ones(len(goodness))
