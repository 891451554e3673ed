"""Who proposes, and how far trials go: samplers and schedules against what they promise."""

import math

import pytest

from pipeline.config.study import Parameter
from pipeline.errors import PodiumError
from pipeline.search.policy import build
from pipeline.search.samplers import check_grid, propose, view
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
        levels = range(step.level + 1) if ladder.continues else [step.level]
        losses = one.losses | {level: loss(one.config, level) for level in levels}
        begun = step.level if step.trial is None else one.begun
        seen[one.number] = Seen(one.number, one.config, losses, step.level, begun=begun)


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
    assert {one.begun for one in seen} == {0, 1, 2}
    assert any(one.begun == 0 and one.ordered == 2 for one in seen)


def test_what_optuna_is_shown():
    """Check that Optuna sees one level, the highest with more trials than parameters; a failure as
    the worst of it, what is in work as running, and nothing of trials that did not get there."""
    config = {"lr": 0.1, "name": "a", "hidden": [64], "batch": 8}
    seen = [
        Seen(i, {**config, "batch": 2 ** (3 + i % 5)}, {0: float(i), 1: 10.0 + i}, 1)
        for i in range(6)
    ]
    seen += [Seen(6, config, {0: 0.5}, 0), Seen(7, config, {}, 0, failed=True)]
    seen += [Seen(8, config, {}, 0), Seen(9, config, {0: 1.0, 1: 9.0, 2: 7.0}, 2)]
    found = view(SPACE, seen)
    states = [trial.state.name for trial in found]
    assert states == ["COMPLETE"] * 6 + ["COMPLETE", "RUNNING", "COMPLETE"]
    assert [trial.value for trial in found if trial.value is not None] == [*range(10, 16), 15, 9]
    assert found[0].params == {"lr": 0.1, "name": "a", "hidden": "[64]", "batch": 3}


def test_without_new_ones_the_best_that_wait_go_on():
    """Check that a full study still promotes, in whichever bracket, and begins nothing."""
    seen = [Seen(i, SPACE.config([i / 9] * 5), {0: float(i)}, 0, begun=0) for i in range(9)]
    step = build(SPACE, LADDER, sampler="multitask").next(seen, 100, new=False)
    assert step.trial is not None and step.level > 0
    for schedule in SCHEDULES:
        policy = build(SPACE, LADDER, sampler="random", schedule=schedule)
        seen = replay(policy, 6)
        step = policy.next(seen, 100, new=False)
        assert step is None or step.trial is not None
        if schedule != "none":
            seen = [Seen(i, {"lr": 0.1}, {0: float(i)}, 0, begun=0) for i in range(9)]
            assert policy.next(seen, 100, new=False) == Step(0, {"lr": 0.1}, 1)


def test_a_trial_that_stopped_of_itself_is_not_promoted():
    """Check that losses of levels that were not ordered cost nothing and are not trained again."""
    seen = [Seen(i, {"lr": 0.1 + i}, {0: i, 1: i, 2: i}, 0, begun=0) for i in range(9)]
    policy = build(SPACE, LADDER, sampler="random", schedule="halving")
    assert policy.next(seen, 100).trial is None
    assert spent_on(seen[0], LADDER) == pytest.approx(1 / 9)


def test_a_step_must_be_affordable():
    """Check that no step is taken that the rest of the budget does not pay for."""
    policy = build(SPACE, LADDER, sampler="random", schedule="halving")
    assert policy.next([], 0.1) is None
    assert policy.next([], 0.12) == Step(None, policy.next([], 9).config, 0)


def test_what_a_trial_costs():
    """Check that going on costs the difference, and beginning anew the whole."""
    one = Seen(0, {}, {0: 1.0, 1: 0.9, 2: 0.5}, 2)
    assert spent_on(one, LADDER) == pytest.approx(1.0)
    anew = Ladder(LADDER.levels, continues=False)
    assert spent_on(one, anew) == pytest.approx(1 + 1 / 9 + 1 / 3)
    assert spent_on(Seen(0, {}, {0: 1.0}, 1, failed=True), LADDER) == pytest.approx(1 / 9)
    assert spent_on(Seen(0, {}, {}, 1), LADDER) == pytest.approx(1 / 3)
