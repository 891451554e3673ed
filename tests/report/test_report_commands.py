"""The command that makes a run again resolves to the very recipe that it had."""

import shlex

import pytest

from pipeline.config.recipe import load_recipe, run_name
from pipeline.report.commands import command


def record_of(tiny, overrides: str = "", seed: int = 0, limit: int | None = None) -> dict:
    """Return what training records of a run, as far as its command is told from it."""
    recipe = load_recipe(
        tiny.project,
        "baseline",
        arch="resnet10t",
        competition=tiny.data.competition.recipe_overrides(),
        overrides=overrides,
        seed=seed,
        limit=limit,
    )
    return {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_hash": recipe.hash,
        "recipe_name": "baseline",
        "arch": "resnet10t",
        "seed": seed,
        "name": run_name("baseline", recipe, overrides),
    }


def words_of(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(text) if "=" in word)


@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "training.epochs=7",
        "optimizer.lr=3e-5 image.size=48",
        "model.hidden=[512] model.drop_rate=[0.25,0.5] model.freeze=backbone",
        "image.crop.kind=sides image.crop.top=400 image.crop.bottom=0.1",
        "schedule.name=constant optimizer.betas=[0.8,0.99] training.patience=3",
    ],
)
def test_set_brings_back_the_recipe(tiny, overrides):
    """Check that what the command says resolves to the same hash."""
    record = record_of(tiny, overrides, seed=3)
    words = words_of(command(tiny.data, record["name"], record))
    assert (words["ARCH"], words["SEED"], words["COMP"]) == ("resnet10t", "3", "tiny")
    again = record_of(tiny, words.get("SET", ""), seed=3)
    assert again["recipe_hash"] == record["recipe_hash"]
    assert words.get("NAME", again["name"]) == record["name"]


def test_limits_names_and_refits_are_told(tiny):
    """Check what else a run is made by."""
    record = record_of(tiny, limit=10)
    words = words_of(command(tiny.data, "mine", record))
    assert (words["LIMIT"], words["NAME"]) == ("10", "mine")
    plain = record_of(tiny)
    told = command(tiny.data, f"{plain['name']}-refit", plain | {"refit_of": plain["name"]})
    assert told == "make train COMP=tiny ARCH=resnet10t REFIT=1"


def test_a_recipe_that_has_changed_since_goes_into_set(tiny):
    """Check a run whose recipe file says otherwise today."""
    record = record_of(tiny)
    path = tiny.project.recipe("baseline")
    path.write_text(path.read_text().replace("epochs: 1", "epochs: 9"))
    words = words_of(command(tiny.data, record["name"], record))
    assert words["SET"] == "training.epochs=1" and words["NAME"] == record["name"]


def test_what_cannot_be_told_says_so(tiny):
    """Check a recipe that is gone, a record without one, and trials, which are a study's."""
    record = record_of(tiny)
    gone = command(tiny.data, "a", record | {"recipe_name": "gone"})
    assert gone.startswith("# a: no command can be told") and "gone" in gone
    assert command(tiny.data, "a", {"recipe": {}}).startswith("# a: ")
    assert command(tiny.data, "x-1", {"study": "x"}) == "make tune COMP=tiny STUDY=x"


def test_ensembles_name_their_runs_and_menu(tiny):
    """Check members, menus and mixed folds."""
    record = {
        "members": [{"runs": ["a", "b"]}, {"runs": ["c"]}],
        "mixed": True,
        "inputs": {"menu": {"blends": ["mean", "rank"], "rules": [], "calibrations": ["none"]}},
    }
    told = command(tiny.data, "ensemble-x", record)
    words = words_of(told)
    assert (words["RUNS"], words["NAME"], words["BLEND"]) == ("a b c", "x", "mean rank")
    assert words["CALIBRATION"] == "none" and "MIXED_FOLDS=1" in told
