"""Who proposes, and how far trials go: samplers and schedules against what they promise."""

import math

import pytest

from pipeline.config.study import Parameter
from pipeline.errors import PodiumError
from pipeline.search.policy import build
from pipeline.search.samplers import check_grid, propose
from pipeline.search.schedules import bracket, spent_on
from pipeline.search.seen import Ladder, Level, Seen, Step
from pipeline.search.space import Space

SPACE = Space.of(
    {
        "lr": Parameter(log=(1e-4, 1.0)),
        "name": Parameter(choices=("a", "b")),
        "momentum": Parameter(uniform=(0.0, 1.0), when={"name": "b"}),
        "hidden": Parameter(choices=([], [64], [64, 64])),
        "batch": Parameter(powers_of_two=(8, 256)),
    }
)
LADDER = Ladder((Level("low", 1 / 9, 1), Level("mid", 1 / 3, 3), Level("full", 1.0, 9)))
SAMPLERS = ("random", "grid", "quasi-random", "tpe", "gp")
SCHEDULES = ("none", "halving", "hyperband")


def loss(config: dict, level: int) -> float:
    """A smooth loss with its least at lr .01 and name b, lower at higher levels."""
    off = abs(math.log10(config["lr"]) + 2) + 0.3 * (config["name"] == "a")
    return off + 0.1 * len(config["hidden"]) + 0.5 * (2 - level)


def replay(policy, budget: float, ladder: Ladder = LADDER, seen=(), states=None):
    """Follow a policy, one step at a time, until it or the budget ends; return all trials, and keep
    what was there before each step in `states`."""
    seen = list(seen)
    while True:
        if states is not None:
            states.append(list(seen))
        left = budget - sum(spent_on(one, ladder) for one in seen)
        step = policy.next(seen, left)
        if step is None:
            return seen
        if step.trial is None:
            seen.append(Seen(len(seen), step.config, {}, step.level))
        one = seen[-1] if step.trial is None else seen[step.trial]
        losses = {**one.losses, step.level: loss(one.config, step.level)}
        seen[one.number] = Seen(one.number, one.config, losses, step.level)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_policy_is_a_function_of_what_it_has_seen(sampler, schedule):
    """Check that the budget is kept, nothing is tried twice, and that a policy that is asked again
    in the middle goes on as it did."""
    policy, states = build(SPACE, LADDER, sampler=sampler, schedule=schedule, seed=3), []
    seen = replay(policy, 6, states=states)
    assert 4 <= sum(spent_on(one, LADDER) for one in seen) <= 6 + 1e-9
    texts = [str(one.config) for one in seen]
    assert len(set(texts)) == len(texts) >= 6
    assert replay(policy, 6, seen=states[len(states) // 2]) == seen
    again = replay(build(SPACE, LADDER, sampler=sampler, schedule=schedule, seed=3), 6)
    assert again == seen
    other = replay(build(SPACE, LADDER, sampler=sampler, schedule=schedule, seed=4), 6)
    assert [one.config for one in other] != [one.config for one in seen]


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_learning_beats_chance(sampler):
    """Check that what Optuna learns finds a lower loss than chance does, over seeds."""

    def best(kind: str, seed: int) -> float:
        policy = build(SPACE, LADDER, sampler=kind, seed=seed)
        return min(one.losses[2] for one in replay(policy, 25))

    pairs = [(best(sampler, seed), best("random", seed)) for seed in range(4)]
    assert sum(a for a, _ in pairs) < 0.7 * sum(b for _, b in pairs)


def test_a_grid_ends():
    """Check that a grid is gone through once, whatever the budget."""
    small = Space.of({"lr": Parameter(log=(1e-3, 1e-1)), "name": Parameter(choices=("a", "b"))})
    policy = build(small, LADDER, sampler="grid")
    seen: list[Seen] = []
    while (step := policy.next(seen, 100)) is not None:
        seen.append(Seen(len(seen), step.config, {2: 0.0}, 2))
    assert [one.config for one in sorted(seen, key=lambda o: str(o.config))] == sorted(
        small.grid(), key=str
    )


def test_a_small_space_runs_out():
    """Check that samplers stop where all configurations are tried."""
    small = Space.of({"name": Parameter(choices=("a", "b"))})
    seen = [Seen(0, {"name": "a"}, {0: 1.0}), Seen(1, {"name": "b"}, {0: 2.0})]
    for sampler in SAMPLERS:
        assert propose(sampler, small, seen, seed=0) is None


def test_a_grid_that_nobody_means_is_refused():
    """Check that a grid of many parameters is one line."""
    with pytest.raises(PodiumError, match="a grid of 14,348,907 points"):
        check_grid(Space.of({f"k{i}": Parameter(uniform=(0, 1)) for i in range(15)}))


def test_halving_promotes_the_best_and_no_others():
    """Check each promotion of ASHA by brute force: the trial was among the best 1/eta of those that
    had reached its level, and no better one of them waited."""
    policy, seen = build(SPACE, LADDER, sampler="random", schedule="halving", eta=3), []
    promoted = 0
    for _ in range(150):
        step = policy.next(seen, 1e9)
        if step.trial is None:
            assert step.level == 0
            seen.append(Seen(len(seen), step.config, {0: loss(step.config, 0)}, 0))
            continue
        promoted += 1
        one = seen[step.trial]
        level = one.ordered
        assert step.level == level + 1
        there = sorted((o for o in seen if level in o.losses), key=lambda o: o.losses[level])
        best = there[: len(there) // 3]
        assert one in best
        assert all(o.ordered > level for o in best[: best.index(one)])
        losses = {**one.losses, step.level: loss(one.config, step.level)}
        seen[one.number] = Seen(one.number, one.config, losses, step.level)
    assert promoted > 30


def test_hyperband_spends_alike_on_its_brackets():
    """Check that each bracket begins at its own level and gets about the same share."""
    seen = replay(build(SPACE, LADDER, sampler="random", schedule="hyperband"), 30)
    spent = dict.fromkeys(range(3), 0.0)
    for one in seen:
        spent[bracket(one)] += spent_on(one, LADDER)
    assert max(spent.values()) - min(spent.values()) <= 1 + 1e-9
    assert {min(one.losses) for one in seen} == {0, 1, 2}


def test_failed_trials_and_those_in_work_are_counted():
    """Check that a trial in work is not proposed again, and that Optuna sees a failure as bad."""
    seen = [
        Seen(
            i,
            {"lr": 10.0 ** -(i % 4), "name": "a", "hidden": [], "batch": 2 ** (3 + i % 5)},
            {2: float(i % 4)},
            2,
        )
        for i in range(12)
    ]
    seen.append(Seen(12, {**seen[0].config, "lr": 0.5}, {}, 2, failed=True))
    seen.append(Seen(13, {**seen[0].config, "lr": 0.02}, {}, 2))
    for sampler in SAMPLERS:
        config = propose(sampler, SPACE, seen, seed=1)
        assert config not in [one.config for one in seen]


def test_a_step_must_be_affordable():
    """Check that no step is taken that the rest of the budget does not pay for."""
    policy = build(SPACE, LADDER, sampler="random", schedule="halving")
    assert policy.next([], 0.1) is None
    assert policy.next([], 0.12) == Step(None, policy.next([], 9).config, 0)


def test_what_a_trial_costs():
    """Check that going on costs the difference, and beginning anew the whole."""
    one = Seen(0, {}, {0: 1.0, 2: 0.5}, 2)
    assert spent_on(one, LADDER) == pytest.approx(1.0)
    anew = Ladder(LADDER.levels, continues=False)
    assert spent_on(one, anew) == pytest.approx(1 + 1 / 9)
    assert spent_on(Seen(0, {}, {}, 1), LADDER) == pytest.approx(1 / 3)
