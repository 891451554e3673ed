"""Competitions as YAML: one label format, overrides, and the files that come with the project."""

from pathlib import Path

import pytest

import pipeline
from pipeline.config.competition import load_competition
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe, load_recipe
from pipeline.config.schema import parse, read_yaml
from pipeline.errors import PodiumError
from pipeline.metrics import get_metric

CHECKOUT = Project(Path(pipeline.__file__).parent.parent)
COMPETITIONS = [path.stem for path in sorted(CHECKOUT.competitions.glob("*.yaml"))]
RECIPES = [path.stem for path in sorted(CHECKOUT.recipes.glob("*.yaml"))]


@pytest.mark.parametrize("name", COMPETITIONS)
def test_every_competition_of_the_project_is_valid(name):
    """Check that each YAML parses, its metric exists, and the baseline resolves with it."""
    competition = load_competition(CHECKOUT, name)
    assert competition.name == name and competition.title
    assert get_metric(competition.metric, competition.task).task == competition.task
    recipe = load_recipe(CHECKOUT, "baseline", competition=competition.recipe_overrides())
    assert recipe.image.crop == competition.crop


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_of_the_project_is_valid(name):
    """Check that each recipe parses, and that its header says result, time and command."""
    text = CHECKOUT.recipe(name).read_text()
    parse(Recipe, read_yaml(CHECKOUT.recipe(name), ""), name)
    header = [line for line in text.splitlines() if line.startswith("#")]
    for word in ("result", "time", "command"):
        assert any(word in line for line in header), word


def test_the_project_has_its_built_in_competitions():
    """Check that the globs above found something to check."""
    assert {"digits", "digit-sets"} <= set(COMPETITIONS) and "baseline" in RECIPES


def test_an_unknown_competition_names_the_nearest(tiny):
    """Check that COMP is refused with the nearest name, or with all there are."""
    with pytest.raises(PodiumError, match=r"COMP: no .*tny.yaml \(did you mean tiny\?\)"):
        load_competition(tiny.project, "tny")
    with pytest.raises(PodiumError, match="there are: tiny"):
        load_competition(tiny.project, "zzzzzz")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"metrik": "accuracy"}, ["metrik", "metric"]),
        ({"columns": {"lable": "label"}}, ["columns.lable", "columns.label"]),
        ({"tables": {"trian": "x"}}, ["tables.trian", "tables.train"]),
        ({"crop": {"kind": "side"}}, ["crop.kind", "'side'"]),
        ({"recipe": {"training": {"epoch": 3}}}, ["recipe", "training.epoch", "training.epochs"]),
        ({"task": "regression"}, ["task", "'regression'"]),
        ({"task": None}, ["task"]),
        ({"columns": {"id": "id"}}, ["one of label, labels, classes"]),
        ({"columns": {"label": "a", "labels": "b"}}, ["one of label, labels, classes"]),
        ({"columns": {"labels": "tags"}}, ["multiclass", "columns.label"]),
        ({"task": "multilabel"}, ["multilabel", "columns.labels"]),
        ({"columns": {"labels": "a", "separator": ""}}, ["columns.separator"]),
    ],
)
def test_a_wrong_yaml_is_refused(tiny, keys, words):
    """Check that each fault names the file, the key and what is right."""
    tiny.configure(**keys)
    with pytest.raises(PodiumError) as refused:
        load_competition(tiny.project, "tiny")
    text = str(refused.value)
    assert "competitions/tiny.yaml" in text and "\n" not in text
    for word in words:
        assert word in text


def test_classes_are_named_once(tiny):
    """Check that two lists of classes that differ are refused."""
    keys = {"task": "multilabel", "columns": {"classes": ["a", "b"]}, "classes": ["b", "a"]}
    tiny.configure(**keys)
    with pytest.raises(PodiumError, match="leave `classes` out"):
        load_competition(tiny.project, "tiny")


def test_recipe_overrides_hold_the_crop(tiny):
    """Check that the competition's crop reaches the recipe and yields to its own `recipe:`."""
    tiny.configure(crop={"kind": "sides", "top": 2}, recipe={"image": {"size": 24}})
    overrides = load_competition(tiny.project, "tiny").recipe_overrides()
    assert overrides == {"image": {"size": 24, "crop": {"kind": "sides", "top": 2}}}
    recipe = load_recipe(tiny.project, "baseline", competition=overrides)
    assert (recipe.image.size, recipe.image.crop.top) == (24, 2)


def test_data_may_lie_anywhere(tiny, tmp_path):
    """Check that a relative folder counts from the project's root and ~ is the home folder."""
    where = load_competition(tiny.project, "tiny").folder(tiny.project)
    assert where == tiny.root / "data" / "tiny"
    tiny.configure(data=str(tmp_path / "elsewhere"))
    where = load_competition(tiny.project, "tiny").folder(tiny.project)
    assert where == tmp_path / "elsewhere"
    tiny.configure(data="~/photos")
    where = load_competition(tiny.project, "tiny").folder(tiny.project)
    assert where == Path.home() / "photos"
