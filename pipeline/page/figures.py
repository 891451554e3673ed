"""Charts by matplotlib as inline SVG that follows the page: its colours in light and dark, its
font, no ground, and no style attribute, which a strict policy would refuse."""

import io
import re
import warnings
from collections.abc import Mapping
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pipeline.page.text import printable

SIZE = (4.5, 2.9)  # inches of a chart: 324 x 209 units of the SVG
POINTS = 9.0  # of its text
# Of the light page; page.css has each as a variable, with a brighter one for the dark. Blue,
# vermilion, green and purple of Okabe and Ito's kind: told apart by the colour-blind.
FIRST, SECOND, THIRD, FOURTH = "#0b62a8", "#b34700", "#00735c", "#8f3f8f"
INK, MUTED, RULE = "#000000", "#5b6066", "#dddeda"
COLOURS = {
    FIRST: "var(--c1)",
    SECOND: "var(--c2)",
    THIRD: "var(--c3)",
    FOURTH: "var(--c4)",
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--line)",
    "#ffffff": "var(--ground)",
}
_KEPT = (  # properties of a style that are attributes, too
    *("fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "opacity"),
    *("stroke-dasharray", "stroke-dashoffset", "stroke-linejoin", "stroke-linecap"),
    *("text-anchor", "font-size", "font-weight"),
)
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_DECIMALS = re.compile(r"(-?\d+\.\d{2})\d+")


def plain(text: str) -> str:
    """Return text as matplotlib writes it out, whatever stands in it."""
    return str(printable(text)).replace("$", r"\$")


def chart(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """Return a figure of its own and its axes, dressed as all charts of a page are."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasSVG(figure)  # no window system, and no state shared with other figures
    axes = figure.add_subplot()
    axes.grid(color=RULE, lw=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(labelsize=POINTS, colors=MUTED)
    axes.xaxis.label.set_size(POINTS)
    axes.yaxis.label.set_size(POINTS)
    return figure, axes


def legend(axes: Axes, **options: str) -> None:
    """Give axes a legend without a box, where there is something to name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=POINTS - 0.5, frameon=False, **options)


def svg(figure: Figure, name: str, says: str, colours: Mapping[str, str] | None = None) -> Markup:
    """Return a figure as SVG to stand in a page. `name` is unique on the page, `says` is read out
    instead of the picture; `colours` says what else than `COLOURS` becomes of which colour."""
    written = io.StringIO()
    fixed = {"svg.fonttype": "none", "svg.hashsalt": name}
    with mpl.rc_context(fixed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the reader's font may have it
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())
    known = {**COLOURS, **(colours or {})}
    for parent in root.iter():
        for child in [c for c in parent if c.tag == f"{_SVG}metadata" or _is_style(c)]:
            parent.remove(child)
    used = {key[1:] for one in root.iter() for key in _references(one)}
    for one in root.iter():
        _tidy(one, name, used, known)
        one.tag = one.tag.removeprefix(_SVG)  # HTML knows what an <svg> is
    for parent in root.iter():
        for child in [c for c in parent if c.get("fill") == "none" and not c.get("stroke")]:
            parent.remove(child)  # the ground of figure and axes, which is transparent
    view = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {"class": "chart", "viewBox": view, "role": "img", "aria-label": says}
    text = ElementTree.tostring(root, encoding="unicode")
    return Markup(re.sub(r">\s+<", "><", text))  # what stands in it was escaped just now


def _is_style(one: ElementTree.Element) -> bool:
    """Whether an element is the sheet of styles that matplotlib puts into `defs`."""
    return one.tag == f"{_SVG}style"


def _references(one: ElementTree.Element) -> list[str]:
    """Return what an element refers to, '#name' each."""
    clip = re.fullmatch(r"url\((#.*)\)", one.get("clip-path", ""))
    link = one.get(_LINK, "")
    return [*([clip[1]] if clip else []), *([link] if link else [])]


def _tidy(one: ElementTree.Element, name: str, used: set[str], colours: Mapping[str, str]) -> None:
    """Turn an element's style into attributes, its colours into the page's, its ids into such as
    are of this chart alone."""
    for part in filter(None, (part.strip() for part in one.attrib.pop("style", "").split(";"))):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        if key == "font":
            size = re.search(r"([\d.]+)px", value)
            key, value = "font-size", size[1] if size else str(POINTS)
        if key in _KEPT:
            one.set(key, value)
    for key in ("fill", "stroke"):
        if one.get(key):
            one.set(key, colours.get(one.get(key, "").lower(), one.get(key, "")))
    own = one.get("id")
    if own is not None:
        one.attrib.pop("id")
        if own in used:
            one.set("id", f"{name}-{own}")
    if one.get("clip-path"):
        one.set("clip-path", one.get("clip-path", "").replace("url(#", f"url(#{name}-"))
    link = one.attrib.pop(_LINK, None)
    if link:
        one.set("href", f"#{name}-{link[1:]}")
    for key in ("d", "x", "y", "transform"):
        if one.get(key):
            one.set(key, " ".join(_DECIMALS.sub(r"\1", one.get(key, "")).split()))
    if one.get("transform", "").startswith("rotate(-0 "):
        one.attrib.pop("transform")
