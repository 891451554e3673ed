"""Tests of training.learning.loop: steps, the average that follows them, and normalisation."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config.learning import Loss
from pipeline.config.recipe import Recipe
from pipeline.training.device import Setup
from pipeline.training.learning.averages import build_average
from pipeline.training.learning.learner import Learner
from pipeline.training.learning.loop import Normalise, train_step
from pipeline.training.learning.losses import build_loss
from pipeline.training.learning.optimizers import build_optimizer
from pipeline.training.learning.schedules import build_rates
from pipeline.training.networks.depth import param_groups

SETUP = Setup("cpu", "float32", True, 0, 1)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    return nn.Sequential(*layers)


def one_epoch(**sections) -> Recipe:
    training = {"epochs": 1} | sections.pop("training", {})
    return Recipe.model_validate({"training": training, **sections})


def learner_of(recipe: Recipe, steps: int) -> Learner:
    model = small_network()
    return Learner(
        model,
        build_optimizer(recipe.optimizer, param_groups(model, recipe.optimizer)),
        build_loss("multiclass", Loss(), np.arange(3), 3),
        build_rates(recipe.schedule, recipe.optimizer, steps, 1),
        SETUP,
        build_average(recipe, model, steps),
        clip_norm=recipe.optimizer.clip_norm,
    )


def take_step(learner: Learner, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 3, 8, 8, generator=generator)
    targets = torch.randint(0, 3, (8,), generator=generator)
    return train_step(learner, images, targets)[0]


def test_ema_equals_the_average_by_hand():
    """Check weights and batch-norm statistics: a plain mean up to the horizon, then exponential."""
    recipe = one_epoch(training={"ema": 0.5}, optimizer={"lr": 0.05})
    learner, seen, average = learner_of(recipe, 10), [], None
    for step in range(10):
        take_step(learner, step)
        state = learner.model.state_dict()
        seen.append({k: v.double().clone() for k, v in state.items() if v.is_floating_point()})
        if step < 5:
            average = {k: torch.stack([s[k] for s in seen]).mean(0) for k in seen[0]}
        else:
            average = {k: 0.8 * average[k] + 0.2 * seen[-1][k] for k in average}
        kept = learner.judged.state_dict()
        for key, expected in average.items():
            torch.testing.assert_close(kept[key].double(), expected, rtol=1e-5, atol=1e-6)
    assert (seen[0]["0.weight"] - seen[-1]["0.weight"]).abs().max() > 0.01


def test_without_ema_the_model_itself_is_judged():
    """Check that `ema: 0` keeps the last weights."""
    learner = learner_of(one_epoch(training={"ema": 0}), 10)
    assert learner.average is None and learner.judged is learner.model


def test_clip_norm_bounds_the_step():
    """Check that the gradient's norm is cut to `clip_norm`, seen through plain SGD at lr 1."""
    plain = {"name": "sgd", "lr": 1.0, "momentum": 0, "weight_decay": 0}
    moved = {}
    for clip in (None, 0.01):
        learner = learner_of(one_epoch(optimizer={**plain, "clip_norm": clip}), 1)
        before = nn.utils.parameters_to_vector(learner.model.parameters()).detach().clone()
        take_step(learner, 0)
        after = nn.utils.parameters_to_vector(learner.model.parameters()).detach()
        moved[clip] = (after - before).norm().item()
    assert moved[0.01] == pytest.approx(0.01, rel=1e-3) and moved[None] > 0.1


@pytest.mark.parametrize("channels_last", [True, False])
def test_normalise_equals_the_formula(channels_last):
    """Check (pixel / 255 - mean) / std, the order of channels, and the memory format."""
    mean, std = (0.1, 0.5, 0.7), (0.2, 0.3, 0.4)
    images = torch.randint(0, 256, (2, 5, 6, 3), dtype=torch.uint8)
    out = Normalise(mean, std, Setup("cpu", "float32", channels_last, 0, 1))(images)
    expected = (images.numpy() / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(out.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert out.dtype == torch.float32
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert out.is_contiguous(memory_format=wanted)


def test_training_lowers_the_loss():
    """Check that steps go downhill on a batch that is shown again and again."""
    learner = learner_of(one_epoch(optimizer={"lr": 0.01}), 30)
    losses = [take_step(learner, 0).item() for _ in range(30)]
    assert losses[-1] < losses[0] / 3
