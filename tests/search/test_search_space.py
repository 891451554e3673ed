"""The space of a study: values and points of the cube, conditions, grids."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.study import Parameter
from pipeline.errors import PodiumError
from pipeline.search.space import Param, Space

ALL = {
    "log": Parameter(log=(1e-4, 1e-1)),
    "uniform": Parameter(uniform=(-1.0, 3.0)),
    "stepped": Parameter(uniform=(0.0, 1.0), step=0.25),
    "integer": Parameter(integer=(2, 9)),
    "integer stepped": Parameter(integer=(32, 100), step=32),
    "powers": Parameter(powers_of_two=(8, 128)),
    "choices": Parameter(choices=("a", None, [0.25, 0.5], 3)),
}
CONDITIONAL = {
    "momentum": Parameter(uniform=(0.8, 0.99), when={"name": ["sgd", "rmsprop"]}),
    "nesterov": Parameter(choices=(True, False), when={"name": "sgd"}),
    "name": Parameter(choices=("adamw", "sgd", "rmsprop")),
}


@given(st.sampled_from(sorted(ALL)), st.floats(0, 1))
def test_a_value_lies_where_it_came_from(kind, unit):
    """Check that a value is of its range, and that its place in [0, 1] gives it back."""
    param = Param("key", ALL[kind])
    value = param.value(unit)
    if kind == "choices":
        assert value in ALL[kind].choices
    else:
        low, high = getattr(ALL[kind], param.kind)
        assert low <= value <= high
    again = param.value(param.unit(value))
    assert again == value or math.isclose(again, value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("powers", [8, 16, 32, 64, 128]),
        ("integer", list(range(2, 10))),
        ("integer stepped", [32, 64, 96]),
        ("stepped", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("choices", ["a", None, [0.25, 0.5], 3]),
    ],
)
def test_discrete_values_are_equally_likely(kind, values):
    """Check that an even grid of positions gives every value equally often, and no other."""
    param = Param("key", ALL[kind])
    count = 120 * len(values)
    drawn = [param.value((i + 0.5) / count) for i in range(count)]
    assert [drawn.count(value) for value in values] == [120] * len(values)


def test_a_logarithmic_range_is_even_in_its_logarithm():
    """Check the quartiles of a log range, and its ends."""
    param = Param("key", ALL["log"])
    found = [param.value(u) for u in (0, 1 / 3, 2 / 3, 1)]
    np.testing.assert_allclose(found, [1e-4, 1e-3, 1e-2, 1e-1])


def test_conditions_decide_what_is_active():
    """Check that parameters are ordered after those that they depend on, and that a configuration
    has those alone whose condition holds."""
    space = Space.of(CONDITIONAL)
    assert space.keys[0] == "name"
    for name, expected in (
        ("adamw", {"name"}),
        ("sgd", {"name", "momentum", "nesterov"}),
        ("rmsprop", {"name", "momentum"}),
    ):
        unit = space.params[0].unit(name)
        config = space.config([unit, *[0.5] * 2])
        assert config["name"] == name and set(config) == expected
        inactive = {p.key for p, u in zip(space.params, space.units(config), strict=True) if u != u}
        assert inactive == set(space.keys) - expected


def test_a_grid_has_every_combination_once():
    """Check a grid against brute force over active parameters."""
    space = Space.of(CONDITIONAL)
    expected = [{"name": "adamw"}]
    momenta = [0.8, 0.895, 0.99]
    expected += [
        {"name": "sgd", "momentum": m, "nesterov": n}
        for m, n in itertools.product(momenta, (True, False))
    ]
    expected += [{"name": "rmsprop", "momentum": m} for m in momenta]
    found = space.grid()
    assert len(found) == len(expected)
    for config in expected:
        assert any(
            set(one) == set(config)
            and all(one[k] == v or one[k] == pytest.approx(v) for k, v in config.items())
            for one in found
        )


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"a": Parameter(integer=(1, 2), when={"b": 1})}, "no parameter with choices"),
        (
            {"a": Parameter(integer=(1, 2), when={"b": 3}), "b": Parameter(choices=(1, 2))},
            "its choices are [1, 2]",
        ),
        (
            {
                "a": Parameter(choices=(1, 2), when={"b": 1}),
                "b": Parameter(choices=(1, 2), when={"a": 1}),
            },
            "depend on themselves",
        ),
    ],
)
def test_conditions_on_nothing_are_refused(space, said):
    """Check that a condition on what is not there, or on itself, is one line."""
    with pytest.raises(PodiumError, match="space") as caught:
        Space.of(space)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"log": (1e-3, 1e-1), "uniform": (0, 1)},
        {"log": (0.1, 0.01)},
        {"log": (0, 1)},
        {"powers_of_two": (8, 100)},
        {"choices": (1,)},
        {"choices": (1, 1)},
        {"choices": (1, 2), "step": 1},
        {"integer": (1, 4), "step": 0.5},
        {"integer": (1, 4), "step": 4},
        {"uniform": (0, 1), "points": 1},
    ],
)
def test_ranges_that_are_none_are_refused(said):
    """Check that a parameter has one range, with its ends in order."""
    with pytest.raises(ValueError):
        Parameter(**said)
