"""Tests of the recipes that come with Podium: each is a document, and trains what it says."""

import re
from pathlib import Path

import pytest
import torch

from pipeline.config.project import Project
from pipeline.config.recipe import Recipe, load_recipe
from pipeline.training.check import check_recipe
from pipeline.training.networks.zoo import build_model, parameter_count
from pipeline.training.request import TrainRequest
from pipeline.training.train import train

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "experiments" / "recipes").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
# A published system each, or what one compares them with.
PUBLISHED = {
    "climbing-vgg11",
    "cars-finetune",
    "cars-frozen",
    "tshirts-frozen",
    "multilabel-resnet34",
    "multilabel-resnet18",
    "simple-cnn",
    "lenet",
    "modern",
}
HEADER = re.compile(r"#   (source|result|here|weights|time|command) +(\S.*)")
# Trained in place of an architecture that would take gigabytes; it is built whole all the same.
STAND_INS = {"climbing-vgg11": "resnet10t"}
SMALL = (
    "model.pretrained=false image.size=32 training.epochs=1 training.batch_size=16 "
    "runtime.device=cpu runtime.threads=1 runtime.workers=0"
)


def header(path: Path) -> dict[str, str]:
    """Return the lines of the comment at the top that say something under a name."""
    lines = path.read_text().split("\ndescribe:")[0].splitlines()
    return {match[1]: match[2] for match in map(HEADER.fullmatch, lines) if match}


def shipped(name: str, **options) -> Recipe:
    return load_recipe(Project(ROOT), name, **options)


def task_of(name: str) -> str:
    return "multilabel" if name.startswith("multilabel") else "multiclass"


def test_every_published_system_has_its_recipe():
    """Check that none is missing, and that docs/recipes.md has a row for each file."""
    assert set(NAMES) >= PUBLISHED
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs" / "recipes.md").read_text(), re.M)
    assert sorted(rows) == NAMES


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_header_says_what_a_reader_needs(path):
    """Check source, result, time and a command that trains by this very recipe."""
    said = header(path)
    assert said.keys() >= {"source", "result", "time", "command"}
    if path.stem in PUBLISHED:
        assert said["result"].startswith("published: ")
        assert said.keys() >= {"here", "weights"}
    command = said["command"]
    assert "make train" in command
    named = re.search(r"RECIPE=([\w-]+)", command)
    assert (named[1] if named else "baseline") == path.stem
    recipe = shipped(path.stem)
    assert recipe.describe and bool(recipe.model.arch) != ("ARCH=" in command)
    assert all(len(line) <= 120 for line in path.read_text().splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_what_a_recipe_says_goes_together(make_tiny, name):
    """Check that nothing is refused on a competition of its kind, with its own architecture."""
    data = make_tiny(task=task_of(name)).data
    arch = shipped(name).model.arch or "lenet"
    check_recipe(shipped(name, arch=arch, overrides="model.pretrained=false"), data)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains(make_tiny, name):
    """Check one epoch of one fold, by the architecture that the recipe names if it names one."""
    tiny = make_tiny(task=task_of(name), images=True)
    tiny.project.recipe(name).write_text((ROOT / f"experiments/recipes/{name}.yaml").read_text())
    arch = STAND_INS.get(name) or ("" if shipped(name).model.arch else "resnet10t")
    tiny.folds(n_folds=2)
    request = TrainRequest("tiny", [arch] if arch else [], name, overrides=SMALL, only=(0,))
    summary = train(tiny.project, request, lambda _: None)[0]
    assert summary.run.recipe.model.arch == (arch or shipped(name).model.arch)
    assert 0 <= summary.record["folds"]["0"]["score"] <= 1
    chosen = shipped(name).training.checkpoint == "best"
    assert any("selected-in-fold" in said for said in summary.record["warnings"]) == chosen


@pytest.mark.parametrize("name", sorted(STAND_INS))
def test_what_is_not_trained_is_built(name):
    """Check VGG11's 132.9 million parameters with 512 features in place of 1,000 classes."""
    with torch.device("meta"):  # shapes without memory
        network = build_model(shipped(name, overrides="model.pretrained=false"), 3)
        assert network(torch.zeros(2, 3, 224, 224)).shape == (2, 3)
    convolutions, fully_connected = 9_220_480, 25_088 * 4096 + 4096 + 4096 * 4096 + 4096
    assert parameter_count(network) == convolutions + fully_connected + 4097 * 512 + 513 * 3


def test_climbing_is_what_was_published():
    """Check the published settings, key by key."""
    recipe = shipped("climbing-vgg11")
    assert recipe.model.arch.startswith("vgg11") and recipe.model.freeze == "none"
    assert recipe.model.drop_rates == (0.0, 0.5) and len(recipe.model.hidden) == 1
    assert (recipe.image.size, recipe.training.batch_size, recipe.training.epochs) == (224, 32, 50)
    optimizer, schedule = recipe.optimizer, recipe.schedule
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("adam", 1e-4, 1e-3)
    assert (schedule.name, schedule.warmup, schedule.final) == ("exponential", 0, 0.01)
    assert (recipe.training.sampling, recipe.loss.class_weights) == ("balanced", "none")
    assert recipe.loss.name == "cross-entropy" and recipe.training.checkpoint == "best"
    augment = recipe.augment
    assert augment.scale is None and not augment.rand_augment and not recipe.mix.is_on
    changes = "horizontal_flip vertical_flip rotate brightness contrast saturation hue erasing"
    assert not any(getattr(augment, name) for name in changes.split())


def test_the_multilabel_photos_are_what_was_published():
    """Check augmentation, and a rate from .01 to about 1e-7 against momentum .85 to .95."""
    recipe = shipped("multilabel-resnet34")
    assert recipe.augment.scale == (0.08, 1.0) and recipe.augment.rotate == 25
    assert recipe.augment.ratio == pytest.approx((3 / 4, 4 / 3), abs=1e-3)
    assert recipe.augment.horizontal_flip == 0.5 and recipe.loss.name == "bce"
    assert recipe.optimizer.lr == 0.01
    assert recipe.optimizer.lr * recipe.schedule.final == pytest.approx(1e-7)
    assert recipe.schedule.momentum == (0.85, 0.95)


def test_the_t_shirts_are_what_was_published():
    """Check a frozen DenseNet121 with dropout .25 and .5 around one hidden layer."""
    recipe = shipped("tshirts-frozen")
    assert recipe.model.arch.startswith("densenet121") and recipe.features is not None
    assert recipe.model.drop_rates == (0.25, 0.5) and len(recipe.model.hidden) == 1
    text = (ROOT / "experiments/recipes/tshirts-frozen.yaml").read_text()
    assert "crop: {kind: sides, top: 400, bottom: 100, left: 50, right: 50}" in text
