"""Tests of pipeline.training.optim and loop: schedule, average, loss, decay and normalisation."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config.learning import Optimizer, Schedule
from pipeline.config.recipe import Recipe
from pipeline.training.device import Setup
from pipeline.training.loop import Learner, Normalise, train_step
from pipeline.training.optim import build_ema, build_loss, build_optimizer, lr_factor

SETUP = Setup("cpu", "float32", True, 0, 1)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    return nn.Sequential(*layers)


def learner_of(recipe: Recipe, steps: int) -> Learner:
    model = small_network()
    optimizer = build_optimizer(recipe.optimizer, model)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    ema = build_ema(recipe, model, steps)
    return Learner(model, ema, optimizer, scaler, build_loss("multiclass", 0.0))


def take_step(learner: Learner, recipe: Recipe, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 3, 8, 8, generator=generator)
    targets = torch.randint(0, 3, (8,), generator=generator)
    return train_step(learner, images, targets, recipe, SETUP)[0]


def test_schedule_warms_up_to_one_and_ends_near_final():
    """Check the ends and the peak of warm-up and cosine, and that each part is monotonic."""
    schedule, steps = Schedule(warmup=0.1, final=0.2), 200
    factors = np.array([lr_factor(schedule, step, steps) for step in range(steps)])
    assert factors[0] == pytest.approx(1 / 20)
    assert factors.argmax() == 19 and factors[19] == factors[20] == 1
    assert (np.diff(factors[:20]) > 0).all() and (np.diff(factors[20:]) < 0).all()
    assert factors[110] == pytest.approx(0.6)  # half-way down the cosine
    assert 0.2 < factors[-1] < 0.2003
    assert lr_factor(schedule, steps, steps) == pytest.approx(0.2)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.99])
def test_schedule_of_few_steps_stays_positive(steps, warmup):
    """Check that short runs divide by nothing and never train at a rate of zero."""
    factors = [lr_factor(Schedule(warmup=warmup), step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)


def test_constant_schedule_is_constant():
    """Check that `constant` is 1 after its warm-up, which may be none."""
    assert {lr_factor(Schedule(name="constant", warmup=0), s, 50) for s in range(50)} == {1.0}
    warm = [lr_factor(Schedule(name="constant", warmup=0.2), s, 50) for s in range(50)]
    assert warm[:10] == pytest.approx(np.arange(1, 11) / 10) and set(warm[10:]) == {1.0}


def test_ema_equals_the_average_by_hand():
    """Check weights and batch-norm statistics: a plain mean up to the horizon, then exponential."""
    recipe = Recipe.model_validate({"training": {"ema": 0.5}, "optimizer": {"lr": 0.05}})
    learner, seen, average = learner_of(recipe, 10), [], None
    for step in range(10):
        take_step(learner, recipe, step)
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
    learner = learner_of(Recipe.model_validate({"training": {"ema": 0}}), 10)
    assert learner.ema is None and learner.judged is learner.model


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_losses_equal_their_formulas(smoothing):
    """Check smoothed binary and multi-class cross-entropy against the written-out sums."""
    rng = np.random.default_rng(0)
    logits, sets = rng.normal(size=(9, 4)) * 3, rng.integers(0, 2, (9, 4))
    y = sets * (1 - smoothing) + 0.5 * smoothing
    p = 1 / (1 + np.exp(-logits))
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    bce = build_loss("multilabel", smoothing)
    found = bce(torch.tensor(logits), torch.tensor(sets, dtype=torch.int8))
    assert found.item() == pytest.approx(expected)
    kinds = rng.integers(0, 4, 9)
    y = np.eye(4)[kinds] * (1 - smoothing) + smoothing / 4
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    ce = build_loss("multiclass", smoothing)(torch.tensor(logits), torch.tensor(kinds))
    assert ce.item() == pytest.approx(-(y * np.log(softmax)).sum(1).mean())


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weight_decay_spares_biases_and_normalisation(name):
    """Check by a step without gradient: weights of layers shrink, all else stays as it is."""
    model = small_network()
    optimizer = build_optimizer(Optimizer(name=name, lr=0.1, weight_decay=0.5, momentum=0), model)
    before = {k: v.clone() for k, v in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, now in model.named_parameters():
        factor = 0.95 if key in ("0.weight", "4.weight") else 1.0
        torch.testing.assert_close(now.detach(), before[key].detach() * factor)


def test_clip_norm_bounds_the_step():
    """Check that the gradient's norm is cut to `clip_norm`, seen through plain SGD at lr 1."""
    plain = {"name": "sgd", "lr": 1.0, "momentum": 0, "weight_decay": 0}
    moved = {}
    for clip in (None, 0.01):
        recipe = Recipe.model_validate({"optimizer": {**plain, "clip_norm": clip}})
        learner = learner_of(recipe, 1)
        before = nn.utils.parameters_to_vector(learner.model.parameters()).detach().clone()
        take_step(learner, recipe, 0)
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
    recipe = Recipe.model_validate({"optimizer": {"lr": 0.01}})
    learner = learner_of(recipe, 30)
    losses = [take_step(learner, recipe, 0).item() for _ in range(30)]
    assert losses[-1] < losses[0] / 3
