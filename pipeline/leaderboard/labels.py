"""Names beside the points of a chart: as many as there is room for, the important ones first."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import Bbox

Line = tuple[tuple[float, float], tuple[float, float]]
REACHES = (1, 5, 14, 26)  # points of print between a point and its name
PLAIN = 2  # of these for names that are not important: they have no line to their point
SIDES = (
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (0.8, 0.8, "left", "bottom"),
    (0.8, -0.8, "left", "top"),
    (-0.8, 0.8, "right", "bottom"),
    (-0.8, -0.8, "right", "top"),
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
)
HALO = (Stroke(linewidth=2, foreground="white"), Normal())  # legible on lines, too


@dataclass(frozen=True)
class Name:
    """What to write beside a point: the first of `texts` that fits; its radius in print points."""

    texts: tuple[str, ...]
    x: float
    y: float
    radius: float
    important: bool
    colour: str


def write_names(axes: Axes, names: Sequence[Name], lines: Sequence[Line]) -> list[str]:
    """Write the names, none over a point, a line or another name, and return those that are left
    out. `lines` are level or upright, from and to; the layout of the chart must be settled."""
    taken = [_around(axes, name) for name in names]
    for ends in lines:
        (x0, y0), (x1, y1) = axes.transData.transform(ends)
        box = Bbox.from_extents(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        taken.append(box.padded(0.5))
    left = []
    for name in names:
        box = next((b for text in name.texts if (b := _written(axes, name, text, taken))), None)
        if box is None:
            left.append(name.texts[0])
        else:
            taken.append(box)
    return left


def _around(axes: Axes, name: Name) -> Bbox:
    x, y = axes.transData.transform((name.x, name.y))
    radius = name.radius * axes.figure.dpi / 72
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _written(axes: Axes, name: Name, text: str, taken: Sequence[Bbox]) -> Bbox | None:
    """Write a text at the nearest free place and return what it covers, None if none is free."""
    inside = axes.get_window_extent()
    look = {"fontsize": 8, "color": name.colour, "zorder": 6}
    look |= {"fontweight": "bold"} if name.important else {}
    for at, reach in enumerate(REACHES if name.important else REACHES[:PLAIN]):
        far = name.radius + reach
        for across, up, side, level in SIDES:
            place = {"xytext": (across * far, up * far), "textcoords": "offset points"}
            note = axes.annotate(text, (name.x, name.y), **place, ha=side, va=level, **look)
            note.set_in_layout(False)
            note.set_path_effects(HALO)
            box = note.get_window_extent().padded(1)
            if _holds(inside, box) and not any(box.overlaps(other) for other in taken):
                if at >= PLAIN:
                    arrow = {"arrowstyle": "-", "lw": 0.5, "color": "0.5"}
                    line = axes.annotate("", (name.x, name.y), **place, arrowprops=arrow)
                    line.set_in_layout(False)
                return box
            note.remove()
    return None


def _holds(outer: Bbox, inner: Bbox) -> bool:
    across = outer.x0 <= inner.x0 and inner.x1 <= outer.x1
    return across and outer.y0 <= inner.y0 and inner.y1 <= outer.y1
