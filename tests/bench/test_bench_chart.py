"""The chart: labels have room of their own, and every set of rows can be drawn."""

from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from pipeline.bench.chart import draw
from pipeline.bench.labels import Mark, place_labels
from pipeline.bench.rows import Row


def row(name: str, ms: float, honest: float | None, **changes) -> Row:
    scores = honest, None if honest is None else 0.01, honest
    times = ms, ms, 5 * ms, None, 0.0, 1.0
    made = Row(name, "frozen", "lenet", "16", 1, 1, 5, *scores, *times, 1, 1, None, None)
    return replace(made, **changes)


def chart():
    figure = Figure(figsize=(6, 4), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    return axes


@pytest.mark.parametrize("spread", [0.4, 0.05, 0.0])
def test_labels_cover_neither_each_other_nor_markers_nor_lines(spread):
    """Check boxes of labels against all others, for points far apart, close, and in one place;
    those without room are named."""
    axes, rng = chart(), np.random.default_rng(0)
    places = 0.5 + spread * rng.uniform(-1, 1, (30, 2))
    marks = [Mark(f"run-{k}", *map(float, place), 4.0) for k, place in enumerate(places)]
    line = (0.0, 0.5), (1.0, 0.5)
    left = place_labels(axes, marks, [line])
    notes = [c for c in axes.get_children() if isinstance(c, Annotation) and c.get_text()]
    assert {note.get_text() for note in notes} | set(left) == {mark.text for mark in marks}
    assert notes and (not left or spread < 0.4)
    boxes = [note.get_window_extent() for note in notes]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    inside, dots = axes.get_window_extent(), axes.transData.transform(places)
    level = axes.transData.transform(line[0])[1]
    for box in boxes:
        assert inside.containsx(box.x0) and inside.containsx(box.x1)
        assert inside.containsy(box.y0) and inside.containsy(box.y1)
        assert not any(box.contains(*dot) for dot in dots)
        assert not box.y0 <= level <= box.y1


def test_what_is_not_important_stands_near_or_nowhere():
    """Check that of many labels in one place, the unimportant ones stay near it."""
    axes = chart()
    marks = [Mark(f"run-{k}", 0.5, 0.5, 4.0, important=False) for k in range(40)]
    left = place_labels(axes, marks, [])
    middle = axes.transData.transform((0.5, 0.5))
    notes = [c for c in axes.get_children() if isinstance(c, Annotation)]
    assert len(notes) == 40 - len(left) < 20
    for note in notes:
        box = note.get_window_extent()
        assert abs((box.y0 + box.y1) / 2 - middle[1]) < 40


@pytest.mark.parametrize(
    "rows",
    [
        [row("only", 3.0, 0.9, front=True)],
        [row("untrained", 3.0, None, kind="not trained")],
        [row(name, 3.0, 1.0, honest_se=0.0, front=True) for name in "abc"],
        [row("a", 1e-3, 0.1), row("b", 1e4, 0.9, kind="ensemble", archs="x+y", sizes="16+32")],
        [row("a", 1.0, 0.5, front=True), row("b", 2.0, None, kind="not trained", sizes="64")],
        [row(f"run-{k}", 1.0 + k, k / 40, archs=f"arch-{k}") for k in range(40)],
    ],
    ids=["one", "untrained", "equal", "far apart", "both", "many"],
)
@pytest.mark.parametrize("rising", [True, False])
def test_every_set_of_rows_is_drawn(tmp_path, rows, rising):
    """Check that odd sets give a picture with ink on it, and no temporary file."""
    record = {"competition": "tiny", "metric": "accuracy", "greater_is_better": rising}
    draw(tmp_path / "bench.png", rows, record, "a machine")
    picture = cv2.imread(str(tmp_path / "bench.png"))
    assert picture.shape == (720, 1200, 3) and picture.std() > 5
    assert [path.name for path in tmp_path.iterdir()] == ["bench.png"]
