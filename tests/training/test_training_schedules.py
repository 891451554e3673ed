"""Tests of training.learning.schedules: every schedule step by step, against PyTorch's."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from pipeline.config.learning import Optimizer, Schedule
from pipeline.config.recipe import Recipe
from pipeline.errors import PodiumError
from pipeline.training.learning.schedules import (
    Rate,
    Rates,
    apply_rates,
    build_rates,
    check_schedule,
    schedule_table,
    schedule_warnings,
)

LR = 0.1
NAMES = ["warmup-cosine", "constant", "linear", "exponential", "one-cycle", "cyclic"]
NAMES += ["cosine-restarts", "plateau"]


def rates_of(steps: int, per_epoch: int = 1, optimizer: str = "adamw", **schedule) -> Rates:
    config = Optimizer(name=optimizer, lr=LR)
    return build_rates(Schedule(**schedule), config, per_epoch, steps // per_epoch)


def factors(steps: int, **schedule) -> np.ndarray:
    return schedule_table(rates_of(steps, **schedule), steps)["lr"] / LR


def plain_optimizer(name: str, lr: float = LR) -> torch.optim.Optimizer:
    weights = [torch.nn.Parameter(torch.zeros(1))]
    if name == "sgd":
        return torch.optim.SGD(weights, lr=lr, momentum=0.9)
    return torch.optim.AdamW(weights, lr=lr)


def torch_table(
    name: str, steps: int, scheduler: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]
) -> tuple[np.ndarray, np.ndarray]:
    """Return rates and momenta (steps,) of PyTorch's scheduler."""
    optimizer = plain_optimizer(name)
    schedule, found = scheduler(optimizer), []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        found.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
        optimizer.step()
        schedule.step()
    rates, momenta = np.array(found).T
    return rates, momenta


@pytest.mark.parametrize(("warmup", "final"), [(0.1, 0.0), (0.0, 0.2), (0.33, 0.01)])
def test_warmup_cosine_equals_its_formula_to_the_last_bit(warmup, final):
    """Check that the schedule of older runs is the same float at every step."""
    rates, first = rates_of(137, warmup=warmup, final=final), round(warmup * 137)
    for step in range(137):
        progress = (step - first) / max(1, 137 - first)
        factor = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
        if step < first:
            factor = (step + 1) / first
        assert rates.at(step) == Rate(LR * factor, None)


def test_warmup_cosine_rises_to_one_and_ends_near_final():
    """Check the ends and the peak of warm-up and cosine, and that each part is monotonic."""
    found = factors(200, warmup=0.1, final=0.2)
    assert found[0] == pytest.approx(1 / 20)
    assert found.argmax() == 19 and found[19] == found[20] == 1
    assert (np.diff(found[:20]) > 0).all() and (np.diff(found[20:]) < 0).all()
    assert found[110] == pytest.approx(0.6)  # half-way down the cosine
    assert 0.2 < found[-1] < 0.2003


@pytest.mark.parametrize("name", [name for name in NAMES if name != "one-cycle"])
def test_warmup_is_a_line_to_the_full_rate(name):
    """Check that all schedules but one-cycle begin alike, and go on as if they began afterwards."""
    found = factors(50, name=name, warmup=0.2, final=0.05)
    assert found[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert found[10:] == pytest.approx(factors(40, name=name, warmup=0, final=0.05))


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_constant_is_constant(name):
    """Check that the rate is the recipe's own at every step, and for plateau until it is told."""
    assert set(schedule_table(rates_of(50, name=name, warmup=0), 50)["lr"]) == {LR}


def test_linear_equals_torch():
    """Check the line against LinearLR."""
    found = factors(40, name="linear", warmup=0, final=0.1) * LR

    def scheduler(o):
        return lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=40)

    np.testing.assert_allclose(found, torch_table("sgd", 40, scheduler)[0], rtol=1e-9)


def test_exponential_equals_torch_and_ends_at_final():
    """Check the decay against ExponentialLR of the factor that ends at `final`."""
    found = factors(40, name="exponential", warmup=0, final=0.01) * LR

    def scheduler(o):
        return lr_scheduler.ExponentialLR(o, gamma=0.01 ** (1 / 39))

    np.testing.assert_allclose(found, torch_table("sgd", 40, scheduler)[0], rtol=1e-9)
    assert found[-1] == pytest.approx(LR * 0.01)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.3), (37, 0.25), (60, 0.1)])
def test_one_cycle_equals_torch(optimizer, steps, warmup):
    """Check rate and momentum of every step against OneCycleLR."""
    keys = {"name": "one-cycle", "warmup": warmup, "final": 0.001}
    table = schedule_table(rates_of(steps, optimizer=optimizer, **keys), steps)

    def scheduler(o):
        ends = {"div_factor": 25, "final_div_factor": 1 / (25 * 0.001)}
        return lr_scheduler.OneCycleLR(o, LR, total_steps=steps, pct_start=warmup, **ends)

    lrs, momenta = torch_table(optimizer, steps, scheduler)
    np.testing.assert_allclose(table["lr"], lrs, rtol=1e-9)
    np.testing.assert_allclose(table["momentum"], momenta, rtol=1e-9)
    assert table["lr"][0] == pytest.approx(LR / 25) and table["lr"][-1] == pytest.approx(LR / 1000)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(("steps", "cycles"), [(80, 4), (60, 1), (90, 6)])
def test_cyclic_equals_torch(optimizer, steps, cycles):
    """Check rate and momentum of every step against CyclicLR, with a momentum of one's own."""
    keys = {"name": "cyclic", "warmup": 0, "final": 0.1, "cycles": cycles, "momentum": (0.6, 0.9)}
    table = schedule_table(rates_of(steps, optimizer=optimizer, **keys), steps)

    def scheduler(o):
        up, momenta = steps / cycles / 2, {"base_momentum": 0.6, "max_momentum": 0.9}
        return lr_scheduler.CyclicLR(o, base_lr=0.1 * LR, max_lr=LR, step_size_up=up, **momenta)

    lrs, momenta = torch_table(optimizer, steps, scheduler)
    np.testing.assert_allclose(table["lr"], lrs, rtol=1e-9)
    np.testing.assert_allclose(table["momentum"], momenta, rtol=1e-9)


def test_momentum_runs_against_the_rate_in_the_warmup_of_cyclic():
    """Check that momentum is highest where the rate is lowest, the warm-up included."""
    rates = rates_of(100, name="cyclic", warmup=0.2, final=0.1, momentum=(0.5, 0.9))
    table = schedule_table(rates, 100)
    assert table["momentum"][19] == pytest.approx(0.5)  # the end of the warm-up
    assert table["momentum"][0] == pytest.approx(0.9 - 0.4 / 20)
    assert table["momentum"][20] == pytest.approx(0.9) == table["momentum"].max()
    for part in (slice(0, 20), slice(20, 100)):
        lrs, momenta = table["lr"][part], table["momentum"][part]
        assert np.corrcoef(lrs, momenta)[0, 1] == pytest.approx(-1)


@pytest.mark.parametrize(("steps", "cycles", "growth"), [(60, 3, 1), (70, 3, 2), (130, 3, 3)])
def test_cosine_restarts_equal_torch(steps, cycles, growth):
    """Check the rate of every step against CosineAnnealingWarmRestarts."""
    keys = {"warmup": 0, "final": 0.1, "cycles": cycles, "cycle_growth": growth}
    found = factors(steps, name="cosine-restarts", **keys) * LR
    first = steps // sum(growth**i for i in range(cycles))

    def scheduler(o):
        return lr_scheduler.CosineAnnealingWarmRestarts(o, first, growth, eta_min=0.1 * LR)

    np.testing.assert_allclose(found, torch_table("sgd", steps, scheduler)[0], rtol=1e-9)


@given(
    steps=st.integers(40, 400),
    cycles=st.integers(1, 4),
    growth=st.floats(1, 2),
    warmup=st.floats(0, 0.3),
)
def test_restarts_of_any_length_fill_the_steps(steps, cycles, growth, warmup):
    """Check where numbers do not divide: as many restarts, each at 1 in the nearest step."""
    keys = {"warmup": warmup, "cycles": cycles, "cycle_growth": growth}
    found = factors(steps, name="cosine-restarts", **keys)[round(warmup * steps) :]
    starts = np.flatnonzero(found == found[0])
    assert found[0] == 1 and len(starts) == cycles
    shares = growth ** np.arange(cycles) / (growth ** np.arange(cycles)).sum()
    exact = np.cumsum([0, *shares[:-1]]) * len(found)
    assert np.abs(starts - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", NAMES)
def test_short_runs_divide_by_nothing(name, warmup, steps):
    """Check that every rate is a share of the full one, and not 0 where `final` is not."""
    found = factors(steps, name=name, warmup=warmup, final=0.01)
    assert (found >= 0.01).all() and (found <= 1).all()
    if name in ("warmup-cosine", "linear", "cosine-restarts"):
        assert (factors(steps, name=name, warmup=warmup, final=0) > 0).all()


@pytest.mark.parametrize("name", ["cyclic", "cosine-restarts"])
def test_cycles_without_steps_are_refused(name):
    """Check that a cycle has two steps at least, and that the error says how many there are."""
    rates_of(20, name=name, warmup=0, cycles=10)
    with pytest.raises(PodiumError, match=r"^schedule.cycles: 10 cycles .* 18 after the warm-up"):
        rates_of(20, name=name, warmup=0.1, cycles=10)


@given(
    losses=st.lists(st.floats(0, 2), min_size=1, max_size=60),
    patience=st.integers(1, 4),
    factor=st.floats(0.1, 0.9),
)
def test_plateau_equals_torch(losses, patience, factor):
    """Check every epoch against ReduceLROnPlateau, which counts one epoch more than the recipe."""
    keys = {"warmup": 0, "patience": patience, "factor": factor}
    rates = rates_of(3 * len(losses), 3, name="plateau", **keys)
    optimizer = plain_optimizer("sgd")
    oracle = lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor, patience - 1, eps=0.0)
    for epoch, loss in enumerate(losses):
        for step in range(3):
            lr = rates.at(3 * epoch + step).lr
            assert lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        rates.after_epoch(loss, None)
        oracle.step(loss)


def test_plateau_watches_what_it_is_told_to():
    """Check `monitor`, and that the training loss stands in where no row is validated."""
    falling, stuck = [1.0, 0.8, 0.6, 0.4], [1.0] * 4

    def end(monitor: str, train: list[float], valid: list) -> float:
        keys = {"warmup": 0, "patience": 3, "factor": 0.5, "monitor": monitor}
        rates = rates_of(4, name="plateau", **keys)
        for losses in zip(train, valid, strict=True):
            rates.after_epoch(*losses)
        return rates.at(4).lr / LR

    assert end("train", falling, stuck) == 1 and end("train", stuck, falling) == 0.5
    assert end("valid", falling, stuck) == 0.5 and end("valid", stuck, falling) == 1
    assert end("valid", falling, [0.0] * 4) == 0.5  # a loss of 0 is one
    assert end("valid", stuck, [None] * 4) == 0.5 and end("valid", falling, [None] * 4) == 1


def test_plateau_counts_from_the_end_of_the_warmup():
    """Check that epochs of warm-up neither set the best loss nor count as bad."""
    rates = rates_of(20, 2, name="plateau", warmup=0.3, patience=1)
    for loss in (0.1, 0.2, 0.3, 9.0):  # three epochs of warm-up, then the first that counts
        rates.after_epoch(loss, None)
    assert rates.at(8).lr == LR and rates.at(5).lr == LR and rates.at(0).lr == LR / 6
    rates.after_epoch(9.0, None)
    assert rates.at(10).lr == pytest.approx(0.1 * LR)


@pytest.mark.parametrize("cut", range(6))
def test_plateau_goes_on_from_its_state(cut, tmp_path):
    """Check that a state saved after any epoch leads to the same rates as no interruption."""
    keys = {"name": "plateau", "warmup": 0.1, "patience": 2, "monitor": "valid"}
    losses = [1.0, 0.9, 0.95, 0.92, 0.91, 0.5, 0.6, 0.7, 0.8, 0.9]
    whole, first, second = (rates_of(10, **keys) for _ in range(3))
    for loss in losses:
        whole.after_epoch(9.0, loss)
    for loss in losses[:cut]:
        first.after_epoch(9.0, loss)
    torch.save(first.state(), tmp_path / "state.pt")
    second.load(torch.load(tmp_path / "state.pt", weights_only=True))
    for loss in losses[cut:]:
        second.after_epoch(9.0, loss)
    assert second.state() == whole.state() and second.at(9) == whole.at(9)
    assert whole.at(9).lr == pytest.approx(LR * 0.1**3)  # falls after epochs 4, 8 and 10


@pytest.mark.parametrize("name", [name for name in NAMES if name != "plateau"])
def test_other_schedules_do_not_heed_the_losses(name):
    """Check that losses change nothing in a schedule that is a function of the step."""
    rates = rates_of(12, 2, name=name, final=0.1)
    before = schedule_table(rates, 12)
    for _ in range(6):
        rates.after_epoch(1.0, 1.0)
    after = schedule_table(rates, 12)
    assert all(np.array_equal(before[k], after[k], equal_nan=True) for k in before)


@pytest.mark.parametrize("name", NAMES)
def test_momentum_is_set_by_two_schedules_alone(name):
    """Check who sets a momentum, its usual range, and that optimisers without any get none."""
    rates = rates_of(21, name=name, final=0.1, warmup=0.0)
    momenta = schedule_table(rates, 21)["momentum"]
    if name not in ("one-cycle", "cyclic"):
        assert np.isnan(momenta).all() and rates.at(0).momentum is None
        return
    assert momenta.min() >= 0.85 and momenta.max() == pytest.approx(0.95)
    for bare in (Optimizer(name="sgd", momentum=0), Optimizer(name="lion", betas=(0, 0.9))):
        none = build_rates(Schedule(name=name), bare, 1, 20)
        assert none.at(0).momentum is None


def test_rates_reach_each_group():
    """Check that each group gets the rate times its own scale, and the momentum where it has it."""
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr_scale": 0.5}]
    for build in (torch.optim.Adam, partial(torch.optim.SGD, momentum=0.3)):
        optimizer = build([dict(group) for group in groups])  # torch writes into the groups
        apply_rates(optimizer, Rate(0.2))
        assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]
        apply_rates(optimizer, Rate(0.2, 0.7))
        for group in optimizer.param_groups:
            wanted = {"betas": (0.7, 0.999)} if "betas" in group else {"momentum": 0.7}
            assert {key: group[key] for key in wanted} == wanted


FREE = {"name": "schedule-free"}
FREE_RECIPE = {"schedule": {"name": "constant"}, "training": {"ema": 0}}
ONE_CYCLE = {"name": "one-cycle", "momentum": [0.0, 0.9]}
REFUSED = [
    ({"optimizer": {"name": "sgd", "betas": [0.9, 0.9]}}, "optimizer.betas=null"),
    ({"schedule": {"momentum": [0.8, 0.9]}}, "warmup-cosine; set schedule.momentum=null"),
    ({"optimizer": {"name": "sgd", "momentum": 0}, "schedule": ONE_CYCLE}, "momentum of 0"),
    ({"optimizer": {"betas": [0, 0.9]}, "schedule": ONE_CYCLE}, r"betas\[0\] of 0"),
    ({"optimizer": {"name": "rmsprop"}, "schedule": ONE_CYCLE}, "raise the lowest"),
    ({"optimizer": FREE, "training": {"ema": 0}}, "set schedule.name=constant"),
    ({"optimizer": FREE, "schedule": {"name": "constant"}}, "set training.ema=0"),
    (
        {**FREE_RECIPE, "optimizer": FREE, "training": {"ema": 0, "swa": 0.5}},
        "set training.swa=0",
    ),
    ({**FREE_RECIPE, "optimizer": {**FREE, "betas": [0, 0.9]}}, "set it to 0.9"),
    (
        {**FREE_RECIPE, "optimizer": FREE, "model": {"freeze": "backbone", "unfreeze_after": 1}},
        "model.unfreeze_after=null",
    ),
]


@pytest.mark.parametrize(("recipe", "remedy"), REFUSED)
def test_impossible_pairs_are_refused_in_one_line(recipe, remedy):
    """Check that each pair that cannot go together is refused with its remedy."""
    with pytest.raises(PodiumError, match=remedy) as caught:
        check_schedule(Recipe.model_validate(recipe))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {**FREE_RECIPE, "optimizer": FREE},
        {**FREE_RECIPE, "optimizer": FREE, "model": {"freeze": "backbone"}},
        {"optimizer": {"name": "sgd", "momentum": 0}, "schedule": {"name": "one-cycle"}},
        {"optimizer": {"name": "sgd"}, "schedule": ONE_CYCLE},
        {"optimizer": {"name": "lion", "betas": [0.95, 0.98]}, "schedule": {"name": "linear"}},
    ],
)
def test_possible_pairs_are_not_refused(recipe):
    """Check that what can go together passes, and that nothing is said about it."""
    check_schedule(Recipe.model_validate(recipe))
    assert schedule_warnings(Recipe.model_validate(recipe)) == []


def test_a_rate_that_follows_the_fold_is_marked():
    """Check that plateau on the validation loss marks the run, and on the training loss not."""
    said = [
        schedule_warnings(Recipe(schedule=Schedule(name=name, monitor=monitor)))
        for name in ("plateau", "constant")
        for monitor in ("valid", "train")
    ]
    assert [len(lines) for lines in said] == [1, 0, 0, 0]
    assert said[0][0].startswith("selected-in-fold: ")
