"""Recipes: precedence, hashes of the science alone, names of runs, crops."""

from pathlib import Path

import pytest
import yaml

from pipeline.config.pictures import Crop
from pipeline.config.project import Project
from pipeline.config.recipe import Recipe, load_recipe, run_name
from pipeline.config.schema import merged, parse, parse_overrides
from pipeline.errors import PodiumError


def recipe_with(text: str) -> Recipe:
    return parse(Recipe, parse_overrides(text), "SET")


@pytest.fixture
def project(tmp_path) -> Project:
    """A project with a recipe `short`."""
    project = Project(tmp_path)
    project.recipes.mkdir(parents=True)
    content = {"training": {"epochs": 2, "batch_size": 8}, "image": {"size": 32}}
    project.recipe("short").write_text(yaml.safe_dump(content))
    return project


def test_precedence(project):
    """Check recipe < competition < SET < seed, limit and arch, leaf by leaf."""
    competition = {"training": {"batch_size": 16, "ema": 0.5}, "image": {"size": 48}}
    overrides = "image.size=64 data.limit=99"
    options = {"competition": competition, "overrides": overrides}
    recipe = load_recipe(project, "short", arch="lenet", seed=3, limit=10, **options)
    assert recipe.training.epochs == 2  # the recipe's own
    assert (recipe.training.batch_size, recipe.training.ema) == (16, 0.5)  # the competition's
    assert recipe.image.size == 64  # SET's
    assert (recipe.training.seed, recipe.model.arch, recipe.data.limit) == (3, "lenet", 10)
    for key, variable in (("training.seed=9", "SEED"), ("model.arch=other", "ARCH")):
        with pytest.raises(PodiumError, match=f"is what {variable}= sets"):
            load_recipe(project, "short", arch="lenet", overrides=key)
    plain = load_recipe(project, "short", arch="lenet")
    assert (plain.image.size, plain.training.batch_size, plain.data.limit) == (32, 8, None)


def test_an_unknown_recipe_names_the_nearest(project):
    """Check that a recipe that is not there is refused with what is."""
    with pytest.raises(PodiumError, match=r"RECIPE: no .*shrt.yaml \(did you mean short"):
        load_recipe(project, "shrt")
    with pytest.raises(PodiumError, match="there are: short"):
        load_recipe(project, "zzzzzzz")


def test_a_fault_is_blamed_on_the_right_source(project):
    """Check that a wrong key is blamed on the recipe's file or on SET, whoever has it."""
    with pytest.raises(PodiumError, match=r"SET: unknown key 'training.epoch'"):
        load_recipe(project, "short", overrides="training.epoch=3")
    project.recipe("bad").write_text("training: {epoch: 3}")
    with pytest.raises(PodiumError, match=r"recipes/bad.yaml: unknown key 'training.epoch'"):
        load_recipe(project, "bad", overrides="image.size=32")


@pytest.mark.parametrize(
    "text",
    [
        "model.arch=lenet",
        "model.drop_rate=0.1",
        "image.size=32",
        "image.crop.top=3",
        "image.cache=jpeg",
        "augment.rotate=3",
        "loss.label_smoothing=0.1",
        "optimizer.lr=0.1",
        "schedule.warmup=0.2",
        "training.epochs=3",
        "training.seed=1",
        "data.limit=10",
    ],
)
def test_the_hash_changes_with_science(text):
    """Check that whatever decides the result changes the hash; the seed alone not the seedless."""
    changed = recipe_with(text)
    assert changed.hash != Recipe().hash
    same_recipe = changed.seedless_hash == Recipe().seedless_hash
    assert same_recipe == (text == "training.seed=1")


@pytest.mark.parametrize(
    "text",
    ["describe=x", "runtime.device=cuda", "runtime.precision=float16", "runtime.threads=7"],
)
def test_the_hash_ignores_the_machine(text):
    """Check that device, precision, threads and the description leave the hash."""
    assert recipe_with(text).hash == Recipe().hash


def test_the_hash_is_of_the_resolved_recipe():
    """Check that saying a default aloud, or in another order, is the same recipe."""
    assert recipe_with("training.epochs=20").hash == Recipe().hash
    one, two = "training.epochs=3 image.size=32", "image.size=32 training.epochs=3"
    assert recipe_with(one).hash == recipe_with(two).hash


def named(overrides: str = "", name: str = "", arch: str = "lenet", **fixed) -> str:
    content = merged({"model": {"arch": arch}}, parse_overrides(overrides), fixed)
    return run_name("short", parse(Recipe, content, "SET"), overrides, name)


def test_run_names():
    """Check ARCH-RECIPE, -limitN, -sSEED, -HASH6 and NAME."""
    assert named() == "lenet-short"
    assert named(data={"limit": 50}) == "lenet-short-limit50"
    assert named(training={"seed": 3}) == "lenet-short-s3"
    assert named(name="mine") == "mine"
    full = named("image.size=32", data={"limit": 50}, training={"seed": 3})
    stem, _, digest = full.rpartition("-")
    assert stem == "lenet-short-limit50-s3"
    assert len(digest) == 6 and int(digest, 16) >= 0
    assert named(arch="timm/resnet18.a1") == "timm_resnet18.a1-short"


def test_the_order_of_set_does_not_change_the_name():
    """Check that SET's hash depends on keys and values, not on their order or spaces."""
    one = named("image.size=32 training.epochs=3")
    assert one == named("  training.epochs=3   image.size=32")
    assert one != named("image.size=32 training.epochs=4")


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "..", ".hidden", "-x", "a..b", "a b", "x" * 121, "a\n", "", "é", "a\\b"]
)
def test_names_cannot_leave_their_folder(name):
    """Check that no name of a competition, recipe or run can point elsewhere."""
    project = Project(Path("/nowhere"))
    for make in (project.competition, project.recipe, project.folds, project.submissions):
        with pytest.raises(PodiumError, match="not a usable name"):
            make(name)
    with pytest.raises(PodiumError, match="not a usable name"):
        project.run("tiny", name)
    if name:
        with pytest.raises(PodiumError, match="NAME: "):
            named(name=name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"kind": "centre", "width": 10}, "needs width and height"),
        ({"kind": "box"}, "needs columns"),
        ({"kind": "sides", "top": 0.5, "bottom": 0.5}, "top and bottom"),
        ({"kind": "sides", "left": 0.9, "right": 0.2}, "left and right"),
        ({"kind": "sides", "top": -1}, "greater than or equal to 0"),
        ({"kind": "center"}, "'centre'"),
    ],
)
def test_a_crop_that_cannot_be_is_refused(content, words):
    """Check that an incomplete crop, or one that leaves nothing, is refused."""
    with pytest.raises(PodiumError, match=words):
        parse(Crop, content, "crop")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"kind": "sides", "top": 0.4, "bottom": 0.5},
        {"kind": "sides", "top": 10, "bottom": 200},
        {"kind": "sides", "top": 0.5, "bottom": 11},
        {"kind": "centre", "width": 10, "height": 20},
        {"kind": "box", "columns": ["a", "b", "c", "d"]},
    ],
)
def test_crops_that_are_accepted(content):
    """Check that fractions, pixels and both together are accepted where something is left."""
    assert parse(Crop, content, "crop").model_dump(exclude_defaults=True).keys() == content.keys()


def test_a_recipe_is_frozen():
    """Check that nothing can change a recipe after its hash was taken."""
    with pytest.raises(ValueError, match="frozen"):
        Recipe().training.epochs = 3
