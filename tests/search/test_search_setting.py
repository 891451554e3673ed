"""A study on its competition: recipes of configurations, and what is refused before any work."""

import pytest

from pipeline.errors import PodiumError
from pipeline.search.opening import open_setting


def test_a_configuration_becomes_a_recipe(tiny, open_study):
    """Check that keys, elements of lists and whole lists are set, and nothing else changes."""
    space = {
        "optimizer.lr": {"log": [1e-4, 1e-1]},
        "augment.scale.0": {"uniform": [0.2, 0.9]},
        "model.hidden": {"choices": [[], [8, 4]]},
        "model.drop_rate": {"choices": [0.0, [0.1, 0.2, 0.5]], "when": {"model.hidden": [[8, 4]]}},
    }
    setting = open_study(tiny.project, space=space)
    config = {"optimizer.lr": 0.02, "augment.scale.0": 0.3, "model.hidden": [8, 4]}
    recipe = setting.recipe({**config, "model.drop_rate": [0.1, 0.2, 0.5]})
    assert recipe.optimizer.lr == 0.02 and recipe.model.drop_rates == (0.1, 0.2, 0.5)
    assert recipe.augment.scale == (0.3, 1.0) and recipe.model.hidden == (8, 4)
    assert recipe.training == setting.base.training and recipe.model.arch == "lenet"


def test_the_recipe_as_it_is_is_a_configuration(tiny, open_study):
    """Check that the default gives the base recipe back, and is none where a value lies outside."""
    setting = open_study(tiny.project)
    assert setting.default == {
        "optimizer.lr": 3e-3,
        "model.drop_rate": 0.0,
        "training.batch_size": 16,
    }
    assert setting.recipe(setting.default) == setting.base
    outside = {"optimizer.lr": {"log": [1e-2, 1e-1]}}
    assert open_study(tiny.project, space=outside).default is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"space": {"optimizer.lrr": {"log": [1, 2]}}},
            "unknown key 'optimizer.lrr' (did you mean",
        ),
        ({"space": {"optimizer.lr": {"lg": [1, 2]}}}, "space.optimizer.lr.lg"),
        ({"space": {}}, "space is empty"),
        ({"space": None}, "space"),
        ({"space": {"runtime.threads": {"integer": [1, 2]}}}, "not for searching"),
        ({"space": {"training.seed": {"integer": [1, 2]}}}, "not for searching"),
        ({"space": {"teacher.weight": {"uniform": [0.1, 1]}}}, "not for searching"),
        ({"space": {"optimizer.lr": {"uniform": [-1, 1]}}}, "optimizer.lr = -1.0"),
        (
            {"space": {"optimizer.name": {"choices": ["adamw", "adamv"]}}},
            "optimizer.name = 'adamv'",
        ),
        ({"space": {"model.arch": {"choices": ["lenet", "lenot"]}}}, "lenot"),
        ({"space": {"augment.scale.2": {"uniform": [0, 1]}}}, "the list has 2 elements"),
        ({"space": {"features.views": {"integer": [1, 4]}}}, "features is not in the recipe"),
        ({"folds": [7]}, "there is no fold 7; there are 0, 1, 2, 3, 4"),
        ({"folds": []}, "folds are different numbers"),
        ({"sampler": "multitask"}, "multitask decides itself"),
        ({"schedule": "none", "tasks": {"low": {"epochs": 1}}}, "tasks need sampler: multitask"),
        ({"arch": None}, "which architecture?"),
        ({"set": "training.repeats=2"}, "training.repeats"),
        ({"set": "data.limit=20"}, "data.limit"),
        ({"budget": 0}, "budget"),
        ({"storage": "somewhere"}, "storage is journal"),
        ({"finalist": 2}, "unknown key 'finalist' (did you mean finalists"),
    ],
)
def test_what_cannot_be_searched_is_one_line(tiny, studied, keys, said):
    """Check that a fault of the YAML names the file and the rule, and that nothing is written."""
    studied(tiny.project, **keys)
    with pytest.raises(PodiumError) as caught:
        open_setting(tiny.project, "tiny", "s")
    assert "experiments/studies/s.yaml" in str(caught.value) and said in str(caught.value)
    assert not tiny.project.runs("tiny").exists() and not tiny.project.folds("tiny").exists()


def test_a_study_that_is_not_there_names_those_that_are(tiny, studied):
    """Check the nearest name, and the question where none is given."""
    studied(tiny.project)
    tiny.project.study("s").rename(tiny.project.study("heads"))
    with pytest.raises(PodiumError, match=r"did you mean heads"):
        open_setting(tiny.project, "tiny", "head")
    with pytest.raises(PodiumError, match="which study"):
        open_setting(tiny.project, "tiny", "")
