"""Tests of training.learning.optimizers: each against its formula, in use, and resumed."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from pipeline.config.learning import Optimizer, Schedule
from pipeline.training.learning.optimizers import build_optimizer, to_evaluation, to_training
from pipeline.training.learning.schedules import Rates, apply_rates, build_rates
from pipeline.training.networks.depth import param_groups

NAMES = ["adamw", "adam", "amsgrad", "sgd", "rmsprop", "lion", "schedule-free"]
RATES = dict.fromkeys(NAMES, 0.05) | {"sgd": 0.5, "lion": 0.005, "schedule-free": 0.1}
LR, DECAY, EPS = 0.1, 0.3, 1e-8


def adam_by_hand(w, grads, betas=(0.9, 0.999), decoupled=False, amsgrad=False):
    """Kingma and Ba (2015); Loshchilov and Hutter (2019); Reddi and others (2018)."""
    m = v = highest = np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        w, g = (w * (1 - LR * DECAY), g) if decoupled else (w, g + DECAY * w)
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        highest = np.maximum(highest, v) if amsgrad else v
        w = w - LR * m / (1 - betas[0] ** t) / (np.sqrt(highest / (1 - betas[1] ** t)) + EPS)
    return w


def sgd_by_hand(w, grads, momentum=0.9, nesterov=True):
    """Sutskever and others (2013), in the form in which the buffer holds gradients."""
    buffer = np.zeros_like(w)
    for g in grads:
        g = g + DECAY * w
        buffer = momentum * buffer + g
        w = w - LR * (g + momentum * buffer if nesterov else buffer)
    return w


def rmsprop_by_hand(w, grads, momentum=0.9):
    v = buffer = np.zeros_like(w)
    for g in grads:
        g = g + DECAY * w
        v = 0.99 * v + 0.01 * g * g
        buffer = momentum * buffer + g / (np.sqrt(v) + EPS)
        w = w - LR * buffer
    return w


def lion_by_hand(w, grads, betas=(0.9, 0.99)):
    """Chen and others (2023), Symbolic Discovery of Optimization Algorithms, algorithm 2."""
    m = np.zeros_like(w)
    for g in grads:
        w = w - LR * (np.sign(betas[0] * m + (1 - betas[0]) * g) + DECAY * w)
        m = betas[1] * m + (1 - betas[1]) * g
    return w


def schedule_free_by_hand(w, grads, betas=(0.9, 0.999)):
    """Defazio and others (2024), The Road Less Scheduled, algorithm 1: the average x, of which z is
    the last point and y, between the two, is where gradients are taken."""
    x, z, v = w, w, np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        y = (1 - betas[0]) * z + betas[0] * x
        v = betas[1] * v + (1 - betas[1]) * g * g
        z = z - LR * (g / (np.sqrt(v / (1 - betas[1] ** t)) + EPS) + DECAY * y)
        x = (1 - 1 / t) * x + z / t
    return x


BY_HAND = [
    ({"name": "adamw"}, adam_by_hand, {"decoupled": True}),
    ({"name": "adamw", "betas": (0.8, 0.9)}, adam_by_hand, {"decoupled": True}),
    ({"name": "adam"}, adam_by_hand, {}),
    ({"name": "amsgrad", "betas": (0.8, 0.5)}, adam_by_hand, {"amsgrad": True}),
    ({"name": "sgd"}, sgd_by_hand, {}),
    ({"name": "sgd", "nesterov": False, "momentum": 0.5}, sgd_by_hand, {"nesterov": False}),
    ({"name": "sgd", "momentum": 0}, sgd_by_hand, {}),
    ({"name": "rmsprop"}, rmsprop_by_hand, {}),
    ({"name": "rmsprop", "momentum": 0}, rmsprop_by_hand, {}),
    ({"name": "lion"}, lion_by_hand, {}),
    ({"name": "lion", "betas": (0.5, 0.6)}, lion_by_hand, {}),
    ({"name": "schedule-free"}, schedule_free_by_hand, {}),
    ({"name": "schedule-free", "betas": (0.8, 0.9)}, schedule_free_by_hand, {}),
]


@pytest.mark.parametrize(("config", "formula", "keys"), BY_HAND)
def test_steps_equal_the_formula(config, formula, keys):
    """Check six steps on given gradients, weight decay included, against the papers' formulas."""
    rng = np.random.default_rng(0)
    w, grads = rng.normal(size=4), rng.normal(size=(6, 4)) * np.array([10, 1, 0.1, 0.01])
    keys = {**{key: config[key] for key in ("betas", "momentum") if key in config}, **keys}
    weights = nn.Parameter(torch.tensor(w))
    groups = [{"params": [weights], "weight_decay": DECAY}]
    optimizer = build_optimizer(Optimizer(lr=LR, **config), groups)
    for g in grads:
        weights.grad = torch.tensor(g)
        optimizer.step()
    to_evaluation(optimizer)
    np.testing.assert_allclose(weights.detach().numpy(), formula(w, grads, **keys), rtol=1e-6)


class Logistic:
    """A logistic regression in training on drawn labels, four steps an epoch."""

    def __init__(self, config: Optimizer, schedule: Schedule, epochs: int) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(400, 5))
        y = rng.random(400) < 1 / (1 + np.exp(-x @ [2.0, -1.0, 0.5, 0.0, 1.0]))
        self.x, self.y = torch.tensor(x).float(), torch.tensor(y).float()
        torch.manual_seed(0)
        self.model = nn.Linear(5, 1)
        self.optimizer = build_optimizer(config, param_groups(self.model, config))
        self.rates: Rates = build_rates(schedule, config, 4, epochs)
        self.step = 0

    def loss(self, rows: slice) -> torch.Tensor:
        logits = self.model(self.x[rows])[:, 0]
        return F.binary_cross_entropy_with_logits(logits, self.y[rows])

    def epoch(self) -> float:
        to_training(self.optimizer)
        total = 0.0
        for start in range(4):
            apply_rates(self.optimizer, self.rates.at(self.step))
            self.optimizer.zero_grad()
            loss = self.loss(slice(start, None, 4))
            loss.backward()
            self.optimizer.step()
            self.step, total = self.step + 1, total + loss.item()
        to_evaluation(self.optimizer)
        self.rates.after_epoch(total / 4, None)
        return self.loss(slice(None)).item()

    def state(self) -> dict:
        parts = self.model.state_dict(), self.optimizer.state_dict(), self.rates.state()
        return dict(zip(("model", "optimizer", "rates"), parts, strict=True), step=self.step)

    def load(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rates.load(state["rates"])
        self.step = state["step"]


@pytest.mark.parametrize("name", NAMES)
def test_each_optimizer_reaches_the_optimum(name):
    """Check that each minimises a logistic regression as far as scikit-learn does."""
    schedule = Schedule(name="constant" if name == "schedule-free" else "warmup-cosine")
    task = Logistic(Optimizer(name=name, lr=RATES[name], weight_decay=0), schedule, 150)
    losses = [task.epoch() for _ in range(150)]
    x, y = task.x.numpy(), task.y.numpy()
    probs = LogisticRegression(C=np.inf, tol=1e-8).fit(x, y).predict_proba(x)[:, 1]
    best = -np.mean(np.log(np.where(y == 1, probs, 1 - probs)))
    assert losses[0] > best + 0.02 and losses[-1] == pytest.approx(best, abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine-restarts", "plateau"])
def test_resumed_equals_uninterrupted(name, schedule, tmp_path):
    """Check that weights after a save, a load and the rest are those of one go, bit for bit."""
    config = Optimizer(name=name, lr=RATES[name])
    keys = {"name": "constant" if name == "schedule-free" else schedule, "patience": 1}
    whole, first, second = (Logistic(config, Schedule(**keys, final=0.1), 8) for _ in range(3))
    for _ in range(8):
        whole.epoch()
    for _ in range(3):
        first.epoch()
    torch.save(first.state(), tmp_path / "last.pt")
    second.load(torch.load(tmp_path / "last.pt", weights_only=True))
    for _ in range(5):
        second.epoch()
    assert torch.equal(whole.model.weight, second.model.weight)
    assert torch.equal(whole.model.bias, second.model.bias)
    assert not torch.equal(first.model.weight, second.model.weight)


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_spares_biases_and_normalisation(name):
    """Check by a step without gradient: weights of layers shrink, all else stays as it is."""
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    model = nn.Sequential(*layers)
    config = Optimizer(name=name, lr=0.1, weight_decay=0.5, momentum=0)
    optimizer = build_optimizer(config, param_groups(model, config))
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, now in model.named_parameters():
        if key not in ("0.weight", "4.weight"):
            assert torch.equal(now, before[key])
        elif name in ("adam", "amsgrad", "rmsprop"):  # their steps are as long for any gradient
            assert ((before[key] - now) * before[key].sign() > 0).all()
        else:
            torch.testing.assert_close(now.detach(), before[key] * 0.95)


@pytest.mark.parametrize("name", NAMES)
def test_a_group_of_half_the_rate_goes_half_as_far(name):
    """Check that `lr_scale` is heeded by every optimiser, through `apply_rates`."""
    parts = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    scaled = {"params": parts[1:], "weight_decay": 0.0, "lr_scale": 0.5}
    groups = [{"params": parts[:1], "weight_decay": 0.0}, scaled]
    config = Optimizer(name=name, lr=0.1)
    optimizer = build_optimizer(config, groups)
    apply_rates(optimizer, build_rates(Schedule(name="constant", warmup=0), config, 1, 1).at(0))
    for part in parts:
        part.grad = torch.ones(3)
    optimizer.step()
    torch.testing.assert_close(1 - parts[1].detach(), (1 - parts[0].detach()) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_may_be_unfrozen_later(name):
    """Check that those without a gradient stay, and move from the step on that gives them one."""
    parts = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    groups = [{"params": parts, "weight_decay": 0.1}]
    optimizer = build_optimizer(Optimizer(name=name, lr=0.01), groups)
    parts[0].grad = torch.ones(3)
    optimizer.step()
    assert (parts[0] < 1).all() and (parts[1] == 1).all()
    for part in parts:
        part.grad = torch.ones(3)
    optimizer.step()
    assert (parts[1] < 1).all() and torch.isfinite(parts[1]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_that_float16_skips_leaves_no_trace(name):
    """Check that a first step of infinite gradients, which the scaler skips, changes nothing."""
    ends = []
    for overflows in (True, False):
        weights = nn.Parameter(torch.linspace(-1, 1, 1000))
        groups = [{"params": [weights], "weight_decay": 0.1}]
        optimizer = build_optimizer(Optimizer(name=name, lr=0.01), groups)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, backoff_factor=0.5)
        for step in range(3 + overflows):
            optimizer.zero_grad()
            factor = float("inf") if overflows and step == 0 else 1.0
            scaler.scale((weights * factor).square().sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(weights.detach().clone())
    assert torch.equal(*ends) and not torch.equal(ends[0], torch.linspace(-1, 1, 1000))


@pytest.mark.parametrize("name", NAMES)
def test_only_schedule_free_is_judged_by_other_weights(name):
    """Check the way to evaluation and back: once for schedule-free, never for the others."""
    task = Logistic(Optimizer(name=name, lr=RATES[name]), Schedule(name="constant"), 4)
    weight = task.model.weight
    task.epoch()
    judged = weight.detach().clone()
    moved = to_evaluation(task.optimizer)
    assert torch.equal(weight, judged)  # it was there already
    to_training(task.optimizer)
    trained = weight.detach().clone()
    to_training(task.optimizer)
    assert torch.equal(weight, trained)
    assert moved is (name == "schedule-free") is not torch.equal(judged, trained)
    to_evaluation(task.optimizer)
    torch.testing.assert_close(weight.detach(), judged)


@pytest.mark.parametrize("name", NAMES)
def test_every_device_has_a_way(name):
    """Check that Adam takes one kernel on a CPU, and that unknown devices need none."""
    adam = name in ("adamw", "adam", "amsgrad")
    for device, wanted in (("cpu", True), ("meta", None)):
        weights = nn.Parameter(torch.ones(3, device=device))
        optimizer = build_optimizer(
            Optimizer(name=name), [{"params": [weights], "weight_decay": 0.0}]
        )
        assert optimizer.param_groups[0].get("fused") is (wanted if adam else None)
