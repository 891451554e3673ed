"""Where labels go on a chart, so that none covers another, a marker or a line."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import Bbox

Line = tuple[tuple[float, float], tuple[float, float]]  # from and to, upright or level
GAP = 1.5  # pixels between what may not touch
FAR = (2, 7, 15, 26, 38, 52)  # points of print between a marker and its label
NEAR = 2  # of these need no line
_LEVEL = ((1, 0, "left", "center"), (-1, 0, "right", "center"))
_UPRIGHT = ((0, 1, "center", "bottom"), (0, -1, "center", "top"))
_ASLANT = (
    (0.8, 0.8, "left", "bottom"),
    (0.8, -0.8, "left", "top"),
    (-0.8, 0.8, "right", "bottom"),
    (-0.8, -0.8, "right", "top"),
)
BESIDE = _LEVEL + _UPRIGHT + _ASLANT  # the sides of a marker in the order in which they are tried
ABOVE = _UPRIGHT + _ASLANT + _LEVEL
HALO = (Stroke(linewidth=2, foreground="white"), Normal())  # legible on faint lines, too


@dataclass(frozen=True)
class Mark:
    """A marker in data coordinates, its radius in points of print, and its label: the first of
    `texts` that fits. Only where it is important may it stand far away, at the end of a thin
    line."""

    texts: tuple[str, ...]
    x: float
    y: float
    radius: float
    important: bool = True
    colour: str = "black"
    weight: str = "normal"


def place_labels(
    axes: Axes, marks: Sequence[Mark], lines: Sequence[Line] = (), sides: tuple = BESIDE
) -> list[str]:
    """Write labels by their markers, the first ones first; return those that had no room.

    The chart must have its limits, size and layout by now.
    """
    taken = [_marker(axes, mark) for mark in marks] + [_stroke(axes, line) for line in lines]
    left = []
    for mark in marks:
        written = (_placed(axes, mark, text, taken, sides) for text in mark.texts)
        box = next((box for box in written if box is not None), None)
        if box is None:
            left.append(mark.texts[0])
        else:
            taken.append(box)
    return left


def _placed(axes: Axes, mark: Mark, text: str, taken: Sequence[Bbox], sides: tuple) -> Bbox | None:
    """Write a label at the nearest free place, with a thin line where that is far; return what it
    covers, None where nothing is free."""
    inside = axes.get_window_extent()
    look = {"fontsize": 8, "color": mark.colour, "fontweight": mark.weight, "zorder": 6}
    for far in FAR if mark.important else FAR[:NEAR]:
        for across, up, side, level in sides:
            distance = mark.radius + far
            place = {"xytext": (across * distance, up * distance), "textcoords": "offset points"}
            note = axes.annotate(text, (mark.x, mark.y), **place, ha=side, va=level, **look)
            note.set_in_layout(False)
            note.set_path_effects(HALO)
            box = note.get_window_extent().padded(GAP)
            if _holds(inside, box) and not any(box.overlaps(other) for other in taken):
                if far >= FAR[NEAR]:
                    arrow = {"arrowstyle": "-", "lw": 0.5, "color": "0.5"}
                    line = axes.annotate("", (mark.x, mark.y), **place, arrowprops=arrow)
                    line.set_in_layout(False)
                return box
            note.remove()
    return None


def _marker(axes: Axes, mark: Mark) -> Bbox:
    x, y = axes.transData.transform((mark.x, mark.y))
    radius = mark.radius * axes.figure.dpi / 72
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _stroke(axes: Axes, line: Line) -> Bbox:
    (x0, y0), (x1, y1) = axes.transData.transform(line)
    return Bbox.from_extents(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)).padded(0.5)


def _holds(outer: Bbox, inner: Bbox) -> bool:
    across = outer.x0 <= inner.x0 and inner.x1 <= outer.x1
    return across and outer.y0 <= inner.y0 and inner.y1 <= outer.y1
