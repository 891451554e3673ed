"""`leaderboard.png`: public scores against honest ones, the band of noise, the medal lines."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.artifacts.columns import shortened
from pipeline.charts.figure import BLUE, GREY, ORANGE, held, new_figure, save
from pipeline.charts.labels import ABOVE, Line, Mark, place_labels
from pipeline.leaderboard.analysis import Analysis
from pipeline.leaderboard.band import FEWEST
from pipeline.leaderboard.board import Board
from pipeline.submission.ranges import score_range

MEDALS = {"gold": "#b8860b", "silver": "#7d8790", "bronze": "#8c5a2b"}
FEW = 14  # points, up to which each has its whole name if there is room
FEWER = 8  # points, up to which names keep off the error bars
WIDEST = 24  # characters of a name
REACH = 4.0  # quartile ranges below the worse quartile, where points stand at the edge
SMOOTH = 0.06  # of the axis, around which the widths of bands are averaged
RADIUS = 4.0  # points of print


def draw(path: Path, board: Board) -> None:
    """Write the picture of a board that has an analysis."""
    save(path, figure(board))


def figure(board: Board) -> Figure:
    """Return the picture as a figure of its own; the board must have an analysis.

    A point is a submission, its honest score with one standard error to the side. The line is
    `public = honest + offset`; the shaded band holds a submission with probability 0.95 if all that
    differs is noise, the dashed one all of them at once; both are means over the submissions
    around, while each is judged by its own. Axes are turned round where lower is better.
    """
    found = board.analysis
    if found is None:
        raise ValueError("a board without a public score has no picture")
    picture = new_figure(9.5, 6.4)
    axes = picture.add_subplot()
    cv = np.array([point.cv for point in found.points])
    public = np.array([point.public for point in found.points], float)
    across = _limits(cv, np.array([point.se for point in found.points]), board)
    band = _band_ends(found)
    half = float(np.median(found.band.outer if _banded(found) else found.errors))
    up = _limits(public, min(half, 1.2 * float(np.ptp(public)) + half / 3), board, band)
    _line_and_band(axes, found, across)
    _medal_lines(axes, board, up)
    places = _points(axes, board, found, across, up)
    axes.set_xlim(*(across if board.greater_is_better else across[::-1]))
    axes.set_ylim(*(up if board.greater_is_better else up[::-1]))
    _dress(axes, board, found)
    picture.draw_without_rendering()  # settles the layout, on which the room for names depends
    bars = _bars(found) if len(cv) <= FEWER else []
    place_labels(axes, _marks(board, found, places), bars, ABOVE)
    return picture


def _banded(found: Analysis) -> bool:
    return found.size.known and len(found.points) >= FEWEST


def _band_ends(found: Analysis) -> tuple[float, ...]:
    """Return the ends of the band of one submission at the median honest score, if there is one."""
    if not _banded(found):
        return ()
    middle = float(np.median([point.cv for point in found.points])) + found.band.offset
    half = float(np.median(found.band.halves))
    return middle - half, middle + half


def _limits(
    values: np.ndarray, errors: np.ndarray | float, board: Board, held: tuple[float, ...] = ()
) -> tuple[float, float]:
    """Return the ends of an axis: all values with their errors but those far worse than most that
    are no picks, what else is to be `held`, and hardly more than what the metric can be."""
    sign, picked = 1 if board.greater_is_better else -1, {p.point.number for p in board.picks}
    points = board.analysis.points if board.analysis else ()
    low, high = np.quantile(sign * values, [0.25, 0.75])
    near = sign * values >= low - REACH * max(high - low, 0.002, float(np.median(errors)))
    near |= np.array([point.number in picked for point in points])
    errors = np.broadcast_to(errors, values.shape)[near]
    first = min(float((values[near] - errors).min()), *held, np.inf)
    last = max(float((values[near] + errors).max()), *held, -np.inf)
    room = 0.09 * (last - first) or 0.01
    least, most = score_range(board.metric)
    return max(first - room, least - room / 3), min(last + room, most + room / 3)


def _line_and_band(axes: Axes, found: Analysis, across: tuple[float, float]) -> None:
    x = np.linspace(*across, 200)
    line = x + found.band.offset
    if _banded(found):
        inner, outer = (_smooth(x, found, half) for half in (found.band.halves, found.band.outer))
        words = "95 % band of noise, one submission"
        axes.fill_between(x, line - inner, line + inner, color=BLUE, alpha=0.13, lw=0, label=words)
        words = f"the same, all {len(found.points)} at once"
        axes.plot(x, line - outer, color=BLUE, lw=0.8, ls="--", alpha=0.6, label=words)
        axes.plot(x, line + outer, color=BLUE, lw=0.8, ls="--", alpha=0.6)
    axes.plot(x, x, color=GREY, lw=0.9, ls=":", label="public = honest")
    axes.plot(x, line, color=BLUE, lw=1.2, label=f"public = honest {found.band.offset:+.4f}")


def _smooth(x: np.ndarray, found: Analysis, halves: np.ndarray) -> np.ndarray:
    """Return the mean half width of the submissions around each x (n,): noise differs with the
    score, and each submission is judged by its own."""
    cv = np.array([point.cv for point in found.points])
    far = (cv[:, None] - cv) / (SMOOTH * (x[-1] - x[0]))
    weights = np.exp(-(far**2) / 2)
    order = np.argsort(cv)
    return np.interp(x, cv[order], (weights @ halves / weights.sum(axis=1))[order])


def _medal_lines(axes: Axes, board: Board, up: tuple[float, float]) -> None:
    """Draw the lines that are within the picture, and name the others in the legend."""
    lines = board.teams.lines() if board.teams else {}
    for medal, score in lines.items():
        inside = up[0] <= score <= up[1]
        words = f"{medal} from {score:.4f}" + ("" if inside else " (off the picture)")
        y = [score] if inside else []
        axes.plot([0, 1][: 2 * len(y)], y * 2, color=MEDALS[medal], lw=1.4, label=words,
                  transform=axes.get_yaxis_transform())  # fmt: skip


def _points(
    axes: Axes,
    board: Board,
    found: Analysis,
    across: tuple[float, float],
    up: tuple[float, float],
) -> list[tuple[float, float]]:
    """Draw the submissions and return where they stand; those off the picture are triangles."""
    picked = {pick.point.number for pick in board.picks}
    odd = {point.number for point in found.outliers}
    alpha = 0.9 if len(found.points) <= FEW else 0.65
    xs, far = held([point.cv for point in found.points], across)
    ys, high = held([point.public or 0.0 for point in found.points], up)
    places = list(zip(map(float, xs), map(float, ys), strict=True))
    for point, (x, y), inside in zip(found.points, places, ~(far | high), strict=True):
        colour = ORANGE if point.number in odd else BLUE
        if inside:
            axes.hlines(y, x - point.se, x + point.se, colour, lw=0.9, alpha=alpha / 3, zorder=3)
        look = {"ms": 1.6 * RADIUS, "mec": "white", "mew": 0.5, "alpha": alpha, "zorder": 4}
        axes.plot(x, y, "o" if inside else "^", color=colour, **look)
        if point.number in picked:
            axes.plot(x, y, "o", ms=3.2 * RADIUS, mfc="none", mec="black", mew=1.2, zorder=5)
    return places


def _bars(found: Analysis) -> list[Line]:
    """Return where the error bars go from and to."""
    return [
        ((point.cv - point.se, float(point.public or 0)), (point.cv + point.se, point.public or 0))
        for point in found.points
    ]


def _marks(board: Board, found: Analysis, places: list[tuple[float, float]]) -> list[Mark]:
    """Return what to write, in the order of importance: odd ones, picks, the best, all others."""
    sign = 1 if board.greater_is_better else -1
    odd = {point.number for point in found.outliers}
    picked = [pick.point.number for pick in board.picks]
    first = [*picked, max(found.points, key=lambda p: sign * (p.public or 0.0)).number]
    many, marks = len(found.points) > FEW, []
    for at in np.argsort(-np.abs(found.band.residuals), kind="stable"):
        point = found.points[at]
        marked = point.number in odd or point.number in first
        whole, short = shortened(point.name, WIDEST), f"{point.number:03d}"
        beyond = places[at] != (point.cv, point.public)
        scores = f" ({point.cv:.4f}, {point.public:.4f})" if beyond else ""
        texts = (short,) if many and not marked and not beyond else (whole, short)
        texts = tuple(text + scores for text in texts)
        colour = ORANGE if point.number in odd else "0.2"
        radius = (1.6 if point.number in picked else 0.8) * RADIUS
        weight = "bold" if marked else "normal"
        marks.append((point.number, Mark(texts, *places[at], radius, marked, colour, weight)))
    marks.sort(key=lambda pair: (pair[0] not in odd, pair[0] not in first))
    return [mark for _, mark in marks]


def _dress(axes: Axes, board: Board, found: Analysis) -> None:
    lower = "" if board.greater_is_better else " (lower is better: axes turned round)"
    k = len(found.points)
    axes.set_title(
        f"{shortened(board.competition, 40)}: cross-validation against the leaderboard, "
        f"{k} submission{'s' * (k != 1)}",
        fontsize=11,
    )
    axes.set_xlabel(f"honest {shortened(board.metric, 24)} ± SE, cross-validation{lower}")
    rows = f"{found.size.public:,} rows" if found.size.known else "number of rows not known"
    axes.set_ylabel(f"public {shortened(board.metric, 24)} ({rows})")
    axes.ticklabel_format(useOffset=False)
    axes.grid(alpha=0.25)
    handles, words = axes.get_legend_handles_labels()
    if board.picks:
        ring = axes.plot([], [], "o", ms=2.6 * RADIUS, mfc="none", mec="black", mew=1.2)[0]
        handles, words = [*handles, ring], [*words, "to pick in the end"]
    if any(line.get_marker() == "^" for line in axes.lines):
        far = axes.plot([], [], "^", ms=1.6 * RADIUS, color=GREY)[0]
        handles, words = [*handles, far], [*words, "beyond the picture (honest, public)"]
    if found.outliers:
        dot = axes.plot([], [], "o", ms=1.6 * RADIUS, color=ORANGE)[0]
        handles, words = [*handles, dot], [*words, "outside its band"]
    axes.legend(handles, words, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
