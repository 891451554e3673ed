"""From a study's tasks to the levels of its trials."""

import pytest

from pipeline.config.learning import Features, Training
from pipeline.config.recipe import Recipe
from pipeline.config.study import Study
from pipeline.errors import PodiumError
from pipeline.search.ladder import build_ladder

SPACE = {"optimizer.lr": {"log": [1e-4, 1e-1]}}


def levels(epochs: int = 27, space=None, features=None, **keys):
    study = Study(space=space or SPACE, **{"schedule": "halving", "sampler": "random", **keys})
    recipe = Recipe(training=Training(epochs=epochs), features=features)
    return build_ladder(study, recipe, "s.yaml")


def test_epochs_are_divided_where_no_task_is_named():
    """Check the levels of 27 epochs by thirds, and what going on costs."""
    ladder = levels()
    assert [level.epochs for level in ladder.levels] == [1, 3, 9, None]
    assert [level.cost for level in ladder.levels] == [1 / 27, 1 / 9, 1 / 3, 1]
    assert ladder.continues and ladder.price(1, 2) == pytest.approx(2 / 9)
    assert ladder.price(None, 3) == 1


def test_one_level_where_nobody_asks_for_more():
    """Check that a plain sampler trains everything to the end."""
    assert [level.name for level in levels(schedule="none").levels] == ["full"]


def test_tasks_by_share_begin_anew():
    """Check that a share of the rows is a training of its own, with its cost as named."""
    ladder = levels(tasks={"low": {"share": 0.1, "cost": 0.2}, "mid": {"share": 0.5}, "full": {}})
    assert [(level.share, level.cost) for level in ladder.levels] == [
        (0.1, 0.2),
        (0.5, 0.5),
        (None, 1),
    ]
    assert not ladder.continues and ladder.price(1, 2) == 1


def test_a_regression_has_shares_by_default():
    """Check that features without epochs get levels all the same."""
    ladder = levels(features=Features(fit="logistic"))
    assert [level.share for level in ladder.levels] == [
        pytest.approx(1 / 9),
        pytest.approx(1 / 3),
        None,
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"epochs": 1}, "leaves no cheaper training"),
        ({"tasks": {"low": {"epochs": 27}}}, "tasks.low.epochs is 27"),
        ({"tasks": {"low": {"epochs": 1}, "mid": {"share": 0.5}}}, "all by epochs or all by share"),
        ({"tasks": {"low": {"epochs": 1, "share": 0.5}}}, "one of both"),
        ({"tasks": {"low": {"cost": 0.5}}}, "one of both"),
        (
            {"tasks": {"low": {"epochs": 1, "cost": 0.6}, "mid": {"epochs": 9, "cost": 0.3}}},
            "must be more and cost more",
        ),
        ({"space": {"training.epochs": {"integer": [1, 9]}}}, "space has training.epochs"),
        ({"features": Features(fit="logistic"), "tasks": {"low": {"epochs": 1}}}, "has no epochs"),
    ],
)
def test_tasks_that_make_no_ladder_are_refused(keys, said):
    """Check that each is one line that names the study's file."""
    with pytest.raises(PodiumError, match=r"^s\.yaml: ") as caught:
        levels(**keys)
    assert said in str(caught.value)
