"""Range tests of real, very small trainings: steps, files, words, and what stays untouched."""

import csv
import importlib
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from pipeline.config.schema import parse_overrides
from pipeline.errors import PodiumError
from pipeline.lr_find import LrFindRequest, lr_find, report_parts
from pipeline.lr_find import sweep as sweeping
from pipeline.lr_find.smooth import smoothed
from pipeline.lr_find.suggest import suggest
from pipeline.lr_find.sweep import Divergence, Rising, Sweep, bounds
from pipeline.training.learning import loop
from pipeline.training.train import TrainRequest, train

REQUEST = LrFindRequest("tiny", "lenet", steps=14)
NAME = "lr-find-lenet-baseline"
FILES = ["lr-find.csv", "lr-find.json", "lr-find.png", "schedule.png"]


def found_of(tiny, said=None, **options):
    say = (lambda line: None) if said is None else said.append
    return lr_find(tiny.project, replace(REQUEST, **options), say)


def columns_of(path):
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


@pytest.fixture
def known_losses(monkeypatch):
    """Let sweeps have known losses instead of steps: a valley, shallower for higher seeds."""

    def stub(session, rising):
        seed = session.job.recipe.training.seed
        lrs = np.array([rising.at(step).lr for step in range(rising.steps)])
        depth = 1 / (1 + seed)
        losses = 2 - depth * np.exp(-(np.log10(lrs / 1e-2) ** 2))
        return Sweep(lrs, losses, None)

    # the package has a function of the module's name
    module = importlib.import_module("pipeline.lr_find.lr_find")
    monkeypatch.setattr(module, "sweep", stub)


def test_files_say_what_was_found(tiny, known_losses):
    """Check JSON and CSV against each other, against the known losses and brute force."""
    made = found_of(tiny, steps=100, seeds=(0, 1))
    folder = tiny.run(NAME)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    content, table = json.loads((folder / "lr-find.json").read_text()), columns_of(made.paths[1])
    assert list(table) == ["step", "lr", "loss_seed_0", "loss_seed_1", "loss", "smoothed"]
    mean = (table["loss_seed_0"] + table["loss_seed_1"]) / 2
    assert table["loss"] == pytest.approx(mean)
    both = [smoothed(table[f"loss_seed_{seed}"]) for seed in (0, 1)]
    assert table["smoothed"] == pytest.approx(np.mean(both, axis=0), rel=1e-6)
    lowest = table["lr"][table["smoothed"].argmin()]
    assert made.lr == content["suggestion"]["lr"] == pytest.approx(lowest / 3)
    assert lowest == pytest.approx(1e-2, rel=0.2)
    assert content["suggestions"]["minimum/10"] == pytest.approx(lowest / 10)
    assert (content["seeds"], content["fold"], content["steps_taken"]) == ([0, 1], 0, 100)
    for seed in ("0", "1"):
        own = suggest(table["lr"], smoothed(table[f"loss_seed_{seed}"]))
        assert content["by_seed"][seed]["suggestions"] == pytest.approx(own.by_rule)
    for path in made.paths[2:]:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_report_ends_with_a_command_that_trains(tiny, known_losses):
    """Check that the printed command carries recipe, seeds and SET, with its own rate alone."""
    overrides = "training.batch_size=8  optimizer.lr=0.5 optimizer.name=adam"
    made = found_of(tiny, overrides=overrides, seeds=(0, 1), steps=100)
    parts = report_parts(made)
    words = shlex.split(parts[-1].removeprefix("next: "))
    assert words[:5] == ["make", "train", "COMP=tiny", "ARCH=lenet", "SEED=0 1"]
    assert parse_overrides(words[5].removeprefix("SET=")) == {
        "training": {"batch_size": 8},
        "optimizer": {"name": "adam", "lr": pytest.approx(made.lr, rel=0.05)},
    }
    headers, rows = parts[0]
    assert headers == ["rule", "learning rate", "seed 0", "seed 1"]
    assert [row[0] for row in rows] == ["minimum/3", "minimum/10", "steepest", "valley"]
    plain = report_parts(found_of(tiny, steps=100))[-1]
    assert plain == f'next: make train COMP=tiny ARCH=lenet SET="optimizer.lr={made.lr:.1e}"'


def test_a_test_again_makes_the_same_files(tiny, snapshot):
    """Check that real steps repeat themselves to the byte, and differ by the seed."""
    found_of(tiny)
    first = snapshot(tiny.run(NAME))
    found_of(tiny)
    assert snapshot(tiny.run(NAME)) == first
    found_of(tiny, seeds=(1,))
    assert snapshot(tiny.run(NAME)).keys() == first.keys()
    assert snapshot(tiny.run(NAME)) != first


def test_the_steps_are_those_of_training(tiny, monkeypatch):
    """Check that the first steps see what those of a training see: the same pictures, augmented
    alike, and labels, in the same order."""
    seen, steps = [], sweeping.train_step

    def watched(learner, images, targets, *rest):
        seen.append((images.clone(), targets.clone()))
        return steps(learner, images, targets, *rest)

    monkeypatch.setattr(sweeping, "train_step", watched)
    found_of(tiny)
    swept = list(seen)
    seen.clear()
    monkeypatch.setattr(loop, "train_step", watched)
    train(tiny.project, TrainRequest("tiny", ["lenet"], only=[0]), lambda line: None)
    assert 1 < len(seen) < len(swept)
    for (mine, labels), (theirs, others) in zip(swept, seen, strict=False):
        assert torch.equal(mine, theirs) and torch.equal(labels, others)


def test_nothing_else_is_written(tiny, snapshot):
    """Check that folds and a trained run stay as they are, and that no folds are made."""
    before = snapshot(tiny.root)
    found_of(tiny)
    own = {str((tiny.run(NAME) / name).relative_to(tiny.root)) for name in FILES}
    after = snapshot(tiny.root)
    assert after.keys() - before.keys() == own
    train(tiny.project, TrainRequest("tiny", ["lenet"], only=[0]), lambda line: None)
    trained = snapshot(tiny.root)
    found_of(tiny, only=(1,))
    now = snapshot(tiny.root)
    assert {path for path in now if now[path] != trained.get(path)} <= own
    assert now.keys() == trained.keys()


@pytest.mark.parametrize(
    "overrides",
    [
        "optimizer.name=sgd",
        "optimizer.name=schedule-free schedule.name=constant training.ema=0",
        "schedule.name=one-cycle schedule.momentum=[0.8,0.9]",
        "mix.mixup=0.4 mix.until=0.5 augment.first_size=14",
        "model.freeze=backbone model.unfreeze_after=1 training.epochs=2",
    ],
)
def test_every_recipe_is_tested(tiny, overrides):
    """Check that optimisers, schedules, mixing and frozen layers go through, with finite losses."""
    made = found_of(tiny, overrides=overrides)
    table = columns_of(made.paths[1])
    assert len(table["lr"]) >= 8 and np.isfinite(table["loss"]).all()
    said = "\n".join(part for part in report_parts(made) if isinstance(part, str))
    assert ("held all through the test" in said) == ("unfreeze_after" in overrides)


def test_several_labels_are_tested(make_tiny):
    """Check a multi-label competition."""
    made = found_of(make_tiny(task="multilabel", images=True))
    assert np.isfinite(columns_of(made.paths[1])["loss"]).all()


def test_rates_keep_to_the_layers(tiny, monkeypatch):
    """Check that with layer decay each group has its share of the rising rate, and the head all of
    it; momentum stays the recipe's."""
    rates = []

    def watched(learner, *rest):
        groups = learner.optimizer.param_groups
        rates.append([(g["lr"], g["lr_scale"], g["betas"]) for g in groups])
        return torch.tensor(1.0), None

    monkeypatch.setattr(sweeping, "train_step", watched)
    found_of(tiny, overrides="optimizer.layer_decay=0.5 optimizer.betas=[0.8,0.99]")
    rising = Rising(*bounds("adamw"), REQUEST.steps)
    scales = {scale for _, scale, _ in rates[0]}
    assert 1.0 in scales and min(scales) < 0.5
    for step, groups in enumerate(rates):
        for lr, scale, betas in groups:
            assert lr == pytest.approx(rising.at(step).lr * scale)
            assert betas == (0.8, 0.99)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion", "rmsprop", "schedule-free"])
def test_rates_rise_by_one_factor(name):
    """Check that rates rise from the lowest to the highest, each by the same factor, and that the
    defaults of the field lie well inside."""
    low, high = bounds(name)
    rising = Rising(low, high, 100)
    lrs = np.array([rising.at(step).lr for step in range(100)])
    assert lrs == pytest.approx(np.geomspace(low, high, 100))
    usual = {"sgd": 0.1, "lion": 1e-4}.get(name, 1e-3)
    assert 100 * low < usual < high / 50


def test_divergence_stops_the_test():
    """Check that a loss that quadruples stops, one that is not finite at once, and that neither a
    single wild batch nor noise near 0 does."""
    divergence = Divergence()
    assert [divergence.seen(2.0 - 0.05 * k) for k in range(20)] == [None] * 20
    assert divergence.seen(1e9) is None
    assert divergence.seen(1.0) is None
    grown = [divergence.seen(1.0 * 2**k) for k in range(12)]
    first = next(k for k, reason in enumerate(grown) if reason)
    assert "4 times its lowest" in grown[first]
    assert 4 < 2**first < 4 * 2**6
    assert "not finite" in divergence.seen(float("nan"))
    assert "not finite" in Divergence().seen(float("inf"))
    small = Divergence()
    losses = [*np.linspace(2.0, 0.001, 30), *np.full(30, 0.05)]
    assert [small.seen(loss) for loss in losses] == [None] * 60


def test_a_loss_that_is_not_finite_ends_the_curve(tiny, monkeypatch):
    """Check that steps stop there, that the last loss is left out, and what a curve that is too
    short says."""
    given = iter([*np.linspace(2, 1, 6), np.inf])
    monkeypatch.setattr(sweeping, "train_step", lambda *a: (torch.tensor(next(given)), None))
    said = []
    made = found_of(tiny, said)
    assert columns_of(made.paths[1])["loss"] == pytest.approx(np.linspace(2, 1, 6))
    assert "6 steps; the loss was not finite" in said[-1]
    assert made.lr is None and made.record["next"] is None
    assert "diverged after 6 steps" in made.record["reason"]
    assert not any("next:" in part for part in report_parts(made) if isinstance(part, str))
    given = iter([np.nan])
    assert found_of(tiny).record["steps_taken"] == 0
    assert not (tiny.run(NAME) / "lr-find.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "ARCH: which architecture?"),
        (["--arch", "lenett"], "lenet"),
        (["--arch", "lenet", "--seed", "0 0"], "SEED: must name"),
        (["--arch", "lenet", "--seed", "x"], "SEED: 'x' is not a list"),
        (["--arch", "lenet", "--only", "0 1"], "ONLY: a range test is of one fold"),
        (["--arch", "lenet", "--only", "9"], "ONLY: there is no fold 9"),
        (["--arch", "lenet", "--set", "features.views=1"], "features: a range test"),
        (["--arch", "lenet", "--set", "schedule.name=cyclic schedule.cycles=50"], "cycles"),
    ],
)
def test_mistakes_are_one_line(tiny, podium, snapshot, arguments, words):
    """Check that each mistake is told in one line with status 2, and that nothing is written."""
    before = snapshot(tiny.root)
    result = podium(tiny.root, "lr-find", "--comp", "tiny", *arguments)
    assert result.status == 2
    errors = result.err.strip().splitlines()
    assert len([line for line in errors if line.startswith("error: ")]) == 1
    assert words in errors[-1]
    assert snapshot(tiny.root) == before


def test_the_command_line_prints_the_report(tiny, podium, known_losses):
    """Check that the verb prints rates and the next command, and never touches a run's folder."""
    result = podium(tiny.root, "lr-find", "--comp", "tiny", "--arch", "lenet", "--seed", "0 1")
    assert result.status == 0, result.err
    assert "minimum/3" in result.out and "next: make train COMP=tiny" in result.out
    (tiny.run(NAME) / "run.json").write_text("{}")
    with pytest.raises(PodiumError, match="among whose files no range test belongs"):
        found_of(tiny)


def test_a_recipe_of_another_name_is_named(tiny, known_losses):
    """Check that the next command names a recipe that is not the baseline."""
    recipes = tiny.project.recipes
    content = yaml.safe_load((recipes / "baseline.yaml").read_text())
    (recipes / "other.yaml").write_text(yaml.safe_dump(content))
    made = found_of(tiny, recipe="other", steps=100)
    assert made.name == "lr-find-lenet-other"
    assert "RECIPE=other" in made.record["next"]
