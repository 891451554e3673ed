"""Where labels go on a chart, so that none covers another, a marker or a line."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

Line = tuple[tuple[float, float], tuple[float, float]]  # from and to, upright or level
GAP = 1.5  # pixels between what may not touch
FAR = (0, 6, 14, 24, 36, 50)  # points of print between a marker and its label
NEAR = 2  # of these need no line
DIRECTIONS = (
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (0.8, 0.8, "left", "bottom"),
    (0.8, -0.8, "left", "top"),
    (-0.8, 0.8, "right", "bottom"),
    (-0.8, -0.8, "right", "top"),
)


@dataclass(frozen=True)
class Mark:
    """A marker in data coordinates, its radius in points of print, and its label, which stands far
    away, at the end of a thin line, only where it is important."""

    text: str
    x: float
    y: float
    radius: float
    important: bool = True


def place_labels(axes: Axes, marks: Sequence[Mark], lines: Sequence[Line]) -> list[str]:
    """Write labels beside their markers, the first ones first; return those that had no room.

    The chart must have its limits, size and layout by now.
    """
    taken = [_marker(axes, mark) for mark in marks] + [_stroke(axes, line) for line in lines]
    inside, left = axes.get_window_extent(), []
    for mark in marks:
        box = _placed(axes, mark, inside, taken)
        if box is None:
            left.append(mark.text)
        else:
            taken.append(box)
    return left


def _placed(axes: Axes, mark: Mark, inside: Bbox, taken: Sequence[Bbox]) -> Bbox | None:
    """Write a label at the nearest free place, with a thin line where that is far; return what it
    covers, None where nothing is free."""
    for far in FAR if mark.important else FAR[:NEAR]:
        for across, up, side, level in DIRECTIONS:
            distance = mark.radius + 3 + far
            place = {"xytext": (across * distance, up * distance), "textcoords": "offset points"}
            note = axes.annotate(
                mark.text, (mark.x, mark.y), **place, ha=side, va=level, fontsize=8
            )
            note.set_in_layout(False)
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
    return (
        outer.x0 <= inner.x0
        and outer.y0 <= inner.y0
        and outer.x1 >= inner.x1
        and outer.y1 >= inner.y1
    )
