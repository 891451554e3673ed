"""Labels have room of their own; what is beyond an axis stands at its end."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.text import Annotation

from pipeline.charts.figure import held, new_figure
from pipeline.charts.labels import ABOVE, BESIDE, Mark, place_labels


def chart():
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    return axes


@pytest.mark.parametrize("sides", [BESIDE, ABOVE])
@pytest.mark.parametrize("spread", [0.4, 0.05, 0.0])
def test_labels_cover_neither_each_other_nor_markers_nor_lines(spread, sides):
    """Check boxes of labels against all others, for points far apart, close, and in one place;
    those without room are named."""
    axes, rng = chart(), np.random.default_rng(0)
    places = 0.5 + spread * rng.uniform(-1, 1, (30, 2))
    marks = [Mark((f"run-{k}",), *map(float, place), 4.0) for k, place in enumerate(places)]
    line = (0.0, 0.5), (1.0, 0.5)
    left = place_labels(axes, marks, [line], sides)
    notes = [c for c in axes.get_children() if isinstance(c, Annotation) and c.get_text()]
    assert {note.get_text() for note in notes} | set(left) == {mark.texts[0] for mark in marks}
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
    marks = [Mark((f"run-{k}",), 0.5, 0.5, 4.0, important=False) for k in range(40)]
    left = place_labels(axes, marks)
    middle = axes.transData.transform((0.5, 0.5))
    notes = [c for c in axes.get_children() if isinstance(c, Annotation)]
    assert len(notes) == 40 - len(left) < 20
    for note in notes:
        box = note.get_window_extent()
        assert abs((box.y0 + box.y1) / 2 - middle[1]) < 40


def test_the_first_text_that_fits_is_written():
    """Check that a label too long for the chart gives way to its shorter one, and that where
    neither fits the long one is named."""
    axes = chart()
    marks = [Mark(("a name" * 40, "004"), 0.5, 0.5, 4.0), Mark(("b name" * 40,), 0.2, 0.2, 4.0)]
    assert place_labels(axes, marks) == ["b name" * 40]
    assert {note.get_text() for note in axes.texts} - {""} == {"004"}


@pytest.mark.parametrize("sides, side", [(BESIDE, "left"), (ABOVE, "center")])
def test_sides_are_tried_in_their_order(sides, side):
    """Check that a label alone stands on the first side."""
    axes = chart()
    place_labels(axes, [Mark(("alone",), 0.5, 0.5, 4.0)], sides=sides)
    assert [note.get_ha() for note in axes.texts] == [side]


@given(arrays(float, 5, elements=st.floats(-3, 3)))
def test_what_is_beyond_an_axis_stands_just_inside(values):
    """Check that values within the ends stay as they are, that others are told and moved inside."""
    moved, beyond = held(values, (-1.0, 1.0))
    assert (beyond == (np.abs(values) > 1)).all()
    assert (moved[~beyond] == values[~beyond]).all()
    assert np.abs(moved[beyond]) == pytest.approx(0.96)
    assert (np.sign(moved[beyond]) == np.sign(values[beyond])).all()
