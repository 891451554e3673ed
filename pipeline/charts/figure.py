"""Figures of matplotlib as all our PNG charts have them, and points that are off the picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.artifacts.files import write_with

BLUE, ORANGE, GREY = "#1f4e79", "#c55a11", "#8a8a8a"
DPI = 120
MARGIN = 0.02  # of an axis, within which points stand that are beyond its end


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches without a window system, and without state that other
    figures share."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all."""
    write_with(path, lambda temporary: figure.savefig(temporary, format="png"))


def held(values: Sequence[float], ends: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return values (n,), those beyond the ends of an axis just inside of them, and which of them
    these are, bool (n,)."""
    wanted, margin = np.asarray(values, float), MARGIN * (ends[1] - ends[0])
    beyond = (wanted < ends[0]) | (wanted > ends[1])
    return np.where(beyond, np.clip(wanted, ends[0] + margin, ends[1] - margin), wanted), beyond
