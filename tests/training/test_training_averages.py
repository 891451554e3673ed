"""Tests of training.learning.averages: EMA as timm has it, SWA by hand, batch norm by torch."""

import copy
import io

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import update_bn

from pipeline.config.recipe import Recipe
from pipeline.training.learning.averages import Average, build_average, measure_batch_norm

STEPS = 3  # an epoch


class Network(nn.Module):
    """A convolution, batch norm, dropout and a second batch norm: statistics depend on order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout(0.0), nn.Linear(4, 3)
        self.last = nn.BatchNorm1d(3, momentum=0.3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = self.norm(self.conv(images)).relu().mean((2, 3))
        return self.last(self.head(self.drop(pooled)))


def network() -> Network:
    torch.manual_seed(0)
    return Network()


def recipe(**training) -> Recipe:
    return Recipe.model_validate({"training": {"ema": 0, **training}})


def images(seed: int) -> torch.Tensor:
    return torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 2 + 1


def step(model: nn.Module, seed: int) -> None:
    """Change weights and statistics, as a training step does."""
    model.train()
    loss = model(images(seed)).square().mean() + model.head.weight.sum()
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight -= 0.1 * weight.grad.sign() * (1 + seed % 3)


def train(average: Average, model: nn.Module, epochs: range) -> list[dict[str, torch.Tensor]]:
    """Train for `epochs`; return the model's state at the end of each."""
    ends = []
    for epoch in epochs:
        for number in range(epoch * STEPS, (epoch + 1) * STEPS):
            step(model, number)
            average.update(model, number + 1)
        average.after_epoch(model, epoch)
        ends.append({k: v.clone() for k, v in model.state_dict().items()})
    return ends


def equal(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_none_unless_asked_for():
    """Check that a recipe without ema and swa has no average."""
    assert build_average(recipe(), network(), STEPS) is None


@pytest.mark.parametrize(("ema", "epochs", "steps"), [(0.05, 20, 7), (0.3, 3, 11), (0.9, 2, 3)])
def test_ema_is_that_of_timm_bit_by_bit(ema, epochs, steps):
    """Check every number after each step against ModelEmaV3 with the horizon in steps."""
    model = network()
    average = build_average(recipe(ema=ema, epochs=epochs), model, steps)
    decay = 1 - 1 / max(1.0, ema * (steps * epochs))
    warmup = {"use_warmup": True, "warmup_gamma": 1.0, "warmup_power": 1.0}
    peer = ModelEmaV3(model, decay=decay, **warmup)
    for number in range(12):
        step(model, number)
        average.update(model, number + 1)
        peer.update(model, step=number + 1)
        assert equal(average.module, peer.module)
        average.after_epoch(model, number)
    assert equal(average.module, peer.module) and not equal(average.module, model)
    assert average.judged(model) is average.module and not average.stale_statistics


@pytest.mark.parametrize(
    ("swa", "epochs", "counted"), [(0.5, 6, 3), (0.25, 10, 3), (0.01, 5, 1), (1.0, 4, 4)]
)
def test_swa_is_the_mean_of_the_weights_at_the_last_epochs_ends(swa, epochs, counted):
    """Check every weight against the mean in float64, and who is judged after each epoch."""
    model = network()
    average, ends = build_average(recipe(swa=swa, epochs=epochs), model, STEPS), []
    for epoch in range(epochs):
        ends += train(average, model, range(epoch, epoch + 1))
        if epoch < epochs - counted:
            assert average.judged(model) is model and not average.stale_statistics
            continue
        assert average.judged(model) is average.module and average.stale_statistics
        window = ends[epochs - counted :]
        for key, got in average.module.named_parameters():
            mean = torch.stack([end[key].double() for end in window]).mean(0)
            torch.testing.assert_close(got.double(), mean, rtol=1e-5, atol=1e-6)
        assert equal(average.module, model) == (len(window) == 1)
    assert not average.module.training


@pytest.mark.parametrize("keys", [{"ema": 0.4}, {"swa": 0.6}])
@pytest.mark.parametrize("killed", [1, 3, 4])
def test_goes_on_from_a_checkpoint_bit_by_bit(keys, killed):
    """Check that a state that was written, read with weights only, and loaded into a new average
    ends in the same numbers, statistics and judgement."""
    whole, broken = network(), network()
    settings = recipe(epochs=5, **keys)
    unbroken = build_average(settings, whole, STEPS)
    train(unbroken, whole, range(5))
    first = build_average(settings, broken, STEPS)
    train(first, broken, range(killed))
    if killed == 3 and first.stale_statistics:  # else the state is written before it is measured
        measure_batch_norm(first.module, [images(1)], first.module)
        first.stale_statistics = False
    file = io.BytesIO()
    torch.save({"model": broken.state_dict(), "average": first.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = network()
    second = build_average(settings, resumed, STEPS)
    resumed.load_state_dict(state["model"])
    second.load_state_dict(state["average"])
    assert equal(second.module, first.module)
    assert second.stale_statistics == first.stale_statistics
    assert (second.judged(resumed) is resumed) == (first.judged(broken) is broken)
    train(second, resumed, range(killed, 5))
    assert equal(second.module, unbroken.module) and equal(resumed, whole)
    assert second.stale_statistics == unbroken.stale_statistics


def test_statistics_are_those_of_update_bn():
    """Check against torch over batches of unequal size, whatever the statistics were before, and
    that momenta and modes come back."""
    model = network()
    for number in range(4):
        step(model, number)
    peer = copy.deepcopy(model)
    batches = [images(10), images(11)[:5], images(12)[:3] * 3]
    model.eval()
    model.conv.train()
    measure_batch_norm(model, iter(batches), model)
    update_bn(batches, peer)
    assert equal(model, peer)
    assert (model.norm.momentum, model.last.momentum) == (0.1, 0.3)
    modes = {name: module.training for name, module in model.named_modules() if name}
    assert modes == {"conv": True, "norm": False, "drop": False, "head": False, "last": False}
    assert not model.training


def test_statistics_do_not_know_dropout_nor_draw():
    """Check that dropout is off while statistics are measured, and no random number is drawn."""
    model, plain = network(), network()
    model.drop.p = 0.7
    torch.manual_seed(5)
    state = torch.get_rng_state()
    measure_batch_norm(model.train(), [images(1), images(2)], model)
    measure_batch_norm(plain.train(), [images(1), images(2)], plain)
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(model, plain) and model.training and model.drop.training
    assert all(weight.grad is None for weight in model.parameters())


def test_modes_come_back_after_an_error():
    """Check that a batch that fails leaves momenta and modes as they were."""
    model = network().train()
    with pytest.raises(RuntimeError):
        measure_batch_norm(model, [images(1), torch.zeros(2, 9, 6, 6)], model)
    assert all(module.training for module in model.modules())
    assert (model.norm.momentum, model.last.momentum) == (0.1, 0.3)


def test_nothing_is_read_without_batch_norm():
    """Check a network without it, and that its average is never stale."""

    def none():
        raise AssertionError("a batch was read")
        yield

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    measure_batch_norm(model, none(), model)
    average = build_average(recipe(swa=1.0, epochs=1), model, 1)
    average.after_epoch(model, 0)
    assert average.judged(model) is average.module and not average.stale_statistics


def test_frozen_layers_keep_their_statistics():
    """Check that a layer whose weight is not trained is left alone, also in an average that was
    made before it was frozen or thawed."""
    model = network()
    average = build_average(recipe(swa=1.0, epochs=3), model, STEPS)
    model.norm.requires_grad_(False)
    train(average, model, range(1))
    kept = copy.deepcopy(model.norm.state_dict())
    measure_batch_norm(average.module, [images(4)], average.module)
    assert all(torch.equal(kept[k], v) for k, v in average.module.norm.state_dict().items())
    assert not torch.equal(average.module.last.running_mean, model.last.running_mean)
    model.norm.requires_grad_(True)
    train(average, model, range(1, 2))
    measure_batch_norm(average.module, [images(4)], average.module)
    assert not torch.equal(average.module.norm.running_mean, model.norm.running_mean)


def test_average_and_model_share_nothing():
    """Check that training goes on without touching the average."""
    for keys in ({"swa": 1.0}, {"ema": 0.5}):
        model = network()
        average = build_average(recipe(epochs=2, **keys), model, STEPS)
        train(average, model, range(1))
        kept = copy.deepcopy(average.module.state_dict())
        step(model, 50)
        assert all(torch.equal(kept[k], v) for k, v in average.module.state_dict().items())
